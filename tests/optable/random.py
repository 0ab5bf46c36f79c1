"""Table of `minidl.ops.random`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.nn import functional
from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, grid


def dropouts(rng: Rng) -> Iterator[Sample]:
    for p, training in [(0.5, True), (0.3, True), (0.0, True), (1.0, True), (0.9, False)]:
        yield call(grid(rng, 3, 4), p, training)
    yield call(grid(rng))
    yield call(grid(rng, 0, 2))


def drop(x: Any, p: float = 0.5, training: bool = True, seed: int = 3) -> Any:
    return functional.dropout(x, p, training, rng=np.random.default_rng(seed))


def reference_drop(x: Any, p: float = 0.5, training: bool = True, seed: int = 3) -> Any:
    if not training:
        return x
    keep = np.random.default_rng(seed).random(np.shape(x), dtype=np.float32) >= p
    return np.where(keep, x / (1 - p) if p < 1 else 0.0, 0.0)


OPS = [
    Op(
        "dropout",
        dropouts,
        reference_drop,
        function=drop,
        random=True,
        errors=(bad(of((2,)), 1.5, raises=ValueError, match="p must be from 0 to 1, got 1.5"),),
    ),
]
