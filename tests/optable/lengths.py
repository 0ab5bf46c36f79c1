"""Table of `minidl.ops.lengths`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, edge, grid

INF = float("inf")


def norms(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 3, 4))
    for p in (1, 2, 3, 2.5, INF, -INF, -1):
        yield call(grid(rng, 3, 4), p, 1)
    yield call(grid(rng, 2, 3, 2), 2, (0, 2), True)
    yield call(grid(rng), 2)
    yield call(grid(rng, 0, 3), 2, 1)
    yield edge(grid(rng, 3, 4), 0, 1)
    yield edge(np.zeros((2, 3)), 2, 1)


def length(x: Any, p: Any = 2, dim: Any = None, keepdim: bool = False) -> Any:
    size = np.abs(x)
    if p in (INF, -INF):
        return (np.max if p > 0 else np.min)(size, axis=dim, keepdims=keepdim)
    if p == 0:
        return (size != 0).sum(axis=dim, keepdims=keepdim).astype(x.dtype)
    return np.sum(size**p, axis=dim, keepdims=keepdim) ** (1 / p)


def torch_norm(torch: Any, x: Any, p: Any = 2, dim: Any = None, keepdim: bool = False) -> Any:
    return torch.linalg.vector_norm(x, p, dim, keepdim)


def distances(rng: Rng) -> Iterator[Sample]:
    for p in (2, 1, 3, INF):
        yield call(grid(rng, 2, 3), grid(rng, 2, 3), p)
    yield call(grid(rng, 2, 3), grid(rng, 3))
    yield edge(np.ones(3), np.ones(3))


OPS = [
    Op(
        "norm",
        norms,
        length,
        torch_norm,
        (bad(of((2, 2)), "nuc", raises=ValueError, match="a number or 'fro', got 'nuc'"),),
    ),
    Op("dist", distances, lambda x, y, p=2: length(x - y, p), "dist"),
]
