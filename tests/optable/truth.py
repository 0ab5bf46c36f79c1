"""Table of `minidl.ops.truth`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from optable.record import REDUCE_ERRORS, Op
from optable.samples import Rng, Sample, call, ours

X = np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 0.0]])


def questions(rng: Rng) -> Iterator[Sample]:
    yield call(X)
    yield call(X, 1)
    yield call(X > 0.5, 0, keepdim=True)
    yield ours(X, (0, 1))
    yield call(np.zeros((0, 2)), 0)
    yield call(np.array(2.0))


def reducing(function: Any) -> Any:
    return lambda x, dim=None, keepdim=False: function(x, axis=dim, keepdims=keepdim)


def counts(rng: Rng) -> Iterator[Sample]:
    yield call(X)
    yield call(X, 1)
    yield call(X, (0, 1))
    yield call(np.array(0.0))


def members(rng: Rng) -> Iterator[Sample]:
    yield call(np.array([[1, 2], [3, 4]]), np.array([2, 3, 9]))
    yield call(np.array([1.0, 2.0]), np.array([2.0]), invert=True)


def places(rng: Rng) -> Iterator[Sample]:
    yield call(X)
    yield call(np.array([0, 1, 0, 2]))
    yield call(X, as_tuple=True)


def near(rng: Rng) -> Iterator[Sample]:
    yield call(X, X + 1e-9)
    yield call(X, X + 1.0)
    yield call(np.array([np.nan]), np.array([np.nan]), equal_nan=True)


OPS = [
    Op("any", questions, reducing(np.any), "any", REDUCE_ERRORS, differentiable=False),
    Op("all", questions, reducing(np.all), "all", REDUCE_ERRORS, differentiable=False),
    Op(
        "count_nonzero",
        counts,
        lambda x, dim=None: np.asarray(np.count_nonzero(x, axis=dim)),
        "count_nonzero",
        REDUCE_ERRORS,
        differentiable=False,
    ),
    Op("isin", members, np.isin, "isin", differentiable=False),
    Op(
        "nonzero",
        places,
        lambda x, as_tuple=False: np.nonzero(x) if as_tuple else np.argwhere(x),
        lambda torch, x, as_tuple=False: torch.nonzero(x, as_tuple=as_tuple),
        differentiable=False,
        no_vmap="its length",
    ),
]
