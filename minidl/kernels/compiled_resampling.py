"""The compiled version of reading images at places that an affine map gives, row by row."""

from __future__ import annotations

import numpy as np

from minidl.autograd.primitive import Array
from minidl.kernels.jit import kernel


@kernel
def resample_affine(
    images: Array, back: Array, start: Array, middle: Array, framed: Array, out: Array
) -> None:
    """Read ``images (N, C, H, W)`` where ``back (N, 2, 2)`` maps each pixel of ``out``, bilinearly.

    ``framed (H + 2, W + 2)``, zeros at first, holds the image at hand: with its border no pixel
    needs a mask, so that a row is computed without branches.
    """
    count, channels, height, width = images.shape
    kind = images.dtype.type
    zero, one = kind(0), kind(1)
    lowest, rightmost = kind(height + 1), kind(width + 1)
    line = np.int32(width + 2)
    last, side = np.int32(height), np.int32(width)
    flat, below = framed.reshape(-1), np.uintp(width + 2)
    corners = np.empty(width, np.int32)
    downs, rights = np.empty(width, images.dtype), np.empty(width, images.dtype)
    for n in range(count):
        for channel in range(channels):
            for i in range(height):
                for j in range(width):
                    framed[i + 1, j + 1] = images[n, channel, i, j]
            for i in range(height):
                dy = kind(i) - start[n, 0]
                along, across = back[n, 0, 0] * dy, back[n, 1, 0] * dy
                for j in range(width):
                    dx = kind(np.int32(j)) - start[n, 1]
                    y = along + back[n, 0, 1] * dx + middle[0] + one
                    x = across + back[n, 1, 1] * dx + middle[1] + one
                    y = min(y, lowest) if y > zero else zero
                    x = min(x, rightmost) if x > zero else zero
                    top, left = min(np.int32(y), last), min(np.int32(x), side)
                    downs[j], rights[j] = y - kind(top), x - kind(left)
                    corners[j] = top * line + left
                for j in range(width):
                    down, right, corner = downs[j], rights[j], np.uintp(corners[j])
                    found = zero + (one - down) * (one - right) * flat[corner]
                    found += (one - down) * right * flat[corner + np.uintp(1)]
                    found += down * (one - right) * flat[corner + below]
                    found += down * right * flat[corner + below + np.uintp(1)]
                    out[n, channel, i, j] = found
