"""Table of `minidl.ops.scatter`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, edge, grid, ours

INDEX = np.array([[0, 2, 0, 1], [2, 2, 1, 0]])
UNIQUE = np.array([[0, 2, 1, 1], [2, 0, 2, 0]])
SHAPES = (
    bad(
        of((3, 2)),
        0,
        of((2, 3), int),
        of((2, 3)),
        raises=ValueError,
        match=r"index \(2, 3\) does not",
    ),
    bad(of((3, 2)), 0, of((2, 2)), of((2, 2)), raises=TypeError, match="of integers, got float64"),
    bad(
        of((3, 2)),
        0,
        of((2, 2), int),
        of((1, 2)),
        raises=ValueError,
        match=r"src \(1, 2\) is small",
    ),
)


def gathers(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 3, 4), 0, INDEX)
    yield call(grid(rng, 2, 3), 1, INDEX)
    yield call(grid(rng, 3, 5), -2, INDEX)
    yield call(grid(rng, 3), 0, np.array([2, 0, 0, 1]))
    yield call(grid(rng, 3, 2), 0, np.zeros((0, 2), int))


def each(x: Any, dim: int, index: Any) -> Iterator[tuple[Any, Any]]:
    """Places of ``index``, and where in ``x`` they point."""
    for place in np.ndindex(*index.shape):
        where = list(place)
        where[dim] = index[place]
        yield place, tuple(where)


def gathered(x: Any, dim: int, index: Any) -> Any:
    out = np.zeros(index.shape, x.dtype)
    for place, where in each(x, dim, index):
        out[place] = x[where]
    return out


def writes(index: Any, *, more: bool = True) -> Any:
    def samples(rng: Rng) -> Iterator[Sample]:
        yield call(grid(rng, 3, 4), 0, index, grid(rng, 2, 4))
        yield ours(grid(rng, 3, 5), 0, index, grid(rng, 3, 6))  # PyTorch fails in backward
        yield call(grid(rng, 2, 3), -1, index[:, :2], grid(rng, 2, 2))
        if more:
            yield ours(grid(rng, 3, 4), 0, index, 2.5)

    return samples


def combined(combine: Any) -> Any:
    def reference(x: Any, dim: int, index: Any, src: Any) -> Any:
        out = x.copy()
        for place, where in each(x, dim, index):
            out[where] = combine(out[where], src if np.ndim(src) == 0 else src[place])
        return out

    return reference


def written(x: Any, dim: int, index: Any, src: Any, reduce: str | None = None) -> Any:
    how = {None: lambda a, b: b, "add": np.add, "multiply": np.multiply}[reduce]
    return combined(how)(x, dim, index, src)


def scatters(rng: Rng) -> Iterator[Sample]:
    yield from writes(UNIQUE)(rng)
    yield ours(grid(rng, 3, 4), 0, INDEX, grid(rng, 2, 4))  # PyTorch: which write wins is open
    yield ours(grid(rng, 3, 4), 0, INDEX, grid(rng, 2, 4), reduce="add")
    yield ours(grid(rng, 3, 4), 0, INDEX, grid(rng, 2, 4), reduce="multiply")


def reductions(rng: Rng) -> Iterator[Sample]:
    for reduce in ("sum", "prod", "mean", "amax", "amin"):
        for include in (True, False):
            x, src = grid(rng, 3, 4), grid(rng, 2, 4)
            yield call(x, 0, INDEX, src, reduce, include_self=include)
    yield edge(
        np.zeros((2, 2)), 0, np.array([[0, 0], [0, 1]]), np.array([[0.0, 2.0], [3.0, 0.0]]), "prod"
    )
    yield edge(np.ones((2, 2)), 0, np.array([[0, 0], [0, 1]]), np.ones((2, 2)), "amax")


def reduced(x: Any, dim: int, index: Any, src: Any, reduce: str, include_self: bool = True) -> Any:
    lists: dict[Any, list[Any]] = {}
    for place, where in each(x, dim, index):
        lists.setdefault(where, [x[where]] if include_self else []).append(src[place])
    take = {"sum": np.sum, "prod": np.prod, "mean": np.mean, "amax": np.max, "amin": np.min}[reduce]
    out = x.copy()
    for where, values in lists.items():
        out[where] = take(np.array(values, x.dtype))
    return out


PLACES = np.array([2, 0])
MASK = np.array([[True, False, True], [False, False, True]])


def slices(*, repeat: bool) -> Any:
    def samples(rng: Rng) -> Iterator[Sample]:
        yield call(grid(rng, 3, 2), 0, PLACES, grid(rng, 2, 2))
        yield call(grid(rng, 2, 3), -1, PLACES, grid(rng, 2, 2))
        if repeat:
            yield call(grid(rng, 3, 2), 0, np.array([1, 1]), grid(rng, 2, 2), alpha=0.5)

    return samples


def set_at(x: Any, dim: int, index: Any, value: Any) -> Any:
    out = x.copy()
    np.moveaxis(out, dim, 0)[index] = value if np.ndim(value) == 0 else np.moveaxis(value, dim, 0)
    return out


def added_at(x: Any, dim: int, index: Any, value: Any, alpha: float = 1) -> Any:
    out = x.copy()
    np.add.at(np.moveaxis(out, dim, 0), index, alpha * np.moveaxis(value, dim, 0))
    return out


def puts(rng: Rng) -> Iterator[Sample]:
    index = (np.array([0, 2]), np.array([1, 0]))
    yield call(grid(rng, 3, 2), index, grid(rng, 2))
    yield call(grid(rng, 3, 2), index, grid(rng))
    yield call(grid(rng, 3, 2), (np.array([1, 1]), np.array([0, 0])), grid(rng, 2), accumulate=True)
    yield call(grid(rng, 3, 2), (np.array([1, 1]),), grid(rng, 2), True)


def put_at(x: Any, index: Any, values: Any, accumulate: bool = False) -> Any:
    out = x.copy()
    if accumulate:
        np.add.at(out, index, values)
    else:
        out[index] = values
    return out


def flat_puts(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 2, 3), np.array([4, 0]), grid(rng, 2))
    yield call(grid(rng, 2, 3), np.array([[1, 1]]), grid(rng, 1, 2), accumulate=True)


def filled_by_mask(x: Any, mask: Any, source: Any) -> Any:
    out, mask = x.copy(), np.broadcast_to(mask, x.shape)
    out[mask] = source.reshape(-1)[: mask.sum()]
    return out


def along(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 2, 3), np.array([[2, 0], [1, 1]]), 1)
    yield call(grid(rng, 2, 3), np.array([[1, 0, 1]]), dim=0)
    yield call(grid(rng, 2, 3), np.array([5, 0]))


def taken_along(x: Any, indices: Any, dim: int | None = None) -> Any:
    return np.take_along_axis(x, indices, dim)


def on_diagonal(x: Any, src: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    out = x.copy()
    view = np.diagonal(out, offset, dim1, dim2)
    view.setflags(write=True)
    view[...] = src
    return out


OPS = [
    Op("gather", gathers, gathered, "gather", tuple((e[0][:3], *e[1:]) for e in SHAPES[:2])),
    Op("scatter_add", writes(INDEX), combined(np.add), "scatter_add", SHAPES),
    Op(
        "scatter",
        scatters,
        written,
        "scatter",
        (
            *SHAPES,
            bad(
                of((2,)), 0, of((2,), int), of((2,)), reduce="sum", raises=ValueError, match="'sum'"
            ),
        ),
    ),
    Op(
        "scatter_reduce",
        reductions,
        reduced,
        "scatter_reduce",
        (bad(of((2,)), 0, of((2,), int), of((2,)), "max", raises=ValueError, match="got 'max'"),),
    ),
    Op(
        "index_select",
        lambda rng: [
            call(grid(rng, 3, 2), 0, PLACES),
            call(grid(rng, 2, 3), 1, np.array([1, 1, 0])),
        ],
        lambda x, dim, index: np.take(x, index, dim),
        "index_select",
        (bad(of((2,)), 0, of((1, 1), int), raises=ValueError, match="must be a vector"),),
    ),
    Op("index_add", slices(repeat=True), added_at, "index_add"),
    Op("index_copy", slices(repeat=False), set_at, "index_copy"),
    Op(
        "index_fill",
        lambda rng: [
            call(grid(rng, 3, 2), 0, PLACES, 7.0),
            call(grid(rng, 2, 3), 1, PLACES, grid(rng)),
        ],
        set_at,
        "index_fill",
    ),
    Op("index_put", puts, put_at, "index_put"),
    Op(
        "masked_fill",
        lambda rng: [call(grid(rng, 2, 3), MASK, 7.0), call(grid(rng, 2, 3), MASK[0], grid(rng))],
        lambda x, mask, value: np.where(mask, value, x),
        "masked_fill",
    ),
    Op(
        "masked_select",
        lambda rng: [call(grid(rng, 2, 3), MASK), call(grid(rng, 3), MASK)],
        lambda x, mask: np.broadcast_to(x, mask.shape)[mask],
        "masked_select",
        no_vmap="how many are selected",
    ),
    Op(
        "masked_scatter",
        lambda rng: [
            call(grid(rng, 2, 3), MASK, grid(rng, 4)),
            call(grid(rng, 2, 3), MASK[0], grid(rng, 2, 3)),
        ],
        filled_by_mask,
        "masked_scatter",
    ),
    Op(
        "take",
        lambda rng: [
            call(grid(rng, 2, 3), np.array([[5, 0], [1, 1]])),
            call(grid(rng, 3), np.array(-1)),
        ],
        np.take,
        "take",
    ),
    Op("take_along_dim", along, taken_along, "take_along_dim"),
    Op(
        "put",
        flat_puts,
        lambda x, i, v, accumulate=False: put_at(
            x.reshape(-1), i.reshape(-1), v.reshape(-1), accumulate
        ).reshape(x.shape),
        lambda torch, x, i, v, **how: x.put(i, v, **how),
    ),
    Op(
        "select_scatter",
        lambda rng: [
            call(grid(rng, 2, 3), grid(rng, 3), 0, 1),
            call(grid(rng, 2, 3), grid(rng, 2), 1, -1),
        ],
        lambda x, src, dim, i: set_at(x, dim, [i], np.expand_dims(src, dim)),
        "select_scatter",
    ),
    Op(
        "slice_scatter",
        lambda rng: [
            call(grid(rng, 4, 2), grid(rng, 2, 2), 0, 1, 3),
            call(grid(rng, 2, 4), grid(rng, 2, 2), dim=1, step=2),
        ],
        lambda x, src, dim=0, start=None, end=None, step=1: set_at(
            x, dim, np.arange(x.shape[dim])[slice(start, end, step)], src
        ),
        "slice_scatter",
    ),
    Op(
        "diagonal_scatter",
        lambda rng: [
            call(grid(rng, 3, 4), grid(rng, 3)),
            call(grid(rng, 3, 4), grid(rng, 2), -1),
            call(grid(rng, 2, 3, 2), grid(rng, 3, 2), 0, 0, 2),
        ],
        on_diagonal,
        "diagonal_scatter",
        (bad(of((2, 2)), of((3,)), raises=ValueError, match=r"shape \(3,\), wanted \(2,\)"),),
    ),
]
