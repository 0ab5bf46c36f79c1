"""Special functions, element by element: errors of the normal distribution, gamma, Bessel.

Values come from `minidl.kernels.special` and `minidl.kernels.gamma`; here are their derivatives,
each made of functions of the same family, so that every order is reached.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from minidl.autograd.primitive import Array, Primitive, primitive
from minidl.kernels import gamma as gamma_kernel
from minidl.kernels import special as kernel
from minidl.ops.arithmetic import eq, where
from minidl.ops.batching import elementwise
from minidl.ops.elementwise import exp, log, of_argument, of_result, sign

__all__ = [
    "digamma",
    "erf",
    "erfc",
    "erfinv",
    "i0",
    "lgamma",
    "mvlgamma",
    "polygamma",
]

_ROOT_PI = math.sqrt(math.pi)


def _bell(x: Any) -> Any:
    """2/√π · exp(-x²), the derivative of erf."""
    return (2.0 / _ROOT_PI) * exp(-(x * x))


erf: Primitive = of_argument(
    "erf", kernel.erf, _bell, "Return the error function 2/√π ∫₀ˣ exp(-u²) du."
)
erfc: Primitive = of_argument(
    "erfc", kernel.erfc, lambda x: -_bell(x), "Return 1 - erf(x), exact where that is small."
)
erfcx: Primitive = primitive(
    "erfcx",
    kernel.erfcx,
    vjp=(lambda g, out, x: g * (2.0 * x * out - 2.0 / _ROOT_PI),),
    jvp=(lambda t, out, x: t * (2.0 * x * out - 2.0 / _ROOT_PI),),
    doc="Return exp(x²) erfc(x), which does not underflow for large ``x``.",
    batch=elementwise,
)
erfinv: Primitive = of_result(
    "erfinv",
    kernel.erfinv,
    lambda out: (_ROOT_PI / 2.0) * exp(out * out),
    "Return x with erf(x) = y, from -1 to 1.",
)


def ndtr(x: Any) -> Any:
    """Return the normal distribution function Φ(x)."""
    return 0.5 * erfc(x * -math.sqrt(0.5))


ndtri: Primitive = of_result(
    "ndtri",
    kernel.ndtri,
    lambda out: math.sqrt(2.0 * math.pi) * exp(0.5 * out * out),
    "Return x with Φ(x) = p, from 0 to 1.",
)
# Φ'/Φ = √(2/π) / erfcx(-x/√2), where Φ itself may have underflowed.
log_ndtr: Primitive = of_argument(
    "log_ndtr",
    kernel.log_ndtr,
    lambda x: math.sqrt(2.0 / math.pi) / erfcx(x * -math.sqrt(0.5)),
    "Return log Φ(x), exact far out on either side.",
)


def _entropy(x: Array) -> Array:
    with np.errstate(all="ignore"):
        inside = -x * np.log(x)
    return np.where(x > 0, inside, np.where(x == 0, 0.0, np.where(x < 0, -np.inf, x))).astype(
        inside.dtype
    )


entr: Primitive = of_argument(
    "entr", _entropy, lambda x: -log(x) - 1.0, "Return the entropy -x log x: 0 at 0, -∞ below."
)


_polygamma: Primitive = primitive(
    "polygamma",
    lambda x, *, n: gamma_kernel.polygamma(n, x),
    vjp=(lambda g, _out, x, *, n: g * _polygamma(x, n=n + 1),),
    jvp=(lambda t, out, x, *, n: t * _polygamma(x, n=n + 1),),
    batch=elementwise,
)


def digamma(x: Any) -> Any:
    """Return ψ(x), the derivative of `lgamma`."""
    return _polygamma(x, n=0)


def polygamma(n: int, x: Any) -> Any:
    """Return the nth derivative of `digamma`.

    Raises
    ------
    ValueError
        ``n`` is negative.
    """
    if operator.index(n) < 0:
        raise ValueError(f"polygamma: n must be at least 0, got {n}")
    return _polygamma(x, n=operator.index(n))


lgamma: Primitive = of_argument(
    "lgamma", gamma_kernel.lgamma, digamma, "Return log |Γ(x)|, the log of the gamma function."
)


def mvlgamma(x: Any, p: int) -> Any:
    """Return log of the multivariate gamma function: Σ lgamma(x - j/2), j < p, and a constant.

    Raises
    ------
    ValueError
        ``p`` is not positive.
    """
    if operator.index(p) < 1:
        raise ValueError(f"mvlgamma: p must be at least 1, got {p}")
    total = p * (p - 1) / 4.0 * math.log(math.pi)
    for j in range(p):
        total = lgamma(x - 0.5 * j) + total
    return total


i0: Primitive = of_argument(
    "i0", gamma_kernel.i0, lambda x: i1(x), "Return the modified Bessel function I₀(x)."
)


def _over(y: Any, x: Any) -> Any:
    """Y / x, and ½ at 0, the limit of I₁(x) / x."""
    zero = eq(x, 0)
    return where(zero, 0.5, y / where(zero, 1.0, x))


i1: Primitive = primitive(
    "i1",
    gamma_kernel.i1,
    vjp=(lambda g, out, x: g * (i0(x) - _over(out, x)),),
    jvp=(lambda t, out, x: t * (i0(x) - _over(out, x)),),
    doc="Return the modified Bessel function I₁(x).",
    batch=elementwise,
)
i0e: Primitive = primitive(
    "i0e",
    gamma_kernel.i0e,
    vjp=(lambda g, out, x: g * (i1e(x) - sign(x) * out),),
    jvp=(lambda t, out, x: t * (i1e(x) - sign(x) * out),),
    doc="Return exp(-|x|) I₀(x), which does not overflow.",
    batch=elementwise,
)
i1e: Primitive = primitive(
    "i1e",
    gamma_kernel.i1e,
    vjp=(lambda g, out, x: g * (i0e(x) - out * sign(x) - _over(out, x)),),
    jvp=(lambda t, out, x: t * (i0e(x) - out * sign(x) - _over(out, x)),),
    doc="Return exp(-|x|) I₁(x), which does not overflow.",
    batch=elementwise,
)
