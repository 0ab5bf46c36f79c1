"""Arithmetic and comparison, elementwise with broadcasting.

A rule gives the gradient at the shape of the result; the engine sums it over broadcast axes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd import arrays
from minidl.autograd.primitive import Array, Primitive, primitive
from minidl.ops.batching import elementwise
from minidl.ops.elementwise import log, masked
from minidl.ops.shape import broadcast_to, cast

__all__ = [
    "add",
    "addcdiv",
    "addcmul",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "div",
    "divide",
    "eq",
    "float_power",
    "floor_divide",
    "ge",
    "greater",
    "greater_equal",
    "gt",
    "le",
    "lerp",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "lt",
    "maximum",
    "minimum",
    "mul",
    "multiply",
    "ne",
    "neg",
    "negative",
    "not_equal",
    "pow",
    "sub",
    "subtract",
    "true_divide",
    "where",
]


def _same(t: Any, *_: Any) -> Any:
    return t


def _minus(t: Any, *_: Any) -> Any:
    return neg(t)


plus: Primitive = primitive(
    "add",
    np.add,
    vjp=(lambda g, _out, _x, _y: g, lambda g, _out, _x, _y: g),
    jvp=(_same, _same),
    batch=elementwise,
)


def add(x: Any, y: Any, *, alpha: float = 1) -> Any:
    """Return ``x + alpha · y`` elementwise, with broadcasting."""
    return plus(x, y if alpha == 1 else mul(y, alpha))


minus: Primitive = primitive(
    "sub",
    np.subtract,
    vjp=(lambda g, _out, _x, _y: g, lambda g, _out, _x, _y: neg(g)),
    jvp=(_same, _minus),
    batch=elementwise,
)


def sub(x: Any, y: Any, *, alpha: float = 1) -> Any:
    """Return ``x - alpha · y`` elementwise, with broadcasting."""
    return minus(x, y if alpha == 1 else mul(y, alpha))


mul: Primitive = primitive(
    "mul",
    np.multiply,
    vjp=(lambda g, _out, _x, y: g * y, lambda g, _out, x, _y: g * x),
    jvp=(lambda t, out, x, y: t * y, lambda t, out, x, y: t * x),
    doc="Return ``x · y`` elementwise, with broadcasting.",
    batch=elementwise,
)

over: Primitive = primitive(
    "div",
    np.divide,
    vjp=(lambda g, _out, _x, y: g / y, lambda g, out, _x, y: -g * out / y),
    jvp=(lambda t, out, x, y: t / y, lambda t, out, x, y: -t * out / y),
    batch=elementwise,
)


def _stairs(g: Any, *_: Any) -> Any:
    return g * 0.0


floor_divide: Primitive = primitive(
    "floor_divide",
    np.floor_divide,
    vjp=(lambda g, _out, _x, _y: g * 0.0, lambda g, _out, _x, _y: g * 0.0),
    jvp=(_stairs, _stairs),
    doc="Return the largest whole number not above ``x / y``, elementwise; its derivative is 0.",
    batch=elementwise,
)
_truncated_divide: Primitive = primitive(
    "div",
    lambda x, y: np.trunc(np.divide(x, y)).astype(np.result_type(x, y), copy=False),
    vjp=(lambda g, _out, _x, _y: g * 0.0, lambda g, _out, _x, _y: g * 0.0),
    jvp=(_stairs, _stairs),
    batch=elementwise,
)


def div(x: Any, y: Any, *, rounding_mode: str | None = None) -> Any:
    """Return ``x / y`` elementwise, with broadcasting.

    ``rounding_mode="floor"`` or ``"trunc"`` rounds the quotient down or towards 0; the derivative
    is 0 then.

    Raises
    ------
    ValueError
        ``rounding_mode`` is none of these.
    """
    if rounding_mode is None:
        return over(x, y)
    if rounding_mode not in ("floor", "trunc"):
        raise ValueError(
            f"div: rounding_mode must be None, 'floor' or 'trunc', got {rounding_mode!r}"
        )
    return (floor_divide if rounding_mode == "floor" else _truncated_divide)(x, y)


def float_power(x: Any, y: Any) -> Any:
    """Return ``x`` to the power ``y``, in float64."""
    return pow(cast(x, np.float64), y)


def addcmul(x: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Any:
    """Return ``x + value · tensor1 · tensor2``."""
    product = mul(tensor1, tensor2)
    return plus(x, product if value == 1 else mul(product, value))


def addcdiv(x: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Any:
    """Return ``x + value · tensor1 / tensor2``."""
    quotient = over(tensor1, tensor2)
    return plus(x, quotient if value == 1 else mul(quotient, value))


def lerp(start: Any, end: Any, weight: Any) -> Any:
    """Return ``start + weight · (end - start)``: linear interpolation, or beyond."""
    return plus(start, mul(weight, minus(end, start)))


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
        if y == 2:  # the commonest; x ** 1 is a call of NumPy that copies x
            return y * x
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
    kind = arrays.asarray(condition).dtype
    if kind != np.bool_:
        raise TypeError(f"where: the condition must be boolean, got {kind}")
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
logical_xor: Primitive = primitive(
    "logical_xor", np.logical_xor, doc="Return whether exactly one holds.", batch=elementwise
)
logical_not: Primitive = primitive(
    "logical_not",
    np.logical_not,
    doc="Return ``not x`` elementwise.",
    batch=elementwise,
)


def _bits(name: str, value: Any, doc: str) -> Primitive:
    return primitive(name, value, doc=doc, batch=elementwise)


bitwise_and: Primitive = _bits("bitwise_and", np.bitwise_and, "Return ``x & y`` of integers.")
bitwise_or: Primitive = _bits("bitwise_or", np.bitwise_or, "Return ``x | y`` of integers.")
bitwise_xor: Primitive = _bits("bitwise_xor", np.bitwise_xor, "Return ``x ^ y`` of integers.")
bitwise_not: Primitive = _bits("bitwise_not", np.bitwise_not, "Return ``~x`` of integers.")

# PyTorch's other names.
subtract, multiply, divide, true_divide, negative = sub, mul, div, div, neg
not_equal, less, less_equal, greater, greater_equal = ne, lt, le, gt, ge
