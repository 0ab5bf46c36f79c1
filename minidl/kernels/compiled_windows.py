"""Compiled kernels of pooling that do two operations at once, or means.

Images are ``(N, H, W, C)``; the rules are those of `minidl.kernels.compiled`, which hands them on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd.primitive import Array
from minidl.kernels.jit import kernel

Pair = tuple[int, int]


@kernel
def avg_pool2d(images: Array, out: Array, size: Pair, stride: Pair, elements: Any) -> None:
    """Write the means of windows of ``images`` to ``out (N, OH, OW, C)``."""
    count, height, width, channels = out.shape
    for n in range(count):
        for y in range(height):
            for x in range(width):
                top, left = y * stride[0], x * stride[1]
                if (size[0] == 2) & (size[1] == 2):
                    for c in range(channels):
                        above = images[n, top, left, c] + images[n, top, left + 1, c]
                        total = above + images[n, top + 1, left, c]
                        out[n, y, x, c] = (total + images[n, top + 1, left + 1, c]) / elements
                    continue
                for c in range(channels):
                    out[n, y, x, c] = images[n, top, left, c]
                for k in range(1, size[0] * size[1]):
                    row, column = top + k // size[1], left + k % size[1]
                    for c in range(channels):
                        out[n, y, x, c] += images[n, row, column, c]
                for c in range(channels):
                    out[n, y, x, c] /= elements


@kernel
def avg_spread(g: Array, out: Array, size: Pair, elements: Any) -> None:
    """Add ``g (N, OH, OW, C)`` divided by ``elements`` to its windows, which do not overlap."""
    count, height, width, channels = g.shape
    share = np.empty(channels, g.dtype)
    line = out.shape[2] * channels
    flat, used = out.reshape(-1), width * size[1] * channels
    for n in range(count):
        for y in range(height):
            start = (n * out.shape[1] + y * size[0]) * line
            into = start
            for x in range(width):
                for c in range(channels):
                    share[c] = g[n, y, x, c] / elements
                for _ in range(size[1]):
                    for c in range(channels):
                        flat[np.uintp(into + c)] += share[c]
                    into += channels
            for i in range(1, size[0]):  # the other lines of the windows are the same
                below = start + i * line
                for k in range(used):
                    flat[np.uintp(below + k)] = flat[np.uintp(start + k)]
