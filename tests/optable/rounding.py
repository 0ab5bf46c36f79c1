"""Table of `minidl.ops.rounding`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from optable.arithmetic import quotients
from optable.record import SHAPES_DIFFER, Op, bad, of
from optable.samples import SPECIAL, Rng, Sample, call, edge, grid, unary

STEPS = [0.5, -0.5, 1.5, 2.5, -2.5, 3.0, 0.0, -0.0, 1e30, np.inf, -np.inf, np.nan]
FRACTIONS = STEPS[:9]


def places(rng: Rng) -> Iterator[Sample]:
    yield from unary(special=STEPS)(rng)
    yield call(grid(rng, 5), decimals=1)
    yield call(100 * grid(rng, 5), decimals=-1)


def limits(rng: Rng) -> Iterator[Sample]:
    x = grid(rng, 2, 3)
    for bounds in [(-0.7, 0.9), (-0.7,), (None, 0.9), (0.9, -0.7)]:
        yield call(x, *bounds)
    yield call(x, grid(rng, 3, high=-0.5), grid(rng, 2, 1, low=0.5))
    yield call(grid(rng), min=0.0)
    yield call(np.zeros((0, 2)), 0.0, 1.0)
    yield edge(np.array([-1.0, 0.0, 1.0, np.inf, -np.inf]), 0.0, 1.0)
    nan = np.array([np.nan])
    yield Sample((nan, 0.0, 1.0), smooth=False, torch=False)  # PyTorch's derivative there is 0


def one_limit(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 2, 3), 0.3)
    yield call(grid(rng, 2, 3), grid(rng, 3))
    yield edge(np.array([0.0, 1.0]), 0.0)


def clamped(x: Any, min: Any = None, max: Any = None) -> Any:
    x = x if min is None else np.maximum(x, min)
    return x if max is None else np.minimum(x, max)


def pairs_of_values(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 3, 4), grid(rng, 4))
    yield call(grid(rng), grid(rng, 3))
    yield edge(np.array([1.0, np.nan, 2.0, np.nan]), np.array([1.0, 2.0, np.nan, np.nan]))


def signs(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 3, 4), grid(rng, 4))
    yield call(grid(rng), grid(rng, 3))
    yield edge(np.array([0.0, -0.0, 1.0]), np.array([-1.0, 1.0, -0.0]))


def infinite(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 2, 3))
    yield edge(np.array([np.nan, np.inf, -np.inf, 1.0]), 7.0)
    yield edge(np.array([np.nan, np.inf, -np.inf, 1.0]), 7.0, 8.0, -9.0)


def near(rng: Rng) -> Iterator[Sample]:
    yield call(
        np.array([1.0, 1.0 + 1e-9, 2.0, np.nan, np.inf]), np.array([1.0, 1, 1, np.nan, np.inf])
    )
    yield call(np.array([1.0, np.nan]), np.array([1.05, np.nan]), 0.1, 0.0, True)
    yield call(np.array([1e-9, 1.0]), np.array(0.0), atol=1e-3)


def question(name: str) -> Op:
    special = lambda rng: [call(SPECIAL), call(np.array(1.0)), call(np.array([1, 2]))]
    return Op(name, special, getattr(np, name), name, differentiable=False)


OPS = [
    Op("floor", unary(special=STEPS), np.floor, "floor"),
    Op("ceil", unary(special=STEPS), np.ceil, "ceil"),
    Op("trunc", unary(special=STEPS), np.trunc, "trunc"),
    Op("round", places, lambda x, decimals=0: np.round(x, decimals), "round"),
    Op("frac", unary(special=FRACTIONS), lambda x: x - np.trunc(x), "frac"),
    Op("fmod", quotients, np.fmod, "fmod", (SHAPES_DIFFER,)),
    Op("remainder", quotients, np.remainder, "remainder", (SHAPES_DIFFER,)),
    Op(
        "clamp",
        limits,
        clamped,
        "clamp",
        (bad(of((2,)), raises=ValueError, match="min or max is wanted"),),
    ),
    Op("clamp_min", one_limit, np.maximum, "clamp_min"),
    Op("clamp_max", one_limit, np.minimum, "clamp_max"),
    Op("fmax", pairs_of_values, np.fmax, "fmax"),
    Op("fmin", pairs_of_values, np.fmin, "fmin"),
    Op("copysign", signs, np.copysign, "copysign"),
    Op("nan_to_num", infinite, lambda x, *a: np.nan_to_num(x, True, *a), "nan_to_num"),
    Op(
        "heaviside",
        lambda rng: [call(np.array([-1.0, 0.0, 2.0]), np.array(0.5))],
        np.heaviside,
        "heaviside",
        differentiable=False,
    ),
    Op("isclose", near, np.isclose, "isclose", differentiable=False),
    question("isnan"),
    question("isinf"),
    question("isfinite"),
    question("signbit"),
    question("isposinf"),
    question("isneginf"),
]
