"""Convolution with 3x3 kernels by a quarter of the multiplications, in float32.

Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray, "Fast Algorithms for Convolutional Neural
Networks", 2016, section 4) cuts an image into tiles of 6x6 that overlap by 2 and makes from each
one 4x4 outputs: Y = Aᵀ [(G w Gᵀ) ⊙ (Bᵀ d B)] A. The matrices hold small numbers, so going there and
back is a few additions; ⊙ summed over the channels is a matrix product for each of the 36 places.
The gradient of the input is such a convolution with turned kernels; that of the weight is
Gᵀ [(A g Aᵀ) ⊙ (Bᵀ d B)] G, summed over the tiles.

Rounding: about five times that of the plain sum, as numbers up to 8 go in and cancel. A NaN or an
infinity spreads over its tile. float64 is left to the plain sum.

Images are ``(N, H, W, C)`` here and contiguous; tiles are taken for a few images at a time, so that
they are in cache from one step to the next. Groups of images are shared out to threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.autograd.arrays import others
from minidl.autograd.primitive import Array
from minidl.kernels import memory, parallel, selection

Pair = tuple[int, int]

#: Bytes of tiles and of their products at a time: most of the L2 cache of one core.
BLOCK_BYTES = 1 << 20

#: Channels on both sides from which the products are large enough for BLAS.
CHANNELS = 8

#: Tiles from which turning the kernels pays, and to which matrices of 36 kernels are read at least.
TILES = 64

_G = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
#: w -> G w Gᵀ as one matrix (36, 9), for all kernels at once.
_KERNELS = np.kron(_G, _G).astype(np.float32)


def pays(
    images: Array, other: Array, channels: Pair, kernel: Any, how: dict[str, Pair], out: Pair
) -> bool:
    """Whether to convolve so: 3x3 kernels that go step by step, and tiles that fit the images.

    ``images`` and ``other`` are what is multiplied, ``channels`` those of both sides, ``out`` the
    size of the convolution's result.
    """
    if tuple(kernel) != (3, 3) or min(channels) < CHANNELS:
        return False
    if how["stride"] != (1, 1) or how["dilation"] != (1, 1) or max(how["padding"]) > 2:
        return False
    if images.dtype != np.float32 or other.dtype != np.float32 or type(images) in others:
        return False
    if not selection.possible():
        return False  # NumPy's transforms take longer than is won
    tiles = _tiles(out)[0] * _tiles(out)[1]
    # 36 products a tile against 9 a pixel: from 2.5 times less on.
    return 10 * tiles <= out[0] * out[1] and len(images) * tiles >= TILES


def _tiles(size: Pair) -> Pair:
    return -(-size[0] // 4), -(-size[1] // 4)


class _Tiles:
    """The images of a batch a few at a time, with room for their tiles: threads have their own."""

    def __init__(self, count: int, tiles: Pair, channels: Pair) -> None:
        self.each = tiles[0] * tiles[1]
        least = -(-TILES // self.each)
        tile = 36 * sum(channels)
        self.split = parallel.split(count, 2 * count * self.each * tile, least)
        longest = max(group.stop - group.start for group in self.split.groups)
        self.step = min(longest, max(BLOCK_BYTES // (4 * self.each * tile), least))
        room = 36 * self.step * self.each
        seats = self.split.seats
        self.sides = [memory.empty((seats, room, c), np.dtype(np.float32)) for c in channels]

    def blocks(self, number: int, seat: int) -> Iterator[tuple[slice, Array, Array]]:
        """Yield which images, and room for their tiles: ``(36, tiles, channels)`` on both sides."""
        for block in parallel.blocks(self.split.groups[number], self.step):
            used = 36 * (block.stop - block.start) * self.each
            one, other = (s[seat, :used].reshape(36, -1, s.shape[2]) for s in self.sides)
            yield block, one, other


def conv2d(
    images: Array,
    weight: Array,
    bias: Array | None,
    padding: Pair,
    size: Pair,
    rectify: bool = False,
) -> Array:
    """Correlate ``images (N, H, W, C)`` with ``weight (O, C, 3, 3)`` -> ``(N, *size, O)``.

    ``rectify`` makes it what ReLU makes of that.
    """
    tiles, (outputs, channels) = _tiles(size), weight.shape[:2]
    rows = np.ascontiguousarray(weight.transpose(2, 3, 1, 0)).reshape(9, channels * outputs)
    matrices = (_KERNELS @ rows).reshape(36, channels, outputs)
    shift = np.zeros(outputs, images.dtype) if bias is None else np.array(bias, images.dtype)
    out = memory.empty((len(images), *size, outputs), images.dtype)
    taken = _Tiles(len(images), tiles, (channels, outputs))

    def work(number: int, seat: int) -> None:
        for block, spread, products in taken.blocks(number, seat):
            _spread_tiles(images[block], padding, tiles, spread)
            np.matmul(spread, matrices, out=products)
            _gather_tiles(products, tiles, shift, rectify, out[block])

    parallel.each(work, taken.split)
    return out


def conv2d_input(g: Array, weight: Array, padding: Pair, size: Pair) -> Array:
    """Spread ``g (N, OH, OW, O)`` back over images ``(N, *size, C)``."""
    turned = weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    return conv2d(g, turned, None, (2 - padding[0], 2 - padding[1]), size)


def conv2d_weight(g: Array, images: Array, padding: Pair) -> Array:
    """Correlate ``g (N, OH, OW, O)`` with ``images (N, H, W, C)`` -> ``(O, C, 3, 3)``."""
    channels, outputs = images.shape[3], g.shape[3]
    tiles = _tiles((g.shape[1], g.shape[2]))
    taken = _Tiles(len(images), tiles, (channels, outputs))
    totals = memory.empty((len(taken.split.groups), 36, channels, outputs), g.dtype)
    parts = memory.empty((taken.split.seats, 36, channels, outputs), g.dtype)

    def work(number: int, seat: int) -> None:
        for block, spread, gradients in taken.blocks(number, seat):
            _spread_tiles(images[block], padding, tiles, spread)
            _spread_gradients(g[block], tiles, gradients)
            first = block.start == taken.split.groups[number].start
            into = totals[number] if first else parts[seat]
            np.matmul(spread.transpose(0, 2, 1), gradients, out=into)
            if not first:
                totals[number] += into

    parallel.each(work, taken.split)
    total = parallel.added(totals)
    weight = _KERNELS.T @ total.reshape(36, channels * outputs)
    return weight.reshape(3, 3, channels, outputs).transpose(3, 2, 0, 1)


# ---- the three transforms ------------------------------------------------------------------------


def _tile(d: list[Array], out: Any) -> None:
    """Multiply by Bᵀ along one direction."""
    even, odd = d[4] - 4 * d[2], d[3] - 4 * d[1]
    near, far = d[4] - d[2], 2 * (d[3] - d[1])
    out[0], out[5] = 4 * d[0] - 5 * d[2] + d[4], 4 * d[1] - 5 * d[3] + d[5]
    for place, one, other in ((1, even, odd), (3, near, far)):
        np.add(one, other, out=out[place])
        np.subtract(one, other, out=out[place + 1])


def _gradient(g: list[Array], out: Any) -> None:
    """Multiply by A."""
    even, odd = g[0] + g[2], g[1] + g[3]
    near, far = g[0] + 4 * g[2], 2 * g[1] + 8 * g[3]
    out[0], out[5] = g[0], g[3]
    for place, one, other in ((1, even, odd), (3, near, far)):
        np.add(one, other, out=out[place])
        np.subtract(one, other, out=out[place + 1])


def _outputs(m: Any, out: list[Array]) -> None:
    """Multiply by Aᵀ."""
    plus, minus, sums, rest = m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]
    out[0][...] = m[0] + plus + sums
    out[1][...] = minus + 2 * rest
    out[2][...] = plus + 4 * sums
    out[3][...] = minus + 8 * rest + m[5]


def _cut(images: Array, height: int, width: int, before: Pair) -> Array:
    """Put images into a frame of zeros; what reaches beyond it is cut off."""
    count, h, w, channels = images.shape
    frame = np.zeros((count, height, width, channels), images.dtype)
    h, w = min(h, height - before[0]), min(w, width - before[1])
    frame[:, before[0] : before[0] + h, before[1] : before[1] + w] = images[:, :h, :w]
    return frame


def _spread(frame: Array, tiles: Pair, taken: int, transform: Any, out: Array) -> None:
    count, _, width, channels = frame.shape
    reach = 4 * (tiles[0] - 1) + 1, 4 * (tiles[1] - 1) + 1
    lines = np.empty((6, count, tiles[0], width, channels), frame.dtype)
    transform([frame[:, k : k + reach[0] : 4] for k in range(taken)], lines)
    places = out.reshape(6, 6, count, *tiles, channels)
    along = [lines[..., k : k + reach[1] : 4, :] for k in range(taken)]
    transform(along, places.swapaxes(0, 1))


def _spread_tiles(images: Array, padding: Pair, tiles: Pair, out: Array) -> None:
    """Write Bᵀ d B of every tile."""
    if (fast := selection.compiled(images, out)) is not None:
        fast.spread_tiles(images, padding, tiles, out.reshape(36, -1))
        return
    frame = _cut(images, 4 * tiles[0] + 2, 4 * tiles[1] + 2, padding)
    _spread(frame, tiles, 6, _tile, out)


def _spread_gradients(g: Array, tiles: Pair, out: Array) -> None:
    """Write A g Aᵀ of every tile."""
    if (fast := selection.compiled(g, out)) is not None:
        fast.spread_gradients(g, tiles, out.reshape(36, -1))
        return
    _spread(_cut(g, 4 * tiles[0], 4 * tiles[1], (0, 0)), tiles, 4, _gradient, out)


def _gather_tiles(products: Array, tiles: Pair, bias: Array, rectify: bool, out: Array) -> None:
    """Write Aᵀ m A of every tile, plus ``bias (O,)``, and through ReLU where asked for."""
    if (fast := selection.compiled(out, products, bias)) is not None:
        fast.gather_tiles(products.reshape(36, -1), tiles, bias, rectify, out)
        return
    count, height, width, channels = out.shape
    places = products.reshape(6, 6, count, *tiles, channels)
    lines = np.empty((6, count, *tiles, 4, channels), out.dtype)
    _outputs(places.swapaxes(0, 1), [lines[..., k, :] for k in range(4)])
    full = np.empty((count, tiles[0], 4, 4 * tiles[1], channels), out.dtype)
    wide = lines.reshape(6, count, tiles[0], 4 * tiles[1], channels)
    _outputs(wide, [full[:, :, k] for k in range(4)])
    kept = full.reshape(count, 4 * tiles[0], 4 * tiles[1], channels)[:, :height, :width]
    np.add(kept, bias, out=out)
    if rectify:
        np.maximum(out, 0, out=out)
