"""Reductions over one axis, several, or all (``dim=None``)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from minidl.autograd import arrays
from minidl.autograd.primitive import Array, Primitive, primitive
from minidl.kernels.scattering import add_at
from minidl.kernels.summing import total
from minidl.ops.arithmetic import eq, maximum, minimum, where
from minidl.ops.batching import along
from minidl.ops.shape import broadcast_to, permute, reshape, shape_of

__all__ = [
    "amax",
    "amin",
    "aminmax",
    "argmax",
    "argmin",
    "max",
    "mean",
    "min",
    "prod",
    "std",
    "sum",
    "var",
]

Dim: TypeAlias = int | Sequence[int] | None


def axes(dim: Dim, ndim: int, name: str) -> tuple[int, ...]:
    """Turn ``dim`` into a tuple of axes from 0 to ndim - 1.

    Raises
    ------
    IndexError
        An axis is out of range.
    ValueError
        An axis is named twice.
    """
    if dim is None:
        return tuple(range(ndim))
    given = (dim,) if isinstance(dim, (int, np.integer)) else tuple(dim)
    rank = ndim or 1  # PyTorch admits dim=0 and dim=-1 for a 0-d tensor; so does this
    for axis in given:
        if not -rank <= axis < rank:
            raise IndexError(
                f"{name}: dim {axis} is out of range for {ndim} dimensions"
                f" (wanted {-rank} to {rank - 1})"
            )
    chosen = tuple(int(axis) % rank for axis in given) if ndim else ()
    if len(set(chosen)) != len(chosen):
        raise ValueError(f"{name}: dim {dim} names an axis twice")
    return chosen


def restore(value: Any, dim: tuple[int, ...], keepdim: bool) -> Any:
    """Put the axes that a reduction dropped back, as axes of length 1."""
    if keepdim or not dim:
        return value
    shape = list(value.shape)
    for axis in sorted(dim):
        shape.insert(axis, 1)
    return reshape(value, tuple(shape))


_sum: Primitive = primitive(
    "sum",
    total,
    vjp=(lambda g, _out, x, *, dim, keepdim: broadcast_to(restore(g, dim, keepdim), x.shape),),
    jvp=(lambda t, out, x, *, dim, keepdim: _sum(t, dim=dim, keepdim=keepdim),),
    batch=along("dim"),
)


def sum(x: Any, dim: Dim = None, keepdim: bool = False) -> Any:
    """Return the sum over ``dim`` (an axis, several, or None for all).

    Raises
    ------
    IndexError
        An axis is out of range.
    """
    return _sum(x, dim=axes(dim, len(shape_of(x)), "sum"), keepdim=keepdim)


def mean(x: Any, dim: Dim = None, keepdim: bool = False) -> Any:
    """Return the mean over ``dim``; the mean of nothing is NaN.

    Raises
    ------
    TypeError
        ``x`` is not of a floating dtype.
    IndexError
        An axis is out of range.
    """
    over = axes(dim, np.ndim(x), "mean")
    require_float("mean", x)
    count = math.prod(shape_of(x)[axis] for axis in over)
    total = _sum(x, dim=over, keepdim=keepdim)
    return total / count if count else total * math.nan


def var(x: Any, dim: Dim = None, correction: float = 1, keepdim: bool = False) -> Any:
    """Return the variance over ``dim``: Σ(x - mean)² / (count - correction).

    ``correction=1`` (the default, as in PyTorch) estimates a population's variance from a sample;
    0 gives the sample's own. NaN where count <= correction.

    Raises
    ------
    TypeError
        ``x`` is not of a floating dtype.
    IndexError
        An axis is out of range.
    """
    return _variance("var", x, dim, correction, keepdim)


def _variance(name: str, x: Any, dim: Dim, correction: float, keepdim: bool) -> Any:
    over = axes(dim, np.ndim(x), name)
    require_float(name, x)
    count = math.prod(shape_of(x)[axis] for axis in over)
    centered = x - mean(x, over, keepdim=True)
    if centered.dtype.kind == "c":
        centered = np.abs(centered)
    total = _sum(centered * centered, dim=over, keepdim=keepdim)
    return total / (count - correction) if count > correction else total * math.nan


def std(x: Any, dim: Dim = None, correction: float = 1, keepdim: bool = False) -> Any:
    """Return the square root of `var`; its derivative where all elements are equal is taken as 0.

    Errors are those of `var`.
    """
    variance = _variance("std", x, dim, correction, keepdim)
    # √ has slope ∞ at 0, which times the 0 of the variance's own derivative would be NaN.
    flat = eq(variance, 0)
    return where(flat, 0.0, where(flat, 1.0, variance) ** 0.5)


def require_float(name: str, x: Any) -> None:
    """Raise `TypeError` where ``x`` is neither of floats nor of complex numbers."""
    dtype = getattr(x, "dtype", None) or np.asarray(x).dtype
    if dtype.kind not in "fc":
        raise TypeError(f"{name}: a floating dtype is wanted, got {dtype}; use .to(np.float32)")


def _reduced(ufunc: np.ufunc, method: str) -> Callable[..., Array]:
    """The ufunc's ``reduce``, which is the fastest way; CuPy has the method instead."""

    def value(x: Any, *, dim: tuple[int, ...], keepdim: bool) -> Array:
        found: Array
        if type(x) in arrays.others:
            found = getattr(x, method)(axis=dim, keepdims=keepdim)
        else:
            found = ufunc.reduce(x, axis=dim, keepdims=keepdim)
        return found

    return value


