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


def seeded_mask(shape: Any, p: float) -> Any:
    return np.random.default_rng(3).random(shape, dtype=np.float32) >= p


def alpha_reference(whole: bool) -> Any:
    def reference(x: Any, p: float, training: bool = True) -> Any:
        if not training:
            return x
        if p == 1.0:
            return 0 * x
        shape = x.shape[:2] + (1,) * (x.ndim - 2) if whole else x.shape
        low = -1.7580993408473766
        a = (1 - p + p * (1 - p) * low**2) ** -0.5
        return (a * np.where(seeded_mask(shape, p), x, low) - a * p * low).astype(x.dtype)

    return reference


OPS = [
    Op(
        "dropout",
        dropouts,
        reference_drop,
        function=drop,
        random=True,
        errors=(bad(of((2,)), 1.5, raises=ValueError, match="p must be from 0 to 1, got 1.5"),),
    ),
    *(
        Op(
            name,
            lambda rng, shape=shape: [
                call(grid(rng, *shape), 0.4),
                call(grid(rng, *shape), 0.4, False),
                call(grid(rng, *shape[1:]), 0.4),
            ],
            lambda x, p, training=True, n=n: (
                x
                if not training
                else x * seeded_mask(x.shape[: x.ndim - n] + (1,) * n, p).astype(x.dtype) / (1 - p)
            ),
            function=lambda x, *a, name=name: getattr(functional, name)(
                x, *a, rng=np.random.default_rng(3)
            ),
            errors=(
                bad(of((2,) * (n + 3)), raises=ValueError, match=f"{n + 1} or {n + 2} dimensions"),
            ),
            random=True,
        )
        for n, name, shape in [
            (1, "dropout1d", (2, 3, 2)),
            (2, "dropout2d", (2, 2, 2, 2)),
            (3, "dropout3d", (2, 2, 1, 2, 2)),
        ]
    ),
    *(
        Op(
            name,
            lambda rng: [
                call(grid(rng, 3, 2, 2), 0.4),
                call(grid(rng, 3, 2, 2), 0.4, False),
                call(grid(rng, 2, 2, 1), 1.0),
            ],
            alpha_reference(whole),
            function=lambda x, *a, name=name: getattr(functional, name)(
                x, *a, rng=np.random.default_rng(3)
            ),
            random=True,
        )
        for name, whole in [("alpha_dropout", False), ("feature_alpha_dropout", True)]
    ),
]
