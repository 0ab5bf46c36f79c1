"""Complex numbers: their parts, and making them of parts.

None of these is holomorphic, so their rules say what happens to real and imaginary parts. A
cotangent ``g`` of a complex ``z`` stands for the change ``Re(g · dz)`` (`minidl.autograd.reverse`).
"""

from __future__ import annotations

import numpy as np

from minidl.autograd.primitive import Primitive, linear, primitive
from minidl.ops.batching import elementwise

__all__ = [
    "conj",
    "imag",
    "real",
]

conj: Primitive = primitive(
    "conj",
    np.conj,
    vjp=(lambda g, _out, _x: conj(g),),
    jvp=(linear,),
    doc="Return the complex conjugate.",
    batch=elementwise,
)


real: Primitive = primitive(
    "real",
    np.real,
    vjp=(lambda g, _out, _x: g,),
    jvp=(linear,),
    doc="Return the real part.",
    view=True,
    batch=elementwise,
)

imag: Primitive = primitive(
    "imag",
    np.imag,
    vjp=(lambda g, _out, _x: g * -1j,),
    jvp=(linear,),
    doc="Return the imaginary part; zeros for a real array.",
    view=True,
    batch=elementwise,
)
