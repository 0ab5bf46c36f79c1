"""The compiled versions of kernels, each one pass over memory where NumPy makes several.

Imported by `minidl.kernels.selection` alone, since it brings numba. Each function stands for a
NumPy version of the same name in a file beside this one, and does the same operations in the same
order, so that both give the same bits (the sign of a zero is free where a window's maximum is
-0.0 and 0.0 at once). All arrays are C-contiguous and of one dtype.

Traps that made the code so:

- A Python number is 64 bits wide to numba, and float32 with it becomes float64: constants come
  in as scalars of the arrays' dtype.
- An index that may be negative wraps around, and the check for it keeps loops from being
  vectorized: where numba cannot see that it is not, it is made unsigned (10 times in `col2im`).
- ``parallel=True`` would put threads beside those of BLAS, which then spin against each other.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd.primitive import Array
from minidl.kernels.compiled_depthwise import depthwise, depthwise_input, depthwise_weight
from minidl.kernels.compiled_direct import direct_conv, direct_weight
from minidl.kernels.compiled_resampling import resample_affine
from minidl.kernels.compiled_rows import (
    below_top,
    divide_rows,
    erf,
    gelu,
    gelu_gradient,
    row_moments,
    rows_by_weight,
    scale_rows,
    scale_rows_back,
    weigh_rows,
)
from minidl.kernels.compiled_steps import (
    add_relu,
    add_relu_here,
    entropy_gradient,
    entropy_top,
    lstm_back,
    lstm_cell,
    lstm_halved,
    lstm_hidden,
    lstm_of_tanh,
    relu,
    relu_gradient,
    relu_gradient_here,
    relu_here,
    turn,
)
from minidl.kernels.compiled_windows import avg_pool2d, avg_spread, pool_places, spread_places
from minidl.kernels.compiled_winograd import gather_tiles, spread_gradients, spread_tiles
from minidl.kernels.jit import _made, announcer, compiled_so_far, kernel, never_called

__all__ = ["_made", "announcer", "compiled_so_far", "never_called"]
__all__ += ["add_relu", "add_relu_here", "entropy_gradient", "entropy_top", "relu"]
__all__ += ["direct_conv", "direct_weight", "pool_places", "spread_places"]
__all__ += ["lstm_back", "lstm_cell", "lstm_halved", "lstm_hidden", "lstm_of_tanh"]
__all__ += ["resample_affine"]
__all__ += ["relu_gradient", "relu_gradient_here", "relu_here", "turn"]
__all__ += ["below_top", "divide_rows", "erf", "gelu", "gelu_gradient"]
__all__ += ["row_moments", "rows_by_weight", "scale_rows", "scale_rows_back", "weigh_rows"]
__all__ += ["depthwise", "depthwise_input", "depthwise_weight"]
__all__ += ["avg_pool2d", "avg_spread", "gather_tiles", "spread_gradients", "spread_tiles"]

Pair = tuple[int, int]


@kernel
def max_pool2d(images: Array, out: Array, size: Pair, stride: Pair) -> None:
    """Write the maxima of windows of ``images (N, H, W, C)`` to ``out (N, OH, OW, C)``."""
    count, height, width, channels = out.shape
    for n in range(count):
        for y in range(height):
            for x in range(width):
                top, left = y * stride[0], x * stride[1]
                if (size[0] == 2) & (size[1] == 2):
                    for c in range(channels):
                        best, value = images[n, top, left, c], images[n, top, left + 1, c]
                        best = value if (value > best) | (value != value) else best  # NaN wins
                        value = images[n, top + 1, left, c]
                        best = value if (value > best) | (value != value) else best
                        value = images[n, top + 1, left + 1, c]
                        out[n, y, x, c] = value if (value > best) | (value != value) else best
                    continue
                for c in range(channels):
                    out[n, y, x, c] = images[n, top, left, c]
                for i in range(size[0]):
                    for j in range(size[1]):
                        for c in range(channels):
                            best, value = out[n, y, x, c], images[n, top + i, left + j, c]
                            wins = (value > best) | (value != value)
                            out[n, y, x, c] = value if wins else best


@kernel
def unpool(g: Array, images: Array, top: Array, out: Array, size: Pair, every: bool) -> None:
    """Fill windows of ``out (N, H, W, C)`` that do not overlap: ``g`` at the first maximum, else 0.

    ``g`` and ``top`` are ``(N, OH, OW, C)``, ``images`` is as ``out``. ``every`` maximum counts, or
    those above 0 alone.
    """
    count, height, width, channels = g.shape
    zero = g.dtype.type(0)
    free = np.empty(channels, np.bool_)
    for n in range(count):
        for y in range(height):
            for x in range(width):
                free[:] = True
                for i in range(size[0]):
                    for j in range(size[1]):
                        row, column = y * size[0] + i, x * size[1] + j
                        for c in range(channels):
                            best = top[n, y, x, c]
                            hit = (images[n, row, column, c] == best) & free[c]
                            counts = hit & (every | (best > zero))
                            value = g[n, y, x, c]
                            out[n, row, column, c] = value if counts else zero
                            free[c] &= not hit


@kernel
def masked(x: Array, keep: Array, out: Array) -> None:
    """Write ``x`` where ``keep`` holds and 0 elsewhere; all three 1-d."""
    zero = x.dtype.type(0)
    for i in range(x.size):
        out[i] = x[i] if keep[i] else zero


@kernel
def col2im(
    patches: Array,
    images: Array,
    outputs: Pair,
    size: Pair,
    stride: Pair,
    dilation: Pair,
    padding: Pair,
) -> None:
    """Add ``patches (N·OH·OW, KH·KW·C)`` to where they lie in ``images (N, H, W, C)``.

    From the last patch to the first: then an element of the image receives its terms by
    increasing place in the kernel, which is NumPy's order.
    """
    count, height, width, channels = images.shape
    source, target = patches.reshape(-1), images.reshape(-1)
    # Without dilation a row of a patch is one run of memory, in the patch and in the image.
    runs, length = (1, size[1] * channels) if dilation[1] == 1 else (size[1], channels)
    line = width * channels
    for n in range(count):
        for y in range(outputs[0] - 1, -1, -1):
            for x in range(outputs[1] - 1, -1, -1):
                patch = ((n * outputs[0] + y) * outputs[1] + x) * size[0]
                for i in range(size[0]):
                    row = y * stride[0] + i * dilation[0] - padding[0]
                    if row < 0 or row >= height:
                        continue
                    for j in range(runs):
                        start = (x * stride[1] + j * dilation[1] - padding[1]) * channels
                        into = (n * height + row) * line + start
                        out_of = ((patch + i) * runs + j) * length
                        for k in range(max(0, -start), min(length, line - start)):
                            target[np.uintp(into + k)] += source[np.uintp(out_of + k)]


@kernel
def adam(
    value: Array,
    grad: Array,
    mean: Array,
    square: Array,
    shrink: Any,
    decay: Any,
    mean_rate: Any,
    square_kept: Any,
    square_rate: Any,
    scale: Any,
    eps: Any,
    rate: Any,
    tiny: Any,
) -> None:
    """Update ``value``, ``mean`` and ``square``, all 1-d; settings are scalars of their dtype.

    Moments below ``tiny`` become 0.
    """
    zero = value.dtype.type(0)
    for i in range(value.size):
        p, g = value[i] * shrink, grad[i]
        if decay != 0:
            g = g + decay * p
        m = mean[i] + (g - mean[i]) * mean_rate
        v = square[i] * square_kept + g * g * square_rate
        mean[i] = zero if abs(m) < tiny else m
        square[i] = zero if v < tiny else v
        value[i] = p - m / (np.sqrt(v) * scale + eps) * rate


@kernel
def channel_sums(rows: Array, out: Array) -> None:
    """Write sums over the middle axis of ``rows (N, S, C)`` to ``out (N, C)``."""
    count, length, channels = rows.shape
    for n in range(count):
        for c in range(channels):
            out[n, c] = rows[n, 0, c]
        for s in range(1, length):
            for c in range(channels):
                out[n, c] += rows[n, s, c]


@kernel
def channel_squares(rows: Array, mean: Array, out: Array) -> None:
    """Write sums of squares of ``rows - mean`` likewise."""
    count, length, channels = rows.shape
    for n in range(count):
        for c in range(channels):
            centered = rows[n, 0, c] - mean[c]
            out[n, c] = centered * centered
        for s in range(1, length):
            for c in range(channels):
                centered = rows[n, s, c] - mean[c]
                out[n, c] += centered * centered


@kernel
def channel_products(grad: Array, rows: Array, mean: Array, plain: Array, weighted: Array) -> None:
    """Write sums of ``grad`` and of ``grad · (rows - mean)`` likewise."""
    count, length, channels = rows.shape
    for n in range(count):
        for c in range(channels):
            plain[n, c] = grad[n, 0, c]
            weighted[n, c] = (rows[n, 0, c] - mean[c]) * grad[n, 0, c]
        for s in range(1, length):
            for c in range(channels):
                plain[n, c] += grad[n, s, c]
                weighted[n, c] += (rows[n, s, c] - mean[c]) * grad[n, s, c]


@kernel
def scale_channels(
    rows: Array, mean: Array, scale: Array, shift: Array, rectify: bool, out: Array
) -> None:
    """Write ``(rows - mean) · scale + shift``, each of a channel; through ReLU where asked for."""
    count, length, channels = rows.shape
    zero = rows.dtype.type(0)
    for n in range(count):
        for s in range(length):
            for c in range(channels):
                value = (rows[n, s, c] - mean[c]) * scale[c] + shift[c]
                keep = (value > zero) | (value != value) | (not rectify)
                out[n, s, c] = value if keep else zero


@kernel
def normalized_back(
    grad: Array, rows: Array, mean: Array, level: Array, slope: Array, scale: Array, out: Array
) -> None:
    """Write ``(grad - level - (rows - mean) · slope) · scale``, each of a channel."""
    count, length, channels = rows.shape
    for n in range(count):
        for s in range(length):
            for c in range(channels):
                part = (rows[n, s, c] - mean[c]) * slope[c]
                out[n, s, c] = (grad[n, s, c] - level[c] - part) * scale[c]


@kernel
def im2col(
    images: Array,
    patches: Array,
    outputs: Pair,
    size: Pair,
    stride: Pair,
    dilation: Pair,
    padding: Pair,
) -> None:
    """Copy what lies under the kernel: ``images (N, H, W, C)`` to ``patches (N·OH·OW, KH·KW·C)``.

    Padding is written as zeros, so no padded image is made.
    """
    count, height, width, channels = images.shape
    source, target = images.reshape(-1), patches.reshape(-1)
    zero = images.dtype.type(0)
    # Without dilation a row of a patch is one run of memory, in the image and in the patch.
    runs, length = (1, size[1] * channels) if dilation[1] == 1 else (size[1], channels)
    line = width * channels
    into = 0
    for n in range(count):
        for y in range(outputs[0]):
            for x in range(outputs[1]):
                for i in range(size[0]):
                    row = y * stride[0] + i * dilation[0] - padding[0]
                    inside = (row >= 0) & (row < height)
                    for j in range(runs):
                        start = (x * stride[1] + j * dilation[1] - padding[1]) * channels
                        low, high = max(0, -start), min(length, line - start)
                        if not inside or high <= low:
                            low, high = length, length
                        for k in range(low):
                            target[np.uintp(into + k)] = zero
                        out_of = (n * height + row) * line + start
                        for k in range(low, high):
                            target[np.uintp(into + k)] = source[np.uintp(out_of + k)]
                        for k in range(high, length):
                            target[np.uintp(into + k)] = zero
                        into += length


@kernel
def resample(images: Array, rows: Array, columns: Array, out: Array) -> None:
    """Read ``images (N, C, H, W)`` at ``rows`` and ``columns (N, H', W')``, bilinearly."""
    count, channels, height, width = images.shape
    zero, one = images.dtype.type(0), images.dtype.type(1)
    lowest, rightmost = images.dtype.type(height + 1), images.dtype.type(width + 1)
    for n in range(count):
        for i in range(rows.shape[1]):
            for j in range(rows.shape[2]):
                y, x = rows[n, i, j] + one, columns[n, i, j] + one
                y = min(y, lowest) if y > zero else zero
                x = min(x, rightmost) if x > zero else zero
                top, left = min(np.int64(y), height), min(np.int64(x), width)
                down, right = y - images.dtype.type(top), x - images.dtype.type(left)
                for c in range(channels):
                    found = zero
                    for corner in range(4):
                        below, beside = corner // 2, corner % 2
                        weight = (down if below else one - down) * (
                            right if beside else one - right
                        )
                        row, column = top + below - 1, left + beside - 1
                        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
                        value = images[n, c, row, column] if inside else zero
                        found += weight * value
                    out[n, c, i, j] = found


@kernel
def im2row(
    images: Array,
    patches: Array,
    outputs: Pair,
    size: Pair,
    stride: Pair,
    dilation: Pair,
    padding: Pair,
) -> None:
    """Copy ``images (N, C, H, W)`` to ``patches (≥ C·KH·KW, N·OH·OW)``, a patch a column.

    A row of patches is the image moved by some pixels, line by line, so runs are long.
    """
    count, channels, height, width = images.shape
    source, target = images.reshape(-1), patches.reshape(-1)
    zero = images.dtype.type(0)
    for place in range(channels * size[0] * size[1]):
        c, i, j = place // (size[0] * size[1]), place // size[1] % size[0], place % size[1]
        left = j * dilation[1] - padding[1]
        # where the line of patches is within the image: 0 <= x · stride + left < width
        low = min(outputs[1], max(0, (stride[1] - 1 - left) // stride[1]))
        high = min(outputs[1], max(low, (width - 1 - left) // stride[1] + 1))
        into = place * patches.shape[1]
        for n in range(count):
            for y in range(outputs[0]):
                row = y * stride[0] + i * dilation[0] - padding[0]
                inside = (row >= 0) & (row < height)
                first, last = (low, high) if inside else (outputs[1], outputs[1])
                start = ((n * channels + c) * height + row) * width + left
                for x in range(first):
                    target[np.uintp(into + x)] = zero
                if stride[1] == 1:
                    for x in range(first, last):
                        target[np.uintp(into + x)] = source[np.uintp(start + x)]
                else:
                    for x in range(first, last):
                        target[np.uintp(into + x)] = source[np.uintp(start + x * stride[1])]
                for x in range(last, outputs[1]):
                    target[np.uintp(into + x)] = zero
                into += outputs[1]
