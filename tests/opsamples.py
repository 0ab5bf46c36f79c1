"""Sample inputs for the op table, and references that NumPy does not have.

Values are drawn on a shuffled grid: no two elements of an array are closer than a step of it, and
none is near 0, so that no difference quotient straddles a kink of ``abs``, ``relu`` or ``amax``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = Any
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


def matmuls(rng: Rng) -> Iterator[Sample]:
    for one, two in [
        ((2, 3), (3, 2)),
        ((3,), (3,)),
        ((3,), (3, 2)),
        ((2, 3), (3,)),
        ((2, 2, 3), (3, 2)),
        ((2, 2, 3), (2, 3, 2)),
        ((2, 1, 2, 3), (2, 3, 1)),
        ((3, 2), (2, 2, 2)),
        ((3,), (2, 3, 2)),
        ((2, 2, 3), (3,)),
        ((2, 0), (0, 3)),
        ((0, 2), (2, 3)),
        ((2, 0, 3), (3, 2)),
    ]:
        yield call(grid(rng, *one), grid(rng, *two))


def linears(rng: Rng) -> Iterator[Sample]:
    for shape in [(2, 3), (3,), (2, 2, 3), (0, 3), (2, 0, 3)]:
        yield call(grid(rng, *shape), grid(rng, 2, 3), grid(rng, 2))
    yield call(grid(rng, 2, 3), grid(rng, 2, 3))
    yield call(grid(rng, 4, 3), grid(rng, 2, 3), bias=grid(rng, 2))


def convolutions(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 2, 2, 4, 3), grid(rng, 3, 2, 2, 2), grid(rng, 3))
    yield call(grid(rng, 1, 2, 4, 5), grid(rng, 2, 2, 3, 2), stride=2, padding=1)
    yield call(grid(rng, 1, 1, 5, 6), grid(rng, 2, 1, 2, 2), stride=(2, 3), dilation=(2, 1))
    yield call(grid(rng, 1, 1, 3, 3), grid(rng, 1, 1, 3, 3), grid(rng, 1), padding="same")
    yield call(grid(rng, 1, 2, 3, 3), grid(rng, 1, 2, 1, 1), padding="valid")
    yield call(grid(rng, 0, 2, 3, 3), grid(rng, 2, 2, 2, 2), grid(rng, 2))
    yield call(grid(rng, 1, 1, 1, 1), grid(rng, 1, 1, 3, 3), padding=(1, 2))


def pools(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 1, 2, 4, 4), 2)
    yield call(grid(rng, 2, 1, 3, 4), (2, 3), stride=1)
    yield call(grid(rng, 1, 1, 4, 4), 3, 2, 1)
    yield call(grid(rng, 1, 1, 5, 4), 2, (2, 1), padding=(1, 0))
    yield call(grid(rng, 0, 2, 4, 4), 2)
    yield call(grid(rng, 1, 1, 2, 2), 1, 2)


def averages(rng: Rng) -> Iterator[Sample]:
    yield from pools(rng)
    yield call(grid(rng, 1, 1, 4, 4), 3, 2, 1, count_include_pad=False)


def losses(rng: Rng) -> Iterator[Sample]:
    """Calls that `cross_entropy` and `nll_loss` share: a matrix, a vector, images."""
    labels, pixels = np.array([1, 0, 2]), rng.integers(0, 2, (2, 2, 2))
    weight = np.array([0.5, 1.0, 2.0])
    for reduction_ in ("mean", "sum", "none"):
        yield call(grid(rng, 3, 3), labels, reduction=reduction_)
        yield call(grid(rng, 3, 3), labels, weight=weight, reduction=reduction_)
        yield call(grid(rng, 3, 3), np.array([1, -100, 2]), reduction=reduction_)
        yield call(grid(rng, 2, 2, 2, 2), pixels, reduction=reduction_)
    yield call(grid(rng, 3), np.array(2))
    yield call(grid(rng, 3, 3), np.array([1, 7, 2]), weight=weight, ignore_index=7)
    yield ours(grid(rng, 3, 3), labels.astype(np.int32))


def cross_entropies(rng: Rng) -> Iterator[Sample]:
    yield from losses(rng)
    labels, weight = np.array([1, 0, 2, -100]), np.array([0.5, 1.0, 2.0])
    goal = rng.dirichlet(np.ones(3), 3)
    for reduction_ in ("mean", "sum", "none"):
        how = {"reduction": reduction_, "label_smoothing": 0.2}
        yield call(grid(rng, 4, 3), labels, **how)
        yield call(grid(rng, 4, 3), labels, weight=weight, **how)
        yield call(grid(rng, 3, 3), goal, **how)
        yield call(grid(rng, 3, 3), goal, weight=weight, reduction=reduction_)
    yield call(grid(rng, 3), goal[0])
    yield call(grid(rng, 2, 3, 2), rng.dirichlet(np.ones(3), (2, 2)).transpose(0, 2, 1).copy())
    yield edge(np.array([[1e4, 0.0, -1e4], [-1e4, 1e4, 0.0]]), np.array([1, 1]))
    yield ours(grid(rng, 3, 3), labels[:3].astype(np.uint8))


def dropouts(rng: Rng) -> Iterator[Sample]:
    for p, training in [(0.5, True), (0.3, True), (0.0, True), (1.0, True), (0.9, False)]:
        yield call(grid(rng, 3, 4), p, training)
    yield call(grid(rng))
    yield call(grid(rng, 0, 2))


def batches(rng: Rng) -> Iterator[Sample]:
    stats = grid(rng, 2), grid(rng, 2, low=0.5)
    yield call(grid(rng, 4, 2), None, None, training=True)
    yield call(grid(rng, 3, 2), None, None, grid(rng, 2), grid(rng, 2), training=True, eps=1e-3)
    yield call(grid(rng, 2, 2, 2, 2), None, None, grid(rng, 2), training=True)
    yield call(grid(rng, 2, 2, 3), *stats, grid(rng, 2), grid(rng, 2))
    yield call(grid(rng, 1, 2), *stats)


def pairs(rng: Rng) -> Iterator[Sample]:
    for reduction_ in ("mean", "sum", "none"):
        yield call(grid(rng, 2, 3), grid(rng, 2, 3), reduction=reduction_)
    yield call(grid(rng), grid(rng))
    yield call(grid(rng, 2, 0), grid(rng, 2, 0), reduction="sum")


def powers(rng: Rng) -> Iterator[Sample]:
    yield from (sample for sample in binary(0.3, 2.0, special=False)(rng))
    for exponent in (2, 3, -1, 0, 0.5, 1):
        base = grid(rng, 3) if isinstance(exponent, int) else grid(rng, 3, low=0.2)
        yield call(base, exponent)
    yield call(2.0, grid(rng, 3))
    yield call(grid(rng, 3), np.array([2, 3, 0], np.int8))
    yield edge(np.array([0.0, 0.0, 0.0, 2.0]), np.array([0.0, 1.0, 2.0, 0.0]))
    yield edge(np.array([0.0, 0.0, 4.0]), 2)


def indexes(rng: Rng) -> Iterator[Sample]:
    x = grid(rng, 3, 4)
    for index in [
        1, -1, (1, 2), slice(None, None, 2), (slice(None), 1), (..., 0), None, (None, 1, None),
        [0, 2], ([0, 2, 0], [1, 1, 1]), np.array([[0, 1], [2, 2]]), x > 0.3, (slice(1, 3), [0, 0]),
        np.array(1), (), slice(2, 0, -1), (np.array([True, False, True]), slice(1, 3)), slice(0, 0),
        ([2, 0], None, slice(None, None, 2)), np.int64(2), [],
    ]:  # fmt: skip
        yield Sample((x, index), torch=index != slice(2, 0, -1) if type(index) is slice else True)
    yield call(np.array(1.5), ())
    yield call(np.array(1.5), ...)


def writes(rng: Rng) -> Iterator[Sample]:
    x = grid(rng, 3, 4)
    for index, shape in [
        (1, (4,)), (1, ()), ((slice(None), 1), (3,)), (slice(0, 2), (2, 4)), (slice(0, 2), (4,)),
        (([0, 2], [1, 3]), (2,)), (x > 0.3, ()), ([2, 0], (2, 4)), ([2, 0], (2, 1)), ((1, 2), ()),
        ((..., slice(None, None, 2)), (3, 2)), (slice(0, 2), (1, 1, 4)), ([0, 1], (1, 2, 4)),
        (slice(0, 0), (0, 4)),
    ]:  # fmt: skip
        yield call(x, index, grid(rng, *shape))
    yield ours(x, ([1, 1], [0, 0]), grid(rng, 2))  # PyTorch leaves a place named twice undefined
    yield ours(x, [0, 2, 0], grid(rng, 3, 4))
    yield call(x, 0, 2.5)


def joins(rng: Rng) -> Iterator[Sample]:
    yield call([grid(rng, 2, 3), grid(rng, 1, 3)])
    yield call([grid(rng, 2, 3), grid(rng, 2, 1), grid(rng, 2, 2)], 1)
    yield call([grid(rng, 2, 3)], dim=-1)
    yield call([grid(rng, 0, 3), grid(rng, 2, 3)])
    x = grid(rng, 2)
    yield call((x, x))


def shaped(*calls: tuple[Any, ...]) -> Callable[[Rng], Iterator[Sample]]:
    """One sample for each ``(shape of x, argument, …)``."""

    def samples(rng: Rng) -> Iterator[Sample]:
        for shape, *rest in calls:
            yield call(grid(rng, *shape), *rest)

    return samples


def conditions(rng: Rng) -> Iterator[Sample]:
    mask = np.array([[True, False, True], [False, False, True]])
    yield call(mask, grid(rng, 2, 3), grid(rng, 2, 3))
    yield call(mask, grid(rng, 3), grid(rng, 2, 1))
    yield call(mask[0], grid(rng, 2, 1), grid(rng))
    yield call(np.array(True), grid(rng), grid(rng))
    yield call(mask, grid(rng, 2, 3), 0.0)
    yield call(mask, 1, grid(rng, 3))
    yield call(np.zeros((0, 3), bool), grid(rng, 3), grid(rng, 3))
    yield edge(mask[0], np.array([1.0, np.nan, 2.0]), np.array([np.inf, 3.0, np.nan]))


def gelus(rng: Rng) -> Iterator[Sample]:
    yield from unary(special=[0.0, -30.0, 30.0, -5.0, np.nan])(rng)
    yield call(grid(rng, 3, 4), approximate="tanh")


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


def labels(rng: Rng) -> Iterator[Sample]:
    yield call(np.array([0, 2, 1]))
    yield call(np.array([[0, 1], [2, 2]]), 4)
    yield call(np.array(1), num_classes=3)
    yield call(np.zeros((0,), int), 3)
