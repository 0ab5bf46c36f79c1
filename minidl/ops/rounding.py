"""Rounding, remainders and limits: functions whose slope is 0 or 1 almost everywhere.

A function that is constant in pieces has derivative 0, not none: a sum it takes part in keeps its
graph. At the ends of ``clamp`` the gradient passes, as in PyTorch.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from minidl.autograd.primitive import Array, Primitive, primitive
from minidl.ops.arithmetic import (
    eq,
    floor_divide,
    ge,
    gt,
    le,
    logical_not,
    logical_or,
    lt,
    where,
)
from minidl.ops.batching import elementwise
from minidl.ops.elementwise import masked, sign
from minidl.ops.shape import broadcast_to

__all__ = [
    "ceil",
    "clamp",
    "clamp_max",
    "clamp_min",
    "clip",
    "copysign",
    "fix",
    "floor",
    "fmax",
    "fmin",
    "fmod",
    "frac",
    "heaviside",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "isneginf",
    "isposinf",
    "nan_to_num",
    "remainder",
    "round",
    "signbit",
    "trunc",
]


def _stairs(name: str, value: Any, doc: str) -> Primitive:
    """A function that is constant in pieces."""
    return primitive(
        name,
        value,
        vjp=(lambda g, _out, _x: g * 0.0,),
        jvp=(lambda t, out, x: t * 0.0,),
        doc=doc,
        batch=elementwise,
    )


floor: Primitive = _stairs("floor", np.floor, "Return the largest whole number not above ``x``.")
ceil: Primitive = _stairs("ceil", np.ceil, "Return the smallest whole number not below ``x``.")
trunc: Primitive = _stairs("trunc", np.trunc, "Return ``x`` without its fraction.")
fix = trunc
_round: Primitive = primitive(
    "round",
    lambda x, *, decimals: np.round(x, decimals),
    vjp=(lambda g, _out, _x, *, decimals: g * 0.0,),
    jvp=(lambda t, out, x, *, decimals: t * 0.0,),
    batch=elementwise,
)


def round(x: Any, *, decimals: int = 0) -> Any:
    """Return ``x`` rounded to ``decimals`` places, halves to the even neighbour.

    Raises
    ------
    TypeError
        ``decimals`` is not a whole number.
    """
    return _round(x, decimals=operator.index(decimals))


def frac(x: Any) -> Any:
    """Return the fraction of ``x``, with its sign."""
    return x - trunc(x)


def _quotient(x: Any, y: Any, rounded: Any) -> Any:
    return rounded(x / where(eq(y, 0), 1.0, y))


# The quotient's whole part does not change with a small change of x or y, so the slope in x is 1.
fmod: Primitive = primitive(
    "fmod",
    np.fmod,
    vjp=(lambda g, _out, _x, _y: g, lambda g, _out, x, y: -g * _quotient(x, y, trunc)),
    jvp=(lambda t, out, x, y: t, lambda t, out, x, y: -t * _quotient(x, y, trunc)),
    doc="Return the remainder of ``x / y`` with the sign of ``x``, as in C.",
    batch=elementwise,
)
remainder: Primitive = primitive(
    "remainder",
    np.remainder,
    vjp=(lambda g, _out, _x, _y: g, lambda g, _out, x, y: -g * floor_divide(x, y)),
    jvp=(lambda t, out, x, y: t, lambda t, out, x, y: -t * floor_divide(x, y)),
    doc="Return the remainder of ``x / y`` with the sign of ``y``, as Python's ``%``.",
    batch=elementwise,
)


def _test(name: str, value: Any, doc: str) -> Primitive:
    """A question whose answer is a boolean."""
    return primitive(name, value, doc=doc, batch=elementwise)


isnan: Primitive = _test("isnan", np.isnan, "Return where ``x`` is not a number.")
isinf: Primitive = _test("isinf", np.isinf, "Return where ``x`` is infinite.")
isfinite: Primitive = _test("isfinite", np.isfinite, "Return where ``x`` is a finite number.")
isposinf: Primitive = _test("isposinf", np.isposinf, "Return where ``x`` is +∞.")
isneginf: Primitive = _test("isneginf", np.isneginf, "Return where ``x`` is -∞.")
signbit: Primitive = _test("signbit", np.signbit, "Return where the sign is minus, that of -0 too.")
heaviside: Primitive = _test(
    "heaviside",
    np.heaviside,
    "Return 0 where ``x`` is negative, 1 where positive, ``values`` where 0, as a constant.",
)

_isclose: Primitive = primitive(
    "isclose",
    lambda x, y, *, rtol, atol, equal_nan: np.isclose(x, y, rtol, atol, equal_nan),
    batch=elementwise,
)


def isclose(x: Any, y: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Return where ``|x - y| <= atol + rtol · |y|``."""
    return _isclose(x, y, rtol=rtol, atol=atol, equal_nan=equal_nan)


