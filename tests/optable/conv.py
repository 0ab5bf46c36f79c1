"""Table of `minidl.ops.conv`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from optable.record import Op, bad, of
from optable.samples import Array, Rng, Sample, call, grid


def convolutions(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 2, 2, 4, 3), grid(rng, 3, 2, 2, 2), grid(rng, 3))
    yield call(grid(rng, 1, 2, 4, 5), grid(rng, 2, 2, 3, 2), stride=2, padding=1)
    yield call(grid(rng, 1, 1, 5, 6), grid(rng, 2, 1, 2, 2), stride=(2, 3), dilation=(2, 1))
    yield call(grid(rng, 1, 1, 3, 3), grid(rng, 1, 1, 3, 3), grid(rng, 1), padding="same")
    yield call(grid(rng, 1, 2, 3, 3), grid(rng, 1, 2, 1, 1), padding="valid")
    yield call(grid(rng, 0, 2, 3, 3), grid(rng, 2, 2, 2, 2), grid(rng, 2))
    yield call(grid(rng, 1, 1, 1, 1), grid(rng, 1, 1, 3, 3), padding=(1, 2))


def loop_conv2d(
    x: Array, w: Array, bias: Any = None, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1
) -> Array:
    """Convolution by its definition."""
    (sh, sw), (dh, dw) = np.broadcast_to(stride, 2), np.broadcast_to(dilation, 2)
    if padding == "same":
        padding = dh * (w.shape[2] - 1) // 2, dw * (w.shape[3] - 1) // 2
    ph, pw = np.broadcast_to(0 if padding == "valid" else padding, 2)
    x = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    high = (x.shape[2] - dh * (w.shape[2] - 1) - 1) // sh + 1
    wide = (x.shape[3] - dw * (w.shape[3] - 1) - 1) // sw + 1
    out = np.zeros((len(x), len(w), high, wide), np.result_type(x, w))
    for n, o, i, j in np.ndindex(*out.shape):
        for c, a, b in np.ndindex(*w.shape[1:]):
            out[n, o, i, j] += x[n, c, i * sh + a * dh, j * sw + b * dw] * w[o, c, a, b]
    return out if bias is None else out + bias[:, None, None]


OPS = [
    Op(
        "conv2d",
        convolutions,
        loop_conv2d,
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
                of((1, 1, 2, 2)),
                padding="same",
                raises=ValueError,
                match="odd reach",
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
]
