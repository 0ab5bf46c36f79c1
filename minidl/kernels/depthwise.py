"""Depthwise convolution: each channel with a kernel of its own, over images channels-last.

There is no sum over channels that BLAS could take, so the sum over the kernel's places is taken
here, place by place: each is a slice of the images times a row of weights. What would lie outside
of the image is left out, so nothing is padded. Weights are ``(C, 1, KH, KW)``, as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from minidl.autograd.primitive import Array
from minidl.kernels import memory, parallel, selection
from minidl.kernels.conv import Pair, channels_last, output_size


class _Place(NamedTuple):
    """A place of the kernel: where outputs meet the image there."""

    tap: Pair
    outputs: tuple[Any, ...]
    inputs: tuple[Any, ...]


def _reach(length: int, image: int, at: int, stride: int, padding: int) -> tuple[slice, slice]:
    """Return which outputs along an axis meet the image at offset ``at``, and which pixels."""
    first = max(0, -(-(padding - at) // stride))
    behind = min(length, (image - 1 + padding - at) // stride + 1)
    if behind <= first:
        return slice(0, 0), slice(0, 0)
    start = first * stride + at - padding
    return slice(first, behind), slice(start, start + (behind - first - 1) * stride + 1, stride)


def _places(
    out: Pair, image: Any, kernel: Any, stride: Pair, padding: Pair, dilation: Pair
) -> Iterator[_Place]:
    for i in range(kernel[0]):
        rows = _reach(out[0], image[0], i * dilation[0], stride[0], padding[0])
        for j in range(kernel[1]):
            columns = _reach(out[1], image[1], j * dilation[1], stride[1], padding[1])
            every = slice(None)
            yield _Place((i, j), (every, rows[0], columns[0]), (every, rows[1], columns[1]))


def _taps(weight: Array) -> Array:
    """Lay ``(C, 1, KH, KW)`` as ``(KH, KW, C)``."""
    return np.ascontiguousarray(weight[:, 0].transpose(1, 2, 0), like=weight)


def conv2d(x: Array, weight: Array, *, stride: Pair, padding: Pair, dilation: Pair) -> Array:
    """Correlate each channel of ``x (N, C, H, W)`` with its kernel in ``weight (C, 1, KH, KW)``."""
    kernel = weight.shape[2:]
    size = output_size("conv2d", x.shape[2:], kernel, stride, padding, dilation)
    images, taps = channels_last(x), _taps(weight)
    dtype = np.result_type(x, weight)
    out = memory.zeros((len(x), *size, x.shape[1]), dtype, x)
    if (fast := selection.compiled(out, images, taps)) is not None:
        lines = np.tile(taps, size[1])
        parallel.over(
            len(x),
            out.size * kernel[0] * kernel[1],
            lambda part: fast.depthwise(images[part], lines, out[part], stride, padding, dilation),
        )
    else:
        for place in _places(size, x.shape[2:], kernel, stride, padding, dilation):
            out[place.outputs] += images[place.inputs] * taps[place.tap]
    return out.transpose(0, 3, 1, 2)


def conv2d_input(
    g: Array, weight: Array, *, size: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Array:
    """Spread ``g (N, C, OH, OW)`` back over the images of height and width ``size``."""
    rows, taps = channels_last(g), _taps(weight)
    out = memory.zeros((len(g), *size, g.shape[1]), np.result_type(g, weight), g)
    if (fast := selection.compiled(out, rows, taps)) is not None:
        lines = np.tile(taps, size[1])
        parallel.over(
            len(g),
            rows.size * weight.shape[2] * weight.shape[3],
            lambda part: fast.depthwise_input(
                rows[part], lines, out[part], stride, padding, dilation
            ),
        )
    else:
        for place in _places(g.shape[2:], size, weight.shape[2:], stride, padding, dilation):
            out[place.inputs] += rows[place.outputs] * taps[place.tap]
    return out.transpose(0, 3, 1, 2)


def conv2d_weight(
    g: Array, x: Array, *, size: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Array:
    """Correlate ``g (N, C, OH, OW)`` with ``x``: the gradient of the weight, kernels of ``size``.

    Sums are taken image by image, as `minidl.kernels.norm` takes them, and then over the images.
    """
    count, channels = g.shape[:2]
    rows, images = channels_last(g), channels_last(x)
    sums = memory.zeros((count, *size, channels), np.result_type(g, x), g)
    fast = selection.compiled(sums, rows, images, small=True) if channels > 1 else None
    if fast is not None:
        parallel.over(
            count,
            rows.size * size[0] * size[1],
            lambda part: fast.depthwise_weight(
                rows[part], images[part], sums[part], stride, padding, dilation
            ),
        )
    else:
        for place in _places(g.shape[2:], x.shape[2:], size, stride, padding, dilation):
            products = rows[place.outputs] * images[place.inputs]
            if products.size:
                flat = products.reshape(count, -1, channels)
                np.add.reduce(flat, axis=1, out=sums[(slice(None), *place.tap)])
    total: Array = np.add.reduce(sums, axis=0)
    return total.transpose(2, 0, 1)[:, np.newaxis]
