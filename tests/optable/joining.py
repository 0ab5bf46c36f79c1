"""Table of `minidl.ops.joining`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, grid


def joins(rng: Rng) -> Iterator[Sample]:
    yield call([grid(rng, 2, 3), grid(rng, 1, 3)])
    yield call([grid(rng, 2, 3), grid(rng, 2, 1), grid(rng, 2, 2)], 1)
    yield call([grid(rng, 2, 3)], dim=-1)
    yield call([grid(rng, 0, 3), grid(rng, 2, 3)])
    x = grid(rng, 2)
    yield call((x, x))


JOIN_ERRORS = (
    bad([], raises=ValueError, match="at least one tensor"),
    bad(
        [of((2, 3)), of((2, 2))], raises=ValueError, match=r"cat\(float64\[2, 3\], float64\[2, 2\]"
    ),
    bad([of((2, 3))], 2, raises=IndexError, match="cat: dim 2 is out of range for 2"),
    bad([of(()), of(())], raises=IndexError, match="cat: dim 0 is out of range for 0"),
)


OPS = [
    Op("cat", joins, lambda xs, dim=0: np.concatenate(xs, dim), "cat", JOIN_ERRORS, protocol=True),
    Op(
        "concatenate",
        joins,
        lambda xs, dim=0: np.concatenate(xs, dim),
        "concatenate",
        JOIN_ERRORS,
        protocol=True,
    ),
    Op(
        "stack",
        lambda rng: (
            [call([grid(rng, 2, 3), grid(rng, 2, 3)], d) for d in (0, 1, -1)]
            + [call((grid(rng), grid(rng), grid(rng)))]
        ),
        lambda xs, dim=0: np.stack(xs, dim),
        "stack",
        protocol=True,
        errors=(
            bad([of((2,)), of((3,))], raises=ValueError, match=r"one shape.*\(2,\), \(3,\)"),
            bad([of((2,))], 2, raises=IndexError, match="dim 2 is out of range"),
            bad([], raises=ValueError, match="at least one tensor"),
        ),
    ),
]
