"""Recompute instead of keep: memory bought with time.

`checkpoint` runs a function, recording as always, then throws the record away and puts one node in
its place, which knows where the thrown away part began. When `pull_back` comes to that node, the
function runs again, and the cotangent is carried through the new record to that frontier.

References
----------
A. Griewank, A. Walther, "Algorithm 799: revolve", ACM TOMS 26 (2000); T. Chen et al., "Training
Deep Nets with Sublinear Memory Cost", arXiv:1604.06174.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from minidl.autograd import recording
from minidl.autograd.backward import pull_back
from minidl.autograd.primitive import (
    Box,
    Level,
    Primitive,
    Together,
    beside,
    box,
    clock,
    recording_floor,
)
from minidl.autograd.reverse import Leaf, Node, ReverseLevel, record
from minidl.autograd.tree import leaves, tree_map


class Draws:
    """The generators that operations drew from, as they were: a second run draws the same."""

    def __init__(self) -> None:
        self.copies: list[np.random.Generator] = []
        self.replayed: Iterator[np.random.Generator] | None = None

    def take(self, rng: np.random.Generator | None) -> np.random.Generator:
        """Return the generator to draw from: ``rng`` or a fresh one, or in a replay its copy."""
        if self.replayed is not None:
            return copy.deepcopy(next(self.replayed))
        rng = np.random.default_rng() if rng is None else rng
        self.copies.append(copy.deepcopy(rng))
        return rng


_draws: ContextVar[Draws | None] = ContextVar("draws", default=None)


def generator(rng: np.random.Generator | None) -> np.random.Generator:
    """Return ``rng``, or a fresh generator for None; every operation that draws calls this first.

    Inside the second run of `checkpoint` it returns a copy of what was drawn from in the first.
    """
    draws = _draws.get()
    if draws is not None:
        return draws.take(rng)
    if recording.open_recordings and (recorder := recording.current()) is not None:
        return recorder.draws(rng)
    return np.random.default_rng() if rng is None else rng


def checkpoint(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return ``function(*args, **kwargs)``, keeping nothing for backward but what goes in.

    Backward runs the function a second time. Whatever it depends on is differentiated: arguments,
    parameters of modules, variables of enclosing transforms. Operations that draw random numbers
    draw the same ones again.

    Parameters
    ----------
    function
        Returns a tree of arrays; must do the same each time it is called. Side effects, such as
        running statistics of batch normalization, happen twice.

    Examples
    --------
    >>> import minidl
    >>> block = lambda x: minidl.tanh(minidl.exp(x) * x)
    >>> minidl.grad(lambda x: minidl.checkpoint(block, x))(0.5) == minidl.grad(block)(0.5)
    np.True_
    """
    recording.refuse("minidl.checkpoint")
    segment = _Segment(function, args, kwargs)
    result = segment.run()
    number = iter(range(len(list(leaves(result)))))
    return tree_map(lambda value: segment.forgotten(value, next(number)), result)


class _Segment:
    """One call of a checkpointed function."""

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs
        self.start = clock()
        self.draws = Draws()

    def run(self) -> Any:
        token = _draws.set(self.draws)
        try:
            return self.function(*self.args, **self.kwargs)
        finally:
            _draws.reset(token)

    def run_again(self, levels: Iterable[Level]) -> Any:
        """Run as in the first call, though the transforms around it may have returned since."""
        token = recording_floor.set(0)
        self.draws.replayed = iter(self.draws.copies)
        try:
            with ExitStack() as stack:
                for level in levels:
                    stack.enter_context(_reopened(level))
                return self.run()
        finally:
            self.draws.replayed = None
            recording_floor.reset(token)

    def forgotten(self, value: Any, number: int) -> Any:
        """Return the result with one node in place of what was recorded, at every level."""
        if not isinstance(value, Box):
            return value
        level, trace = value.level, value.trace
        inner = self.forgotten(value.value, number)
        new = isinstance(trace, Node) and trace.index > self.start
        if not (isinstance(level, ReverseLevel) and new):
            return box(inner, level, trace)
        frontier = self.frontier(trace)
        levels = {boxed.level for boxed in self.boxes()} | {level}

        def rule(g: Any, node: Node, edges: Any, record_at: Level | None) -> dict[int, Any]:
            again = list(leaves(self.run_again(levels)))[number]
            while again.level is not level:
                again = again.value
            found = pull_back(
                {again.trace: g},
                retain=record_at is not None,
                record_at=record_at,
                targets=set(frontier),
            )
            zeros = {
                i: beside(np.zeros(parent.shape, parent.dtype), g)
                for i, parent in edges
                if parent not in found
            }
            return zeros | {i: found[parent][0] for i, parent in edges if parent in found}

        operation = Primitive("checkpoint", _no_value, Together(rule), None, None, None, view=True)
        return record(operation, inner, level, list(enumerate(frontier)))

    def frontier(self, trace: Any) -> list[Node | Leaf]:
        """Where the recorded part meets what was there before it began."""
        seen = {trace}
        stack = [trace]
        border: dict[Node | Leaf, None] = {}
        while stack:
            for _, parent in stack.pop().edges:
                if isinstance(parent, Leaf) or parent.index < self.start:
                    border[parent] = None
                elif parent not in seen:
                    seen.add(parent)
                    stack.append(parent)
        return list(border)

    def boxes(self) -> Iterator[Box]:
        """Every box among the arguments, and the boxes in it."""
        for value in leaves((self.args, self.kwargs)):
            while isinstance(value, Box):
                yield value
                value = value.value


@contextmanager
def _reopened(level: Level) -> Iterator[None]:
    closed, level.closed = level.closed, False
    try:
        yield
    finally:
        level.closed = closed


def _no_value(*_: Any) -> Any:
    raise AssertionError("a checkpoint runs the function itself")
