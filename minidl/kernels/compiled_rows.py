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


@numba.njit(inline="always", error_model="numpy")  # type: ignore[untyped-decorator, unused-ignore]
def _folded(lanes: Any) -> Any:
    """Return the sum of 64 lanes, which are used up, by halves."""
    for k in range(16):
        lanes[k] = (lanes[k] + lanes[k + 32]) + (lanes[k + 16] + lanes[k + 48])
    for k in range(8):
        lanes[k] += lanes[k + 8]
    for k in range(4):
        lanes[k] += lanes[k + 4]
    return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])


@kernel
def row_moments(rows: Array, many: Any, eps: Any, out: Array) -> None:
    """Write the mean and 1 / √(variance + eps) of each row of ``many`` numbers."""
    count, length = rows.shape
    lanes = np.empty(64, rows.dtype)
    whole = length - length % 64
    zero, one = rows.dtype.type(0), rows.dtype.type(1)
    for i in range(count):
        row = rows[i]
        for k in range(64):
            lanes[k] = zero
        for j in range(0, whole, 64):
            for k in range(64):
                lanes[k] += row[np.uintp(j + k)]
        for k in range(length - whole):
            lanes[k] += row[np.uintp(whole + k)]
        mean = _folded(lanes) / many
        for k in range(64):
            lanes[k] = zero
        for j in range(0, whole, 64):
            for k in range(64):
                centered = row[np.uintp(j + k)] - mean
                lanes[k] += centered * centered
        for k in range(length - whole):
            centered = row[np.uintp(whole + k)] - mean
            lanes[k] += centered * centered
        out[i, 0] = mean
        out[i, 1] = one / np.sqrt(_folded(lanes) / many + eps)


@kernel
def scale_rows(rows: Array, moments: Array, weight: Array, bias: Array, out: Array) -> None:
    """Write ``(rows - mean) · scale · weight + bias``: two numbers a row, two vectors."""
    count, length = rows.shape
    for i in range(count):
        mean, scale = moments[i, 0], moments[i, 1]
        for j in range(length):
            out[i, j] = (rows[i, j] - mean) * scale * weight[j] + bias[j]


@kernel
def scale_rows_back(
    grad: Array, rows: Array, moments: Array, weight: Array, many: Any, out: Array
) -> None:
    """Write ``(h - mean(h) - c · mean(h c) · scale²) · scale``; h = grad · weight, c = rows - mean.

    ``many`` are the numbers of a row.
    """
    count, length = rows.shape
    plain, crossed = np.empty(64, rows.dtype), np.empty(64, rows.dtype)
    whole, zero = length - length % 64, rows.dtype.type(0)
    for i in range(count):
        row, g, into = rows[i], grad[i], out[i]
        mean, scale = moments[i, 0], moments[i, 1]
        for k in range(64):
            plain[k] = zero
            crossed[k] = zero
        for j in range(0, whole, 64):
            for k in range(64):
                at = np.uintp(j + k)
                plain[k] += g[at] * weight[at]
            for k in range(64):
                at = np.uintp(j + k)
                crossed[k] += g[at] * weight[at] * (row[at] - mean)
        for k in range(length - whole):
            at = np.uintp(whole + k)
            plain[k] += g[at] * weight[at]
        for k in range(length - whole):
            at = np.uintp(whole + k)
            crossed[k] += g[at] * weight[at] * (row[at] - mean)
        level = _folded(plain) / many
        slope = _folded(crossed) / many * scale * scale
        for j in range(length):
            into[j] = (g[j] * weight[j] - level - (row[j] - mean) * slope) * scale


@kernel
def rows_by_weight(grad: Array, rows: Array, moments: Array, summed: int, out: Array) -> None:
    """Write sums of ``grad · ((rows - mean) · scale)`` over ``summed`` rows each."""
    count, length = rows.shape
    for n in range(len(out)):
        into, first = out[n], n * summed
        mean, scale = moments[first, 0], moments[first, 1]
        for j in range(length):
            into[j] = (rows[first, j] - mean) * scale * grad[first, j]
        for i in range(first + 1, min(count, first + summed)):
            mean, scale = moments[i, 0], moments[i, 1]
            for j in range(length):
                into[j] += (rows[i, j] - mean) * scale * grad[i, j]


@numba.njit(inline="always", error_model="numpy")  # type: ignore[untyped-decorator, unused-ignore]
def _more(one: Any, other: Any) -> Any:
    """Return the greater one, or NaN where there is one."""
    return one if (one > other) | (one != one) else other


@kernel
def below_top(rows: Array, scale: Any, out: Array) -> None:
    """Write each row times ``scale`` minus its maximum; without, where that is not finite."""
    count, length = rows.shape
    lanes = np.empty(64, rows.dtype)
    whole, lowest = length - length % 64, rows.dtype.type(-np.inf)
    for i in range(count):
        row, into = rows[i], out[i]
        for k in range(64):
            lanes[k] = lowest
        for j in range(0, whole, 64):
            for k in range(64):
                lanes[k] = _more(row[np.uintp(j + k)] * scale, lanes[k])
        for k in range(length - whole):
            lanes[k] = _more(row[np.uintp(whole + k)] * scale, lanes[k])
        for k in range(32):
            lanes[k] = _more(lanes[k], lanes[k + 32])
        for k in range(16):
            lanes[k] = _more(lanes[k], lanes[k + 16])
        for k in range(8):
            lanes[k] = _more(lanes[k], lanes[k + 8])
        for k in range(4):
            lanes[k] = _more(lanes[k], lanes[k + 4])
        top = _more(_more(lanes[0], lanes[1]), _more(lanes[2], lanes[3]))
        if not np.isfinite(top):
            top = rows.dtype.type(0)
        for j in range(length):
            into[j] = row[j] * scale - top


@kernel
def divide_rows(rows: Array) -> None:
    """Multiply each row by the reciprocal of its sum; zeros stay."""
    count, length = rows.shape
    lanes = np.empty(64, rows.dtype)
    whole = length - length % 64
    zero, one = rows.dtype.type(0), rows.dtype.type(1)
    for i in range(count):
        row = rows[i]
        for k in range(64):
            lanes[k] = zero
        for j in range(0, whole, 64):
            for k in range(64):
                lanes[k] += row[np.uintp(j + k)]
        for k in range(length - whole):
            lanes[k] += row[np.uintp(whole + k)]
        total = _folded(lanes)
        share = one / (one if total == zero else total)
        for j in range(length):
            row[j] = row[j] * share


@kernel
def weigh_rows(grad: Array, weights: Array, scale: Any, out: Array) -> None:
    """Write ``(grad - Σ grad · weights) · weights · scale``, row by row."""
    count, length = grad.shape
    lanes = np.empty(64, grad.dtype)
    whole, zero = length - length % 64, grad.dtype.type(0)
    for i in range(count):
        g, p, into = grad[i], weights[i], out[i]
        for k in range(64):
            lanes[k] = zero
        for j in range(0, whole, 64):
            for k in range(64):
                lanes[k] += g[np.uintp(j + k)] * p[np.uintp(j + k)]
        for k in range(length - whole):
            lanes[k] += g[np.uintp(whole + k)] * p[np.uintp(whole + k)]
        along = _folded(lanes)
        for j in range(length):
            into[j] = (g[j] - along) * p[j] * scale
