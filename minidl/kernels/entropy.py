"""Cross-entropy of rows of logits against class numbers, and its gradient.

Exponentials and logarithms are NumPy's and sums along a row BLAS's in both versions, so both give
the same bits.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from minidl.autograd.primitive import Array
from minidl.kernels import memory, selection


def _below_top(logits: Array, target: Array) -> tuple[Array, Array, Array, ModuleType | None]:
    """Return each row minus its maximum, what of it is at the target, and the targets."""
    rows = np.ascontiguousarray(logits)
    labels = np.ascontiguousarray(target, np.int64)
    out = memory.empty(rows.shape, rows.dtype)
    fast = selection.compiled(rows, out, small=True) if rows.size else None
    if fast is not None:
        picked = np.empty(len(rows), rows.dtype)
        fast.entropy_top(rows, labels, out, picked)
    else:
        np.subtract(rows, rows.max(axis=1, keepdims=True), out=out)
        picked = out[np.arange(len(labels)), labels]
    return out, picked, labels, fast


def cross_entropy(logits: Array, target: Array, *, smoothing: float) -> Array:
    """Return the loss of each row of ``logits (N, C)``: log Σ eˣ - x at ``target (N,)``.

    With ``smoothing`` s it is (1 - s) of that, and s of its mean over all classes.
    """
    rows, picked, _, _ = _below_top(logits, target)
    ones = np.ones(rows.shape[1], rows.dtype)
    level = rows @ ones if smoothing else None
    np.exp(rows, out=rows)
    total: Array = np.log(rows @ ones)
    if level is None:
        total -= picked
        return total
    picked *= 1.0 - smoothing
    level *= smoothing / rows.shape[1]
    total -= picked
    total -= level
    return total


def by_logits(grad: Array, logits: Array, target: Array, *, smoothing: float) -> Array:
    """Return ``(softmax - goal) · grad``, the cotangent of ``logits`` from that of each loss."""
    rows, _, labels, fast = _below_top(logits, target)
    np.exp(rows, out=rows)
    total = rows @ np.ones(rows.shape[1], rows.dtype)
    weight = np.ascontiguousarray(grad, rows.dtype)
    spread, peak = map(rows.dtype.type, (smoothing / max(1, rows.shape[1]), 1.0 - smoothing))
    if fast is not None:
        fast.entropy_gradient(rows, total, labels, weight, spread, peak)
        return rows
    rows /= total[:, None]
    rows -= spread
    rows[np.arange(len(labels)), labels] -= peak
    rows *= weight[:, None]
    return rows
