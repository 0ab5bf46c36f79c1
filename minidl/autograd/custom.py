"""Functions whose derivative the user writes.

`custom_vjp` and `custom_jvp` have JAX's call shape. A call looks for the highest level among its
arguments, as an operation does, takes that level's boxes off and runs the user's functions one
level down: so a rule is itself differentiated where transforms nest. It is given arrays or Tensors,
whichever lie there, and is written with operators and minidl's functions, which take both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import update_wrapper
from typing import Any

import numpy as np

from minidl.autograd import recording
from minidl.autograd.arrays import others
from minidl.autograd.backward import conjugate, unwrapped
from minidl.autograd.batch import BatchLevel, vmap
from minidl.autograd.forward import ForwardLevel
from minidl.autograd.primitive import (
    Box,
    Level,
    Primitive,
    Together,
    as_array,
    box,
    no_grad,
    recording_floor,
    zeros_like,
)
from minidl.autograd.reverse import EAGER, Leaf, Node, ReverseLevel, record
from minidl.autograd.transforms import vjp
from minidl.autograd.tree import leaves, tree_map


def _highest(args: Any) -> Level | None:
    levels = {arg.level for arg in leaves(args) if isinstance(arg, Box)}
    return max(levels, key=lambda level: level.serial, default=None)


def _lowered(args: Any, level: Level) -> Any:
    """Take the boxes of ``level`` off; what lies below the outermost level comes as Tensors."""

    def lower(arg: Any) -> Any:
        if isinstance(arg, Box) and arg.level is level:
            arg = arg.value
        return _tensor(arg, level)

    return tree_map(lower, args)


def _tensor(value: Any, level: Level) -> Any:
    """Give the user's code a Tensor in eager code; inside a transform of arrays, arrays."""
    wrap = level is EAGER and (isinstance(value, np.ndarray) or type(value) in others)
    return box(value, EAGER, None) if wrap else value


def _arrays(tree: Any) -> Any:
    """Take what the user's code returned out of constant Tensors."""
    return tree_map(lambda value: as_array(unwrapped(value)), tree)


def _no_tangent(arg: Any) -> Any:
    return zeros_like(arg) if hasattr(arg, "dtype") else np.zeros(np.shape(arg))


