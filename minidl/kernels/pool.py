"""Pooling by offsets: one pass over the output for each place in the window.

Element (i, j) of every window is one strided slice of the (padded) image, so a 2x2 pooling is
four slices combined elementwise. NumPy keeps the memory order of its inputs, so channels-last
images stay channels-last.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.autograd.arrays import like
from minidl.autograd.primitive import Array
from minidl.kernels import memory, parallel, selection
from minidl.kernels.conv import Pair, channels_last, output_size
from minidl.kernels.masking import masked


def _slices(out: Pair, size: Pair, stride: Pair) -> Iterator[tuple[Any, ...]]:
    for i in range(size[0]):
        for j in range(size[1]):
            yield (
                slice(None),
                slice(None),
                slice(i, i + stride[0] * (out[0] - 1) + 1, stride[0]),
                slice(j, j + stride[1] * (out[1] - 1) + 1, stride[1]),
            )


def _padded(x: Array, padding: Pair, fill: float) -> Array:
    if padding == (0, 0):
        return x
    n, c, h, w = x.shape
    out = _empty(n, c, h + 2 * padding[0], w + 2 * padding[1], x)
    out[...] = fill
    out[:, :, padding[0] : padding[0] + h, padding[1] : padding[1] + w] = x
    return out


def _empty(n: int, c: int, h: int, w: int, other: Array) -> Array:
    """Allocate ``(n, c, h, w)``, channels last in memory if ``other`` is."""
    if other.strides[1] < other.strides[3]:
        return memory.empty((n, h, w, c), other.dtype, other).transpose(0, 3, 1, 2)
    return memory.empty((n, c, h, w), other.dtype, other)


def _channels_last(x: Array) -> Array:
    """View as ``(N, H, W, C)``, the order in which compiled kernels walk."""
    return x.transpose(0, 2, 3, 1)


def _cropped(x: Array, padding: Pair) -> Array:
    h, w = x.shape[2] - padding[0], x.shape[3] - padding[1]
    return x[:, :, padding[0] : h, padding[1] : w]


def _lowest(dtype: np.dtype[Any]) -> Any:
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def max_pool2d(x: Array, *, size: Pair, stride: Pair, padding: Pair) -> Array:
    """Return the largest element of each window of ``x (N, C, H, W)``."""
    out_size = output_size("max_pool2d", x.shape[2:], size, stride, padding, (1, 1))
    images = _padded(x, padding, _lowest(x.dtype))
    laid = _channels_last(images)
    if (fast := selection.compiled(laid)) is not None:
        best = memory.empty((len(x), *out_size, x.shape[1]), x.dtype)
        parallel.over(
            len(x), x.size, lambda part: fast.max_pool2d(laid[part], best[part], size, stride)
        )
        return best.transpose(0, 3, 1, 2)
    places = _slices(out_size, size, stride)
    out = images[next(places)].copy(order="K")
    for place in places:
        np.maximum(out, images[place], out=out)
    return out


def _hits(x: Array, top: Array, size: Pair, stride: Pair) -> Iterator[tuple[Any, Array]]:
    """For each place in the window: where the maximum ``top`` is first met there."""
    free: Array | None = None
    for place in _slices((top.shape[2], top.shape[3]), size, stride):
        hit = x[place] == top
        if free is None:
            free = ~hit
        else:
            hit &= free
            free ^= hit
        yield place, hit


def _laid_as(like: Array, g: Array) -> Array:
    """Return ``g`` in the memory order of ``like``: elementwise work on two orders is slow."""
    if g.strides == like.strides:
        return g
    out = np.empty_like(like, dtype=g.dtype)
    out[...] = g
    return out


def unpool(
    g: Array,
    x: Array,
    top: Array,
    *,
    size: Pair,
    stride: Pair,
    padding: Pair,
    rectified: bool = False,
) -> Array:
    """Put ``g`` where the maxima ``top`` were found in ``x``: the first place that has them.

    If ``x`` is ``rectified``, that is, if it is what ReLU gave, the result is the gradient of what
    ReLU was given: nothing where the maximum is not above 0.
    """
    images = _padded(x, padding, _lowest(x.dtype))
    g = _laid_as(top, g)
    # Windows that tile the image: every element belongs to one, so nothing is added up.
    tiles = stride == size
    exact = tiles and (top.shape[2] * size[0], top.shape[3] * size[1]) == images.shape[2:]
    n, c, h, w = images.shape
    out = _empty(n, c, h, w, images) if images.dtype == g.dtype else None
    if out is None or out.strides != images.strides:  # in no order that is planned for
        out = np.empty_like(images, g.dtype)
    if not exact:
        out.fill(0)
    if tiles and (fast := selection.compiled(*map(_channels_last, (out, images, top, g)))):
        given = [_channels_last(array) for array in (g, images, top, out)]
        parallel.over(
            n,
            2 * images.size,
            lambda part: fast.unpool(*(array[part] for array in given), size, not rectified),
        )
        return _cropped(out, padding)
    if rectified:
        g = masked(g, top > 0)
    for place, hit in _hits(images, top, size, stride):
        if tiles:
            masked(g, hit, out=out[place])
        else:
            out[place] += masked(g, hit)
    return _cropped(out, padding)


def pick(t: Array, x: Array, top: Array, *, size: Pair, stride: Pair, padding: Pair) -> Array:
    """Take from ``t`` the elements that are the maxima ``top`` in ``x``."""
    images = _padded(x, padding, _lowest(x.dtype))
    values = _padded(t, padding, 0.0)
    out = np.zeros_like(top, dtype=t.dtype)
    for place, hit in _hits(images, top, size, stride):
        out += masked(values[place], hit)
    return out


def _counts(
    x: Array, image: Any, out: Pair, size: Pair, stride: Pair, padding: Pair, include: bool
) -> Any:
    """By how many elements each window's sum is divided."""
    if include or padding == (0, 0):
        return size[0] * size[1]
    ones = _padded(like(np.ones((1, 1, *image)), x), padding, 0.0)
    total = np.zeros((1, 1, *out), like=x)
    for place in _slices(out, size, stride):
        total += ones[place]
    return total


