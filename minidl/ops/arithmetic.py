"""Arithmetic and comparison, elementwise with broadcasting.

A rule gives the gradient at the shape of the result; the engine sums it over broadcast axes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd.primitive import Array, Primitive, primitive
from minidl.ops.batching import elementwise
from minidl.ops.elementwise import log, masked
from minidl.ops.shape import broadcast_to

__all__ = [
    "add",
    "div",
    "eq",
    "ge",
    "gt",
    "le",
    "logical_and",
    "logical_not",
    "logical_or",
    "lt",
    "maximum",
    "minimum",
    "mul",
    "ne",
    "neg",
    "pow",
    "sub",
    "where",
]


def _same(t: Any, *_: Any) -> Any:
    return t


def _minus(t: Any, *_: Any) -> Any:
    return neg(t)


add: Primitive = primitive(
    "add",
    np.add,
    vjp=(lambda g, _out, _x, _y: g, lambda g, _out, _x, _y: g),
    jvp=(_same, _same),
    doc="Return ``x + y`` elementwise, with broadcasting.",
    batch=elementwise,
)

sub: Primitive = primitive(
    "sub",
    np.subtract,
    vjp=(lambda g, _out, _x, _y: g, lambda g, _out, _x, _y: neg(g)),
    jvp=(_same, _minus),
    doc="Return ``x - y`` elementwise, with broadcasting.",
    batch=elementwise,
)

mul: Primitive = primitive(
    "mul",
    np.multiply,
    vjp=(lambda g, _out, _x, y: g * y, lambda g, _out, x, _y: g * x),
    jvp=(lambda t, out, x, y: t * y, lambda t, out, x, y: t * x),
    doc="Return ``x · y`` elementwise, with broadcasting.",
    batch=elementwise,
)

div: Primitive = primitive(
    "div",
    np.divide,
    vjp=(lambda g, _out, _x, y: g / y, lambda g, out, _x, y: -g * out / y),
    jvp=(lambda t, out, x, y: t / y, lambda t, out, x, y: -t * out / y),
    doc="Return ``x / y`` elementwise, with broadcasting.",
    batch=elementwise,
)

neg: Primitive = primitive(
    "neg",
    np.negative,
    vjp=(lambda g, _out, _x: neg(g),),
    jvp=(lambda t, out, x: neg(t),),
    doc="Return ``-x``.",
    batch=elementwise,
)


def _power_slope(x: Any, y: Any) -> Any:
    """d(xʸ)/dx = y xʸ⁻¹, and 0 rather than 0 · ∞ where y = 0 (x⁰ is 1 everywhere)."""
    if isinstance(y, (int, float)):
        return y * x ** (y - 1) if y else x * 0.0
    safe = where(eq(y, 0), 1.0, y)
    return where(eq(y, 0), 0.0, y * x ** (safe - 1))


def _power_log(out: Any, x: Any) -> Any:
    """d(xʸ)/dy = xʸ log x, and 0 rather than 0 · -∞ at x = 0."""
    return where(eq(x, 0), 0.0, out * log(where(eq(x, 0), 1.0, x)))


pow: Primitive = primitive(
    "pow",
    np.power,
    vjp=(
        lambda g, _out, x, y: g * _power_slope(x, y),
        lambda g, out, x, _y: g * _power_log(out, x),
    ),
    jvp=(
        lambda t, out, x, y: t * _power_slope(x, y),
        lambda t, out, x, y: t * _power_log(out, x),
    ),
    doc="Return ``x`` to the power ``y`` elementwise, with broadcasting.",
    batch=elementwise,
)


def _share_of_maximum(x: Any, y: Any, sign: float) -> Any:
    """1 where x wins, 0 where y does, ½ each at a tie."""
    return where(eq(x, y), 0.5, where(gt(sign * x, sign * y), 1.0, 0.0))


maximum: Primitive = primitive(
    "maximum",
    np.maximum,
    vjp=(
        lambda g, _out, x, y: g * _share_of_maximum(x, y, 1.0),
        lambda g, _out, x, y: g * _share_of_maximum(y, x, 1.0),
    ),
    jvp=(
        lambda t, out, x, y: t * _share_of_maximum(x, y, 1.0),
        lambda t, out, x, y: t * _share_of_maximum(y, x, 1.0),
    ),
    doc="Return the larger of ``x`` and ``y`` elementwise; a tie shares the gradient evenly.",
    batch=elementwise,
)

minimum: Primitive = primitive(
    "minimum",
    np.minimum,
    vjp=(
        lambda g, _out, x, y: g * _share_of_maximum(x, y, -1.0),
        lambda g, _out, x, y: g * _share_of_maximum(y, x, -1.0),
    ),
    jvp=(
        lambda t, out, x, y: t * _share_of_maximum(x, y, -1.0),
        lambda t, out, x, y: t * _share_of_maximum(y, x, -1.0),
    ),
    doc="Return the smaller of ``x`` and ``y`` elementwise; a tie shares the gradient evenly.",
    batch=elementwise,
)


def _choose(condition: Array, x: Any, y: Any) -> Array:
    if np.asarray(condition).dtype != np.bool_:
        raise TypeError(f"where: the condition must be boolean, got {np.asarray(condition).dtype}")
    return np.where(condition, x, y)


where: Primitive = primitive(
    "where",
    _choose,
    vjp=(
        None,
        lambda g, _out, condition, _x, _y: masked(g, condition),
        lambda g, _out, condition, _x, _y: masked(g, logical_not(condition)),
    ),
    jvp=(
        None,
        lambda t, out, condition, x, y: masked(broadcast_to(t, out.shape), condition),
        lambda t, out, condition, x, y: masked(broadcast_to(t, out.shape), logical_not(condition)),
    ),
    doc="Return ``x`` where ``condition`` (boolean) holds, else ``y``, with broadcasting.",
    batch=elementwise,
)

# Comparisons have no derivative: their results are constants to every transform.
eq: Primitive = primitive(
    "eq", np.equal, doc="Return ``x == y`` elementwise, as booleans.", batch=elementwise
)
ne: Primitive = primitive(
    "ne", np.not_equal, doc="Return ``x != y`` elementwise, as booleans.", batch=elementwise
)
lt: Primitive = primitive(
    "lt", np.less, doc="Return ``x < y`` elementwise, as booleans.", batch=elementwise
)
le: Primitive = primitive(
    "le", np.less_equal, doc="Return ``x <= y`` elementwise, as booleans.", batch=elementwise
)
gt: Primitive = primitive(
    "gt", np.greater, doc="Return ``x > y`` elementwise, as booleans.", batch=elementwise
)
ge: Primitive = primitive(
    "ge", np.greater_equal, doc="Return ``x >= y`` elementwise, as booleans.", batch=elementwise
)
logical_and: Primitive = primitive(
    "logical_and",
    np.logical_and,
    doc="Return ``x and y`` elementwise.",
    batch=elementwise,
)
logical_or: Primitive = primitive(
    "logical_or", np.logical_or, doc="Return ``x or y`` elementwise.", batch=elementwise
)
logical_not: Primitive = primitive(
    "logical_not",
    np.logical_not,
    doc="Return ``not x`` elementwise.",
    batch=elementwise,
)
