"""Table of `minidl.ops.reduce`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from optable.record import FLOAT_ERRORS, REDUCE_ERRORS, Op, bad, of
from optable.samples import (
    Rng,
    Sample,
    call,
    edge,
    grid,
    ours,
    reducing,
    reduction,
    torch_reducing,
)


def moments(rng: Rng) -> Iterator[Sample]:
    for kwargs in [
        {},
        {"dim": 0},
        {"dim": (0, 1), "correction": 0},
        {"dim": -1, "keepdim": True},
        {"dim": 0, "correction": 2, "keepdim": True},
    ]:
        yield call(grid(rng, 3, 4), **kwargs)
    yield ours(grid(rng, 0, 3), 1)  # PyTorch warns
    yield call(1e6 + grid(rng, 3, 4), 1)
    yield edge(np.array([[2.0, 2.0, 2.0], [1.0, 2.0, 4.0]]), 1)


def extrema(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 3, 4))
    yield call(grid(rng, 3, 4), 0)
    yield call(grid(rng, 2, 3, 2), -2, keepdim=True)
    yield call(grid(rng, 3), dim=0)
    yield call(grid(rng))
    yield edge(np.array([[1.0, 1.0, 0.0], [2.0, 2.0, 2.0]]), 1)


def arg_extrema(rng: Rng) -> Iterator[Sample]:
    yield from extrema(rng)
    yield call(np.array([3, 1, 3]))


def moment(function: Callable[..., Any]) -> Callable[..., Any]:
    def reference(x: Any, dim: Any = None, correction: float = 1, keepdim: bool = False) -> Any:
        return function(x, axis=dim, ddof=correction, keepdims=keepdim)

    return reference


def extremum(select: Any, value: Any) -> Callable[..., Any]:
    def reference(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
        if dim is None:
            return value(x)
        return value(x, axis=dim, keepdims=keepdim), select(x, axis=dim, keepdims=keepdim)

    return reference


def torch_extremum(name: str) -> Callable[..., Any]:
    def extremum(torch: Any, x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
        found = getattr(torch, name)
        return found(x) if dim is None else tuple(found(x, dim, keepdim=keepdim))

    return extremum


def with_zeros(rng: Rng) -> Iterator[Sample]:
    yield from reduction()(rng)
    yield call(np.array([[0.0, 2.0, 3.0], [0.0, 4.0, 0.0], [1.0, 2.0, 3.0]]), 1)
    yield call(np.array([2.0, 0.0, -1.5, 3.0, 0.5]))


def torch_prod(torch: Any, x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    dims = range(x.ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
    for axis in sorted((d % max(x.ndim, 1) for d in dims), reverse=True):
        x = x.prod(axis, keepdim=keepdim)
    return x


def extrema_of_two(rng: Rng) -> Iterator[Sample]:
    yield from extrema(rng)
    yield call(grid(rng, 2, 3), grid(rng, 3))


def either(one: Any, two: Any) -> Any:
    """The reference for `max` and `min`, which take an axis or another array."""
    return lambda x, dim=None, **how: (one if isinstance(dim, np.ndarray) else two)(x, dim, **how)


def torch_either(name: str) -> Any:
    reduce, extreme = torch_extremum(name), {"max": "maximum", "min": "minimum"}[name]

    def call(torch: Any, x: Any, dim: Any = None, **how: Any) -> Any:
        two = isinstance(dim, torch.Tensor)
        return getattr(torch, extreme)(x, dim) if two else reduce(torch, x, dim, **how)

    return call


def ranges(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 3, 4))
    yield call(grid(rng, 3, 4), dim=1)
    yield call(grid(rng, 3, 4), dim=-2, keepdim=True)


OPS = [
    Op("sum", reduction(), reducing(np.sum), torch_reducing("sum"), REDUCE_ERRORS, protocol=True),
    Op(
        "mean",
        reduction(empty=False),
        reducing(np.mean),
        torch_reducing("mean"),
        FLOAT_ERRORS,
        protocol=True,
    ),
    Op("var", moments, moment(np.var), "var", FLOAT_ERRORS, protocol=True, rtol=1e-9),
    Op("std", moments, moment(np.std), "std", FLOAT_ERRORS, protocol=True, rtol=1e-9),
    Op(
        "amax",
        reduction(False, ties=True),
        reducing(np.max),
        torch_reducing("amax"),
        protocol=True,
        errors=(
            *REDUCE_ERRORS,
            bad(of((0, 2)), 0, raises=ValueError, match=r"amax\(float64\[0, 2\]"),
        ),
    ),
    Op(
        "amin",
        reduction(False, ties=True),
        reducing(np.min),
        torch_reducing("amin"),
        REDUCE_ERRORS,
        protocol=True,
    ),
    Op(
        "max",
        extrema_of_two,
        either(np.maximum, extremum(np.argmax, np.max)),
        torch_either("max"),
        REDUCE_ERRORS[:1],
    ),
    Op(
        "min",
        extrema_of_two,
        either(np.minimum, extremum(np.argmin, np.min)),
        torch_either("min"),
        REDUCE_ERRORS[:1],
    ),
    Op("prod", with_zeros, reducing(np.prod), torch_prod, REDUCE_ERRORS),
    Op(
        "aminmax",
        ranges,
        lambda x, dim=None, keepdim=False: (
            np.min(x, dim, keepdims=keepdim),
            np.max(x, dim, keepdims=keepdim),
        ),
        "aminmax",
    ),
    Op("argmax", arg_extrema, reducing(np.argmax), "argmax", REDUCE_ERRORS[:1], False, True),
    Op("argmin", arg_extrema, reducing(np.argmin), "argmin", REDUCE_ERRORS[:1], False, True),
]
