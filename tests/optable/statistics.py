"""Table of `minidl.ops.statistics`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from optable.record import REDUCE_ERRORS, Op, bad, of
from optable.samples import Rng, Sample, call, edge, grid, ours, reducing, reduction


def gaps(rng: Rng) -> Iterator[Sample]:
    yield from reduction(empty=False)(rng)
    nan = np.nan
    yield edge(np.array([[1.0, nan, 2.0], [nan, 3.0, 4.0]]), 1)
    yield Sample((np.full((1, 2), nan), 1), smooth=False, torch=False)


def quiet_mean(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    count = (~np.isnan(x)).sum(axis=dim, keepdims=keepdim)
    return np.nansum(x, axis=dim, keepdims=keepdim) / np.where(count, count, np.nan)


def torch_gaps(name: str) -> Any:
    def reduce(torch: Any, x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        over = tuple(range(x.ndim)) if dim is None else dim
        return getattr(torch, name)(x, over, keepdim=keepdim)

    return reduce


def spreads(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 3, 4))
    yield call(grid(rng, 3, 4), 0)
    yield call(grid(rng, 2, 3, 2), (0, 2), correction=0, keepdim=True)


def moments(spread: Any) -> Any:
    def reference(x: Any, dim: Any = None, correction: float = 1, keepdim: bool = False) -> Any:
        how = {"axis": dim, "keepdims": keepdim}
        return spread(x, ddof=correction, **how), np.mean(x, **how)

    return reference


def quantiles(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 3, 4), 0.3)
    yield call(grid(rng, 3, 4), 0.7, 1, True)
    yield ours(grid(rng, 3, 4), [0.1, 0.5, 0.95], 0)
    for method in ("lower", "higher", "midpoint", "nearest"):
        yield call(grid(rng, 5), 0.4, 0, interpolation=method)
    yield call(grid(rng), 0.5)
    gap = np.array([[1.0, np.nan, 2.0, 4.0], [3.0, 1.0, 2.0, 0.0]])
    yield Sample((gap, 0.6, 1), smooth=False, torch=False)


def at(function: Any) -> Any:
    def reference(
        x: Any, q: Any, dim: Any = None, keepdim: bool = False, interpolation: str = "linear"
    ) -> Any:
        return function(x, np.asarray(q), axis=dim, keepdims=keepdim, method=interpolation).astype(
            x.dtype
        )

    return reference


Q_ERRORS = (
    bad(of((3,)), 1.5, raises=ValueError, match="from 0 to 1, got 1.5"),
    bad(of((3,)), 0.5, interpolation="mean", raises=ValueError, match="interpolation.*'mean'"),
    bad(of((0,)), 0.5, raises=ValueError, match="no element"),
)


def counts(rng: Rng) -> Iterator[Sample]:
    x = np.array([0, 2, 1, 2])
    yield call(x)
    yield ours(x, grid(rng, 4))  # no derivative in PyTorch
    yield call(x, minlength=5)


def histograms(rng: Rng) -> Iterator[Sample]:
    x = np.array([0.1, 0.5, 0.9, 2.0, -1.0])
    yield call(x, 4, 0.0, 1.0)
    yield call(x, 3)
    yield ours(np.array([1.0, 1.0]), 2)


def histogram(x: Any, bins: int, low: float = 0.0, high: float = 0.0) -> Any:
    low, high = (x.min(), x.max()) if low == high else (low, high)
    low, high = (low - 1, high + 1) if low == high else (low, high)
    width = (high - low) / bins
    inside = x[(x >= low) & (x <= high)]
    places = np.minimum(((inside - low) / width).astype(int), bins - 1)
    return np.bincount(places, minlength=bins).astype(x.dtype)


OPS = [
    Op("nansum", gaps, reducing(np.nansum), torch_gaps("nansum"), REDUCE_ERRORS),
    Op("nanmean", gaps, quiet_mean, torch_gaps("nanmean"), REDUCE_ERRORS),
    Op("var_mean", spreads, moments(np.var), "var_mean", rtol=1e-9),
    Op("std_mean", spreads, moments(np.std), "std_mean", rtol=1e-9),
    Op("quantile", quantiles, at(np.quantile), "quantile", Q_ERRORS),
    Op("nanquantile", quantiles, at(np.nanquantile), "nanquantile", Q_ERRORS),
    Op(
        "bincount",
        counts,
        lambda x, weights=None, minlength=0: np.bincount(x, weights, minlength).astype(
            int if weights is None else weights.dtype
        ),
        "bincount",
        (bad(of((2, 2), int), raises=ValueError, match=r"one axis .*\(2, 2\)"),),
        no_vmap="its length",
    ),
    Op(
        "histc",
        histograms,
        histogram,
        "histc",
        (bad(of((2,)), 0, raises=ValueError, match="bins >= 1"),),
        differentiable=False,
        no_vmap="limits found in the values",
    ),
]
