"""Special functions, element by element."""

from __future__ import annotations

import math
from typing import Any

from minidl.autograd.primitive import Primitive, primitive
from minidl.kernels.special import erf as _erf
from minidl.ops.batching import elementwise
from minidl.ops.elementwise import exp

__all__ = [
    "erf",
]
# erf


def _bell(x: Any) -> Any:
    """2/√π · exp(-x²), the derivative of erf."""
    return (2.0 / math.sqrt(math.pi)) * exp(-(x * x))


erf: Primitive = primitive(
    "erf",
    _erf,
    vjp=(lambda g, _out, x: g * _bell(x),),
    jvp=(lambda t, out, x: t * _bell(x),),
    doc="Return the error function 2/√π ∫₀ˣ exp(-u²) du.",
    batch=elementwise,
)
