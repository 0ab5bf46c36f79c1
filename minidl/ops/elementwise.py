"""Functions of one array, element by element.

Where the derivative is cheaper from the result than from the argument (exp, tanh, sigmoid), the
rule reads ``out`` and the argument is not kept.
"""

from __future__ import annotations

import numpy as np

from minidl.autograd.primitive import Array, Primitive, primitive
from minidl.kernels.masking import masked as kernel_masked
from minidl.ops.batching import elementwise

__all__ = [
    "abs",
    "exp",
    "log",
    "relu",
    "sigmoid",
    "sign",
    "sqrt",
    "square",
    "stop_gradient",
    "tanh",
]

exp: Primitive = primitive(
    "exp",
    np.exp,
    vjp=(lambda g, out, _x: g * out,),
    jvp=(lambda t, out, x: t * out,),
    doc="Return eˣ.",
    batch=elementwise,
)

log: Primitive = primitive(
    "log",
    np.log,
    vjp=(lambda g, _out, x: g / x,),
    jvp=(lambda t, out, x: t / x,),
    doc="Return the natural logarithm of ``x``.",
    batch=elementwise,
)

sqrt: Primitive = primitive(
    "sqrt",
    np.sqrt,
    vjp=(lambda g, out, _x: g * 0.5 / out,),
    jvp=(lambda t, out, x: t * 0.5 / out,),
    doc="Return √x.",
    batch=elementwise,
)

square: Primitive = primitive(
    "square",
    np.square,
    vjp=(lambda g, _out, x: g * (2.0 * x),),
    jvp=(lambda t, out, x: t * (2.0 * x),),
    doc="Return x².",
    batch=elementwise,
)

tanh: Primitive = primitive(
    "tanh",
    np.tanh,
    vjp=(lambda g, out, _x: g * (1.0 - out * out),),
    jvp=(lambda t, out, x: t * (1.0 - out * out),),
    doc="Return the hyperbolic tangent of ``x``.",
    batch=elementwise,
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

relu: Primitive = primitive(
    "relu",
    lambda x: np.maximum(x, 0),
    vjp=(lambda g, out, _x: masked(g, out > 0),),
    jvp=(lambda t, out, x: masked(t, out > 0),),
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

abs: Primitive = primitive(
    "abs",
    np.abs,
    vjp=(lambda g, _out, x: g * sign(x),),
    jvp=(lambda t, out, x: t * sign(x),),
    doc="Return the absolute value; its derivative at 0 is taken as 0.",
    batch=elementwise,
)