def _winners(out: Any, x: Any, dim: tuple[int, ...], keepdim: bool) -> Any:
    """Shares that sum to 1 over ``dim``: equal among the elements that attain the extremum."""
    ties = eq(x, restore(out, dim, keepdim))
    return ties / _sum(ties, dim=dim, keepdim=True)


_amax: Primitive = primitive(
    "amax",
    _reduced(np.maximum, "max"),
    vjp=(
        lambda g, out, x, *, dim, keepdim: (
            restore(g, dim, keepdim) * _winners(out, x, dim, keepdim)
        ),
    ),
    jvp=(
        lambda t, out, x, *, dim, keepdim: _sum(
            t * _winners(out, x, dim, keepdim), dim=dim, keepdim=keepdim
        ),
    ),
    batch=along("dim"),
)

_amin: Primitive = primitive(
    "amin",
    _reduced(np.minimum, "min"),
    vjp=_amax.vjp,
    jvp=_amax.jvp,
    batch=along("dim"),
)


def amax(x: Any, dim: Dim = None, keepdim: bool = False) -> Any:
    """Return the largest element over ``dim``; ties share the gradient evenly.

    Raises
    ------
    ValueError
        There is no element to choose from.
    """
    return _amax(x, dim=axes(dim, np.ndim(x), "amax"), keepdim=keepdim)


def amin(x: Any, dim: Dim = None, keepdim: bool = False) -> Any:
    """Return the smallest element over ``dim``; ties share the gradient evenly.

    Raises
    ------
    ValueError
        There is no element to choose from.
    """
    return _amin(x, dim=axes(dim, np.ndim(x), "amin"), keepdim=keepdim)


_argmax: Primitive = primitive(
    "argmax",
    lambda x, *, dim, keepdim: np.argmax(x, axis=dim, keepdims=keepdim),
    batch=along("dim"),
)
_argmin: Primitive = primitive(
    "argmin",
    lambda x, *, dim, keepdim: np.argmin(x, axis=dim, keepdims=keepdim),
    batch=along("dim"),
)


def _one_axis(dim: int | None, x: Any, name: str) -> int | None:
    over = None if dim is None else axes(dim, np.ndim(x), name)
    return over[0] if over else None


