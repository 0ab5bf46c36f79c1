"""Flipping, rolling, repeating; windows; grids and combinations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from minidl.autograd.primitive import plain
from minidl.ops.joining import cat, stack
from minidl.ops.shape import axis_of, broadcast_to, movedim, ravel, reshape, shape_of, unpack

__all__ = [
    "cartesian_prod",
    "combinations",
    "flip",
    "fliplr",
    "flipud",
    "meshgrid",
    "narrow",
    "repeat",
    "repeat_interleave",
    "roll",
    "rot90",
    "select",
    "tile",
    "unfold",
]


def _along(axis: int, part: Any) -> tuple[Any, ...]:
    return (*(slice(None),) * axis, part)


def flip(x: Any, *dims: Any) -> Any:
    """Reverse the order along each of ``dims``.

    Raises
    ------
    IndexError
        An axis is out of range.
    """
    ndim = len(shape_of(x))
    turned = {axis_of(dim, ndim, "flip") for dim in unpack(dims)}
    back = tuple(slice(None, None, -1) if axis in turned else slice(None) for axis in range(ndim))
    return x[back] if turned else x


def fliplr(x: Any) -> Any:
    """Reverse the second axis."""
    return _flipped("fliplr", x, 1)


def flipud(x: Any) -> Any:
    """Reverse the first axis."""
    return _flipped("flipud", x, 0)


def _flipped(name: str, x: Any, axis: int) -> Any:
    if len(shape_of(x)) <= axis:
        raise ValueError(f"{name}: at least {axis + 1} dimensions are wanted, got {shape_of(x)}")
    return flip(x, axis)


def roll(x: Any, shifts: Any, dims: Any = None) -> Any:
    """Move elements on by ``shifts`` along ``dims`` (or the flat array); the last come in first.

    Raises
    ------
    ValueError
        There are not as many shifts as dims.
    IndexError
        An axis is out of range.
    """
    if dims is None:
        return reshape(roll(ravel(x), shifts, 0), shape_of(x))
    moves = [shifts] if isinstance(shifts, int) else list(shifts)
    over = [dims] if isinstance(dims, int) else list(dims)
    if len(moves) != len(over):
        raise ValueError(f"roll: {len(moves)} shifts for {len(over)} dims")
    for shift, dim in zip(moves, over, strict=True):
        axis = axis_of(dim, len(shape_of(x)), "roll")
        length = shape_of(x)[axis]
        if length and shift % length:
            cut = length - shift % length
            x = cat([x[_along(axis, slice(cut, None))], x[_along(axis, slice(cut))]], axis)
    return x


def rot90(x: Any, k: int = 1, dims: Sequence[int] = (0, 1)) -> Any:
    """Turn the plane of two axes by ``k`` quarters, from the first towards the second.

    Raises
    ------
    ValueError
        ``dims`` are not two different axes.
    """
    ndim = len(shape_of(x))
    over = [axis_of(dim, ndim, "rot90") for dim in dims]
    if len(over) != 2 or over[0] == over[1]:
        raise ValueError(f"rot90: two different dims are wanted, got {tuple(dims)}")
    order = list(range(ndim))
    order[over[0]], order[over[1]] = order[over[1]], order[over[0]]
    k %= 4
    if k == 0:
        return x
    if k == 2:
        return flip(x, tuple(over))
    turned = np.transpose(flip(x, over[1]) if k == 1 else x, order)
    return turned if k == 1 else flip(turned, over[1])


def repeat(x: Any, *sizes: Any) -> Any:
    """Repeat the whole array ``sizes[i]`` times along axis i; more sizes than axes add axes.

    Raises
    ------
    ValueError
        There are fewer sizes than axes.
    """
    times = unpack(sizes)
    shape = (1,) * (len(times) - len(shape_of(x))) + shape_of(x)
    if len(times) < len(shape):
        raise ValueError(f"repeat: shape {shape} wants {len(shape)} sizes, got {times}")
    apart = [part for n in shape for part in (1, n)]
    wide = [part for n, count in zip(shape, times, strict=True) for part in (count, n)]
    whole = tuple(n * count for n, count in zip(shape, times, strict=True))
    return reshape(broadcast_to(reshape(x, tuple(apart)), wide), whole)


def tile(x: Any, *dims: Any) -> Any:
    """Return `repeat`, where axes without a number are repeated once."""
    times = unpack(dims)
    return repeat(x, (1,) * (len(shape_of(x)) - len(times)) + tuple(times))


def repeat_interleave(x: Any, repeats: Any, dim: int | None = None) -> Any:
    """Repeat each element along ``dim`` (or of the flat array): a number, or one each.

    Raises
    ------
    ValueError
        There are not as many repeats as elements.
    TypeError
        Repeats that differ over the examples of a vmap.
    """
    if dim is None:
        return repeat_interleave(ravel(x), repeats, 0)
    axis = axis_of(dim, len(shape_of(x)), "repeat_interleave")
    length = shape_of(x)[axis]
    counts = plain(repeats, "repeat_interleave(repeats)")
    if counts.ndim and counts.shape != (length,):
        raise ValueError(
            f"repeat_interleave: {length} repeats are wanted, one an element, got {counts.shape}"
        )
    return x[_along(axis, np.repeat(np.arange(length), counts))]


def narrow(x: Any, dim: int, start: int, length: int) -> Any:
    """Return ``length`` elements from ``start`` on along ``dim``.

    Raises
    ------
    IndexError
        ``dim`` is out of range, or the part reaches beyond the end.
    """
    axis = axis_of(dim, len(shape_of(x)), "narrow")
    count = shape_of(x)[axis]
    begin = start + count if start < 0 else start
    if not 0 <= begin <= begin + length <= count:
        raise IndexError(f"narrow: {length} from {start} on is beyond the {count} of dim {dim}")
    return x[_along(axis, slice(begin, begin + length))]


def select(x: Any, dim: int, index: int) -> Any:
    """Return the slice at ``index`` along ``dim``, without that axis.

    Raises
    ------
    IndexError
        ``dim`` or ``index`` is out of range.
    """
    return x[_along(axis_of(dim, len(shape_of(x)), "select"), index)]


def unfold(x: Any, dimension: int, size: int, step: int) -> Any:
    """Return windows of ``size`` along an axis, ``step`` apart, with a last axis within them.

    ``(…, n, …) -> (…, (n - size) // step + 1, …, size)``.

    Raises
    ------
    ValueError
        ``size`` is larger than the axis, or ``step`` is not positive.
    IndexError
        ``dimension`` is out of range.
    """
    axis = axis_of(dimension, len(shape_of(x)), "unfold")
    length = shape_of(x)[axis]
    if not 0 <= size <= length or step < 1:
        raise ValueError(
            f"unfold: size 0 to {length} and step at least 1 are wanted, got {size} and {step}"
        )
    starts = np.arange(0, length - size + 1, step)
    return movedim(x[_along(axis, starts[:, None] + np.arange(size))], axis + 1, -1)


def meshgrid(*tensors: Any, indexing: Literal["ij", "xy"] = "ij") -> tuple[Any, ...]:
    """Return the coordinates of a grid: one array an axis, each of the grid's shape.

    Raises
    ------
    ValueError
        An array has more than one axis, or ``indexing`` is neither.
    """
    given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else tensors
    if indexing not in ("ij", "xy") or any(len(shape_of(x)) > 1 for x in given):
        raise ValueError(
            f"meshgrid: vectors and indexing 'ij' or 'xy' are wanted, got shapes "
            f"{[shape_of(x) for x in given]} and {indexing!r}"
        )
    order = list(range(len(given)))
    if indexing == "xy" and len(given) > 1:
        order[:2] = 1, 0
    sizes = [math.prod(shape_of(x)) for x in given]
    shape = [0] * len(given)
    for place, size in zip(order, sizes, strict=True):
        shape[place] = size
    found = []
    for place, x in zip(order, given, strict=True):
        own = [1] * len(given)
        own[place] = shape[place]
        found.append(broadcast_to(reshape(x, tuple(own)), tuple(shape)))
    return tuple(found)


def cartesian_prod(*tensors: Any) -> Any:
    """Return all choices of one element from each vector: ``(n1 · n2 · …, count)``."""
    if len(tensors) == 1:
        return tensors[0]
    return stack([ravel(x) for x in meshgrid(*tensors)], 1)


def combinations(x: Any, r: int = 2, with_replacement: bool = False) -> Any:
    """Return all choices of ``r`` elements of a vector: ``(count, r)``.

    Raises
    ------
    ValueError
        ``x`` has more than one axis, or ``r`` is negative.
    """
    if len(shape_of(x)) != 1 or r < 0:
        raise ValueError(f"combinations: a vector and r >= 0, got shape {shape_of(x)} and r = {r}")
    choose: Any = itertools.combinations
    if with_replacement:
        choose = itertools.combinations_with_replacement
    chosen = list(choose(range(shape_of(x)[0]), r))
    return x[np.array(chosen, np.intp).reshape(-1, r)]
