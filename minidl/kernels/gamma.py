"""The logarithm of the gamma function, its derivatives, and modified Bessel functions.

Formula numbers are of the NIST Digital Library of Mathematical Functions (dlmf.nist.gov).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.autograd.primitive import Array
from minidl.kernels.special import double

# Bernoulli numbers B2, B4, …, B20.
_BERNOULLI = (
    1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798,
    -174611 / 330,
)  # fmt: skip


def _sin_pi(x: Array) -> Array:
    """sin(πx) with the whole part of ``x`` taken away first."""
    whole = np.round(x)
    result: Array = np.sin(math.pi * (x - whole)) * np.where(whole % 2 == 0, 1.0, -1.0)
    return result


def lgamma(x: Any) -> Array:
    """Return log |Γ(x)|: Stirling's series (5.11.1) from 12 on, recurrence below, reflection."""
    x, dtype = double(x)
    with np.errstate(all="ignore"):
        positive = np.where(x < 0.5, 1.0 - x, x)
        product, raised = np.ones_like(positive), positive
        for _ in range(12):
            small = raised < 12.0
            product = np.where(small, product * raised, product)
            raised = np.where(small, raised + 1.0, raised)
        inverse = 1.0 / raised
        square, series = inverse * inverse, np.zeros_like(raised)
        for k in range(9, 0, -1):
            series = series * square + _BERNOULLI[k - 1] / (2 * k * (2 * k - 1))
        stirling = (raised - 0.5) * np.log(raised) - raised + 0.5 * math.log(2.0 * math.pi)
        result = stirling + series * inverse - np.log(product)
        result = np.where(np.isinf(positive), np.inf, result)
        reflected = math.log(math.pi) - np.log(np.abs(_sin_pi(x))) - result
        result = np.where(x < 0.5, reflected, result)
        result = np.where((x <= 0) & (x == np.floor(x)), np.inf, result)
    return result.astype(dtype, copy=False)


def digamma(x: Any) -> Array:
    """Return ψ(x) = d/dx log Γ(x): asymptotic series (5.11.2), recurrence, reflection (5.5.4)."""
    x, dtype = double(x)
    with np.errstate(all="ignore"):
        positive = np.where(x < 0.5, 1.0 - x, x)
        total, raised = np.zeros_like(positive), positive
        for _ in range(12):
            small = raised < 12.0
            total = np.where(small, total - 1.0 / raised, total)
            raised = np.where(small, raised + 1.0, raised)
        square, series = 1.0 / (raised * raised), np.zeros_like(raised)
        for k in range(9, 0, -1):
            series = (series + _BERNOULLI[k - 1] / (2 * k)) * square
        result = np.log(raised) - 0.5 / raised - series + total
        fraction = x - np.round(x)
        reflected = result - math.pi / np.tan(math.pi * fraction)
        result = np.where(x < 0.5, reflected, result)
        pole = (x < 0) & (x == np.floor(x))
        result = np.where(pole, np.nan, np.where(x == 0, np.copysign(np.inf, -x), result))
    return result.astype(dtype, copy=False)


def polygamma(n: int, x: Any) -> Array:
    """Return the nth derivative of ψ: (-1)ⁿ⁺¹ n! ζ(n + 1, x), by Euler and Maclaurin (25.11.5)."""
    if n == 0:
        return digamma(x)
    x, dtype = double(x)
    s = n + 1
    with np.errstate(all="ignore"):
        total, raised = np.zeros_like(x), x
        # Whatever is below 12 + n is raised step by step; far below 0 that would take too long.
        enough = 12.0 + n
        held = np.where(np.isfinite(x) & (x > -1e4), np.minimum(x, enough), enough)
        steps = math.ceil(enough - float(held.min())) if held.size else 0
        for _ in range(steps):
            small = raised < 12.0 + n
            total = np.where(small, total + np.power(raised, -float(s)), total)
            raised = np.where(small, raised + 1.0, raised)
        result = total + raised ** (1.0 - s) / (s - 1) + 0.5 * raised ** -float(s)
        factor, power = float(s), raised ** (-s - 1.0)
        for k, bernoulli in enumerate(_BERNOULLI, 1):
            result = result + bernoulli / math.factorial(2 * k) * factor * power
            factor *= (s + 2 * k - 1) * (s + 2 * k)
            power = power / (raised * raised)
        result = np.where(x == np.inf, 0.0, np.where(x <= -1e4, np.nan, result))
        result = result * ((-1.0) ** (n + 1) * math.factorial(n))
    return result.astype(dtype, copy=False)


def _scaled_bessel(order: int, x: Array) -> Array:
    """exp(-|x|) I(x): the power series (10.25.2) up to 30, the asymptotic one (10.40.1) beyond."""
    size = np.abs(x)
    near = np.minimum(size, 30.0)
    quarter = near * near / 4.0
    term = (near / 2.0) ** order
    total = term
    for k in range(1, 90):
        term = term * (quarter / (k * (k + order)))
        total = total + term
    far = np.maximum(size, 30.0)
    term = np.ones_like(far)
    series = term
    for k in range(1, 25):
        term = -term * ((4.0 * order**2 - (2 * k - 1) ** 2) / (8.0 * k * far))
        series = series + term
    wide = series / np.sqrt(2.0 * math.pi * far)
    result = np.where(size <= 30.0, np.exp(-near) * total, wide)
    return result if order == 0 else np.copysign(result, x)


def i0e(x: Any) -> Array:
    """Return exp(-|x|) I₀(x)."""
    x, dtype = double(x)
    with np.errstate(all="ignore"):
        return _scaled_bessel(0, x).astype(dtype, copy=False)


def i1e(x: Any) -> Array:
    """Return exp(-|x|) I₁(x)."""
    x, dtype = double(x)
    with np.errstate(all="ignore"):
        return _scaled_bessel(1, x).astype(dtype, copy=False)


def i0(x: Any) -> Array:
    """Return the modified Bessel function I₀(x)."""
    x, dtype = double(x)
    with np.errstate(all="ignore"):
        return (np.exp(np.abs(x)) * _scaled_bessel(0, x)).astype(dtype, copy=False)


def i1(x: Any) -> Array:
    """Return the modified Bessel function I₁(x)."""
    x, dtype = double(x)
    with np.errstate(all="ignore"):
        return (np.exp(np.abs(x)) * _scaled_bessel(1, x)).astype(dtype, copy=False)
