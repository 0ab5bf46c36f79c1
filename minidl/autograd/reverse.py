"""Reverse mode, forward sweep: record each operation as a node.

A `Node` points to the nodes its arguments came from and to nothing that came later, so a graph
is freed by reference counting as soon as its last box goes. It keeps the arrays its rules read and
no others. How the graph is walked is told in `minidl.autograd.backward`.

Level 0 is always open: `Tensor(requires_grad=True)` and ``.backward()`` are this machinery there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from minidl.autograd import anomaly, recording
from minidl.autograd.arrays import Array, others
from minidl.autograd.primitive import (
    Box,
    Level,
    Primitive,
    as_array,
    box,
    clock,
    recording_floor,
    together,
)


class RemovableHandle:
    """What registering a hook returns: ``remove()`` takes the hook away again."""

    def __init__(self, hooks: dict[int, Any]) -> None:
        self._hooks = hooks
        self._key = clock()

    def remove(self) -> None:
        """Take the hook away; once is enough."""
        self._hooks.pop(self._key, None)

    @classmethod
    def register(cls, hooks: dict[int, Any], hook: Any) -> RemovableHandle:
        """Add ``hook`` and return its handle."""
        handle = cls(hooks)
        hooks[handle._key] = hook
        return handle


#: Called with a gradient in order of registration; may return one to take its place.
Hooks: TypeAlias = dict[int, Callable[[Any], Any]]


class Node:
    """One recorded operation.

    ``edges`` pairs an argument's index with the node the argument came from; ``args`` and ``out``
    are values one level down, None where no rule reads them. ``index`` is the time of recording:
    a parent is always older than its children. ``hooks`` are called with the gradient, and ``line``
    is where user code ran the operation, noted inside `detect_anomaly` only.
    """

    __slots__ = (
        "args",
        "dtype",
        "edges",
        "hooks",
        "index",
        "line",
        "out",
        "params",
        "primitive",
        "shape",
    )
    args: list[Any] | None
    dtype: np.dtype[Any]
    edges: list[tuple[int, Node | Leaf]]
    hooks: Hooks | None
    index: int
    line: str
    out: Any
    params: dict[str, Any]
    primitive: Primitive
    shape: tuple[int, ...]


class Leaf:
    """Where a walk ends: an input of a transform, or a Tensor that requires a gradient.

    ``grad`` is what ``.backward()`` has accumulated; ``buffer``, if there is one, is the piece of
    an optimizer's flat gradient array in which ``grad`` is to lie.
    """

    __slots__ = ("buffer", "dtype", "grad", "hooks", "index", "shape")
    edges: tuple[tuple[int, Any], ...] = ()

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.index = clock()
        self.shape = shape
        self.dtype = dtype
        self.grad: Any = None
        self.buffer: Array | None = None
        self.hooks: Hooks | None = None

    @recording.effect
    def assign(self, gradient: Any) -> None:
        """Put a gradient, or None, in the place of ``grad``."""
        self.grad = gradient

    def touch(self) -> None:
        """Note that the leaf's array was overwritten: operations recorded before are now stale."""
        self.index = clock()

    def accumulate(self, gradient: Any, owned: bool) -> None:
        """Add ``gradient`` to ``grad``, in place where that is safe."""
        if recording.open_recordings and (recorder := recording.current()) is not None:
            if isinstance(gradient, Box) and gradient.trace is not None:
                recorder.refuse("backward(create_graph=True)")
            recorder.effect(Leaf.accumulate, (self, gradient, owned), {})
            return
        if self.grad is None:
            if isinstance(gradient, Box):
                # A constant may be the caller's own; it is copied, so that it can be added to.
                recorded = gradient.trace is not None
                self.grad = gradient if recorded else box(gradient.value.copy(), EAGER, None)
                return
            if self.buffer is not None:
                self.buffer[...] = gradient
                gradient = self.buffer
            elif not owned:
                gradient = gradient.copy()
            self.grad = box(gradient, EAGER, None)
        elif isinstance(gradient, Box) or self.grad.trace is not None:
            self.grad = self.grad + gradient
        else:
            np.add(self.grad.value, gradient, out=self.grad.value)


class ReverseLevel(Level):
    """Run operations and record those that a leaf of this level takes part in."""

    __slots__ = ()

    # Called for every operation of every training step, so it is written for speed: one pass over
    # the arguments, and objects filled in place rather than by constructors that take arguments.
    def run(self, primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Run ``primitive`` one level down; record it where an argument wants a gradient."""
        values = list(args)
        rules = primitive.vjp
        edges: list[tuple[int, Any]] = []
        mask = i = 0
        for arg in args:
            if isinstance(arg, Box) and arg.level is self:
                values[i] = arg.value
                trace = arg.trace
                if trace is not None and rules is not None and rules[i] is not None:
                    edges.append((i, trace))
                    mask |= 1 << i
            i += 1
        serial = self.serial
        if serial:
            self.check_open(primitive)
            if others:
                values = together(values) or values
            out = as_array(primitive(*values, **params))
        elif recording.open_recordings and (recorder := recording.current()) is not None:
            out = recorder.apply(primitive, args, values, params)
        else:
            try:
                out = primitive.value(*values, **params) if params else primitive.value(*values)
            except (ValueError, TypeError, IndexError) as error:
                out = primitive.run_together(error, values, params)
            if type(out) is not np.ndarray and type(out) not in others:
                out = np.asarray(out)
            if anomaly.open_blocks and anomaly.watching():
                anomaly.check(primitive.name, "value", out, values, None)
        if not mask or recording_floor.get() > serial:
            return out if serial else box(out, self, None)
        unread, out_is_read = primitive.keeps.get((mask, i)) or primitive.unread(mask, i)
        for position in unread:
            values[position] = None
        node = _new_node(Node)
        node.index = clock()
        node.primitive = primitive
        node.args = values
        node.params = params
        node.out = out if out_is_read else None
        node.edges = edges
        node.hooks = None
        node.shape = out.shape
        node.dtype = out.dtype
        if anomaly.open_blocks:
            node.line = anomaly.user_line()
        return box(out, self, node)


_new_node = object.__new__


def record(
    primitive: Primitive,
    out: Any,
    level: ReverseLevel,
    edges: list[tuple[int, Any]],
) -> Any:
    """Box ``out`` as the result of a node whose rules stand `Together`, and keep their own data."""
    node = _new_node(Node)
    node.index = clock()
    node.primitive = primitive
    node.args = [None] * (1 + max(i for i, _ in edges))
    node.params = {}
    node.out = None
    node.edges = edges
    node.hooks = None
    node.shape = out.shape
    node.dtype = out.dtype
    if anomaly.open_blocks:
        node.line = anomaly.user_line()
    return box(out, level, node)


#: The outermost level, always open.
EAGER = ReverseLevel(0)
