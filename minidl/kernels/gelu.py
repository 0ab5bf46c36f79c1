"""GELU, x Φ(x), and its derivative, Φ(x) + x φ(x), in few passes.

Exponentials are NumPy's in both versions, since another library's differ in the last digit; what is
around them is one pass in the compiled version, and block by block in NumPy's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.autograd.primitive import Array
from minidl.kernels import parallel, selection, special

_ROOT_HALF = math.sqrt(0.5)
_DENSITY = 1.0 / math.sqrt(2.0 * math.pi)  # φ(0)

_BLOCK = 1 << 14


def gelu(x: Array) -> Array:
    """Return x Φ(x)."""
    x = np.asarray(x)
    out = special.empty_like(x)
    laid = special.laid_out(x, out) if x.dtype == np.float32 else None
    if laid is None:
        half: Array = special.erf(x * _ROOT_HALF)
        half += 1.0
        half *= 0.5 * x
        return half
    source, target = laid
    if (fast := selection.compiled(source, target)) is not None:
        fixed = _fixed()

        def work(part: slice) -> None:
            fast.gelu(source[part], *fixed, target[part])

        parallel.over(source.size, source.size, work)
        return out
    for start in range(0, source.size, _BLOCK):
        x, into = source[start : start + _BLOCK], target[start : start + _BLOCK]
        special.erf_of_block(x * np.float32(_ROOT_HALF), into)
        into += np.float32(1)
        into *= x * np.float32(0.5)
    return out


def _fixed() -> tuple[Any, ...]:
    """Return what the compiled versions are told, in float32."""
    numbers = (np.float32(_ROOT_HALF), np.float32(0.5), np.float32(1))
    return (special.ERF_LIMIT, special.ERF_TOP, special.ERF_BOTTOM, *numbers)


def _exponentials(x: Array, out: Array) -> None:
    """Write exp(-x²/2)."""
    np.multiply(x, x, out=out)
    out *= -0.5
    np.exp(out, out=out)


def gelu_gradient(grad: Array, x: Array) -> Array:
    """Return the cotangent of ``x``."""
    bell = special.empty_like(x)
    laid = special.laid_out(x, bell, grad) if x.dtype == grad.dtype == np.float32 else None
    if laid is None:
        _exponentials(x, bell)
        bell *= _DENSITY * x
        area: Array = special.erf(x * _ROOT_HALF)
        area += 1.0
        area *= 0.5
        area += bell
        area *= grad
        return area
    source, peaks, g = laid
    if (fast := selection.compiled(source, peaks, g)) is not None:
        fixed = (*_fixed(), np.float32(_DENSITY))

        def work(part: slice) -> None:
            _exponentials(source[part], peaks[part])
            fast.gelu_gradient(g[part], source[part], *fixed, peaks[part])

        parallel.over(source.size, 2 * source.size, work)
        return bell
    area = np.empty(min(_BLOCK, source.size), np.float32)
    for start in range(0, source.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        x, into = source[block], peaks[block]
        part = area[: len(x)]
        _exponentials(x, into)
        special.erf_of_block(x * np.float32(_ROOT_HALF), part)
        part += np.float32(1)
        part *= np.float32(0.5)
        into *= x * np.float32(_DENSITY)
        into += part
        into *= g[block]
    return bell
