"""The compiled transforms of `minidl.kernels.winograd`: see there for what they are.

Each works on a line of tiles at a time. The pixels of a line are kept in four parts, every fourth
one together, because then the first pixels of all its tiles lie in one run of memory, the second
ones too, and so on: so all loops that compute are long. The sums are those of the NumPy versions,
in their order.
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
def _tile(d0: Any, d1: Any, d2: Any, d3: Any, d4: Any, d5: Any, constants: Any) -> Any:
    two, four, five = constants
    even, odd = d4 - four * d2, d3 - four * d1
    near, far = d4 - d2, two * (d3 - d1)
    return (
        four * d0 - five * d2 + d4,
        even + odd,
        even - odd,
        near + far,
        near - far,
        four * d1 - five * d3 + d5,
    )


@inlined  # type: ignore[untyped-decorator, unused-ignore]
def _gradient(g0: Any, g1: Any, g2: Any, g3: Any, constants: Any) -> Any:
    two, four, eight = constants
    even, odd = g0 + g2, g1 + g3
    near, far = g0 + four * g2, two * g1 + eight * g3
    return g0, even + odd, even - odd, near + far, near - far, g3


@inlined  # type: ignore[untyped-decorator, unused-ignore]
def _outputs(m0: Any, m1: Any, m2: Any, m3: Any, m4: Any, m5: Any, constants: Any) -> Any:
    two, four, eight = constants
    plus, minus, sums, rest = m1 + m2, m1 - m2, m3 + m4, m3 - m4
    return m0 + plus + sums, minus + two * rest, plus + four * sums, minus + eight * rest + m5


@inlined  # type: ignore[untyped-decorator, unused-ignore]
def _take(flat: Array, start: int, before: int, width: int, channels: int, line: Array) -> None:
    """Copy a line of an image, ``before`` pixels in, every fourth pixel into one of four parts."""
    part = line.size // 4
    for x in range(before, before + width):
        into = (x % 4) * part + x // 4 * channels
        out_of = start + (x - before) * channels
        for c in range(channels):
            line[np.uintp(into + c)] = flat[np.uintp(out_of + c)]


@inlined  # type: ignore[untyped-decorator, unused-ignore]
def _put(six: Array, out: Array, first: int, base: int) -> None:
    """Copy six runs to where they belong.

    Computed right there they would take twice the time: LLVM gives up on proving that six places in
    one array are apart, and does not vectorize.
    """
    for j in range(6):
        for x in range(six.shape[1]):
            out[first + j, np.uintp(base + x)] = six[j, x]


@kernel
def spread_tiles(images: Array, padding: Pair, tiles: Pair, out: Array) -> None:
    """Write the transforms of 6x6 tiles of ``images (N, H, W, C)`` to ``out (36, N·TH·TW·C)``."""
    count, height, width, channels = images.shape
    number = images.dtype.type
    constants = number(2), number(4), number(5)
    flat, length = images.reshape(-1), width * channels
    run, part = tiles[1] * channels, (tiles[1] + 1) * channels
    taken, lines = np.zeros((6, 4 * part), images.dtype), np.empty((6, 4 * part), images.dtype)
    six = np.empty((6, run), images.dtype)
    inside = min(width, 4 * (tiles[1] + 1) - padding[1])
    base = 0
    for n in range(count):
        for y in range(tiles[0]):
            for k in range(6):
                row = 4 * y + k - padding[0]
                if (row >= 0) & (row < height):
                    start = (n * height + row) * length
                    _take(flat, start, padding[1], inside, channels, taken[k])
                else:
                    taken[k] = number(0)
            for x in range(4 * part):
                r0, r1, r2, r3, r4, r5 = _tile(
                    taken[0, x], taken[1, x], taken[2, x], taken[3, x], taken[4, x], taken[5, x],
                    constants,
                )  # fmt: skip
                lines[0, x] = r0
                lines[1, x] = r1
                lines[2, x] = r2
                lines[3, x] = r3
                lines[4, x] = r4
                lines[5, x] = r5
            for i in range(6):
                for x in range(run):
                    r0, r1, r2, r3, r4, r5 = _tile(
                        lines[i, x], lines[i, np.uintp(x + part)],
                        lines[i, np.uintp(x + 2 * part)], lines[i, np.uintp(x + 3 * part)],
                        lines[i, np.uintp(x + channels)], lines[i, np.uintp(x + part + channels)],
                        constants,
                    )  # fmt: skip
                    six[0, x] = r0
                    six[1, x] = r1
                    six[2, x] = r2
                    six[3, x] = r3
                    six[4, x] = r4
                    six[5, x] = r5
                _put(six, out, 6 * i, base)
            base += run


@kernel
def spread_gradients(images: Array, tiles: Pair, out: Array) -> None:
    """Write the transforms of 4x4 tiles of ``images (N, H, W, C)`` likewise."""
    count, height, width, channels = images.shape
    number = images.dtype.type
    constants = number(2), number(4), number(8)
    flat, length = images.reshape(-1), width * channels
    run = tiles[1] * channels
    taken, lines = np.zeros((4, 4 * run), images.dtype), np.empty((6, 4 * run), images.dtype)
    six = np.empty((6, run), images.dtype)
    base = 0
    for n in range(count):
        for y in range(tiles[0]):
            for k in range(4):
                row = 4 * y + k
                if row < height:
                    _take(flat, (n * height + row) * length, 0, width, channels, taken[k])
                else:
                    taken[k] = number(0)
            for x in range(4 * run):
                r0, r1, r2, r3, r4, r5 = _gradient(
                    taken[0, x], taken[1, x], taken[2, x], taken[3, x], constants
                )
                lines[0, x] = r0
                lines[1, x] = r1
                lines[2, x] = r2
                lines[3, x] = r3
                lines[4, x] = r4
                lines[5, x] = r5
            for i in range(6):
                for x in range(run):
                    r0, r1, r2, r3, r4, r5 = _gradient(
                        lines[i, x], lines[i, np.uintp(x + run)], lines[i, np.uintp(x + 2 * run)],
                        lines[i, np.uintp(x + 3 * run)], constants,
                    )  # fmt: skip
                    six[0, x] = r0
                    six[1, x] = r1
                    six[2, x] = r2
                    six[3, x] = r3
                    six[4, x] = r4
                    six[5, x] = r5
                _put(six, out, 6 * i, base)
            base += run


@kernel
def gather_tiles(products: Array, tiles: Pair, bias: Array, rectify: bool, out: Array) -> None:
    """Turn ``products (36, N·TH·TW·C)`` into ``out (N, H, W, C)``, plus ``bias (C,)``.

    And through ReLU where asked for.
    """
    count, height, width, channels = out.shape
    number = out.dtype.type
    constants, zero = (number(2), number(4), number(8)), number(0)
    flat, length = out.reshape(-1), width * channels
    run = tiles[1] * channels
    lines, found = np.empty((6, 4 * run), out.dtype), np.empty((4, 4 * run), out.dtype)
    base = 0
    for n in range(count):
        for y in range(tiles[0]):
            for i in range(6):
                for x in range(run):
                    b = np.uintp(base + x)
                    o0, o1, o2, o3 = _outputs(
                        products[6 * i, b], products[6 * i + 1, b], products[6 * i + 2, b],
                        products[6 * i + 3, b], products[6 * i + 4, b], products[6 * i + 5, b],
                        constants,
                    )  # fmt: skip
                    lines[i, x] = o0
                    lines[i, np.uintp(x + run)] = o1
                    lines[i, np.uintp(x + 2 * run)] = o2
                    lines[i, np.uintp(x + 3 * run)] = o3
            base += run
            for x in range(4 * run):
                o0, o1, o2, o3 = _outputs(
                    lines[0, x], lines[1, x], lines[2, x], lines[3, x], lines[4, x], lines[5, x],
                    constants,
                )  # fmt: skip
                found[0, x] = o0
                found[1, x] = o1
                found[2, x] = o2
                found[3, x] = o3
            for k in range(min(4, height - 4 * y)):
                start = (n * height + 4 * y + k) * length
                for x in range(width):
                    out_of, into = (x % 4) * run + x // 4 * channels, start + x * channels
                    for c in range(channels):
                        value = found[k, np.uintp(out_of + c)] + bias[c]
                        keep = (value > zero) | (value != value) | (not rectify)
                        flat[np.uintp(into + c)] = value if keep else zero
