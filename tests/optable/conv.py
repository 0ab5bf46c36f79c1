"""Table of `minidl.ops.conv`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from optable.record import Op, bad, of
from optable.samples import Array, Rng, Sample, call, grid, ours


def convolutions(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 2, 2, 4, 3), grid(rng, 3, 2, 2, 2), grid(rng, 3))
    yield call(grid(rng, 1, 2, 4, 5), grid(rng, 2, 2, 3, 2), stride=2, padding=1)
    yield call(grid(rng, 1, 1, 5, 6), grid(rng, 2, 1, 2, 2), stride=(2, 3), dilation=(2, 1))
    yield call(grid(rng, 1, 1, 3, 3), grid(rng, 1, 1, 3, 3), grid(rng, 1), padding="same")
    yield call(grid(rng, 1, 2, 3, 3), grid(rng, 1, 2, 1, 1), padding="valid")
    yield call(grid(rng, 0, 2, 3, 3), grid(rng, 2, 2, 2, 2), grid(rng, 2))
    yield call(grid(rng, 1, 1, 1, 1), grid(rng, 1, 1, 3, 3), padding=(1, 2))
    yield ours(grid(rng, 1, 1, 3, 3), grid(rng, 1, 1, 2, 2), padding="same")  # PyTorch warns
    yield call(grid(rng, 2, 3, 3), grid(rng, 2, 2, 2, 2), grid(rng, 2))
    yield call(grid(rng, 2, 4, 3, 3), grid(rng, 2, 2, 2, 2), grid(rng, 2), groups=2)
    yield call(grid(rng, 1, 2, 4, 4), grid(rng, 4, 1, 2, 2), None, 2, 1, 1, 2)
    yield call(grid(rng, 2, 3, 4, 3), grid(rng, 3, 1, 3, 3), grid(rng, 3), 1, 1, 1, 3)
    yield call(grid(rng, 1, 2, 5, 5), grid(rng, 2, 1, 2, 3), None, (2, 1), (1, 2), (1, 2), 2)


def lines(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 2, 2, 5), grid(rng, 3, 2, 2), grid(rng, 3))
    yield call(grid(rng, 1, 2, 6), grid(rng, 2, 2, 3), None, 2, 1, 2)
    yield ours(grid(rng, 2, 4), grid(rng, 1, 2, 4), padding="same")  # PyTorch warns
    yield call(grid(rng, 1, 4, 4), grid(rng, 4, 1, 2), grid(rng, 4), groups=4)


def volumes(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 1, 2, 3, 2, 3), grid(rng, 2, 2, 2, 2, 2), grid(rng, 2))
    yield call(
        grid(rng, 1, 1, 3, 3, 3), grid(rng, 1, 1, 2, 1, 2), stride=(1, 2, 1), padding=(1, 0, 0)
    )
    yield ours(grid(rng, 2, 2, 2, 2), grid(rng, 2, 1, 1, 2, 2), groups=2, padding="same")


def spatial(padding: Any, size: Any, dilation: Any) -> list[tuple[int, int]]:
    if padding == "same":
        reach = [d * (k - 1) for d, k in zip(dilation, size, strict=True)]
        return [(r // 2, r - r // 2) for r in reach]
    n = len(size)
    return [(p, p) for p in np.broadcast_to(0 if padding == "valid" else padding, n)]


def loop_conv(
    x: Array,
    w: Array,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Array:
    """Convolution by its definition, over any number of axes."""
    n = w.ndim - 2
    if x.ndim == n + 1:
        return loop_conv(x[None], w, bias, stride, padding, dilation, groups)[0]
    steps, holes = np.broadcast_to(stride, n), np.broadcast_to(dilation, n)
    x = np.pad(x, [(0, 0), (0, 0), *spatial(padding, w.shape[2:], holes)])
    counts = [
        (length - d * (k - 1) - 1) // s + 1
        for length, k, s, d in zip(x.shape[2:], w.shape[2:], steps, holes, strict=True)
    ]
    out = np.zeros((len(x), len(w), *counts), np.result_type(x, w))
    inner, outer = w.shape[1], len(w) // groups
    for place in np.ndindex(*out.shape):
        sample, o, *where = place
        for c, *offset in np.ndindex(*w.shape[1:]):
            at = [i * s + a * d for i, s, a, d in zip(where, steps, offset, holes, strict=True)]
            channel = o // outer * inner + c
            out[place] += x[(sample, channel, *at)] * w[(o, c, *offset)]
    return out if bias is None else out + bias.reshape(-1, *(1,) * n)


OPS = [
    Op(
        "conv2d",
        convolutions,
        loop_conv,
        "nn.functional.conv2d",
        errors=(
            bad(
                of((1, 2, 3, 3)),
                of((1, 3, 2, 2)),
                raises=ValueError,
                match="same number of channels",
            ),
            bad(
                of((1, 1, 3, 3)),
                of((1, 1, 4, 4)),
                raises=ValueError,
                match=r"kernel \(4, 4\).*image \(3, 3\)",
            ),
            bad(
                of((1, 1, 3, 3)),
                of((1, 1, 3, 3)),
                padding="same",
                stride=2,
                raises=ValueError,
                match="wants stride 1",
            ),
            bad(
                of((1, 3, 3, 3)),
                of((2, 1, 2, 2)),
                groups=3,
                raises=ValueError,
                match="3 groups do not divide 2",
            ),
            bad(
                of((1, 1, 3, 3)),
                of((1, 1, 2, 2)),
                padding="full",
                raises=ValueError,
                match="'full'",
            ),
            bad(
                of((1, 1, 3, 3)),
                of((1, 1, 2, 2)),
                stride=0,
                raises=ValueError,
                match="at least 1.*\\(0, 0\\)",
            ),
            bad(
                of((1, 1, 3, 3)),
                of((2, 1, 2, 2)),
                of((3,)),
                raises=ValueError,
                match=r"bias \(3,\)",
            ),
        ),
    ),
    Op(
        "conv1d",
        lines,
        loop_conv,
        "nn.functional.conv1d",
        (
            bad(
                of((3, 3)),
                of((1, 2, 2)),
                raises=ValueError,
                match=r"\(N, C, L\) and \(O, C / groups, K\)",
            ),
        ),
    ),
    Op(
        "conv3d",
        volumes,
        loop_conv,
        "nn.functional.conv3d",
        (bad(of((1, 1, 1, 1, 1)), of((1, 1, 2, 1, 1)), raises=ValueError, match="reaches beyond"),),
    ),
]
