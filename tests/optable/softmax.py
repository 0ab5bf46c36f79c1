"""Table of `minidl.ops.softmax`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import special

from minidl import ops
from optable.record import REDUCE_ERRORS, Op, bad, of
from optable.samples import (
    Rng,
    Sample,
    call,
    edge,
    grid,
    reduction,
    reference_log_softmax,
    torch_reducing,
)


def softmaxes(rng: Rng) -> Iterator[Sample]:
    for shape, dim in [((2, 3), 1), ((2, 3), 0), ((2, 3, 2), -2), ((4,), 0), ((), 0), ((0, 3), 1)]:
        yield call(grid(rng, *shape), dim)
    yield edge(np.array([[1e4, 0.0, -1e4], [-1e4, -1e4, -1e4]]), 1)
    yield edge(np.array([[0.0, -np.inf, 1.0], [-np.inf, -np.inf, 3.0]]), 1)


def sums_of_exponentials(rng: Rng) -> Iterator[Sample]:
    yield from reduction(empty=False)(rng)
    yield edge(np.array([[1e4, 0.0, -1e4], [-1e4, -1e4, -1e4]]), 1)
    nothing = np.array([[0.0, -np.inf], [-np.inf, -np.inf]])
    yield Sample((nothing, 1), smooth=False, torch=False)  # PyTorch's derivative is NaN, ours 0


def reference_logsumexp(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return special.logsumexp(x, axis=dim, keepdims=keepdim)


def all_dims_by_default(function: Any) -> Any:
    """`logsumexp` has no default for ``dim``, as in PyTorch; the shared samples rely on one."""
    return lambda x, dim=None, keepdim=False: function(x, dim, keepdim)


OPS = [
    Op(
        "softmax",
        softmaxes,
        lambda x, dim: np.exp(reference_log_softmax(x, dim)),
        "softmax",
        (bad(of((2, 3)), 2, raises=IndexError, match="softmax: dim 2"),),
    ),
    Op(
        "log_softmax",
        softmaxes,
        reference_log_softmax,
        "log_softmax",
        (bad(of((2, 3)), 2, raises=IndexError, match="log_softmax: dim 2"),),
    ),
    Op(
        "logsumexp",
        sums_of_exponentials,
        reference_logsumexp,
        torch_reducing("logsumexp"),
        REDUCE_ERRORS,
        function=all_dims_by_default(ops.logsumexp),
    ),
]
