"""Table of `minidl.ops.systems`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, grid


def regular(rng: Rng, *shape: int) -> Any:
    """Matrices far from singular."""
    return grid(rng, *shape) + 3 * np.eye(shape[-1])


def systems(rng: Rng) -> Iterator[Sample]:
    yield call(regular(rng, 3, 3), grid(rng, 3, 2))
    yield call(regular(rng, 3, 3), grid(rng, 3))
    yield call(regular(rng, 2, 2, 2), grid(rng, 2, 2))
    yield call(regular(rng, 2, 2, 2), grid(rng, 2, 2, 3))
    yield call(regular(rng, 2, 2), grid(rng, 3, 2), left=False)
    yield call(regular(rng, 1, 1), grid(rng, 1))


def solved(a: Any, b: Any, left: bool = True) -> Any:
    if not left:
        return np.swapaxes(np.linalg.solve(np.swapaxes(a, -1, -2), np.swapaxes(b, -1, -2)), -1, -2)
    if b.ndim == 1 or b.shape == a.shape[:-1]:
        return np.linalg.solve(a, b[..., None])[..., 0]
    return np.linalg.solve(a, b)


def triangles(rng: Rng) -> Iterator[Sample]:
    yield call(regular(rng, 3, 3), grid(rng, 3, 2), upper=True)
    yield call(regular(rng, 3, 3), grid(rng, 3, 2), upper=False, unitriangular=True)
    yield call(regular(rng, 2, 2), grid(rng, 3, 2), upper=False, left=False)


def triangular(a: Any, b: Any, upper: bool, left: bool = True, unitriangular: bool = False) -> Any:
    held = np.triu(a) if upper else np.tril(a)
    if unitriangular:
        held = held - np.diag(np.diag(held)) + np.eye(len(held))
    return solved(held, b, left)


LINALG = {"rtol": 1e-9, "float32_rtol": 1e-4}

OPS = [
    Op(
        "linalg.solve",
        systems,
        solved,
        "linalg.solve",
        (
            bad(of((2, 3)), of((2,)), raises=ValueError, match=r"square matrices .*\(2, 3\)"),
            bad(
                of((2, 2)), of((3,)), raises=ValueError, match=r"do not fit right-hand sides \(3,\)"
            ),
            bad(of((2, 2)), of((2,)), raises=ValueError, match="Singular"),
            bad(of((2, 2), int), of((2,)), raises=TypeError, match="floating dtype"),
        ),
        **LINALG,
    ),
    Op("linalg.solve_triangular", triangles, triangular, "linalg.solve_triangular", **LINALG),
]
