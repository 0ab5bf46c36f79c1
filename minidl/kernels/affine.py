"""The affine map ``x Wᵀ + b``, and ReLU behind it, in as few passes as its layout allows.

For few rows BLAS is faster with the product the other way round, ``W xᵀ``: on 32 rows of 784 and
256 outputs 146 µs for 224. Its result lies turned, and is turned back as the bias is added.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd.primitive import Array
from minidl.kernels import memory, selection

#: Up to so many rows, and from so many weights, the product is made the other way round.
MOST_ROWS, LEAST_WEIGHTS = 64, 1 << 15


def turned(x: Any, weight: Any, bias: Any) -> bool:
    """Whether the product is made the other way round; it depends on shapes and dtypes alone."""
    if bias is None or not 1 < x.shape[0] <= MOST_ROWS or weight.size < LEAST_WEIGHTS:
        return False
    return bool(x.dtype == weight.dtype == bias.dtype and x.dtype.kind == "f")


def affine(x: Array, weight: Array, bias: Array | None) -> Array:
    """Return ``x Wᵀ + b``; shapes: ``x (N, in)``, ``weight (out, in)``, ``bias (out,)``."""
    if turned(x, weight, bias):
        assert bias is not None
        return add_turned(np.matmul(weight, x.T), bias)
    out: Array = np.matmul(x, weight.T)
    if bias is None:
        return out
    return np.add(out, bias, out=out if out.dtype == bias.dtype else None)


def add_turned(
    columns: Array, bias: Array, rectify: bool = False, out: Array | None = None
) -> Array:
    """Return ``columnsᵀ + bias``, C-contiguous; where ``rectify``, what ReLU makes of it."""
    if out is None:
        out = memory.empty(columns.shape[::-1], columns.dtype, like=columns)
    if (fast := selection.compiled(columns, bias, out)) is not None:
        fast.turn(columns, bias, rectify, out)
        return out
    np.add(columns.T, bias, out=out)
    return np.maximum(out, 0, out=out) if rectify else out


def add_relu(x: Array, bias: Array, out: Array | None = None) -> Array:
    """Return ``max(x + bias, 0)``."""
    fits = x.ndim == 2 and bias.ndim == 1 and len(bias) == x.shape[1]
    fast = selection.compiled(x, bias, x if out is None else out) if fits else None
    if fast is None:
        found: Array = np.add(x, bias, out=out)
        return np.maximum(found, 0, out=found)
    if out is x:
        fast.add_relu_here(x, bias)
        return x
    if out is None:
        out = memory.empty(x.shape, x.dtype)
    fast.add_relu(x, bias, out)
    return out
