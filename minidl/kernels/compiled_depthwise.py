"""The compiled kernels of `minidl.kernels.depthwise`: a line of the result at a time.

A line stays in the first cache while all places of the kernel are added to it, in NumPy's order.
Weights come as lines too, repeated for every pixel, so that without a stride the inner loop goes
along the whole line. Where a kernel is three pixels wide its three products are taken in one go.
"""

from __future__ import annotations

import numba
import numpy as np

from minidl.autograd.primitive import Array
from minidl.kernels.jit import kernel

Pair = tuple[int, int]

inlined = numba.njit(inline="always", error_model="numpy")


@inlined  # type: ignore[untyped-decorator, unused-ignore]
def _reach(length: int, image: int, at: int, stride: int, padding: int) -> Pair:
    """Return the outputs, first and behind the last, that meet the image at offset ``at``."""
    first = max(0, -((at - padding) // stride))
    return first, max(first, min(length, (image - 1 + padding - at) // stride + 1))


@inlined  # type: ignore[untyped-decorator, unused-ignore]
def _one(source: Array, pixel: int, taps: Array, into: Array, place: int, length: int) -> None:
    pixels, out = source[pixel : pixel + length], into[place : place + length]
    for k in range(length):
        out[k] += pixels[k] * taps[k]


@inlined  # type: ignore[untyped-decorator, unused-ignore]
def _three(
    source: Array, pixel: int, step: int, taps: Array, into: Array, place: int, length: int
) -> None:
    one, two = source[pixel : pixel + length], source[pixel + step : pixel + step + length]
    three = source[pixel + 2 * step : pixel + 2 * step + length]
    first, second, third = taps[0], taps[1], taps[2]
    out = into[place : place + length]
    for k in range(length):
        out[k] = ((out[k] + one[k] * first[k]) + two[k] * second[k]) + three[k] * third[k]


@kernel
def depthwise(
    images: Array, taps: Array, out: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    """Add the correlation of ``images (N, H, W, C)`` to ``out (N, OH, OW, C)``.

    ``taps (KH, KW, OW·C)`` are lines of weights.
    """
    count, height, width, channels = images.shape
    _, rows, columns, _ = out.shape
    source, into = images.reshape(-1), out.reshape(-1)
    step = dilation[1] * channels
    left, right = columns, columns  # from where to where a pixel meets the image in three places
    if taps.shape[1] == 3:
        left = _reach(columns, width, 0, stride[1], padding[1])[0]
        right = max(left, _reach(columns, width, 2 * dilation[1], stride[1], padding[1])[1])
    for line in range(count * rows):
        start, image = line * columns * channels, line // rows * height
        for i in range(taps.shape[0]):
            row = line % rows * stride[0] + i * dilation[0] - padding[0]
            if (row < 0) | (row >= height):
                continue
            origin = (image + row) * width - padding[1]
            if (stride[1] == 1) & (right > left):
                pixel, length = (origin + left) * channels, (right - left) * channels
                _three(source, pixel, step, taps[i], into, start + left * channels, length)
            else:
                for x in range(left, right):
                    pixel = (origin + x * stride[1]) * channels
                    _three(source, pixel, step, taps[i], into, start + x * channels, channels)
            for j in range(taps.shape[1]):
                at = j * dilation[1]
                first, behind = _reach(columns, width, at, stride[1], padding[1])
                for x in range(first, behind):
                    if (x < left) | (x >= right):
                        pixel = (origin + x * stride[1] + at) * channels
                        _one(source, pixel, taps[i, j], into, start + x * channels, channels)


@kernel
def depthwise_input(
    g: Array, taps: Array, out: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    """Add ``g (N, OH, OW, C)`` times the kernels to where it came from in ``out (N, H, W, C)``.

    ``taps (KH, KW, W·C)`` are lines of weights.
    """
    count, rows, columns, channels = g.shape
    _, height, width, _ = out.shape
    source, into = g.reshape(-1), out.reshape(-1)
    step = -dilation[1] * channels
    left, right = width, width  # from where to where a pixel was met in three places
    if (taps.shape[1] == 3) & (stride[1] == 1):
        left = min(width, max(0, 2 * dilation[1] - padding[1]))
        right = max(left, min(width, columns - padding[1]))
    for line in range(count * height):
        start, image = line * width * channels, line // height * rows
        for i in range(taps.shape[0]):
            moved = line % height + padding[0] - i * dilation[0]
            y = moved // stride[0]
            if (moved < 0) | (moved % stride[0] != 0) | (y >= rows):
                continue
            origin = (image + y) * columns
            if right > left:
                pixel, length = (origin + left + padding[1]) * channels, (right - left) * channels
                _three(source, pixel, step, taps[i], into, start + left * channels, length)
            for j in range(taps.shape[1]):
                at = j * dilation[1] - padding[1]
                first, behind = _reach(columns, width, at + padding[1], stride[1], padding[1])
                for x in range(first, behind):
                    column = x * stride[1] + at
                    if (column < left) | (column >= right):
                        pixel = (origin + x) * channels
                        _one(source, pixel, taps[i, j], into, start + column * channels, channels)


@kernel
def depthwise_weight(
    g: Array, images: Array, sums: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    """Add products of ``g (N, OH, OW, C)`` and ``images (N, H, W, C)`` to ``sums (N, KH, KW, C)``.

    Those of an image, line by line.
    """
    count, rows, columns, channels = g.shape
    _, height, width, _ = images.shape
    left, right = g.reshape(-1), images.reshape(-1)
    total = np.empty(channels, g.dtype)
    for line in range(count * rows):
        n, y = line // rows, line % rows
        for i in range(sums.shape[1]):
            row = y * stride[0] + i * dilation[0] - padding[0]
            if (row < 0) | (row >= height):
                continue
            for j in range(sums.shape[2]):
                at = j * dilation[1]
                first, behind = _reach(columns, width, at, stride[1], padding[1])
                for c in range(channels):
                    total[c] = sums[n, i, j, c]
                for x in range(first, behind):
                    place = (line * columns + x) * channels
                    column = x * stride[1] + at - padding[1]
                    pixel = ((n * height + row) * width + column) * channels
                    for c in range(channels):
                        total[c] += left[np.uintp(place + c)] * right[np.uintp(pixel + c)]
                for c in range(channels):
                    sums[n, i, j, c] = total[c]