def avg_pool2d(
    x: Array, *, size: Pair, stride: Pair, padding: Pair, count_include_pad: bool
) -> Array:
    """Return the mean of each window of ``x (N, C, H, W)``."""
    out_size = output_size("avg_pool2d", x.shape[2:], size, stride, padding, (1, 1))
    images = _padded(x, padding, 0.0)
    plain = count_include_pad or padding == (0, 0)
    fast = selection.compiled(_channels_last(images)) if plain else None
    if fast is not None:
        mean = memory.empty((len(x), *out_size, x.shape[1]), x.dtype)
        every, number = _channels_last(images), x.dtype.type(size[0] * size[1])
        parallel.over(
            len(x),
            x.size,
            lambda part: fast.avg_pool2d(every[part], mean[part], size, stride, number),
        )
        return mean.transpose(0, 3, 1, 2)
    places = _slices(out_size, size, stride)
    out = images[next(places)].copy(order="K")
    for place in places:
        out += images[place]
    counts = _counts(x, x.shape[2:], out_size, size, stride, padding, count_include_pad)
    return np.divide(out, counts, out=out, casting="same_kind")


def spread(
    g: Array, *, image: Pair, size: Pair, stride: Pair, padding: Pair, count_include_pad: bool
) -> Array:
    """Spread ``g`` evenly over its windows: the adjoint of `avg_pool2d`."""
    n, c, *out_size = g.shape
    if c > 1 and type(g) is np.ndarray:  # behind a Flatten it lies channels-first
        g = channels_last(g).transpose(0, 3, 1, 2)
    plain = size == stride and padding == (0, 0)  # windows that do not overlap
    laid = _channels_last(g)
    if plain and (fast := selection.compiled(laid)) is not None:
        whole = memory.zeros((n, *image, c), g.dtype)
        number = g.dtype.type(size[0] * size[1])
        parallel.over(
            n, whole.size, lambda part: fast.avg_spread(laid[part], whole[part], size, number)
        )
        return whole.transpose(0, 3, 1, 2)
    counts = _counts(g, image, (out_size[0], out_size[1]), size, stride, padding, count_include_pad)
    share = np.divide(g, counts, dtype=g.dtype, casting="same_kind")
    out = _empty(n, c, image[0] + 2 * padding[0], image[1] + 2 * padding[1], g)
    out[...] = 0
    for place in _slices((out_size[0], out_size[1]), size, stride):
        out[place] += share
    return _cropped(out, padding)
