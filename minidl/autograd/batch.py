"""vmap: run a function written for one example on many at once.

A box of this level holds the values of all examples, stacked along a first axis that it does not
show: its shape is that of one example. Each operation's batching rule says how to run it with that
axis in front; an operation without a rule is run example by example and the results are stacked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np

from minidl.autograd.arrays import asarray
from minidl.autograd.primitive import Box, Examples, Level, Primitive, as_array, box, clock
from minidl.autograd.tree import leaves, tree_map

Axes = int | None | Sequence[Any] | dict[str, Any]


class BatchLevel(Level):
    """Run operations on values that carry an axis of examples in front."""

    __slots__ = ("size",)

    def __init__(self, serial: int, size: int) -> None:
        super().__init__(serial)
        self.size = size

    def run(self, primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Run ``primitive`` one level down, on all examples."""
        self.check_open(primitive)
        batched = [isinstance(arg, Box) and arg.level is self for arg in args]
        values = [arg.value if own else arg for arg, own in zip(args, batched, strict=True)]
        rule = primitive.batch or one_by_one
        examples = Examples(self.size, values, batched)
        return box(as_array(rule(primitive, examples, **params)), self, None)

    def shape_of(self, value: Any) -> tuple[int, ...]:
        """Return the shape of one example."""
        shape: tuple[int, ...] = value.shape[1:]
        return shape

    def one_value(self, value: Any, what: str) -> Any:
        """Raise: there are many values here."""
        raise TypeError(
            f"{what} inside vmap: the value differs over the {self.size} examples, so it is not "
            "one array or number, and no branch can depend on it; use minidl.where"
        )


def one_by_one(primitive: Primitive, examples: Examples, **params: Any) -> Any:
    """Run ``primitive`` on each example and stack the results: right for every operation."""
    results = []
    for i in range(examples.size):
        pairs = zip(examples.values, examples.batched, strict=True)
        own = [value[i] if flag else value for value, flag in pairs]
        results.append(primitive(*own, **params))
    return np.stack(results)


def vmap(
    function: Callable[..., Any],
    in_axes: Axes = 0,
    out_axes: Any = 0,
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """Turn a function of one example into one of many.

    Parameters
    ----------
    function
        Takes and returns trees of arrays.
    in_axes
        Which axis of each argument counts the examples: a number for all, None for an argument
        that is the same for all, or a tuple with one entry an argument (each may be a tree in the
        shape of its argument).
    out_axes
        Where that axis goes in the results: a number, or a tree in the shape of the result.
    chunk_size
        Run at most so many examples at a time, to bound memory.

    Returns
    -------
    callable
        A random draw inside (dropout) is the same for all examples.

    Raises
    ------
    ValueError
        The arguments disagree on the number of examples, or none is batched.

    Examples
    --------
    >>> import numpy as np, minidl
    >>> minidl.vmap(lambda x, y: (x * y).sum(), in_axes=(0, None))(np.eye(2), np.array([3.0, 4.0]))
    array([3., 4.])
    """

    @wraps(function)
    def batched(*args: Any) -> Any:
        axes = [
            _spread(axis, arg) for axis, arg in zip(_per_argument(in_axes, args), args, strict=True)
        ]
        size = _number_of_examples(axes, args)
        if chunk_size is None or size <= chunk_size:
            return _run(function, args, axes, out_axes, size)
        parts = []
        for start in range(0, size, chunk_size):
            length = min(chunk_size, size - start)
            parts.append(_run(function, _chunk(args, axes, start, length), axes, out_axes, length))
        spread = _spread(out_axes, parts[0])
        return tree_map(lambda axis, *pieces: np.concatenate(pieces, axis=axis), spread, *parts)

    return batched


class _Same:
    """Stands for None in a tree of axes, where None would be taken for an empty tree."""


_SAME = _Same()


def _per_argument(in_axes: Any, args: Sequence[Any]) -> list[Any]:
    if isinstance(in_axes, (tuple, list)):
        if len(in_axes) != len(args):
            raise ValueError(
                f"vmap: in_axes has {len(in_axes)} entries, but {len(args)} arguments were given"
            )
        return list(in_axes)
    return [in_axes] * len(args)


def _spread(axis: Any, tree: Any) -> Any:
    """Give every leaf of ``tree`` its axis."""
    if axis is None or isinstance(axis, (int, np.integer)):
        chosen = _SAME if axis is None else int(axis)
        return tree_map(lambda _: chosen, tree)
    if isinstance(tree, dict):
        return {key: _spread(axis[key], tree[key]) for key in tree}
    if not isinstance(tree, (tuple, list)) or len(axis) != len(tree):
        raise ValueError(f"vmap: axes {axis!r} do not fit an argument of {type(tree).__name__}")
    parts = [_spread(part, sub) for part, sub in zip(axis, tree, strict=True)]
    return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)


def _number_of_examples(axes: list[Any], args: Sequence[Any]) -> int:
    sizes: dict[int, str] = {}
    for number, (axis_tree, arg) in enumerate(zip(axes, args, strict=True)):
        for axis, value in zip(leaves(axis_tree), leaves(arg), strict=True):
            if axis is _SAME:
                continue
            shape = np.shape(value)
            if not -len(shape) <= axis < len(shape):
                raise ValueError(
                    f"vmap: argument {number} of shape {shape} has no axis {axis} to map over; "
                    "use in_axes=None for what is the same for all examples"
                )
            sizes.setdefault(shape[axis], f"argument {number} of shape {shape}")
    if len(sizes) != 1:
        found = "; ".join(f"{size} in {where}" for size, where in sizes.items())
        raise ValueError(
            f"vmap: the arguments differ in the number of examples: {found}"
            if sizes
            else "vmap: no argument has an axis of examples (in_axes is None for all)"
        )
    return next(iter(sizes))


def _chunk(args: Sequence[Any], axes: list[Any], start: int, length: int) -> list[Any]:
    """Take the examples from ``start`` on out of every argument."""

    def cut(value: Any, axis: Any) -> Any:
        if axis is _SAME:
            return value
        value = value if isinstance(value, Box) else asarray(value)
        before = axis % len(value.shape)
        return value[(slice(None),) * before + (slice(start, start + length),)]

    return [tree_map(cut, arg, axis) for arg, axis in zip(args, axes, strict=True)]


def _run(
    function: Callable[..., Any], args: Sequence[Any], axes: list[Any], out_axes: Any, size: int
) -> Any:
    level = BatchLevel(clock(), size)

    def lift(value: Any, axis: Any) -> Any:
        if axis is _SAME:
            return value
        value = value if isinstance(value, Box) else asarray(value)
        return box(_moved(value, axis, 0), level, None)

    try:
        result = function(
            *(tree_map(lift, arg, axis) for arg, axis in zip(args, axes, strict=True))
        )
    finally:
        level.closed = True

    def lower(value: Any, axis: int) -> Any:
        if isinstance(value, Box) and value.level is level:
            return _moved(value.value, 0, axis)
        value = as_array(value)
        return _moved(np.broadcast_to(value, (size, *value.shape)), 0, axis)

    return tree_map(lower, result, _spread(out_axes, result))


def _moved(value: Any, source: int, target: int) -> Any:
    """Move one axis; ``np.moveaxis`` by way of transpose, which Tensors know."""
    ndim = len(value.shape)
    source, target = source % ndim, target % ndim
    if source == target:
        return value
    order = [axis for axis in range(ndim) if axis != source]
    order.insert(target, source)
    return np.transpose(value, order)
