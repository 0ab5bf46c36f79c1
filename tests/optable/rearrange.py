"""Table of `minidl.ops.rearrange`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, grid, shaped


def choices(x: Any, r: int = 2, with_replacement: bool = False) -> Any:
    choose: Any = itertools.combinations
    if with_replacement:
        choose = itertools.combinations_with_replacement
    return np.array([list(c) for c in choose(x, r)], x.dtype).reshape(-1, r)


def grids(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 2), grid(rng, 3), indexing="ij")
    yield call(grid(rng, 2), grid(rng, 3), grid(rng, 1), indexing="xy")
    yield call(grid(rng, 2), grid(rng), indexing="ij")
    yield call(grid(rng, 2), indexing="xy")


def windows(x: Any, dim: int, size: int, step: int) -> Any:
    found = np.lib.stride_tricks.sliding_window_view(x, size, dim)
    axis = dim % x.ndim
    return found[(slice(None),) * axis + (slice(None, None, step),)]


def vectors(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 2), grid(rng, 3))
    yield call(grid(rng, 2), grid(rng, 1), grid(rng, 2))
    yield call(grid(rng, 3))


def product(*xs: Any) -> Any:
    return xs[0] if len(xs) == 1 else np.array(list(itertools.product(*xs)), xs[0].dtype)


OPS = [
    Op(
        "flip",
        shaped(((2, 3), (0,)), ((2, 3), (0, -1)), ((3,), (0,)), ((), ()), ((0, 2), (1,))),
        lambda x, dims: np.flip(x, dims),
        "flip",
        (bad(of((2,)), 1, raises=IndexError, match="flip: dim 1"),),
    ),
    Op(
        "fliplr",
        shaped(((2, 3),)),
        np.fliplr,
        "fliplr",
        (bad(of((2,)), raises=ValueError, match="at least 2 dimensions"),),
    ),
    Op("flipud", shaped(((2, 3),), ((3,),)), np.flipud, "flipud"),
    Op(
        "roll",
        shaped(((2, 3), 1), ((2, 3), 1, 1), ((2, 3), (-1, 4), (0, 1)), ((0, 3), 1, 0)),
        np.roll,
        "roll",
        (bad(of((2,)), (1, 2), 0, raises=ValueError, match="2 shifts for 1 dims"),),
    ),
    Op(
        "rot90",
        shaped(((2, 3),), ((2, 3), 2), ((2, 3), -1), ((2, 3, 2), 1, (2, 0)), ((2, 3), 4)),
        np.rot90,
        "rot90",
        (bad(of((2, 2)), 1, (0, 0), raises=ValueError, match="two different dims"),),
    ),
    Op(
        "repeat",
        shaped(((2, 3), 2, 1), ((3,), 2, 3), ((), (2,)), ((2, 1), 0, 2)),
        lambda x, *sizes: np.tile(x, sizes[0] if isinstance(sizes[0], tuple) else sizes),
        lambda torch, x, *sizes: x.repeat(*sizes),
        (bad(of((2, 3)), 2, raises=ValueError, match="wants 2 sizes"),),
    ),
    Op("tile", shaped(((2, 3), (2,)), ((3,), (2, 3)), ((), (2,))), np.tile, "tile"),
    Op(
        "repeat_interleave",
        lambda rng: [
            call(grid(rng, 3), np.array([0, 2, 1]), 0),
            call(grid(rng, 2, 3), 2),
            call(grid(rng, 2, 3), 2, 1),
            call(grid(rng, 2, 2), np.array([1, 3]), dim=-1),
        ],
        lambda x, repeats, dim=None: np.repeat(x, repeats, dim),
        "repeat_interleave",
        (bad(of((3,)), np.array([1, 2]), 0, raises=ValueError, match=r"3 repeats .* \(2,\)"),),
        no_vmap="repeats that differ",
    ),
    Op(
        "narrow",
        shaped(((4, 3), 0, 1, 2), ((2, 3), -1, -2, 2), ((3,), 0, 3, 0)),
        lambda x, dim, start, n: np.take(x, np.arange(start, start + n) % x.shape[dim], dim),
        "narrow",
        (bad(of((3,)), 0, 2, 2, raises=IndexError, match="2 from 2 on is beyond the 3"),),
    ),
    Op(
        "select",
        shaped(((2, 3), 0, 1), ((2, 3), 1, -1)),
        lambda x, dim, i: np.take(x, i, dim),
        "select",
    ),
    Op(
        "unfold",
        shaped(((5,), 0, 2, 1), ((2, 6), 1, 3, 2), ((4, 2), 0, 4, 1), ((3, 2), 0, 1, 2)),
        windows,
        lambda torch, x, *a: x.unfold(*a),
        (bad(of((3,)), 0, 4, 1, raises=ValueError, match="size 0 to 3"),),
    ),
    Op(
        "meshgrid",
        grids,
        lambda *xs, indexing: tuple(np.meshgrid(*xs, indexing=indexing)),
        "meshgrid",
        (bad(of((2,)), indexing="yx", raises=ValueError, match="'ij' or 'xy'"),),
    ),
    Op("cartesian_prod", vectors, product, "cartesian_prod"),
    Op(
        "combinations",
        shaped(((4,),), ((3,), 3), ((3,), 2, True), ((3,), 1)),
        choices,
        "combinations",
        (bad(of((2, 2)), raises=ValueError, match="a vector and r >= 0"),),
    ),
]
