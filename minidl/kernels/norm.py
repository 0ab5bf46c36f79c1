"""Batch normalization of ``(N, C, *)``: few passes over images that lie channels-last.

Sums over a channel are taken image by image, and then over the images, in NumPy's version and in
the compiled one: so both give the same bits, and no sum of 100,000 numbers is taken in one go.
NumPy's version takes a few images at a time, so that they stay in cache through all the passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np

from minidl.autograd.primitive import Array
from minidl.kernels import memory, parallel, selection

#: Bytes of images at a time: with a result and a scratch array a third of an L2 cache.
BLOCK_BYTES = 1 << 18


def _rows(x: Array) -> Array:
    """View or copy ``(N, C, *)`` as contiguous ``(N, S, C)``."""
    laid = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    return laid.reshape(len(x), math.prod(x.shape[2:]), x.shape[1])


def _shaped(rows: Array, like: Array) -> Array:
    """View ``(N, S, C)`` as ``(N, C, *)``."""
    return np.moveaxis(rows.reshape(len(like), *like.shape[2:], like.shape[1]), -1, 1)


def _blocks(rows: Array) -> Iterator[slice]:
    step = max(1, BLOCK_BYTES // max(1, rows[:1].nbytes))
    for start in range(0, len(rows), step):
        yield slice(start, start + step)


def _compiled(rows: Array, *others: Array) -> ModuleType | None:
    """Return compiled kernels; not for one channel, which NumPy sums in an order of its own."""
    if rows.shape[2] < 2 or not rows.shape[1]:
        return None
    return selection.compiled(rows, *others)


def _split(rows: Array, work: Callable[[slice], None]) -> None:
    parallel.over(len(rows), rows.size, work)


def _over_images(sums: Array) -> Array:
    total: Array = np.add.reduce(sums, axis=0)
    return total


def moments(x: Array) -> Array:
    """Return mean and variance of each channel, ``(2, C)``."""
    rows = _rows(x)
    count = rows.shape[0] * rows.shape[1]
    sums = memory.empty((len(rows), rows.shape[2]), x.dtype)
    out = memory.empty((2, rows.shape[2]), x.dtype)
    fast = _compiled(rows, sums)
    if fast is not None:
        _split(rows, lambda part: fast.channel_sums(rows[part], sums[part]))
    else:
        np.add.reduce(rows, axis=1, out=sums)
    np.divide(_over_images(sums), count, out=out[0])
    if fast is not None:
        _split(rows, lambda part: fast.channel_squares(rows[part], out[0], sums[part]))
    else:
        for block in _blocks(rows):
            centered = rows[block] - out[0]
            centered *= centered
            np.add.reduce(centered, axis=1, out=sums[block])
    np.divide(_over_images(sums), count, out=out[1])
    return out


def _scale(moments: Array, weight: Array | None, eps: float) -> Array:
    scale = 1.0 / np.sqrt(moments[1] + eps)
    found: Array = (scale if weight is None else weight * scale).astype(moments.dtype, copy=False)
    return found


def batch_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    moments: Array,
    *,
    eps: float,
    rectify: bool = False,
) -> Array:
    """Return ``(x - mean) · weight / √(var + eps) + bias``.

    ``rectify`` makes it what ReLU makes of that.
    """
    scale = _scale(moments, weight, eps)
    shift = None if bias is None else bias.astype(scale.dtype, copy=False)
    return scaled(x, moments[0], scale, shift, rectify=rectify)


def scaled(
    x: Array, mean: Array, scale: Array, shift: Array | None, *, rectify: bool = False
) -> Array:
    """Return ``(x - mean) · scale + shift``, each of a channel; ``rectify`` as in `batch_norm`."""
    rows = _rows(x)
    shift = np.zeros_like(scale) if shift is None else shift
    out = memory.empty(rows.shape, rows.dtype)
    if (fast := _compiled(rows, out)) is not None:
        parallel.over(
            len(rows),
            2 * rows.size,
            lambda part: fast.scale_channels(rows[part], mean, scale, shift, rectify, out[part]),
        )
        return _shaped(out, x)
    for block in _blocks(rows):
        np.subtract(rows[block], mean, out=out[block])
        out[block] *= scale
        out[block] += shift
        if rectify:
            np.maximum(out[block], 0, out=out[block])
    return _shaped(out, x)


def gradient_sums(grad: Array, x: Array, moments: Array) -> Array:
    """Return Σ g and Σ g · (x - mean) of each channel, ``(2, C)``: what all gradients go by."""
    g, rows = _rows(grad), _rows(x)
    sums = memory.empty((2, len(rows), rows.shape[2]), rows.dtype)
    if (fast := _compiled(rows, g, sums)) is not None:
        _split(
            rows,
            lambda part: fast.channel_products(
                g[part], rows[part], moments[0], sums[0, part], sums[1, part]
            ),
        )
    else:
        np.add.reduce(g, axis=1, out=sums[0])
        for block in _blocks(rows):
            centered = rows[block] - moments[0]
            centered *= g[block]
            np.add.reduce(centered, axis=1, out=sums[1, block])
    return np.stack([_over_images(sums[0]), _over_images(sums[1])])


def by_input(
    grad: Array,
    x: Array,
    weight: Array | None,
    bias: Array | None,
    moments: Array,
    sums: Array | None = None,
    *,
    eps: float,
) -> Array:
    """Return the cotangent of ``x``, on which the moments depend.

    With c = x - mean and s = 1/√(var + eps): weight · s · (g - mean(g) - c s² mean(g c)). ``sums``
    are `gradient_sums`, here and in what follows.
    """
    rows, g = _rows(x), _rows(grad)
    count = rows.shape[0] * rows.shape[1]
    along, across = gradient_sums(grad, x, moments) if sums is None else sums
    level = (along / count).astype(x.dtype, copy=False)
    slope = (across / (count * (moments[1] + eps))).astype(x.dtype, copy=False)
    scale, out = _scale(moments, weight, eps), memory.empty(rows.shape, rows.dtype)
    if (fast := _compiled(rows, g, out)) is not None:
        _split(
            rows,
            lambda part: fast.normalized_back(
                g[part], rows[part], moments[0], level, slope, scale, out[part]
            ),
        )
        return _shaped(out, x)
    for block in _blocks(rows):
        part = rows[block] - moments[0]
        part *= slope
        into = np.subtract(g[block], level, out=out[block])
        into -= part
        into *= scale
    return _shaped(out, x)


def by_weight(
    grad: Array,
    x: Array,
    weight: Any,
    bias: Any,
    moments: Array,
    sums: Array | None = None,
    *,
    eps: float,
) -> Array:
    """Return the cotangent of ``weight``: Σ g · (x - mean) / √(var + eps)."""
    found = gradient_sums(grad, x, moments) if sums is None else sums
    across: Array = found[1] / np.sqrt(moments[1] + eps)
    return across


def by_bias(
    grad: Array,
    x: Array,
    weight: Any,
    bias: Any,
    moments: Array,
    sums: Array | None = None,
    *,
    eps: float,
) -> Array:
    """Return the cotangent of ``bias``: Σ g."""
    return channel_sum(grad) if sums is None else sums[0].copy()


def channel_sum(x: Array) -> Array:
    """Return the sum of each channel of ``(N, C, *)``."""
    rows = _rows(x)
    sums = memory.empty((len(rows), rows.shape[2]), rows.dtype)
    if (fast := _compiled(rows, sums)) is not None:
        _split(rows, lambda part: fast.channel_sums(rows[part], sums[part]))
    else:
        np.add.reduce(rows, axis=1, out=sums)
    return _over_images(sums)
