"""The compiled sums of `minidl.kernels.direct`: see there for what they are.

The innermost loop runs over the output channels, which lie side by side, so it computes eight or
more at a time; the pixels that it needs are plain numbers then, read once. An image is copied into
a frame of zeros first, so that no pixel asks whether it is inside. A weight's gradient takes four
pixels and three taps in one turn of the loop: what they are added to is loaded and stored once.
What is read or added to at each pixel is copied first, since numba's memory begins at multiples of
32 bytes: across the border of two cache lines it takes half as long again.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from minidl.autograd.primitive import Array
from minidl.kernels.jit import kernel

Pair = tuple[int, int]

inlined = numba.njit(inline="always", error_model="numpy")


@inlined  # type: ignore[untyped-decorator, unused-ignore]
def _put_in_frame(image: Array, padding: Pair, frame: Array) -> None:
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            frame[y + padding[0], x + padding[1]] = image[y, x]


@inlined  # type: ignore[untyped-decorator, unused-ignore]
def _three(flat: Array, start: Any) -> Any:
    return flat[np.uintp(start)], flat[np.uintp(start + 1)], flat[np.uintp(start + 2)]


@kernel
def direct_conv(
    images: Array, taps: Array, bias: Array, padding: Pair, rectify: bool, out: Array
) -> None:
    """Write ``bias (O,)`` plus ``images (N, H, W)`` by ``taps (9, O)`` to ``out (N, OH, OW, O)``.

    Each sum goes from the first tap to the last. And through ReLU where asked for.
    """
    count, height, width, outputs = out.shape
    zero = images.dtype.type(0)
    wide = images.shape[2] + 2 * padding[1]
    frame = np.zeros((images.shape[1] + 2 * padding[0], wide), images.dtype)
    pixels, flat, at = frame.reshape(-1), out.reshape(-1), 0
    taps, bias = taps.copy(), bias.copy()
    for n in range(count):
        _put_in_frame(images[n], padding, frame)
        for y in range(height):
            for x in range(width):
                start = y * wide + x
                p0, p1, p2 = _three(pixels, start)
                p3, p4, p5 = _three(pixels, start + wide)
                p6, p7, p8 = _three(pixels, start + 2 * wide)
                for c in range(outputs):
                    value = bias[c] + p0 * taps[0, c] + p1 * taps[1, c] + p2 * taps[2, c]
                    value = value + p3 * taps[3, c] + p4 * taps[4, c] + p5 * taps[5, c]
                    value = value + p6 * taps[6, c] + p7 * taps[7, c] + p8 * taps[8, c]
                    keep = (value > zero) | (value != value) | (not rectify)
                    flat[np.uintp(at + c)] = value if keep else zero
                at += outputs


@kernel
def direct_weight(images: Array, g: Array, padding: Pair, sums: Array) -> None:
    """Add the products of ``images (N, H, W)`` and ``g (N, OH, OW, O)`` to ``sums (3, 3·O)``.

    Pixel after pixel, line by line.
    """
    count, height, width, outputs = g.shape
    wide = images.shape[2] + 2 * padding[1]
    frame = np.zeros((images.shape[1] + 2 * padding[0], wide), images.dtype)
    pixels, flat = frame.reshape(-1), g.reshape(-1)
    fours, into = width // 4 * 4, sums.copy()
    for n in range(count):
        _put_in_frame(images[n], padding, frame)
        for y in range(height):
            line = (n * height + y) * width
            for x in range(0, fours, 4):
                a = (line + x) * outputs
                for i in range(3):
                    start = (y + i) * wide + x
                    p0, p1, p2 = _three(pixels, start)
                    p3, p4, p5 = _three(pixels, start + 3)
                    for c in range(outputs):
                        d, e = np.uintp(c + outputs), np.uintp(c + 2 * outputs)
                        g0, g1 = flat[np.uintp(a + c)], flat[np.uintp(a + outputs + c)]
                        g2 = flat[np.uintp(a + 2 * outputs + c)]
                        g3 = flat[np.uintp(a + 3 * outputs + c)]
                        into[i, c] = into[i, c] + g0 * p0 + g1 * p1 + g2 * p2 + g3 * p3
                        into[i, d] = into[i, d] + g0 * p1 + g1 * p2 + g2 * p3 + g3 * p4
                        into[i, e] = into[i, e] + g0 * p2 + g1 * p3 + g2 * p4 + g3 * p5
            for x in range(fours, width):
                a = (line + x) * outputs
                for i in range(3):
                    p0, p1, p2 = _three(pixels, (y + i) * wide + x)
                    for c in range(outputs):
                        g0 = flat[np.uintp(a + c)]
                        into[i, c] += g0 * p0
                        into[i, np.uintp(c + outputs)] += g0 * p1
                        into[i, np.uintp(c + 2 * outputs)] += g0 * p2
    sums[:] = into
