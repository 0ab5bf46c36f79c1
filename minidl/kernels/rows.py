"""Rows that are normalized, each by itself: layer norm, and the softmax of attention.

Sums along a row are BLAS's or `np.einsum`'s in both versions, so both give the same bits; what is
done element by element is one pass in the compiled version, and goes by blocks of rows in NumPy's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.autograd.primitive import Array
from minidl.kernels import memory, selection

#: Bytes of rows at a time.
BLOCK_BYTES = 1 << 18


def _blocks(rows: Array) -> Iterator[slice]:
    step = max(1, BLOCK_BYTES // max(1, rows[:1].nbytes))
    for start in range(0, len(rows), step):
        yield slice(start, start + step)


def _flat(x: Array, length: int) -> Array:
    return np.ascontiguousarray(x).reshape(-1, length)


def _vector(weight: Array | None, length: int, like: Array, fill: float) -> Array:
    if weight is None:
        return np.full(length, fill, like.dtype)
    return np.ascontiguousarray(weight, like.dtype).reshape(-1)


def _moments(rows: Array, eps: float) -> tuple[Array, Array]:
    """Return the mean of each row and 1 / √(variance + eps)."""
    length = rows.shape[1]
    mean = rows @ np.full(length, 1.0 / length, rows.dtype)
    squares = np.empty_like(mean)
    for block in _blocks(rows):
        centered = rows[block] - mean[block, None]
        np.einsum("ij,ij->i", centered, centered, out=squares[block])
    squares /= length
    squares += eps
    np.sqrt(squares, out=squares)
    return mean, np.divide(1.0, squares, out=squares)


def layer_norm(
    x: Array, weight: Array | None, bias: Array | None, *, length: int, eps: float
) -> Array:
    """Return ``(x - mean) / √(var + eps) · weight + bias`` along rows of ``length``."""
    rows = _flat(x, length)
    mean, scale = _moments(rows, eps)
    w, b = _vector(weight, length, rows, 1.0), _vector(bias, length, rows, 0.0)
    out = memory.empty(rows.shape, rows.dtype)
    if (fast := selection.compiled(rows, out)) is not None:
        fast.scale_rows(rows, mean, scale, w, b, out)
        return out.reshape(x.shape)
    for block in _blocks(rows):
        into = np.subtract(rows[block], mean[block, None], out=out[block])
        into *= scale[block, None]
        into *= w
        into += b
    return out.reshape(x.shape)


def by_input(
    grad: Array, x: Array, weight: Array | None, bias: Any, *, length: int, eps: float
) -> Array:
    """Return the cotangent of ``x``: (h - mean(h) - n · mean(h n)) / √(var + eps).

    Here h = grad · weight, and n is ``x`` normalized.
    """
    rows, g = _flat(x, length), _flat(grad, length)
    mean, scale = _moments(rows, eps)
    w = _vector(weight, length, rows, 1.0)
    out = memory.empty(rows.shape, rows.dtype)
    level = g @ (w / length)
    along = np.empty_like(mean)
    for block in _blocks(rows):
        centered = rows[block] - mean[block, None]
        np.einsum("ij,ij,j->i", g[block], centered, w, out=along[block])
    along *= scale
    along *= scale
    along /= length
    if (fast := selection.compiled(rows, g, out)) is not None:
        fast.scale_rows_back(g, rows, mean, level, along, scale, w, out)
        return out.reshape(x.shape)
    for block in _blocks(rows):
        part = rows[block] - mean[block, None]
        part *= along[block, None]
        into = np.multiply(g[block], w, out=out[block])
        into -= level[block, None]
        into -= part
        into *= scale[block, None]
    return out.reshape(x.shape)


def by_weight(grad: Array, x: Array, weight: Array, bias: Any, *, length: int, eps: float) -> Array:
    """Return the cotangent of ``weight``: Σ g · (x - mean) / √(var + eps) over the rows."""
    rows, g = _flat(x, length), _flat(grad, length)
    mean, scale = _moments(rows, eps)
    total = np.zeros(length, rows.dtype)
    for block in _blocks(rows):
        centered = rows[block] - mean[block, None]
        centered *= scale[block, None]
        total += np.einsum("ij,ij->j", g[block], centered)
    return total.reshape(weight.shape)


def by_bias(grad: Array, x: Any, weight: Any, bias: Array, *, length: int, eps: float) -> Array:
    """Return the cotangent of ``bias``: Σ g over the rows."""
    g = _flat(grad, length)
    found: Array = np.ones(len(g), g.dtype) @ g
    return found.reshape(bias.shape)


def softmax(scores: Array) -> Array:
    """Return the softmax along the last axis; a row of -∞ attends to no one and gives zeros."""
    length = scores.shape[-1]
    if not scores.size:
        return np.zeros_like(scores)
    rows = _flat(scores, length)
    out = memory.empty(rows.shape, rows.dtype)
    if (fast := selection.compiled(rows, out)) is not None:
        fast.below_top(rows, out)
    else:
        top = rows.max(axis=1)
        np.subtract(rows, np.where(np.isfinite(top), top, rows.dtype.type(0))[:, None], out=out)
    np.exp(out, out=out)
    total = out @ np.ones(length, out.dtype)
    total[total == 0] = 1
    if fast is not None:
        fast.divide_rows(out, total)
    else:
        out /= total[:, None]
    return out.reshape(scores.shape)


def softmax_gradient(grad: Array, probabilities: Array) -> Array:
    """Return ``p (g - Σ g p)``, row by row."""
    length = probabilities.shape[-1]
    p, g = _flat(probabilities, length), _flat(grad, length)
    along = np.einsum("ij,ij->i", g, p)
    out = memory.empty(p.shape, p.dtype)
    if (fast := selection.compiled(p, g, out)) is not None:
        fast.weigh_rows(g, p, along, out)
    else:
        for block in _blocks(p):
            into = np.subtract(g[block], along[block, None], out=out[block])
            into *= p[block]
    return out.reshape(probabilities.shape)
