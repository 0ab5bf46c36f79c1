"""Table of `minidl.ops.logarithms`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import special

from optable.record import SHAPES_DIFFER, Op
from optable.samples import Rng, Sample, binary, call, edge, grid, ours, unary


def weighted(low: float) -> Any:
    def samples(rng: Rng) -> Iterator[Sample]:
        yield from binary(low, 3.0, special=False)(rng)
        yield edge(np.array([0.0, 1.0, 0.0]), np.array([0.5, 2.0, np.nan]))

    return samples


def powers_of_two(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 2, 3), np.array([1, 2, 0]))
    yield ours(grid(rng), np.array([3]))  # PyTorch warns
    yield call(grid(rng, 3), grid(rng, 3))
    yield ours(grid(rng, 3), 2)


def odds(rng: Rng) -> Iterator[Sample]:
    yield from unary(0.1, 0.9, [0.0, 1.0, 0.5])(rng)
    yield call(np.array([0.0, 0.01, 0.5, 1.0]), 0.1)


def logit(x: Any, eps: float | None = None) -> Any:
    return special.logit(x if eps is None else np.clip(x, eps, 1 - eps))


WAVES = [0.0, 1e-30, 0.0632, -0.0636, 0.0640, 1.0, 100.5]

OPS = [
    Op("hypot", binary(special=False), np.hypot, "hypot", (SHAPES_DIFFER,)),
    Op("atan2", binary(special=False), np.arctan2, "atan2", (SHAPES_DIFFER,)),
    Op("logaddexp", binary(), np.logaddexp, "logaddexp", (SHAPES_DIFFER,)),
    Op("logaddexp2", binary(), np.logaddexp2, "logaddexp2", (SHAPES_DIFFER,)),
    Op("ldexp", powers_of_two, lambda x, n: x * 2.0**n, "ldexp"),
    Op("xlogy", weighted(0.3), special.xlogy, "xlogy"),
    Op("special.xlog1py", weighted(0.3), special.xlog1py, "special.xlog1py"),
    Op("logit", odds, logit, "logit"),
    Op("sinc", unary(special=WAVES), np.sinc, "sinc", rtol=1e-11),
]
