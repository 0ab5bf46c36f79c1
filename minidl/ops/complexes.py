"""Complex numbers: their parts, and making them of parts.

None of these is holomorphic, so their rules say what happens to real and imaginary parts. A
cotangent ``g`` of a complex ``z`` stands for the change ``Re(g · dz)`` (`minidl.autograd.reverse`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.autograd.primitive import Array, Primitive, linear, place_of, primitive
from minidl.ops.arithmetic import where
from minidl.ops.batching import elementwise
from minidl.ops.elementwise import cos, sin
from minidl.ops.joining import stack
from minidl.ops.logarithms import atan2
from minidl.ops.shape import shape_of

__all__ = [
    "angle",
    "complex",
    "conj",
    "imag",
    "is_complex",
    "isreal",
    "polar",
    "real",
    "view_as_complex",
    "view_as_real",
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


def _joined(real: Array, imag: Array) -> Array:
    kind = np.result_type(real, imag, np.complex64)
    out = np.empty(np.broadcast_shapes(real.shape, imag.shape), kind, like=place_of(real))
    out.real, out.imag = real, imag  # a sum would make NaN of infinite parts
    return out


_complex: Primitive = primitive(
    "complex",
    _joined,
    vjp=(lambda g, _out, _x, _y: g, lambda g, _out, _x, _y: g * 1j),
    jvp=(lambda t, out, x, y: t, lambda t, out, x, y: t * 1j),
    batch=elementwise,
)


def complex(real: Any, imag: Any) -> Any:
    """Return ``real + i · imag``, complex64 of float32 and complex128 of float64.

    Raises
    ------
    TypeError
        The parts are not float arrays.
    """
    if any(getattr(getattr(part, "dtype", None), "kind", "") != "f" for part in (real, imag)):
        raise TypeError(f"complex: two float arrays are wanted, got {real!r} and {imag!r}")
    return _complex(real, imag)


def polar(abs: Any, angle: Any) -> Any:
    """Return the complex numbers of these sizes and angles."""
    return complex(abs * cos(angle), abs * sin(angle))


def angle(x: Any) -> Any:
    """Return the angles of complex numbers in radians; of real ones 0 or π."""
    if x.dtype.kind != "c":
        return where(x < 0, math.pi, x * 0.0)
    return atan2(imag(x), real(x))


def view_as_real(x: Any) -> Any:
    """Return real and imaginary parts along a last axis of length 2."""
    return stack([real(x), imag(x)], -1)


def view_as_complex(x: Any) -> Any:
    """Return complex numbers of parts along a last axis of length 2.

    Raises
    ------
    ValueError
        The last axis has another length.
    """
    if not shape_of(x) or shape_of(x)[-1] != 2:
        raise ValueError(f"view_as_complex: a last axis of length 2 is wanted, got {shape_of(x)}")
    return complex(x[..., 0], x[..., 1])


def is_complex(x: Any) -> bool:
    """Return whether the dtype is complex, as a Python bool."""
    return bool(x.dtype.kind == "c")


isreal: Primitive = primitive(
    "isreal", np.isreal, doc="Return where the imaginary part is 0.", batch=elementwise
)
