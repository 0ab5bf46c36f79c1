"""Distances and similarities. The derivative of a distance of 0 is taken as 0."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.ops.lengths import vector_norm
from minidl.ops.reduce import sum
from minidl.ops.rounding import clamp_min
from minidl.ops.shape import shape_of

__all__ = [
    "cosine_similarity",
    "pairwise_distance",
    "pdist",
]


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """Return the cosine of the angle between vectors along ``dim``; lengths are held at ``eps``."""
    lengths = (clamp_min(vector_norm(x, 2, dim, True), eps) for x in (x1, x2))
    first, second = (x / length for x, length in zip((x1, x2), lengths, strict=True))
    return sum(first * second, dim)


def pairwise_distance(
    x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Any:
    """Return the p-norm of ``x1 - x2 + eps`` along the last axis."""
    return vector_norm(x1 - x2 + eps, p, -1, keepdim)


def pdist(x: Any, p: float = 2.0) -> Any:
    """Return the p-norms of the differences of all pairs of rows ``(n, d) -> (n (n - 1) / 2,)``.

    Raises
    ------
    ValueError
        ``x`` is no matrix.
    """
    if len(shape_of(x)) != 2:
        raise ValueError(f"pdist: a matrix is wanted, got shape {shape_of(x)}")
    first, second = np.triu_indices(shape_of(x)[0], 1)
    return vector_norm(x[first] - x[second], p, 1)
