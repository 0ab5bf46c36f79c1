"""Table of `minidl.ops.transposed`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, grid


def spread(
    x: Any, w: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1,
) -> Any:  # fmt: skip
    """Each element of the input adds its copy of the kernel."""
    n = w.ndim - 2
    if x.ndim == n + 1:
        return spread(x[None], w, bias, stride, padding, output_padding, groups, dilation)[0]
    steps, around, more, holes = (
        np.broadcast_to(v, n) for v in (stride, padding, output_padding, dilation)
    )
    whole = [
        (length - 1) * s + d * (k - 1) + 1 + m
        for length, s, d, k, m in zip(x.shape[2:], steps, holes, w.shape[2:], more, strict=True)
    ]
    out = np.zeros((len(x), w.shape[1] * groups, *whole), x.dtype)
    inner = x.shape[1] // groups
    for place in np.ndindex(*x.shape):
        sample, c, *where = place
        for o, *offset in np.ndindex(*w.shape[1:]):
            at = [i * s + a * d for i, s, a, d in zip(where, steps, offset, holes, strict=True)]
            channel = c // inner * w.shape[1] + o
            out[(sample, channel, *at)] += x[place] * w[(c, o, *offset)]
    cut = tuple(slice(p, length - p) for p, length in zip(around, whole, strict=True))
    out = out[(slice(None), slice(None), *cut)]
    return out if bias is None else out + bias.reshape(-1, *(1,) * n)


def one(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 2, 2, 3), grid(rng, 2, 3, 2), grid(rng, 3))
    yield call(grid(rng, 1, 4, 3), grid(rng, 4, 1, 3), None, 2, 1, 1, 2)
    yield call(grid(rng, 2, 3), grid(rng, 2, 1, 2), dilation=2)


def two(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 2, 2, 2, 3), grid(rng, 2, 3, 2, 2), grid(rng, 3))
    yield call(grid(rng, 1, 2, 2, 2), grid(rng, 2, 1, 3, 2), None, (2, 1), (1, 0), (1, 0))
    yield call(grid(rng, 1, 2, 2, 2), grid(rng, 2, 2, 2, 2), grid(rng, 4), 2, 0, 0, 2)
    yield call(grid(rng, 2, 2, 2), grid(rng, 2, 1, 2, 2), dilation=2)


def three(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 1, 2, 2, 1, 2), grid(rng, 2, 1, 2, 2, 2), grid(rng, 1))
    yield call(grid(rng, 1, 2, 1, 2, 1), grid(rng, 2, 1, 1, 2, 2), None, 2, 0, 0, 2)


OPS = [
    Op("conv_transpose1d", one, spread, "nn.functional.conv_transpose1d"),
    Op(
        "conv_transpose2d",
        two,
        spread,
        "nn.functional.conv_transpose2d",
        (
            bad(
                of((1, 2, 3, 3)),
                of((3, 1, 2, 2)),
                raises=ValueError,
                match="same number of channels",
            ),
            bad(of((1, 2, 3, 3)), of((2, 1, 2, 2)), groups=3, raises=ValueError, match="3 groups"),
            bad(
                of((1, 1, 3, 3)),
                of((1, 1, 2, 2)),
                output_padding=1,
                raises=ValueError,
                match="smaller than stride",
            ),
        ),
    ),
    Op("conv_transpose3d", three, spread, "nn.functional.conv_transpose3d"),
]
