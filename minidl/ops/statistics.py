"""Statistics: quantiles, what to do about NaN, histograms, mean and variance together."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from minidl.autograd.primitive import Array, Primitive, beside, plain, primitive
from minidl.ops.arithmetic import logical_not, where
from minidl.ops.batching import refused
from minidl.ops.ordering import sort
from minidl.ops.reduce import Dim, along_last, axes, mean, pick_along, std, sum, var
from minidl.ops.rounding import ceil, floor, isnan, round
from minidl.ops.shape import cast, permute, reshape, shape_of
from minidl.ops.truth import any as any_of

__all__ = [
    "bincount",
    "histc",
    "nanmean",
    "nanquantile",
    "nansum",
    "quantile",
    "std_mean",
    "var_mean",
]

Interpolation: TypeAlias = Literal["linear", "lower", "higher", "midpoint", "nearest"]


class VarMean(NamedTuple):
    """Result of `var_mean`."""

    var: Any
    mean: Any


class StdMean(NamedTuple):
    """Result of `std_mean`."""

    std: Any
    mean: Any


def var_mean(x: Any, dim: Dim = None, *, correction: float = 1, keepdim: bool = False) -> VarMean:
    """Return `minidl.var` and `minidl.mean` over ``dim``."""
    return VarMean(var(x, dim, correction, keepdim), mean(x, dim, keepdim))


def std_mean(x: Any, dim: Dim = None, *, correction: float = 1, keepdim: bool = False) -> StdMean:
    """Return `minidl.std` and `minidl.mean` over ``dim``."""
    return StdMean(std(x, dim, correction, keepdim), mean(x, dim, keepdim))


def nansum(x: Any, dim: Dim = None, keepdim: bool = False) -> Any:
    """Return the sum over ``dim`` of what is not NaN.

    Raises
    ------
    IndexError
        An axis is out of range.
    """
    return sum(where(isnan(x), 0.0, x), axes(dim, len(shape_of(x)), "nansum"), keepdim)


def nanmean(x: Any, dim: Dim = None, keepdim: bool = False) -> Any:
    """Return the mean over ``dim`` of what is not NaN; NaN where nothing is left.

    Raises
    ------
    IndexError
        An axis is out of range.
    """
    over = axes(dim, len(shape_of(x)), "nanmean")
    count = sum(cast(logical_not(isnan(x)), x.dtype), over, keepdim)
    total = nansum(x, over, keepdim)
    return where(count > 0, total / where(count > 0, count, 1.0), math.nan)


def quantile(
    x: Any,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: Interpolation = "linear",
) -> Any:
    """Return the quantiles ``q`` (from 0 to 1) over ``dim``; NaN where an element is.

    Parameters
    ----------
    q
        A number, or an array ``(m,)``: the result then has an axis of length m in front.
    interpolation
        What to do between two elements.

    Raises
    ------
    ValueError
        ``q`` is not from 0 to 1, has more than one axis, or ``interpolation`` is unknown.
    IndexError
        ``dim`` is out of range.
    """
    return _quantile("quantile", x, q, dim, keepdim, interpolation, skip_nan=False)


def nanquantile(
    x: Any,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: Interpolation = "linear",
) -> Any:
    """Return the quantiles of what is not NaN; see `quantile`."""
    return _quantile("nanquantile", x, q, dim, keepdim, interpolation, skip_nan=True)


def _quantile(
    name: str, x: Any, q: Any, dim: Any, keepdim: bool, interpolation: str, skip_nan: bool
) -> Any:
    wanted = np.asarray(plain(q, f"{name}(q)"), dtype=np.float64)
    if wanted.ndim > 1 or not ((wanted >= 0) & (wanted <= 1)).all():
        raise ValueError(f"{name}: q must be a number or a list of numbers from 0 to 1, got {q!r}")
    if interpolation not in ("linear", "lower", "higher", "midpoint", "nearest"):
        raise ValueError(
            f"{name}: interpolation must be 'linear', 'lower', 'higher', 'midpoint' or 'nearest', "
            f"got {interpolation!r}"
        )
    flat, kept = along_last(x, dim, name)
    if not shape_of(flat)[-1]:
        raise ValueError(f"{name}: no element over dim {dim} of shape {shape_of(x)}")
    missing = isnan(flat)
    count = sum(cast(logical_not(missing), np.float64), -1, True)
    last = (count if skip_nan else count * 0.0 + shape_of(flat)[-1]) - 1.0
    place = where(last < 0, 0.0, last) * beside(wanted.reshape(-1), last)
    found = _between(sort(flat, -1).values, place, interpolation)
    if not skip_nan:
        found = where(any_of(missing, -1, True), math.nan, found)
    ndim = len(shape_of(found))
    front = permute(found, (ndim - 1, *range(ndim - 1)))
    shape = kept if keepdim else shape_of(flat)[:-1]
    return reshape(front, (*wanted.shape, *shape))


def _between(ordered: Any, place: Any, interpolation: str) -> Any:
    """Elements of sorted rows at places that need not be whole."""
    if interpolation in ("lower", "higher", "nearest"):
        whole: Any = {"lower": floor, "higher": ceil, "nearest": round}[interpolation]
        return _pick(ordered, whole(place))
    low, high = floor(place), ceil(place)
    weight = place - low if interpolation == "linear" else (high - low) * 0.5
    below, above = _pick(ordered, low), _pick(ordered, high)
    return below + (above - below) * cast(weight, ordered.dtype)


def _pick(rows: Any, places: Any) -> Any:
    return pick_along(rows, cast(places, np.intp), dim=len(shape_of(rows)) - 1)


def _histogram(x: Array, *, bins: int, low: float, high: float) -> Array:
    if low == high:
        low, high = (float(x.min()), float(x.max())) if x.size else (0.0, 1.0)
    if low == high:
        low, high = low - 1, high + 1
    return np.histogram(x, bins, (low, high))[0].astype(x.dtype)


_histc: Primitive = primitive("histc", _histogram, batch=refused)


def histc(x: Any, bins: int = 100, min: float = 0.0, max: float = 0.0) -> Any:
    """Return how many elements fall in each of ``bins`` equal parts of ``min`` to ``max``.

    Equal limits stand for the smallest and largest element. A constant.

    Raises
    ------
    ValueError
        ``bins`` is not positive, or ``max`` is below ``min``.
    TypeError
        Inside vmap.
    """
    if bins < 1 or max < min:
        raise ValueError(f"histc: bins >= 1 and min <= max are wanted, got {bins}, {min}, {max}")
    return _histc(x, bins=bins, low=min, high=max)


def _counted(x: Array, *, length: int) -> Array:
    return np.bincount(x, minlength=length)


_bincount: Primitive = primitive("bincount", _counted, batch=refused)
_weighted_bincount: Primitive = primitive(
    "bincount",
    lambda weights, x, *, length: np.bincount(x, weights, length),
    vjp=(lambda g, _out, _weights, x, *, length: g[x], None),
    jvp=(lambda t, out, weights, x, *, length: _weighted_bincount(t, x, length=length), None),
    batch=refused,
)


def bincount(x: Any, weights: Any = None, minlength: int = 0) -> Any:
    """Return how often each whole number from 0 on is among ``x`` ``(n,)``, or its weights' sum.

    Raises
    ------
    ValueError
        ``x`` has more than one axis or a negative element.
    TypeError
        Inside vmap.
    """
    if len(shape_of(x)) != 1:
        raise ValueError(f"bincount: one axis is wanted, got shape {shape_of(x)}")
    if weights is None:
        return _bincount(x, length=minlength)
    found = _weighted_bincount(weights, x, length=minlength)
    return found if found.dtype == weights.dtype else cast(found, weights.dtype)
