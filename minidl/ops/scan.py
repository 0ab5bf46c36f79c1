"""Scans: every element of the result depends on those before it along an axis.

Sums have a primitive. Products and sums of exponentials are scanned by doubling (W. D. Hillis,
G. L. Steele, "Data Parallel Algorithms", CACM 29, 1986): in each of log n rounds an element is
joined with the one 1, 2, 4, … places before it. No inverse is taken, so zeros do no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl.autograd.arrays import on_host
from minidl.autograd.primitive import Array, Primitive, linear, primitive
from minidl.ops.batching import along
from minidl.ops.joining import cat
from minidl.ops.logarithms import logaddexp
from minidl.ops.reduce import Extremum, pick_along
from minidl.ops.shape import axis_of, permute, reshape, shape_of

__all__ = [
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "cumulative_trapezoid",
    "diff",
    "gradient",
    "logcumsumexp",
    "trapezoid",
    "trapz",
]


def _cut(x: Any, dim: int, start: int | None, stop: int | None = None) -> Any:
    return x[(slice(None),) * dim + (slice(start, stop),)]


def _sum_from_behind(g: Any, dim: int) -> Any:
    back = (slice(None),) * dim + (slice(None, None, -1),)
    return _cumsum(g[back], dim=dim)[back]


_cumsum: Primitive = primitive(
    "cumsum",
    lambda x, *, dim: np.add.accumulate(x, axis=dim),
    vjp=(lambda g, _out, _x, *, dim: _sum_from_behind(g, dim),),
    jvp=(linear,),
    batch=along("dim"),
)


def _scanned(x: Any, dim: int, name: str, scan: Callable[[Any, int], Any]) -> Any:
    """Run a scan along ``dim``; a single number is its own scan."""
    shape = shape_of(x)
    axis = axis_of(dim, len(shape) or 1, name)
    return scan(x, axis) if shape else reshape(scan(reshape(x, (1,)), 0), ())


def cumsum(x: Any, dim: int) -> Any:
    """Return the sums of the elements up to each one along ``dim``.

    Raises
    ------
    IndexError
        ``dim`` is out of range.
    """
    return _scanned(x, dim, "cumsum", lambda v, axis: _cumsum(v, dim=axis))


def _doubling(join: Callable[[Any, Any], Any]) -> Callable[[Any, int], Any]:
    def scan(x: Any, dim: int) -> Any:
        step, length = 1, shape_of(x)[dim]
        while step < length:
            joined = join(_cut(x, dim, step), _cut(x, dim, None, -step))
            x = cat([_cut(x, dim, None, step), joined], dim)
            step *= 2
        return x

    return scan


def cumprod(x: Any, dim: int) -> Any:
    """Return the products of the elements up to each one along ``dim``; zeros do no harm."""
    return _scanned(x, dim, "cumprod", _doubling(lambda one, two: one * two))


def logcumsumexp(x: Any, dim: int) -> Any:
    """Return log Σ eˣ of the elements up to each one along ``dim``, without overflow."""
    return _scanned(x, dim, "logcumsumexp", _doubling(logaddexp))


def _latest(accumulate: Any) -> Callable[..., Array]:
    """Where along ``dim`` the extremum so far was seen last; a NaN is kept."""

    def find(x: Array, *, dim: int) -> Array:
        record = accumulate(x, axis=dim)
        places = np.arange(x.shape[dim]).reshape([-1 if i == dim else 1 for i in range(x.ndim)])
        seen = np.where((x == record) | (x != x), places, 0)
        return np.maximum.accumulate(seen, axis=dim)

    return find


_where_largest: Primitive = primitive(
    "cummax", on_host(_latest(np.maximum.accumulate)), batch=along("dim")
)
_where_smallest: Primitive = primitive(
    "cummin", on_host(_latest(np.minimum.accumulate)), batch=along("dim")
)


def _cumulative(x: Any, dim: int, find: Primitive) -> Extremum:
    shape = shape_of(x)
    axis = axis_of(dim, len(shape) or 1, find.name)
    whole = x if shape else reshape(x, (1,))
    indices = find(whole, dim=axis)
    values = pick_along(whole, indices, dim=axis)
    return Extremum(reshape(values, shape), reshape(indices, shape))


def cummax(x: Any, dim: int) -> Extremum:
    """Return the largest elements so far along ``dim``, and the latest places of them."""
    return _cumulative(x, dim, _where_largest)


def cummin(x: Any, dim: int) -> Extremum:
    """Return the smallest elements so far along ``dim``, and the latest places of them."""
    return _cumulative(x, dim, _where_smallest)


def diff(x: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """Return the ``n``-th differences of neighbours along ``dim``.

    Raises
    ------
    ValueError
        ``n`` is negative, or ``x`` is a single number.
    IndexError
        ``dim`` is out of range.
    """
    if not shape_of(x) or n < 0:
        raise ValueError(f"diff: at least one dimension and n >= 0, got {shape_of(x)} and n = {n}")
    axis = axis_of(dim, len(shape_of(x)), "diff")
    parts = [part for part in (prepend, x, append) if part is not None]
    x = parts[0] if len(parts) == 1 else cat(parts, axis)
    for _ in range(n):
        x = _cut(x, axis, 1) - _cut(x, axis, None, -1)
    return x


def _slices(y: Any, x: Any, dx: float, dim: int, name: str) -> tuple[Any, int]:
    """Areas between neighbours along ``dim``, by the trapezoidal rule."""
    axis = axis_of(dim, len(shape_of(y)), name)
    width: Any = dx
    if x is not None:
        if len(shape_of(x)) == 1 and shape_of(x)[0] != shape_of(y)[axis]:
            raise ValueError(f"{name}: x has {shape_of(x)[0]} points, y {shape_of(y)[axis]}")
        width = diff(x, dim=-1 if len(shape_of(x)) == 1 else axis)
        if len(shape_of(x)) == 1:
            width = reshape(width, (-1, *(1,) * (len(shape_of(y)) - axis - 1)))
    return (_cut(y, axis, 1) + _cut(y, axis, None, -1)) * width * 0.5, axis


def trapezoid(y: Any, x: Any = None, *, dx: float = 1.0, dim: int = -1) -> Any:
    """Return the integral of ``y`` along ``dim`` by the trapezoidal rule.

    The points are at ``x`` (``(n,)`` or the shape of ``y``), or ``dx`` apart.

    Raises
    ------
    IndexError
        ``dim`` is out of range.
    ValueError
        ``x`` has another number of points.
    """
    areas, axis = _slices(y, x, dx, dim, "trapezoid")
    return areas.sum(axis)


trapz = trapezoid


def cumulative_trapezoid(y: Any, x: Any = None, *, dx: float = 1.0, dim: int = -1) -> Any:
    """Return the integrals of ``y`` up to each point but the first; see `trapezoid`."""
    areas, axis = _slices(y, x, dx, dim, "cumulative_trapezoid")
    return cumsum(areas, axis)


def gradient(
    x: Any, *, spacing: Any = 1.0, dim: int | Sequence[int] | None = None, edge_order: int = 1
) -> tuple[Any, ...]:
    """Estimate derivatives of samples along axes, by differences of second order.

    Parameters
    ----------
    x
        Samples of a function.
    spacing
        Distance of samples: a number, one an axis, or one array of coordinates an axis.
    dim
        Which axes; all by default.
    edge_order
        1 or 2: order of the one-sided differences at the ends.

    Returns
    -------
    tuple
        One array of the shape of ``x`` an axis.

    Raises
    ------
    ValueError
        An axis has too few samples, or ``edge_order`` or the number of spacings is wrong.
    """
    ndim = len(shape_of(x))
    chosen = range(ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    over = [axis_of(axis, ndim, "gradient") for axis in chosen]
    spacings = list(spacing) if isinstance(spacing, (tuple, list)) else [spacing] * len(over)
    if len(spacings) != len(over) or edge_order not in (1, 2):
        raise ValueError(
            f"gradient: {len(over)} axes want as many spacings and edge_order 1 or 2, got "
            f"{len(spacings)} and {edge_order}"
        )
    return tuple(
        _one_gradient(x, axis, step, edge_order) for axis, step in zip(over, spacings, strict=True)
    )


def _one_gradient(x: Any, axis: int, spacing: Any, edge_order: int) -> Any:
    count = shape_of(x)[axis]
    if count <= edge_order:
        raise ValueError(f"gradient: axis {axis} has {count} samples, wanted {edge_order + 1}")
    last = permute(x, (*(i for i in range(len(shape_of(x))) if i != axis), axis))
    if len(shape_of(spacing)):
        h = diff(spacing)
    else:
        h = np.full(count - 1, 1.0, x.dtype) * spacing
    slopes = diff(last) / h
    before, after = h[:-1], h[1:]
    inner = (slopes[..., :-1] * after + slopes[..., 1:] * before) / (before + after)
    first, end = slopes[..., :1], slopes[..., -1:]
    if edge_order == 2:
        first = first + (first - slopes[..., 1:2]) * (h[:1] / (h[:1] + h[1:2]))
        end = end + (end - slopes[..., -2:-1]) * (h[-1:] / (h[-1:] + h[-2:-1]))
    joined = cat([first, inner, end], -1)
    order = list(range(len(shape_of(x)) - 1))
    order.insert(axis, len(order))
    return permute(joined, tuple(order))
