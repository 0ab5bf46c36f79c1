"""Images read at places between their pixels, as augmentation does."""

from __future__ import annotations

import numpy as np

from minidl.autograd.primitive import Array
from minidl.kernels import selection


def resample_affine(images: Array, back: Array, start: Array) -> Array:
    """Read each image where an affine map about its middle takes each pixel of the new one.

    On the thread that it is on: beside a step, a prefetching thread must not take the threads that
    the step's kernels share.

    Parameters
    ----------
    images
        ``(N, C, H, W)``.
    back
        ``(N, 2, 2)``, acting on ``(y, x)``: from the new image to the old one.
    start
        ``(N, 2)``: the pixel of the new image that is the middle of the old one.
    """
    h, w = images.shape[2:]
    middle = np.array([(h - 1) / 2, (w - 1) / 2], back.dtype)
    if (fast := selection.compiled(images, back, start)) is not None:
        out, framed = np.empty(images.shape, images.dtype), np.zeros((h + 2, w + 2), images.dtype)
        fast.resample_affine(images, back, start, middle, framed, out)
        return out
    dy = np.arange(h, dtype=back.dtype)[:, None] - start[:, 0, None, None]
    dx = np.arange(w, dtype=back.dtype) - start[:, 1, None, None]
    a, b, c, d = (back[:, i, j, None, None] for i in (0, 1) for j in (0, 1))
    return resample(images, a * dy + b * dx + middle[0], c * dy + d * dx + middle[1])


def resample(images: Array, y: Array, x: Array) -> Array:
    """Read each image at places between its pixels, bilinearly; 0 beyond its border.

    Parameters
    ----------
    images
        ``(N, C, H, W)``.
    y, x
        ``(N, H', W')``: where each new pixel is read, in pixels of the old image.
    """
    n, c, h, w = images.shape
    y, x = np.ascontiguousarray(y), np.ascontiguousarray(x)
    if (fast := selection.compiled(images, y, x)) is not None:
        made = np.empty((n, c, *y.shape[1:]), images.dtype)
        fast.resample(images, y, x, made)
        return made
    framed = np.zeros((n, c, h + 2, w + 2), images.dtype)  # a border of zeros spares all masks
    framed[:, :, 1:-1, 1:-1] = images
    y, x = np.clip(y + 1.0, 0.0, h + 1.0), np.clip(x + 1.0, 0.0, w + 1.0)
    top, left = np.minimum(y.astype(np.int32), h), np.minimum(x.astype(np.int32), w)
    down, right = (y - top).astype(images.dtype), (x - left).astype(images.dtype)
    flat, size = framed.reshape(-1), (h + 2) * (w + 2)
    planes = np.arange(n * c, dtype=np.intp).reshape(n, c, 1) * size
    corner = planes + (top * (w + 2) + left).reshape(n, 1, -1)
    shape = (n, 1, corner.shape[2])
    down, right = down.reshape(shape), right.reshape(shape)
    out = np.zeros(corner.shape, images.dtype)
    for step, weight in (
        (0, (1 - down) * (1 - right)),
        (1, (1 - down) * right),
        (w + 2, down * (1 - right)),
        (w + 3, down * right),
    ):
        out += weight * flat[corner + step]
    return out.reshape(n, c, *top.shape[1:])
