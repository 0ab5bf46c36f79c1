"""Table of `minidl.ops.distance`."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial import distance

from optable.record import Op, bad, of
from optable.samples import call, grid

INF = float("inf")


def similarity(x: Any, y: Any, dim: int = 1) -> Any:
    lengths = np.sqrt((x * x).sum(dim) * (y * y).sum(dim))
    return (x * y).sum(dim) / lengths


def apart(x: Any, y: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Any:
    return np.linalg.norm(x - y + eps, p, -1, keepdims=keepdim)


ROWS = np.array([[0.1, 1.3], [-0.7, 2.05], [1.9, -0.4]])

OPS = [
    Op(
        "cosine_similarity",
        lambda rng: [
            call(grid(rng, 2, 3), grid(rng, 2, 3)),
            call(grid(rng, 3), grid(rng, 3), dim=0),
        ],
        similarity,
        "nn.functional.cosine_similarity",
    ),
    Op(
        "pairwise_distance",
        lambda rng: [
            call(grid(rng, 2, 3), grid(rng, 2, 3)),
            call(grid(rng, 2, 3), grid(rng, 3), 1.0, keepdim=True),
            call(grid(rng, 3), grid(rng, 3), 3.0),
        ],
        apart,
        "nn.functional.pairwise_distance",
    ),
    Op(
        "pdist",
        lambda rng: [call(grid(rng, 4, 3)), call(ROWS, 1.0), call(ROWS, INF)],
        lambda x, p=2.0: distance.pdist(x, "minkowski", p=p),
        "nn.functional.pdist",
        (bad(of((3,)), raises=ValueError, match="a matrix is wanted"),),
    ),
]
