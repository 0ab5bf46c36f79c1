"""Table of `minidl.ops.ordering`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, edge, grid, ours

AXIS = bad(of((2, 3)), dim=2, raises=IndexError, match="dim 2 is out of range for 2")


def sorts(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 3, 4))
    yield call(grid(rng, 3, 4), 0)
    yield call(grid(rng, 2, 3, 2), 1, True)
    yield call(grid(rng))
    yield call(grid(rng, 0, 3))
    yield edge(np.array([2.0, 1.0, 2.0, np.nan, 1.0]), stable=True)
    yield edge(np.array([2.0, 1.0, 2.0, np.nan, 1.0]), descending=True, stable=True)


def order(x: Any, dim: int = -1, descending: bool = False, stable: bool = True) -> Any:
    if not x.ndim:
        return np.zeros((), int)
    found = np.empty(x.shape, int)
    rows, places = np.moveaxis(x, dim, -1), np.moveaxis(found, dim, -1)
    for index in np.ndindex(*rows.shape[:-1]):
        row = rows[index]
        key = lambda i, row=row: (
            not np.isnan(row[i]) if descending else np.isnan(row[i]),
            -row[i] if descending else row[i],
        )
        places[index] = sorted(range(len(row)), key=key)
    return found


def ordered(x: Any, *args: Any, **how: Any) -> Any:
    if not x.ndim:
        return x, np.zeros((), int)
    indices = order(x, *args, **how)
    dim = args[0] if args else how.get("dim", -1)
    return np.take_along_axis(x, indices, dim), indices


def tops(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 3, 5), 2)
    yield call(grid(rng, 3, 2), 2, 0)
    yield call(grid(rng, 5), 3, largest=False)
    yield call(grid(rng, 3), 0)
    yield call(grid(rng), 1)


def top(x: Any, k: int, dim: int = -1, largest: bool = True) -> Any:
    if not x.ndim:
        return x, np.zeros((), int)
    values, indices = ordered(x, dim, largest)
    return np.take(values, range(k), dim), np.take(indices, range(k), dim)


def ranks(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 3, 4), 2)
    yield call(grid(rng, 3, 4), 3, 0, True)
    yield call(grid(rng, 5), 1)
    yield call(grid(rng), 1)


def ranked(x: Any, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    if not x.ndim:
        return x, np.zeros((), int)
    return tuple(np.take(v, [k - 1] if keepdim else k - 1, dim) for v in ordered(x, dim))


def middles(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 3, 4))
    yield call(grid(rng, 3, 4), 1)
    yield call(grid(rng, 3, 5), 0, True)
    yield call(grid(rng, 5), -1)
    yield call(grid(rng))
    yield call(grid(rng), 0)
    yield edge(np.array([[1.0, np.nan, 0.0, 2.0], [1.0, 3.0, 0.0, 2.0]]), 1)


def middle(skip: bool) -> Any:
    def lower(row: Any) -> int:
        known = np.flatnonzero(~np.isnan(row))
        if not skip and len(known) < len(row):
            return int(np.flatnonzero(np.isnan(row))[0])
        return int(known[np.argsort(row[known], kind="stable")][(len(known) - 1) // 2])

    def reference(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
        if dim is None:
            return x.reshape(-1)[lower(x.reshape(-1))]
        if not x.ndim:
            return x, np.zeros((), int)
        indices = np.apply_along_axis(lower, dim, x)
        indices = np.expand_dims(indices, dim)
        pair = np.take_along_axis(x, indices, dim), indices
        return pair if keepdim else tuple(v.squeeze(dim) for v in pair)

    return reference


def repeats(rng: Rng) -> Iterator[Sample]:
    yield edge(np.array([[1.0, 2.0, 1.0, 3.0], [3.0, 2.0, 2.0, 3.0]]))
    yield edge(np.array([[1.0, 2.0], [1.0, 3.0], [4.0, 3.0]]), 0, True)
    yield call(grid(rng, 3))
    yield call(grid(rng))


def most(x: Any, dim: int = -1, keepdim: bool = False) -> Any:
    if not x.ndim:
        return x, np.zeros((), int)

    def place(row: Any) -> int:
        values, counts = np.unique(row, return_counts=True)
        return int(np.flatnonzero(row == values[counts.argmax()])[-1])

    indices = np.expand_dims(np.apply_along_axis(place, dim, x), dim)
    pair = np.take_along_axis(x, indices, dim), indices
    return pair if keepdim else tuple(v.squeeze(dim) for v in pair)


EDGES = np.array([-1.0, 0.0, 0.0, 1.5])


def insertions(rng: Rng) -> Iterator[Sample]:
    yield call(EDGES, np.array([[0.0, -2.0], [1.0, 3.0]]))
    yield call(EDGES, np.array([[0.0, -2.0], [1.0, 3.0]]), right=True)
    yield call(EDGES, np.array(0.0))
    yield call(np.sort(grid(rng, 2, 4)), grid(rng, 2, 3))
    yield ours(np.arange(4), 2)


def inserted(edges: Any, values: Any, right: bool = False) -> Any:
    side = "right" if right else "left"
    if edges.ndim == 1:
        return np.searchsorted(edges, values, side)
    return np.stack([np.searchsorted(e, v, side) for e, v in zip(edges, values, strict=True)])


def lists(rng: Rng) -> Iterator[Sample]:
    yield call(np.array([3.0, 1.0, 3.0, 2.0]))
    yield call(np.array([[3, 1], [1, 3]]), return_inverse=True, return_counts=True)
    yield call(np.array([[1, 2], [3, 4], [1, 2]]), dim=0)


def runs(rng: Rng) -> Iterator[Sample]:
    yield call(np.array([3.0, 3.0, 1.0, 1.0, 3.0]))
    yield call(np.array([3, 3, 1, 1, 3]), return_inverse=True, return_counts=True)
    yield call(np.array([[1, 2], [1, 2], [3, 4]]), dim=0)


def distinct(
    x: Any, return_inverse: bool = False, return_counts: bool = False, dim: Any = None
) -> Any:
    values, inverse, counts = np.unique(x, return_inverse=True, return_counts=True, axis=dim)
    if not return_inverse:
        return values
    return values, inverse.reshape(x.shape), counts


def run_lengths(
    x: Any, return_inverse: bool = False, return_counts: bool = False, dim: Any = None
) -> Any:
    rows = [list(np.atleast_1d(row)) for row in x]
    keep = [i for i, row in enumerate(rows) if i == 0 or row != rows[i - 1]]
    values = x[keep]
    if not return_inverse:
        return values
    inverse = np.array([sum(k <= i for k in keep) - 1 for i in range(len(rows))])
    return values, inverse, np.bincount(inverse)


OPS = [
    Op("sort", sorts, ordered, "sort", (AXIS,)),
    Op("argsort", sorts, order, "argsort", (AXIS,), differentiable=False),
    Op(
        "msort",
        lambda rng: [call(grid(rng, 3, 2)), call(grid(rng, 4))],
        lambda x: np.sort(x, 0),
        "msort",
    ),
    Op(
        "topk",
        tops,
        top,
        "topk",
        (bad(of((2, 3)), 4, raises=ValueError, match="k must be 0 to 3, .* got 4"),),
    ),
    Op(
        "kthvalue",
        ranks,
        ranked,
        "kthvalue",
        (bad(of((2, 3)), 0, raises=ValueError, match="k must be 1 to 3, .* got 0"),),
    ),
    Op(
        "median",
        middles,
        middle(skip=False),
        "median",
        (bad(of((0, 3)), 0, raises=ValueError, match=r"no element along dim 0 of shape \(0, 3\)"),),
    ),
    Op("nanmedian", middles, middle(skip=True), "nanmedian"),
    Op("mode", repeats, most, "mode"),
    Op(
        "searchsorted",
        insertions,
        inserted,
        "searchsorted",
        (
            bad(
                of((2, 3)), of((3, 2)), raises=ValueError, match=r"shape \(2, 3\) do not fit values"
            ),
        ),
        differentiable=False,
    ),
    Op(
        "bucketize",
        lambda rng: [
            call(np.array([[0.0, -2.0], [1.0, 3.0]]), EDGES),
            call(np.array(0.0), EDGES, right=True),
        ],
        lambda x, edges, right=False: inserted(edges, x, right),
        "bucketize",
        differentiable=False,
    ),
    Op("unique", lists, distinct, "unique", differentiable=False, no_vmap="its length"),
    Op(
        "unique_consecutive",
        runs,
        run_lengths,
        "unique_consecutive",
        differentiable=False,
        no_vmap="its length",
    ),
]
