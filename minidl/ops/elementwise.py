"""Functions of one array, element by element.

Where the derivative is cheaper from the result than from the argument (exp, tanh, sigmoid), the
rule reads ``out`` and the argument is not kept.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.autograd.primitive import Array, Primitive, primitive
from minidl.kernels import rectifying
from minidl.kernels.masking import masked as kernel_masked
from minidl.ops.batching import elementwise

__all__ = [
    "abs",
    "absolute",
    "acos",
    "acosh",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctanh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "cos",
    "cosh",
    "deg2rad",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log10",
    "log1p",
    "log2",
    "positive",
    "rad2deg",
    "reciprocal",
    "relu",
    "rsqrt",
    "sgn",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "stop_gradient",
    "tan",
    "tanh",
]


def of_argument(name: str, value: Any, slope: Any, doc: str) -> Primitive:
    """Declare a function whose derivative is read off the argument."""
    return primitive(
        name,
        value,
        vjp=(lambda g, _out, x: g * slope(x),),
        jvp=(lambda t, out, x: t * slope(x),),
        doc=doc,
        batch=elementwise,
    )


def of_result(name: str, value: Any, slope: Any, doc: str) -> Primitive:
    """Declare a function whose derivative is read off the result, so ``x`` is not kept."""
    return primitive(
        name,
        value,
        vjp=(lambda g, out, _x: g * slope(out),),
        jvp=(lambda t, out, x: t * slope(out),),
        doc=doc,
        batch=elementwise,
    )


_LN2 = math.log(2.0)

exp: Primitive = of_result("exp", np.exp, lambda out: out, "Return eˣ.")
exp2: Primitive = of_result("exp2", np.exp2, lambda out: out * _LN2, "Return 2ˣ.")
expm1: Primitive = of_result(
    "expm1", np.expm1, lambda out: out + 1.0, "Return eˣ - 1, exact for small ``x``."
)
log: Primitive = primitive(
    "log",
    np.log,
    vjp=(lambda g, _out, x: g / x,),
    jvp=(lambda t, out, x: t / x,),
    doc="Return the natural logarithm of ``x``.",
    batch=elementwise,
)

log2: Primitive = of_argument(
    "log2", np.log2, lambda x: 1.0 / (x * _LN2), "Return the logarithm of ``x`` to base 2."
)
log10: Primitive = of_argument(
    "log10",
    np.log10,
    lambda x: 1.0 / (x * math.log(10.0)),
    "Return the logarithm of ``x`` to base 10.",
)
log1p: Primitive = of_argument(
    "log1p", np.log1p, lambda x: 1.0 / (x + 1.0), "Return log(1 + x), exact for small ``x``."
)
sqrt: Primitive = primitive(
    "sqrt",
    np.sqrt,
    vjp=(lambda g, out, _x: g * 0.5 / out,),
    jvp=(lambda t, out, x: t * 0.5 / out,),
    doc="Return √x.",
    batch=elementwise,
)

rsqrt: Primitive = of_result(
    "rsqrt", lambda x: 1.0 / np.sqrt(x), lambda out: -0.5 * (out * out * out), "Return 1 / √x."
)
reciprocal: Primitive = of_result(
    "reciprocal", lambda x: 1.0 / x, lambda out: -(out * out), "Return 1 / x."
)
square: Primitive = primitive(
    "square",
    np.square,
    vjp=(lambda g, _out, x: g * (2.0 * x),),
    jvp=(lambda t, out, x: t * (2.0 * x),),
    doc="Return x².",
    batch=elementwise,
)

sin: Primitive = of_argument("sin", np.sin, lambda x: cos(x), "Return the sine of ``x``.")
cos: Primitive = of_argument("cos", np.cos, lambda x: -sin(x), "Return the cosine of ``x``.")
tan: Primitive = of_result(
    "tan", np.tan, lambda out: out * out + 1.0, "Return the tangent of ``x``."
)
asin: Primitive = of_argument(
    "asin", np.arcsin, lambda x: rsqrt(1.0 - x * x), "Return the angle whose sine is ``x``."
)
acos: Primitive = of_argument(
    "acos", np.arccos, lambda x: -rsqrt(1.0 - x * x), "Return the angle whose cosine is ``x``."
)
atan: Primitive = of_argument(
    "atan", np.arctan, lambda x: 1.0 / (x * x + 1.0), "Return the angle whose tangent is ``x``."
)
sinh: Primitive = of_argument(
    "sinh", np.sinh, lambda x: cosh(x), "Return the hyperbolic sine of ``x``."
)
cosh: Primitive = of_argument(
    "cosh", np.cosh, lambda x: sinh(x), "Return the hyperbolic cosine of ``x``."
)
tanh: Primitive = of_result(
    "tanh", np.tanh, lambda out: 1.0 - out * out, "Return the hyperbolic tangent of ``x``."
)
asinh: Primitive = of_argument(
    "asinh",
    np.arcsinh,
    lambda x: rsqrt(x * x + 1.0),
    "Return the number whose hyperbolic sine is ``x``.",
)
acosh: Primitive = of_argument(
    "acosh",
    np.arccosh,
    lambda x: rsqrt(x * x - 1.0),
    "Return the number whose hyperbolic cosine is ``x``.",
)
atanh: Primitive = of_argument(
    "atanh",
    np.arctanh,
    lambda x: 1.0 / (1.0 - x * x),
    "Return the number whose hyperbolic tangent is ``x``.",
)


def _stable_sigmoid(x: Array) -> Array:
    # 1/(1+e⁻ˣ) overflows for large negative x; (1 + tanh(x/2))/2 is the same and does not.
    half = np.tanh(np.multiply(x, 0.5))
    half *= 0.5
    half += 0.5
    return half


sigmoid: Primitive = primitive(
    "sigmoid",
    _stable_sigmoid,
    vjp=(lambda g, out, _x: g * (out * (1.0 - out)),),
    jvp=(lambda t, out, x: t * (out * (1.0 - out)),),
    doc="Return 1 / (1 + e⁻ˣ).",
    batch=elementwise,
)

# What is masked out is 0 even where it is infinite, so no rule makes NaN of it.
masked: Primitive = primitive(
    "masked",
    kernel_masked,
    vjp=(lambda g, _out, _x, keep: masked(g, keep), None),
    jvp=(lambda t, out, x, keep: masked(t, keep), None),
    batch=elementwise,
)

stop_gradient: Primitive = primitive(
    "stop_gradient",
    lambda x: x,
    batch=elementwise,
    doc="Return ``x`` as a constant to every transform.",
)

#: ``(g, top)``: ``g`` where ``top``, which ReLU gave, is above 0.
relu_gradient: Primitive = primitive(
    "relu_gradient",
    rectifying.relu_gradient,
    vjp=(lambda g, _out, _g, top: relu_gradient(g, top), None),
    jvp=(lambda t, out, g, top: relu_gradient(t, top), None),
    batch=elementwise,
)

relu: Primitive = primitive(
    "relu",
    rectifying.relu,
    vjp=(lambda g, out, _x: relu_gradient(g, out),),
    jvp=(lambda t, out, x: relu_gradient(t, out),),
    doc="Return max(x, 0); the derivative at 0 is taken as 0.",
    batch=elementwise,
)

sign: Primitive = primitive(
    "sign",
    np.sign,
    vjp=(lambda g, _out, _x: g * 0.0,),
    jvp=(lambda t, out, x: t * 0.0,),
    doc="Return -1, 0 or 1 by the sign of ``x``; its derivative is 0.",
    batch=elementwise,
)


def _direction(x: Any, out: Any) -> Any:
    """conj(x) / |x|, and 0 at 0; for a real number its sign."""
    if x.dtype.kind != "c":
        return sign(x)
    return masked(np.conj(x), out > 0) / (out + (out == 0))


def _real_part(t: Any) -> Any:
    return t.real if t.dtype.kind == "c" else t


abs: Primitive = primitive(
    "abs",
    np.abs,
    vjp=(lambda g, out, x: g * _direction(x, out),),
    jvp=(lambda t, out, x: _real_part(t * _direction(x, out)),),
    doc="Return the absolute value; its derivative at 0 is taken as 0.",
    batch=elementwise,
)


def sgn(x: Any) -> Any:
    """Return `sign`; of a complex number the one of size 1 in its direction, and 0 of 0."""
    if getattr(x, "dtype", np.dtype(float)).kind != "c":
        return sign(x)
    size = abs(x)
    return x / (size + (size == 0))


def positive(x: Any) -> Any:
    """Return ``x``."""
    return x


def deg2rad(x: Any) -> Any:
    """Return an angle of ``x`` degrees in radians."""
    return x * (math.pi / 180.0)


def rad2deg(x: Any) -> Any:
    """Return an angle of ``x`` radians in degrees."""
    return x * (180.0 / math.pi)


# PyTorch's other names.
absolute = abs
arccos, arcsin, arctan = acos, asin, atan
arccosh, arcsinh, arctanh = acosh, asinh, atanh
