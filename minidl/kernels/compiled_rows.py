"""The compiled versions of what is done row by row, or number by number: norms, softmax, GELU.

As `minidl.kernels.compiled`, where the traps are told: the same operations in the same order as
NumPy's version of the same name, on C-contiguous arrays of one dtype.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from minidl.autograd.primitive import Array
from minidl.kernels.jit import kernel


@numba.njit(inline="always", error_model="numpy")  # type: ignore[untyped-decorator, unused-ignore]
def _erf(x: Any, limit: Any, top: Any, bottom: Any, one: Any) -> Any:
    held = limit if x > limit else (-limit if x < -limit else x)
    square = held * held
    over, under = square * top[0], square * bottom[0]
    for i in range(1, 5):
        over = (over + top[i]) * square
        under = (under + bottom[i]) * square
    found = (over + top[5]) / (under + bottom[5]) * held
    return one if found > one else (-one if found < -one else found)


@kernel
def erf(x: Array, limit: Any, top: Any, bottom: Any, out: Array) -> None:
    """Write the error function of float32; see `minidl.kernels.special`."""
    one = x.dtype.type(1)
    for i in range(x.size):
        out[i] = _erf(x[i], limit, top, bottom, one)


@kernel
def gelu(
    x: Array, limit: Any, top: Any, bottom: Any, root: Any, half: Any, one: Any, out: Array
) -> None:
    """Write ``x Φ(x)``."""
    for i in range(x.size):
        out[i] = (_erf(x[i] * root, limit, top, bottom, one) + one) * (x[i] * half)


@kernel
def gelu_gradient(
    grad: Array,
    x: Array,
    limit: Any,
    top: Any,
    bottom: Any,
    root: Any,
    half: Any,
    one: Any,
    density: Any,
    bell: Array,
) -> None:
    """Turn ``bell``, exp(-x²/2), into ``grad · (Φ(x) + x φ(x))``."""
    for i in range(x.size):
        area = (_erf(x[i] * root, limit, top, bottom, one) + one) * half
        bell[i] = (bell[i] * (x[i] * density) + area) * grad[i]


@kernel
def scale_rows(
    rows: Array, mean: Array, scale: Array, weight: Array, bias: Array, out: Array
) -> None:
    """Write ``(rows - mean) · scale · weight + bias``: two numbers a row, two vectors."""
    count, length = rows.shape
    for i in range(count):
        for j in range(length):
            out[i, j] = (rows[i, j] - mean[i]) * scale[i] * weight[j] + bias[j]


@kernel
def scale_rows_back(
    grad: Array,
    rows: Array,
    mean: Array,
    level: Array,
    along: Array,
    scale: Array,
    weight: Array,
    out: Array,
) -> None:
    """Write ``(grad · weight - level - (rows - mean) · along) · scale``."""
    count, length = rows.shape
    for i in range(count):
        for j in range(length):
            part = (rows[i, j] - mean[i]) * along[i]
            out[i, j] = (grad[i, j] * weight[j] - level[i] - part) * scale[i]


@kernel
def below_top(rows: Array, out: Array) -> None:
    """Write each row minus its maximum; a row whose maximum is not finite as it is."""
    count, length = rows.shape
    for i in range(count):
        top = rows[i, 0]
        for j in range(1, length):
            value = rows[i, j]
            top = value if (value > top) | (value != value) else top
        if not np.isfinite(top):
            top = rows.dtype.type(0)
        for j in range(length):
            out[i, j] = rows[i, j] - top


@kernel
def divide_rows(rows: Array, total: Array) -> None:
    """Divide each row by its own number."""
    count, length = rows.shape
    for i in range(count):
        for j in range(length):
            rows[i, j] = rows[i, j] / total[i]


@kernel
def weigh_rows(grad: Array, weights: Array, along: Array, out: Array) -> None:
    """Write ``weights · (grad - along)``, one number a row."""
    count, length = grad.shape
    for i in range(count):
        for j in range(length):
            out[i, j] = (grad[i, j] - along[i]) * weights[i, j]
