"""Rows that are normalized, each by itself: layer norm, and the softmax of attention.

The compiled version makes one pass over memory; NumPy's goes by blocks of rows. A row is summed in
`LANES` sums side by side, as a processor's wide registers do it, in both versions: so both give the
same bits. Exponentials are NumPy's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.autograd.primitive import Array
from minidl.kernels import memory, parallel, selection

#: Bytes of rows at a time.
BLOCK_BYTES = 1 << 18

#: Sums of a row side by side; a power of two.
LANES = 64

#: Rows whose sum is taken in one go, where rows are summed.
SUMMED = 256


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


def _folded(lanes: Array) -> Array:
    """Return the sum of the lanes, each of which is a column; they are used up."""
    half = LANES // 2
    while half:
        lanes[:, :half] += lanes[:, half : 2 * half]
        half //= 2
    found: Array = lanes[:, 0]
    return found


def _sums(rows: Array) -> Array:
    """Return the sum of each row: of every `LANES`-th number first, and then of the lanes."""
    count, length = rows.shape
    whole = length - length % LANES
    lanes = np.zeros((count, LANES), rows.dtype)
    lanes += np.add.reduce(rows[:, :whole].reshape(count, whole // LANES, LANES), axis=1)
    lanes[:, : length - whole] += rows[:, whole:]
    return _folded(lanes)


def moments(x: Array, *, length: int, eps: float) -> Array:
    """Return the mean of each row of ``length`` and 1 / √(variance + eps), ``(rows, 2)``."""
    rows = _flat(x, length)
    out = memory.empty((len(rows), 2), rows.dtype)
    if (fast := selection.compiled(rows, out)) is not None:
        lowest, many = rows.dtype.type(eps), rows.dtype.type(length)
        parallel.over(
            len(rows),
            2 * rows.size,
            lambda part: fast.row_moments(rows[part], many, lowest, out[part]),
        )
        return out
    for block in _blocks(rows):
        mean, scale = out[block, 0], out[block, 1]
        np.divide(_sums(rows[block]), length, out=mean)
        centered = rows[block] - mean[:, None]
        centered *= centered
        np.divide(_sums(centered), length, out=scale)
        scale += eps
        np.sqrt(scale, out=scale)
        np.divide(1.0, scale, out=scale)
    return out


def layer_norm(
    x: Array, weight: Array | None, bias: Array | None, moments: Array, *, length: int, eps: float
) -> Array:
    """Return ``(x - mean) / √(var + eps) · weight + bias`` along rows of ``length``."""
    rows, found = _flat(x, length), _flat(moments, 2)
    w, b = _vector(weight, length, rows, 1.0), _vector(bias, length, rows, 0.0)
    out = memory.empty(rows.shape, rows.dtype)
    if (fast := selection.compiled(rows, found, out)) is not None:
        parallel.over(
            len(rows),
            rows.size,
            lambda part: fast.scale_rows(rows[part], found[part], w, b, out[part]),
        )
        return out.reshape(x.shape)
    for block in _blocks(rows):
        into = np.subtract(rows[block], found[block, :1], out=out[block])
        into *= found[block, 1:]
        into *= w
        into += b
    return out.reshape(x.shape)


def by_input(
    grad: Array,
    x: Array,
    weight: Array | None,
    bias: Any,
    moments: Array,
    *,
    length: int,
    eps: float,
) -> Array:
    """Return the cotangent of ``x``, on which the moments depend.

    With h = grad · weight, c = x - mean and s = 1/√(var + eps): s · (h - mean(h) - c s² mean(h c)).
    """
    rows, g, found = _flat(x, length), _flat(grad, length), _flat(moments, 2)
    w = _vector(weight, length, rows, 1.0)
    out = memory.empty(rows.shape, rows.dtype)
    if (fast := selection.compiled(rows, g, found, out)) is not None:
        many = rows.dtype.type(length)
        parallel.over(
            len(rows),
            3 * rows.size,
            lambda part: fast.scale_rows_back(g[part], rows[part], found[part], w, many, out[part]),
        )
        return out.reshape(x.shape)
    for block in _blocks(rows):
        mean, scale = found[block, :1], found[block, 1:]
        centered = rows[block] - mean
        into = np.multiply(g[block], w, out=out[block])
        level = _sums(into)[:, None] / length
        slope = _sums(into * centered)[:, None] / length * scale * scale
        centered *= slope
        into -= level
        into -= centered
        into *= scale
    return out.reshape(x.shape)


def by_weight(
    grad: Array, x: Array, weight: Array, bias: Any, moments: Array, *, length: int, eps: float
) -> Array:
    """Return the cotangent of ``weight``: Σ g · (x - mean) / √(var + eps) over the rows.

    Some rows at a time are summed, and then the sums.
    """
    rows, g, found = _flat(x, length), _flat(grad, length), _flat(moments, 2)
    sums = memory.empty((-(-len(rows) // SUMMED), length), rows.dtype)
    fast = selection.compiled(rows, g, found, sums) if length > 1 else None
    if fast is not None:

        def work(part: slice) -> None:
            some = slice(part.start * SUMMED, part.stop * SUMMED)
            fast.rows_by_weight(g[some], rows[some], found[some], SUMMED, sums[part])

        parallel.over(len(sums), rows.size, work)
    else:
        for n, into in enumerate(sums):
            some = slice(n * SUMMED, (n + 1) * SUMMED)
            centered = rows[some] - found[some, :1]
            centered *= found[some, 1:]
            centered *= g[some]
            np.add.reduce(centered, axis=0, out=into)
    total: Array = np.add.reduce(sums, axis=0)
    return total.reshape(weight.shape)


def by_bias(
    grad: Array, x: Any, weight: Any, bias: Array, moments: Any, *, length: int, eps: float
) -> Array:
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
    parallel.over(len(rows), 4 * rows.size, lambda part: write_softmax(rows[part], out[part]))
    return out.reshape(scores.shape)


def softmax_gradient(grad: Array, probabilities: Array) -> Array:
    """Return ``p (g - Σ g p)``, row by row."""
    length = probabilities.shape[-1]
    p, g = _flat(probabilities, length), _flat(grad, length)
    out = memory.empty(p.shape, p.dtype)
    parallel.over(
        len(p), 2 * p.size, lambda part: write_softmax_gradient(g[part], p[part], out[part])
    )
    return out.reshape(probabilities.shape)


def write_softmax(rows: Array, out: Array, scale: float = 1.0) -> None:
    """Write the softmax of ``rows · scale`` to ``out``, another place; both are ``(rows, n)``."""
    if not rows.size:
        return
    factor = rows.dtype.type(scale)
    fast = selection.compiled(rows, out)
    for block in _blocks(rows):
        into = out[block]
        if fast is not None:
            fast.below_top(rows[block], factor, into)
            np.exp(into, out=into)
            fast.divide_rows(into)
            continue
        np.multiply(rows[block], factor, out=into)
        top = into.max(axis=1)
        into -= np.where(np.isfinite(top), top, rows.dtype.type(0))[:, None]
        np.exp(into, out=into)
        total = _sums(into)
        total[total == 0] = 1
        into *= np.divide(1.0, total, out=total)[:, None]


def write_softmax_gradient(grad: Array, p: Array, out: Array, scale: float = 1.0) -> None:
    """Write ``p (g - Σ g p) · scale`` to ``out``, another place; all are ``(rows, n)``."""
    factor = p.dtype.type(scale)
    if (fast := selection.compiled(grad, p, out)) is not None:
        fast.weigh_rows(grad, p, factor, out)
        return
    for block in _blocks(p):
        along = _sums(grad[block] * p[block])
        into = np.subtract(grad[block], along[:, None], out=out[block])
        into *= p[block]
        into *= factor
