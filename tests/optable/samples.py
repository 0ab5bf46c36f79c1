"""Sample inputs that families of the op table share.

Values are drawn on a shuffled grid: no two elements of an array are closer than a step of it, and
none is near 0, so that no difference quotient straddles a kink of ``abs``, ``relu`` or ``amax``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Rng = np.random.Generator


@dataclass(frozen=True)
class Sample:
    """One call. Float arrays in it, however deep, are what is differentiated."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    #: False at kinks, ties, overflow: values are held to the reference, derivatives to PyTorch.
    smooth: bool = True
    #: False where PyTorch does not know the call or has another convention for the derivative.
    torch: bool = True

    @property
    def floats(self) -> list[Array]:
        found: list[Array] = []
        map_floats(found.append, (self.args, self.kwargs))
        return found

    def with_floats(self, values: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments with other values in place of the float arrays."""
        rest = iter(values)
        return map_floats(lambda _: next(rest), (self.args, self.kwargs))


def map_floats(function: Callable[[Array], Any], tree: Any) -> Any:
    return map_arrays(lambda a: function(a) if a.dtype.kind == "f" else a, tree)


def map_arrays(function: Callable[[Array], Any], tree: Any) -> Any:
    if isinstance(tree, np.ndarray):
        return function(tree)
    if isinstance(tree, (tuple, list)):
        return type(tree)([map_arrays(function, part) for part in tree])
    if isinstance(tree, dict):
        return {key: map_arrays(function, part) for key, part in tree.items()}
    return tree


def call(*args: Any, **kwargs: Any) -> Sample:
    return Sample(args, kwargs)


def edge(*args: Any, **kwargs: Any) -> Sample:
    """A call at a kink, a tie or an extreme value."""
    return Sample(args, kwargs, smooth=False)


def ours(*args: Any, **kwargs: Any) -> Sample:
    """A call that PyTorch does not know in this shape."""
    return Sample(args, kwargs, torch=False)


def grid(rng: Rng, *shape: int, low: float = -2.0, high: float = 2.0) -> Array:
    count = int(np.prod(shape))
    places = rng.permutation(count) + rng.uniform(0.15, 0.4)
    return (low + (high - low) * places / max(count, 1)).reshape(shape)


SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 1e-30, 1e30, -1e30, np.inf, -np.inf, np.nan])


def unary(low: float = -2.0, high: float = 2.0, special: Any = SPECIAL) -> Callable[[Rng], Any]:
    """Samples of a function of one array, which is differentiable from ``low`` to ``high``."""

    def samples(rng: Rng) -> Iterator[Sample]:
        for shape in [(3, 4), (), (1,), (0,), (2, 0, 3), (2, 3, 2)]:
            yield call(grid(rng, *shape, low=low, high=high))
        yield edge(np.array(special))

    return samples


def binary(
    low: float = -2.0, high: float = 2.0, special: bool = True, scalar: float = 1.7
) -> Callable[[Rng], Any]:
    """Samples of a function of two arrays: same shape, broadcast, 0-d, empty, Python numbers."""

    def samples(rng: Rng) -> Iterator[Sample]:
        for one, two in [
            ((3, 4), (3, 4)),
            ((3, 4), (4,)),
            ((3, 1), (1, 2)),
            ((2,), (3, 1, 2)),
            ((), (3,)),
            ((2, 2), ()),
            ((), ()),
            ((0, 3), (3,)),
        ]:
            yield call(grid(rng, *one, low=low, high=high), grid(rng, *two, low=low, high=high))
        yield ours(grid(rng, 3, low=low, high=high), scalar)
        yield ours(scalar, grid(rng, 3, low=low, high=high))
        yield ours(grid(rng, 3, low=low, high=high), 2)
        if special:
            one, two = np.meshgrid(SPECIAL, SPECIAL)
            yield Sample((one, two), smooth=False, torch=False)

    return samples


def reduction(
    empty: bool = True, several: bool = True, ties: bool = False, single: bool = True
) -> Callable[[Rng], Any]:
    """Samples of a reduction: all, one axis, the last, several, kept axes, 0-d, nothing."""

    def samples(rng: Rng) -> Iterator[Sample]:
        yield call(grid(rng, 3, 4))
        yield call(grid(rng, 3, 4), 0)
        yield call(grid(rng, 3, 4), -1, keepdim=True)
        yield call(grid(rng, 2, 3, 2), dim=1)
        if single:
            yield call(grid(rng))
        if several:
            yield call(grid(rng, 2, 3, 2), (0, 2))
            yield call(grid(rng, 2, 3, 2), (2, -2), keepdim=True)
            yield ours(grid(rng, 2, 2), ())
        if empty:
            yield call(grid(rng, 0, 3), 0)
        yield call(grid(rng, 0, 3), 1)
        if ties:
            yield edge(np.array([[1.0, 1.0, 0.0], [2.0, 2.0, 2.0]]), 1)
            yield edge(np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0]]))
            yield edge(np.array([[-np.inf, -np.inf], [np.inf, np.inf]]), 1)

    return samples


def predicate(rng: Rng) -> Iterator[Sample]:
    yield call(np.array([[True, False], [True, True]]), np.array([True, False]))
    yield call(np.array(True), np.array(False))
    yield call(np.zeros((0, 2), bool), np.array([True, False]))


def shaped(*calls: tuple[Any, ...]) -> Callable[[Rng], Iterator[Sample]]:
    """One sample for each ``(shape of x, argument, …)``."""

    def samples(rng: Rng) -> Iterator[Sample]:
        for shape, *rest in calls:
            yield call(grid(rng, *shape), *rest)

    return samples


def labels(rng: Rng) -> Iterator[Sample]:
    yield call(np.array([0, 2, 1]))
    yield call(np.array([[0, 1], [2, 2]]), 4)
    yield call(np.array(1), num_classes=3)
    yield call(np.zeros((0,), int), 3)


Array = Any


def reference_log_softmax(x: Array, dim: int) -> Array:
    with np.errstate(all="ignore"):
        top = np.max(x, axis=dim, keepdims=True) if x.ndim else x
        shifted = x - top
        return shifted - np.log(
            np.sum(np.exp(shifted), axis=dim if x.ndim else None, keepdims=True)
        )


def reducing(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, dim=None, keepdim=False: function(x, axis=dim, keepdims=keepdim)


def torch_reducing(name: str) -> Callable[..., Any]:
    def reduce(torch: Any, x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        over = tuple(range(x.ndim)) if dim is None else dim
        return getattr(torch, name)(x, over, keepdim=keepdim)

    return reduce


NO_NAN = SPECIAL[:-1]  # PyTorch's derivatives at NaN differ, of NaN they are moot
