"""Functions of two arrays made of logarithms, exponentials, lengths and angles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.autograd.primitive import Primitive, primitive
from minidl.ops.arithmetic import eq, logical_or, ne, where
from minidl.ops.batching import elementwise
from minidl.ops.elementwise import exp2, log, log1p, sigmoid, sin
from minidl.ops.rounding import clamp, isnan
from minidl.ops.shape import cast

__all__ = [
    "arctan2",
    "atan2",
    "hypot",
    "ldexp",
    "logaddexp",
    "logaddexp2",
    "logit",
    "sinc",
    "xlogy",
]


def _safe(length: Any) -> Any:
    return where(eq(length, 0), 1.0, length)


hypot: Primitive = primitive(
    "hypot",
    np.hypot,
    vjp=(
        lambda g, out, x, _y: g * x / _safe(out),
        lambda g, out, _x, y: g * y / _safe(out),
    ),
    jvp=(lambda t, out, x, y: t * x / _safe(out), lambda t, out, x, y: t * y / _safe(out)),
    doc="Return √(x² + y²) without overflow; its derivative at the origin is taken as 0.",
    batch=elementwise,
)

atan2: Primitive = primitive(
    "atan2",
    np.arctan2,
    vjp=(
        lambda g, _out, y, x: g * x / _safe(x * x + y * y),
        lambda g, _out, y, x: -g * y / _safe(x * x + y * y),
    ),
    jvp=(
        lambda t, out, y, x: t * x / _safe(x * x + y * y),
        lambda t, out, y, x: -t * y / _safe(x * x + y * y),
    ),
    doc="Return the angle of the point ``(x, y)``, from -π to π; ``y`` comes first.",
    batch=elementwise,
)
arctan2 = atan2


def _share(x: Any, y: Any, scale: float = 1.0) -> Any:
    """eˣ / (eˣ + eʸ), and ½ where both are the same infinity."""
    return where(eq(x, y), 0.5, sigmoid(where(eq(x, y), 0.0, x - y) * scale))


logaddexp: Primitive = primitive(
    "logaddexp",
    np.logaddexp,
    vjp=(lambda g, _out, x, y: g * _share(x, y), lambda g, _out, x, y: g * _share(y, x)),
    jvp=(lambda t, out, x, y: t * _share(x, y), lambda t, out, x, y: t * _share(y, x)),
    doc="Return log(eˣ + eʸ) without overflow.",
    batch=elementwise,
)
_LN2 = math.log(2.0)
logaddexp2: Primitive = primitive(
    "logaddexp2",
    np.logaddexp2,
    vjp=(
        lambda g, _out, x, y: g * _share(x, y, _LN2),
        lambda g, _out, x, y: g * _share(y, x, _LN2),
    ),
    jvp=(
        lambda t, out, x, y: t * _share(x, y, _LN2),
        lambda t, out, x, y: t * _share(y, x, _LN2),
    ),
    doc="Return log₂(2ˣ + 2ʸ) without overflow.",
    batch=elementwise,
)


def ldexp(x: Any, other: Any) -> Any:
    """Return ``x · 2ᵒᵗʰᵉʳ``."""
    dtype = getattr(x, "dtype", np.dtype(np.float64))
    exponent = other if isinstance(other, (int, float)) else cast(other, dtype)
    return x * (2.0**exponent if isinstance(exponent, (int, float)) else exp2(exponent))


def _x_times(logarithm: Any, x: Any, y: Any, lowest: float) -> Any:
    """``x · logarithm(y)``, and 0 where ``x`` is 0 and ``y`` is at or below ``lowest``."""
    if isinstance(y, (int, float)):
        y = np.asarray(y, x.dtype)
    counts = logical_or(logical_or(ne(x, 0), y > lowest), isnan(y))
    return where(counts, x * logarithm(where(counts, y, 1.0)), 0.0)


def xlogy(x: Any, y: Any) -> Any:
    """Return ``x log y``, and 0 where ``x`` is 0 and ``y`` is a number."""
    return _x_times(log, x, y, 0.0)


def xlog1py(x: Any, y: Any) -> Any:
    """Return ``x log(1 + y)``, and 0 where ``x`` is 0 and ``y`` is a number."""
    return _x_times(log1p, x, y, -1.0)


def logit(x: Any, eps: float | None = None) -> Any:
    """Return log(x / (1 - x)), the inverse of `sigmoid`; ``x`` is held in [eps, 1 - eps]."""
    if eps is not None:
        x = clamp(x, eps, 1.0 - eps)
    return log(x) - log1p(-x)


def sinc(x: Any) -> Any:
    """Return sin(πx) / πx, and 1 at 0.

    Near 0 a Taylor polynomial takes over, so that derivatives of any order are right there.
    """
    angle = x * math.pi
    square = angle * angle
    near = square < 0.04
    q = where(near, square, 0.0)
    series = 1.0  # Σ (-1)ᵏ a²ᵏ / (2k + 1)!, by Horner's rule
    for k in (5, 4, 3, 2, 1):
        series = 1.0 - q / (2.0 * k * (2.0 * k + 1.0)) * series
    far = where(near, 1.0, angle)
    return where(near, series, sin(far) / far)
