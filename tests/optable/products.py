"""Table of `minidl.ops.products`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, grid


def matmuls(rng: Rng) -> Iterator[Sample]:
    for one, two in [
        ((2, 3), (3, 2)),
        ((3,), (3,)),
        ((3,), (3, 2)),
        ((2, 3), (3,)),
        ((2, 2, 3), (3, 2)),
        ((2, 2, 3), (2, 3, 2)),
        ((2, 1, 2, 3), (2, 3, 1)),
        ((3, 2), (2, 2, 2)),
        ((3,), (2, 3, 2)),
        ((2, 2, 3), (3,)),
        ((2, 0), (0, 3)),
        ((0, 2), (2, 3)),
        ((2, 0, 3), (3, 2)),
    ]:
        yield call(grid(rng, *one), grid(rng, *two))


def linears(rng: Rng) -> Iterator[Sample]:
    for shape in [(2, 3), (3,), (2, 2, 3), (0, 3), (2, 0, 3)]:
        yield call(grid(rng, *shape), grid(rng, 2, 3), grid(rng, 2))
    yield call(grid(rng, 2, 3), grid(rng, 2, 3))
    yield call(grid(rng, 4, 3), grid(rng, 2, 3), bias=grid(rng, 2))


OPS = [
    Op(
        "matmul",
        matmuls,
        np.matmul,
        "matmul",
        protocol=True,
        errors=(
            bad(
                of((2, 3)),
                of((2, 3)),
                raises=ValueError,
                match=r"\(2, 3\) and \(2, 3\) .*3 columns meet 2 rows",
            ),
            bad(of((2, 2, 3)), of((2, 3)), raises=ValueError, match="3 columns meet 2 rows"),
            bad(of(()), of((2, 3)), raises=ValueError, match="a single number is no matrix"),
        ),
    ),
    Op(
        "linear",
        linears,
        lambda x, w, bias=None: x @ w.T + (0 if bias is None else bias),
        "nn.functional.linear",
        errors=(
            bad(
                of((2, 3)),
                of((2, 4)),
                raises=ValueError,
                match=r"input \(2, 3\) does not fit weight \(2, 4\).*4 features",
            ),
            bad(
                of((2, 3)),
                of((2, 3)),
                of((3,)),
                raises=ValueError,
                match=r"bias \(3,\) does not fit",
            ),
        ),
    ),
]
