"""Convolution of images of one channel, as most models of digits begin: plain sums, no patches.

A patch of such an image is a handful of numbers. To copy patches out and multiply them by BLAS
takes longer than to multiply each pixel with all output channels at once, right where it lies. The
order of each sum is fixed, here and in the compiled version: a result begins with the bias and
takes its taps from the first to the last; a weight's gradient takes the pixels of its group of
images line by line.

This is for where there are compiled kernels. NumPy's version gives the same bits until they are
loaded, and takes longer than patches.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd.arrays import others
from minidl.autograd.primitive import Array
from minidl.kernels import memory, parallel, selection

Pair = tuple[int, int]

#: Multiples of so many output channels fill the registers that a loop over them takes.
OUTPUTS = 16

_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


def pays(images: Any, other: Any, channels: Pair, kernel: Any, how: dict[str, Pair]) -> bool:
    """Whether to convolve so: one channel, many outputs, 3x3 kernels that go step by step.

    ``images (N, C, H, W)`` and ``other`` are what is multiplied, or what is known of such arrays;
    ``channels`` those in and out.
    """
    if tuple(kernel) != (3, 3) or channels[0] != 1 or channels[1] % OUTPUTS:
        return False
    if how["stride"] != (1, 1) or how["dilation"] != (1, 1) or 0 in images.shape:
        return False
    if images.dtype != other.dtype or images.dtype not in _DTYPES or type(images) in others:
        return False
    return selection.possible()  # NumPy's sums take longer than patches


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None,
    padding: Pair,
    size: Pair,
    rectify: bool = False,
) -> Array:
    """Correlate ``x (N, 1, H, W)`` with ``weight (O, 1, 3, 3)`` -> ``(N, *size, O)``.

    ``rectify`` makes it what ReLU makes of that.
    """
    given = prepared(x, weight, bias)
    out = memory.empty((len(x), *size, len(weight)), x.dtype)

    def work(part: slice) -> None:
        convolve(given[0][part], *given[1:], padding, rectify, out[part])

    parallel.over(len(x), 4 * out.size, work)
    return out


def conv2d_weight(g: Array, x: Array, padding: Pair) -> Array:
    """Correlate ``g (N, OH, OW, O)`` with ``x (N, 1, H, W)`` -> ``(O, 1, 3, 3)``."""
    images = _images(x)
    how = parallel.split(len(g), 4 * g.size)
    sums = memory.zeros((len(how.groups), 3, 3 * g.shape[3]), g.dtype)

    def work(number: int, _: int) -> None:
        group = how.groups[number]
        add_weight(images[group], g[group], padding, sums[number])

    parallel.each(work, how)
    return parallel.added(sums).reshape(3, 3, -1).transpose(2, 0, 1)[:, np.newaxis]


def _images(x: Array) -> Array:
    """Return ``x (N, 1, H, W)`` as ``(N, H, W)``, such as compiled kernels take."""
    return np.require(x[:, 0], requirements=("C", "W"))


def prepared(x: Array, weight: Array, bias: Array | None) -> tuple[Array, Array, Array]:
    """Return images ``(N, H, W)``, taps ``(9, O)`` and a bias, as `convolve` takes them."""
    taps = np.ascontiguousarray(weight.reshape(len(weight), -1).T)
    shift = np.zeros(len(weight), x.dtype) if bias is None else np.array(bias, x.dtype)
    return _images(x), taps, shift


def convolve(
    images: Array, taps: Array, bias: Array, padding: Pair, rectify: bool, out: Array
) -> None:
    """Write the convolution of ``images (N, H, W)`` to ``out (N, OH, OW, O)``."""
    if (fast := selection.compiled(out, images, taps, bias)) is not None:
        fast.direct_conv(images, taps, bias, padding, rectify, out)
        return
    out[...] = bias
    for pixels, tap in zip(_shifted(images, padding, out.shape[1:3]), taps, strict=True):
        out += pixels[..., np.newaxis] * tap
    if rectify:
        np.maximum(out, 0, out=out)


def add_weight(images: Array, g: Array, padding: Pair, sums: Array) -> None:
    """Add products of ``g (N, OH, OW, O)`` and ``images (N, H, W)`` to ``sums (3, 3·O)``."""
    if (fast := selection.compiled(g, images, sums)) is not None:
        fast.direct_weight(images, g, padding, sums)
        return
    _, high, wide, outputs = g.shape
    room = np.empty((1 + high * wide, outputs), g.dtype)  # NumPy adds rows one after the other
    for one, image in zip(g, images, strict=True):
        shifted = _shifted(image[np.newaxis], padding, (high, wide))
        for pixels, into in zip(shifted, sums.reshape(9, outputs), strict=True):
            room[0] = into
            np.multiply(one, pixels[0][..., np.newaxis], out=room[1:].reshape(one.shape))
            np.add.reduce(room, axis=0, out=into)


def _shifted(images: Array, padding: Pair, size: Pair) -> list[Array]:
    """Return the pixels under each tap, ``(N, *size)`` each."""
    count, height, width = images.shape
    (top, left), (high, wide) = padding, size
    frame = np.zeros((count, height + 2 * top, width + 2 * left), images.dtype)
    frame[:, top : top + height, left : left + width] = images
    return [frame[:, i : i + high, j : j + wide] for i in range(3) for j in range(3)]
