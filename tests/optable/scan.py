"""Table of `minidl.ops.scan`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, edge, grid, ours

AXIS = (bad(of((2, 3)), 2, raises=IndexError, match="dim 2 is out of range for 2"),)


def scans(rng: Rng) -> Iterator[Sample]:
    for shape, dim in [
        ((3, 5), 1),
        ((3, 2), 0),
        ((2, 3, 2), -2),
        ((), 0),
        ((0, 3), 0),
        ((2, 1), 1),
    ]:
        yield call(grid(rng, *shape), dim)


def with_zeros(rng: Rng) -> Iterator[Sample]:
    yield from scans(rng)
    yield call(np.array([2.0, 0.0, -1.5, 0.0, 0.5]), 0)


def unbounded(rng: Rng) -> Iterator[Sample]:
    yield from scans(rng)
    low = np.array([-np.inf, -np.inf, 0.0, 1e4])
    yield Sample((low, 0), smooth=False, torch=False)


def with_ties(rng: Rng) -> Iterator[Sample]:
    yield from (s for s in scans(rng) if s.floats[0].size)
    yield edge(np.array([1.0, 3.0, 3.0, 2.0, np.nan, 1.0]), 0)


def record(accumulate: Any) -> Any:
    def reference(x: Any, dim: int) -> Any:
        if not x.ndim:
            return x, np.zeros((), int)
        best = accumulate(x, axis=dim)
        places = np.zeros(x.shape, int)
        for index in np.ndindex(*x.shape):
            k = index[dim]
            before = [
                j
                for j in range(k + 1)
                if np.array_equal(
                    x[(*index[: dim % x.ndim], j, *index[dim % x.ndim + 1 :])],
                    best[index],
                    equal_nan=True,
                )
            ]
            places[index] = before[-1]
        return best, places

    return reference


def along(function: Any) -> Any:
    return lambda x, dim: function(x, axis=dim) if x.ndim else x


def differences(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 3, 4))
    yield call(grid(rng, 3, 4), 2, 0)
    yield call(grid(rng, 5), n=3)
    yield call(grid(rng, 2, 3), prepend=grid(rng, 2, 1), append=grid(rng, 2, 2))
    yield call(grid(rng, 3), n=0)
    yield call(grid(rng, 1))


def difference(x: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Any:
    ends = {k: v for k, v in {"prepend": prepend, "append": append}.items() if v is not None}
    return np.diff(x, n, dim, **ends)


def integrals(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 3, 4))
    yield call(grid(rng, 3, 4), dx=0.5, dim=0)
    yield call(grid(rng, 3, 4), np.sort(grid(rng, 4)))
    yield call(grid(rng, 3, 4), np.sort(grid(rng, 3)), dim=0)
    yield call(grid(rng, 3, 4), np.sort(grid(rng, 3, 4), axis=1))


def integral(y: Any, x: Any = None, dx: float = 1.0, dim: int = -1) -> Any:
    return np.trapezoid(y, x, dx, dim)


def running_integral(y: Any, x: Any = None, dx: float = 1.0, dim: int = -1) -> Any:
    length = y.shape[dim]
    take = lambda a, n: np.take(a, range(n), axis=dim)
    parts = [
        integral(take(y, n), None if x is None else x[:n] if x.ndim == 1 else take(x, n), dx, dim)
        for n in range(2, length + 1)
    ]
    return np.stack(parts, axis=dim)


def slopes(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 4))
    yield call(grid(rng, 3, 4), spacing=0.5)
    yield call(grid(rng, 3, 4), spacing=[0.5, 2.0], dim=(0, 1))
    yield call(grid(rng, 3, 4), dim=1, edge_order=2)
    x = np.array([0.0, 0.5, 2.0, 2.25])
    yield ours(grid(rng, 3, 4), spacing=[x], dim=(1,))
    yield ours(grid(rng, 3, 4), spacing=[x], dim=(1,), edge_order=2)


def slope(x: Any, spacing: Any = 1.0, dim: Any = None, edge_order: int = 1) -> Any:
    spacings = spacing if isinstance(spacing, list) else [spacing]
    found = np.gradient(x, *spacings, axis=dim, edge_order=edge_order)
    return tuple(found) if isinstance(found, (tuple, list)) else (found,)


def torch_slope(torch: Any, x: Any, spacing: Any = 1.0, **how: Any) -> Any:
    return torch.gradient(x, spacing=spacing, **how)


OPS = [
    Op("cumsum", scans, along(np.cumsum), "cumsum", AXIS),
    Op("cumprod", with_zeros, along(np.cumprod), "cumprod", AXIS),
    Op("logcumsumexp", unbounded, along(np.logaddexp.accumulate), "logcumsumexp", AXIS),
    Op("cummax", with_ties, record(np.maximum.accumulate), "cummax", AXIS),
    Op("cummin", with_ties, record(np.minimum.accumulate), "cummin", AXIS),
    Op(
        "diff",
        differences,
        difference,
        "diff",
        (bad(of(()), raises=ValueError, match="at least one dimension"),),
    ),
    Op(
        "trapezoid",
        integrals,
        integral,
        "trapezoid",
        (bad(of((3,)), of((2,)), raises=ValueError, match="x has 2 points, y 3"),),
    ),
    Op("cumulative_trapezoid", integrals, running_integral, "cumulative_trapezoid"),
    Op(
        "gradient",
        slopes,
        slope,
        torch_slope,
        (
            bad(of((1,)), raises=ValueError, match="axis 0 has 1 samples, wanted 2"),
            bad(of((3,)), edge_order=3, raises=ValueError, match="edge_order 1 or 2, got 1 and 3"),
        ),
    ),
]