def clamp(x: Any, min: Any = None, max: Any = None) -> Any:
    """Return ``x`` held between ``min`` and ``max`` (numbers, arrays, or None).

    The gradient goes to ``x`` where it is within the limits or on one, else to the limit.

    Raises
    ------
    ValueError
        Neither limit is given.
    """
    if min is None and max is None:
        raise ValueError("clamp: min or max is wanted")
    if min is not None:
        x = clamp_min(x, min)
    return x if max is None else clamp_max(x, max)


def clamp_min(x: Any, min: Any) -> Any:
    """Return ``x``, or ``min`` where that is larger."""
    return where(lt(x, min), min, x)


def clamp_max(x: Any, max: Any) -> Any:
    """Return ``x``, or ``max`` where that is smaller."""
    return where(gt(x, max), max, x)


clip = clamp


def _first_wins(x: Any, y: Any, compare: Any) -> Any:
    """Where fmax or fmin takes ``x``: it wins or ties, or ``y`` is not a number."""
    return logical_or(compare(x, y), isnan(y))


fmax: Primitive = primitive(
    "fmax",
    np.fmax,
    vjp=(
        lambda g, _out, x, y: masked(g, _first_wins(x, y, ge)),
        lambda g, _out, x, y: masked(g, logical_not(_first_wins(x, y, ge))),
    ),
    jvp=(
        lambda t, out, x, y: masked(broadcast_to(t, out.shape), _first_wins(x, y, ge)),
        lambda t, out, x, y: masked(broadcast_to(t, out.shape), logical_not(_first_wins(x, y, ge))),
    ),
    doc="Return the larger, or the one that is a number; a tie's gradient goes to ``x``.",
    batch=elementwise,
)
fmin: Primitive = primitive(
    "fmin",
    np.fmin,
    vjp=(
        lambda g, _out, x, y: masked(g, _first_wins(x, y, le)),
        lambda g, _out, x, y: masked(g, logical_not(_first_wins(x, y, le))),
    ),
    jvp=(
        lambda t, out, x, y: masked(broadcast_to(t, out.shape), _first_wins(x, y, le)),
        lambda t, out, x, y: masked(broadcast_to(t, out.shape), logical_not(_first_wins(x, y, le))),
    ),
    doc="Return the smaller, or the one that is a number; a tie's gradient goes to ``x``.",
    batch=elementwise,
)

copysign: Primitive = primitive(
    "copysign",
    np.copysign,
    vjp=(
        lambda g, out, x, _y: g * sign(x) * sign(out),
        lambda g, _out, _x, _y: g * 0.0,
    ),
    jvp=(lambda t, out, x, y: t * sign(x) * sign(out), lambda t, out, x, y: t * 0.0),
    doc="Return the size of ``x`` with the sign of ``y``; at 0 the derivative is taken as 0.",
    batch=elementwise,
)


def _finite_or(x: Array, *, nan: float, posinf: float | None, neginf: float | None) -> Array:
    return np.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)


_nan_to_num: Primitive = primitive(
    "nan_to_num",
    _finite_or,
    vjp=(lambda g, _out, x, **_: masked(g, isfinite(x)),),
    jvp=(lambda t, out, x, **_: masked(t, isfinite(x)),),
    batch=elementwise,
)


def nan_to_num(
    x: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Any:
    """Return ``x`` with numbers in place of NaN and infinities, where the gradient is 0.

    None stands for the largest number of the dtype, or its negative.
    """
    return _nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)