def argmax(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Return the index of the first largest element along ``dim`` (of the flat array for None)."""
    return _argmax(x, dim=_one_axis(dim, x, "argmax"), keepdim=keepdim)


def argmin(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Return the index of the first smallest element along ``dim`` (of the flat array for None)."""
    return _argmin(x, dim=_one_axis(dim, x, "argmin"), keepdim=keepdim)


def _put(g: Array, indices: Array, *, dim: int, shape: tuple[int, ...]) -> Array:
    out = np.zeros(shape, g.dtype, like=g)
    if indices.shape[dim] == 1:
        np.put_along_axis(out, indices, g, dim)
    else:  # a place may be named twice
        places = list(np.ogrid[tuple(slice(n) for n in indices.shape)])
        places[dim] = indices
        add_at(out, tuple(places), g)
    return out


# Picking elements along an axis and adding where they were picked are each other's adjoint.
pick_along: Primitive = primitive(
    "take_along_dim",
    lambda x, indices, *, dim: np.take_along_axis(x, indices, dim),
    vjp=(
        lambda g, _out, x, indices, *, dim: put_along(g, indices, dim=dim, shape=x.shape),
        None,
    ),
    jvp=(lambda t, out, x, indices, *, dim: pick_along(t, indices, dim=dim), None),
    batch=along("dim"),
)
put_along: Primitive = primitive(
    "put_along_dim",
    _put,
    vjp=(lambda g, _out, _x, indices, *, dim, shape: pick_along(g, indices, dim=dim), None),
    jvp=(
        lambda t, out, x, indices, *, dim, shape: put_along(t, indices, dim=dim, shape=shape),
        None,
    ),
    batch=along("dim"),
)


class Extremum(NamedTuple):
    """Result of `max` and `min` along an axis."""

    values: Any
    indices: Any


def max(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Return the largest element; with ``dim``, a pair ``(values, indices)``.

    Along a ``dim`` the gradient goes to the selected (first largest) element; without, ties share
    it evenly. With an array in place of ``dim``, `minidl.maximum` of the two.

    Raises
    ------
    ValueError
        There is no element to choose from.
    """
    if dim is None:
        return amax(x)
    return _extremum(x, argmax, dim, keepdim) if _is_axis(dim) else maximum(x, dim)


def min(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Return the smallest element; with ``dim``, a pair ``(values, indices)``; see `max`."""
    if dim is None:
        return amin(x)
    return _extremum(x, argmin, dim, keepdim) if _is_axis(dim) else minimum(x, dim)


def _is_axis(dim: Any) -> bool:
    return isinstance(dim, (int, np.integer))


class MinMax(NamedTuple):
    """Result of `aminmax`."""

    min: Any
    max: Any


def aminmax(x: Any, *, dim: int | None = None, keepdim: bool = False) -> MinMax:
    """Return the smallest and the largest element over ``dim``; ties share the gradient."""
    return MinMax(amin(x, dim, keepdim), amax(x, dim, keepdim))


def along_last(x: Any, dim: Dim, name: str) -> tuple[Any, tuple[int, ...]]:
    """Join the axes in ``dim`` into one at the end; and the shape that keeping them has."""
    over = axes(dim, len(shape_of(x)), name)
    shape = shape_of(x)
    kept = [axis for axis in range(len(shape)) if axis not in over]
    size = math.prod(shape[axis] for axis in over)
    moved = permute(x, (*kept, *over)) if shape else x
    flat = reshape(moved, (*(shape[axis] for axis in kept), size))
    return flat, tuple(1 if axis in over else length for axis, length in enumerate(shape))


def prod(x: Any, dim: Dim = None, keepdim: bool = False) -> Any:
    """Return the product over ``dim``.

    Halves are multiplied until one number is left, so the derivatives are right with zeros among
    the elements, to any order.

    Raises
    ------
    IndexError
        An axis is out of range.
    """
    flat, kept = along_last(x, dim, "prod")
    if not shape_of(flat)[-1]:
        flat = flat.sum(-1, keepdims=True) + 1
    while (count := shape_of(flat)[-1]) > 1:
        half = count // 2
        pairs = flat[..., :half] * flat[..., half : 2 * half]
        if count % 2:
            first = pairs[..., :1] * flat[..., 2 * half :]
            pairs = first if half == 1 else _beside(first, pairs[..., 1:])
        flat = pairs
    return reshape(flat, kept if keepdim else shape_of(flat)[:-1])


def _beside(one: Any, two: Any) -> Any:
    return np.concatenate((one, two), axis=-1)


def _extremum(x: Any, select: Any, dim: int, keepdim: bool) -> Extremum:
    if not np.ndim(x):
        return Extremum(x, select(x, dim))
    indices = select(x, dim, keepdim=True)
    axis = dim % np.ndim(x)
    values = pick_along(x, indices, dim=axis)
    if not keepdim:
        shape = values.shape[:axis] + values.shape[axis + 1 :]
        values, indices = reshape(values, shape), reshape(indices, shape)
    return Extremum(values, indices)
