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


@kernel
def pool_places(images: Array, top: Array, places: Array) -> None:
    """Write maxima of 2x2 windows of ``images (N, H, W, C)``, which ReLU gave, and where they are.

    ``places (N, OH, OW, C)`` count the first maximum's place from 0 to 3; 4 is for none above 0.
    """
    count, height, width, channels = top.shape
    zero = images.dtype.type(0)
    first, second, third = np.uint8(0), np.uint8(1), np.uint8(2)
    fourth, none = np.uint8(3), np.uint8(4)
    flat, line = images.reshape(-1), images.shape[2] * channels
    into, where, at = top.reshape(-1), places.reshape(-1), 0
    for n in range(count):
        for y in range(height):
            base = (n * images.shape[1] + 2 * y) * line
            for _ in range(width):
                for c in range(channels):
                    v0, v1 = flat[np.uintp(base + c)], flat[np.uintp(base + channels + c)]
                    v2 = flat[np.uintp(base + line + c)]
                    v3 = flat[np.uintp(base + line + channels + c)]
                    best = v1 if (v1 > v0) | (v1 != v1) else v0
                    best = v2 if (v2 > best) | (v2 != v2) else best
                    best = v3 if (v3 > best) | (v3 != v3) else best
                    place = fourth if v3 == best else none
                    place = third if v2 == best else place
                    place = second if v1 == best else place
                    place = first if v0 == best else place
                    into[np.uintp(at + c)] = best
                    where[np.uintp(at + c)] = place if best > zero else none
                at += channels
                base += 2 * channels


@kernel
def spread_places(g: Array, places: Array, out: Array) -> None:
    """Write ``g (N, OH, OW, C)`` to the ``places`` that `pool_places` found, and 0 elsewhere."""
    count, height, width, channels = g.shape
    zero = g.dtype.type(0)
    given, where, at = g.reshape(-1), places.reshape(-1), 0
    flat, line = out.reshape(-1), out.shape[2] * channels
    for n in range(count):
        for y in range(height):
            base = (n * out.shape[1] + 2 * y) * line
            for _ in range(width):
                for k in range(4):
                    place, start = np.uint8(k), base + k // 2 * line + k % 2 * channels
                    for c in range(channels):
                        here = where[np.uintp(at + c)] == place
                        flat[np.uintp(start + c)] = given[np.uintp(at + c)] if here else zero
                at += channels
                base += 2 * channels