class _Custom:
    """What both kinds have in common: the function, and finding the level."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.name = getattr(function, "__name__", type(function).__name__)
        update_wrapper(self, function)

    def __call__(self, *args: Any) -> Any:
        recording.refuse(f"a function with a derivative of its own ({self.name})")
        level = _highest(args)
        if level is None:
            return self.function(*args)
        if isinstance(level, BatchLevel):
            return self.at_batch(level, args)
        if isinstance(level, ForwardLevel):
            return self.at_forward(level, args)
        assert isinstance(level, ReverseLevel)
        return self.at_reverse(level, args)

    def below(self, level: Level, args: Any) -> Any:
        """Run one level down, where what is recorded there still counts."""
        lowered = _lowered(args, level)
        if level is not EAGER:
            return _arrays(self(*lowered))
        with no_grad():
            return _arrays(self.function(*lowered))

    def at_batch(self, level: BatchLevel, args: Any) -> Any:
        """Run the function of all examples, with rules of all examples, one level down."""
        axes = tuple(
            tree_map(lambda x: 0 if isinstance(x, Box) and x.level is level else None, arg)
            for arg in args
        )
        result = _arrays(self.mapped(axes)(*_lowered(args, level)))
        return tree_map(lambda value: box(value, level, None), result)

    def mapped(self, axes: tuple[Any, ...]) -> _Custom:
        """Return the function, and its rules, of many examples."""
        raise NotImplementedError

    def at_forward(self, level: ForwardLevel, args: Any) -> Any:
        """Push tangents."""
        raise NotImplementedError

    def at_reverse(self, level: ReverseLevel, args: Any) -> Any:
        """Record."""
        raise NotImplementedError


def _traced(args: Any, level: ReverseLevel) -> list[tuple[int, Node | Leaf]]:
    """Positions and notes of the leaves of ``args`` that are differentiated at ``level``."""
    if recording_floor.get() > level.serial:
        return []
    return [
        (i, arg.trace)
        for i, arg in enumerate(leaves(args))
        if isinstance(arg, Box) and arg.level is level and arg.trace is not None
    ]


def _record_tree(
    result: Any,
    level: ReverseLevel,
    name: str,
    edges: list[tuple[int, Node | Leaf]],
    pull: Callable[..., Sequence[Any]],
) -> Any:
    """Record one node for a result that may be a tree; ``pull(cotangents, node, record_at)``.

    A node has one result, so several are laid end to end in one array, and parts of it are what
    the user gets.
    """
    floats = [part for part in leaves(result) if part.dtype.kind in "fc"]
    several = len(floats) != 1

    def rule(g: Any, node: Node, wanted: Iterable[Any], record_at: Level | None) -> dict[int, Any]:
        parts = iter(_apart(g, floats) if several else [g])
        cotangents = tree_map(
            lambda part: next(parts) if part.dtype.kind in "fc" else zeros_like(part),
            result,
        )
        shares = pull(cotangents, node, record_at)
        return {i: shares[i] for i, _ in wanted}

    if not floats:
        return result
    operation = Primitive(name, _no_value, Together(rule), None, None, None, view=True)
    out = np.concatenate([part.reshape((-1,)) for part in floats]) if several else floats[0]
    whole = record(operation, out, level, edges)
    pieces = iter(_apart(whole, floats) if several else [whole])
    return tree_map(lambda part: next(pieces) if part.dtype.kind in "fc" else part, result)


def _no_value(*_: Any) -> Any:
    raise AssertionError("a custom function runs itself")


def _apart(whole: Any, parts: list[Any]) -> list[Any]:
    found, start = [], 0
    for part in parts:
        end = start + int(np.prod(part.shape, dtype=np.intp))
        found.append(whole[start:end].reshape(part.shape).astype(part.dtype))
        start = end
    return found


class custom_vjp(_Custom):  # noqa: N801 - a decorator, used like a function
    """Decorate a function whose reverse-mode derivative is given by `defvjp`.

    Forward mode does not know such a function and raises; use `custom_jvp` for both modes.

    Examples
    --------
    >>> import minidl
    >>> @minidl.custom_vjp
    ... def clip_gradient(x):
    ...     return x
    >>> clip_gradient.defvjp(lambda x: (x, None), lambda _, g: (minidl.minimum(g, 1.0),))
    >>> minidl.grad(lambda x: 5.0 * clip_gradient(x))(2.0)
    array(1.)
    """

    forward: Callable[..., Any] | None = None
    backward: Callable[..., Any] | None = None

    def defvjp(self, forward: Callable[..., Any], backward: Callable[..., Any]) -> None:
        """Give the derivative.

        Parameters
        ----------
        forward
            Takes the function's arguments, returns ``(result, residuals)``: the residuals are a
            tree of arrays for ``backward`` to use.
        backward
            ``(residuals, cotangent)``, returns a tuple with one cotangent an argument, in its
            shape; None stands for zeros.
        """
        self.forward, self.backward = forward, backward

    def _rules(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        if self.forward is None or self.backward is None:
            raise RuntimeError(f"{self.name}: its derivative is missing; call {self.name}.defvjp")
        return self.forward, self.backward

    def at_forward(self, level: ForwardLevel, args: Any) -> Any:
        """Raise.

        Raises
        ------
        TypeError
            Always: a pullback says nothing of tangents.
        """
        raise TypeError(
            f"{self.name}: forward mode (jvp, jacfwd, hessian) reached a custom_vjp function, "
            "which has a rule for reverse mode only; give it custom_jvp, which serves both"
        )

    def at_reverse(self, level: ReverseLevel, args: Any) -> Any:
        """Run ``forward`` one level down and record ``backward``."""
        edges = _traced(args, level)
        if not edges:
            result = self.below(level, args)
            return result if level.serial else tree_map(lambda x: box(x, EAGER, None), result)
        forward, _ = self._rules()
        lowered = _lowered(args, level)
        if level is EAGER:
            with no_grad():
                result, residuals = forward(*lowered)
        else:
            result, residuals = forward(*lowered)

        def pull(cotangents: Any, node: Node, record_at: Level | None) -> Sequence[Any]:
            if record_at is None:
                return self._cotangents(residuals, cotangents, args, level)
            # With create_graph, what backward reads must depend on the arguments.
            return self._cotangents(forward(*args)[1], cotangents, args, level)

        return _record_tree(_arrays(result), level, self.name, edges, pull)

    def _cotangents(self, residuals: Any, cotangents: Any, args: Any, level: Level) -> list[Any]:
        _, backward = self._rules()
        shares = backward(residuals, tree_map(lambda g: _tensor(conjugate(g), level), cotangents))
        if not isinstance(shares, (tuple, list)) or len(shares) != len(args):
            raise TypeError(
                f"{self.name}: backward must return a tuple with one cotangent for each of the "
                f"{len(args)} arguments, it returned {shares!r}"
            )
        flat: list[Any] = []
        for number, (share, arg) in enumerate(zip(shares, args, strict=True)):
            parts = list(leaves(arg))
            given = [zeros_like(p) for p in parts] if share is None else leaves(share)
            for part, g in zip(parts, given, strict=True):
                g = as_array(unwrapped(g))
                if g.shape != np.shape(part):
                    raise ValueError(
                        f"{self.name}: backward returned shape {g.shape} for argument {number} of "
                        f"shape {np.shape(part)}"
                    )
                flat.append(conjugate(g))
        return flat

    def mapped(self, axes: tuple[Any, ...]) -> custom_vjp:
        """Return the function of many examples; shares of what all have in common are summed."""
        forward, backward = self._rules()
        many = custom_vjp(vmap(self.function, axes))
        many.name = self.name

        def summed(residuals: Any, cotangents: Any) -> tuple[Any, ...]:
            shares = vmap(backward)(residuals, cotangents)
            return tuple(
                share
                if share is None
                else tree_map(lambda g, axis: g if axis == 0 else g.sum(0), share, _filled(tree))
                for share, tree in zip(shares, axes, strict=True)
            )

        many.defvjp(vmap(forward, axes), summed)
        return many


def _filled(axes: Any) -> Any:
    """Stand -1 for None in a tree of axes: None would be taken for an empty tree."""
    if isinstance(axes, dict):
        return {key: _filled(axis) for key, axis in axes.items()}
    if isinstance(axes, (tuple, list)):
        return type(axes)(_filled(axis) for axis in axes)
    return -1 if axes is None else axes


class custom_jvp(_Custom):  # noqa: N801 - a decorator, used like a function
    """Decorate a function whose derivative is given by `defjvp`, for forward and reverse mode.

    The rule is linear in the tangents; reverse mode transposes it.

    Examples
    --------
    >>> import minidl
    >>> @minidl.custom_jvp
    ... def log1pexp(x):
    ...     return minidl.log(1.0 + minidl.exp(x))
    >>> @log1pexp.defjvp
    ... def rule(primals, tangents):
    ...     (x,), (t,) = primals, tangents
    ...     return log1pexp(x), t * (1.0 - 1.0 / (1.0 + minidl.exp(x)))
    >>> minidl.grad(log1pexp)(0.0), minidl.derivative(log1pexp, 0.0)
    (array(0.5), 0.5)
    """

    rule: Callable[..., Any] | None = None

    def defjvp(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Give the derivative: ``rule(primals, tangents)`` returns ``(result, tangent)``."""
        self.rule = rule
        return rule

    def pushed(self, primals: Any, tangents: Any) -> tuple[Any, Any]:
        """Run the rule.

        Raises
        ------
        RuntimeError
            There is none.
        TypeError
            It does not return a pair.
        """
        if self.rule is None:
            raise RuntimeError(f"{self.name}: its derivative is missing; call {self.name}.defjvp")
        pair = self.rule(primals, tangents)
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(f"{self.name}: the rule must return (result, tangent), got {pair!r}")
        return pair

    def at_forward(self, level: ForwardLevel, args: Any) -> Any:
        """Run the rule one level down and carry its tangent."""
        if recording_floor.get() > level.serial:
            return self.below(level, args)

        def tangent(arg: Any) -> Any:
            if isinstance(arg, Box) and arg.level is level:
                return arg.trace
            return _no_tangent(arg)

        tangents = _lowered(tree_map(tangent, args), level)
        out, pushed = self.pushed(_lowered(args, level), tangents)
        out, pushed = _arrays(out), _arrays(pushed)

        def carry(value: Any, t: Any) -> Any:
            if value.shape != t.shape:
                raise ValueError(
                    f"{self.name}: the rule returned a tangent of shape {t.shape} for a result of "
                    f"shape {value.shape}"
                )
            return box(value, level, t.astype(value.dtype) if t.dtype != value.dtype else t)

        return tree_map(carry, out, pushed)

    def at_reverse(self, level: ReverseLevel, args: Any) -> Any:
        """Run one level down and record the transposed rule."""
        edges = _traced(args, level)
        result = self.below(level, args)
        if not edges:
            return result if level.serial else tree_map(lambda x: box(x, EAGER, None), result)

        def pull(cotangents: Any, node: Node, record_at: Level | None) -> Sequence[Any]:
            primals = args if record_at is not None else _lowered(args, level)
            zeros = tree_map(_no_tangent, args)
            _, transposed = vjp(lambda *ts: self.pushed(primals, ts)[1], *zeros)
            wanted = tree_map(conjugate, cotangents)
            return [conjugate(g) for g in leaves(transposed(wanted))]

        return _record_tree(result, level, self.name, edges, pull)

    def mapped(self, axes: tuple[Any, ...]) -> custom_jvp:
        """Return the function of many examples."""
        many = custom_jvp(vmap(self.function, axes))
        many.name = self.name
        many.defjvp(vmap(self.pushed, (axes, axes)))
        return many
