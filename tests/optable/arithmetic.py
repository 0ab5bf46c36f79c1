"""Table of `minidl.ops.arithmetic`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from optable.record import SHAPES_DIFFER, Op, bad, of
from optable.samples import (
    Rng,
    Sample,
    binary,
    call,
    edge,
    grid,
    ours,
    predicate,
    unary,
)


def powers(rng: Rng) -> Iterator[Sample]:
    yield from (sample for sample in binary(0.3, 2.0, special=False)(rng))
    for exponent in (2, 3, -1, 0, 0.5, 1):
        base = grid(rng, 3) if isinstance(exponent, int) else grid(rng, 3, low=0.2)
        yield call(base, exponent)
    yield call(2.0, grid(rng, 3))
    yield call(grid(rng, 3), np.array([2, 3, 0], np.int8))
    yield edge(np.array([0.0, 0.0, 0.0, 2.0]), np.array([0.0, 1.0, 2.0, 0.0]))
    yield edge(np.array([0.0, 0.0, 4.0]), 2)


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


COMPARE = {
    "samples": binary(),
    "differentiable": False,
    "protocol": True,
    "errors": (SHAPES_DIFFER,),
}


def quotients(rng: Rng) -> Iterator[Sample]:
    """Quotients that are nowhere near a whole number, where rounding jumps."""
    yield call(np.array([[7.3, -7.4, 2.6], [0.7, -0.4, 9.5]]), np.array([2.0, 3.0, -2.0]))
    yield call(np.array(7.3), np.array([2.0, -2.0]))
    yield call(np.zeros((0, 2)), np.array([2.0, 3.0]))
    yield ours(np.array([7.3, -7.4]), 2)


def divisions(rng: Rng) -> Iterator[Sample]:
    yield from binary(0.5, 2.0)(rng)
    for mode in ("floor", "trunc"):
        for sample in quotients(rng):
            yield Sample(sample.args, {"rounding_mode": mode}, torch=sample.torch)


def divided(x: Any, y: Any, rounding_mode: str | None = None) -> Any:
    rounded = {None: lambda q: q, "floor": np.floor, "trunc": np.trunc}[rounding_mode]
    return rounded(np.divide(x, y))


def scaled(rng: Rng) -> Iterator[Sample]:
    yield from binary()(rng)
    yield call(grid(rng, 2, 3), grid(rng, 3), alpha=2.5)
    yield call(grid(rng, 2), grid(rng, 2), alpha=-1)


def triples(*, low: float = -2.0) -> Any:
    def samples(rng: Rng) -> Iterator[Sample]:
        for shapes in [((2, 3),) * 3, ((2, 1), (3,), (2, 3)), ((), (2,), ())]:
            yield call(*(grid(rng, *shape, low=low) for shape in shapes))
        yield call(*(grid(rng, 3, low=low) for _ in range(3)), value=0.5)

    return samples


def blends(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 2, 3), grid(rng, 3), 0.3)
    yield call(grid(rng, 2, 3), grid(rng, 2, 3), grid(rng, 3))
    yield call(grid(rng), grid(rng), grid(rng))


def integers(rng: Rng) -> Iterator[Sample]:
    yield call(np.array([[5, 3], [8, 1]]), np.array([6, 9]))
    yield call(np.array(5), np.array(3))


OPS = [
    Op(
        "add",
        scaled,
        lambda x, y, alpha=1: x + alpha * y,
        "add",
        (SHAPES_DIFFER,),
    ),
    Op(
        "sub",
        scaled,
        lambda x, y, alpha=1: x - alpha * y,
        "sub",
        (SHAPES_DIFFER,),
    ),
    Op("mul", binary(), np.multiply, "mul", (SHAPES_DIFFER,), protocol=True),
    Op(
        "div",
        divisions,
        divided,
        "div",
        (
            SHAPES_DIFFER,
            bad(of((2,)), of((2,)), rounding_mode="up", raises=ValueError, match="None, .*'up'"),
        ),
    ),
    Op("floor_divide", quotients, np.floor_divide, None, (SHAPES_DIFFER,)),
    Op(
        "float_power",
        binary(0.3, 2.0, special=False),
        lambda x, y: np.float_power(x, y),
        "float_power",
        follows_dtype=False,
    ),
    Op("addcmul", triples(), lambda x, a, b, value=1: x + value * a * b, "addcmul"),
    Op("addcdiv", triples(low=0.5), lambda x, a, b, value=1: x + value * a / b, "addcdiv"),
    Op("lerp", blends, lambda x, y, w: x + w * (y - x), "lerp"),
    Op("neg", unary(), np.negative, "neg", protocol=True),
    Op("pow", powers, np.power, "pow", (SHAPES_DIFFER,), protocol=True),
    Op("maximum", binary(), np.maximum, "maximum", (SHAPES_DIFFER,), protocol=True),
    Op("minimum", binary(), np.minimum, "minimum", (SHAPES_DIFFER,), protocol=True),
    Op(
        "where",
        conditions,
        np.where,
        "where",
        protocol=True,
        errors=(
            bad(of((2,)), of((2,)), of((2,)), raises=TypeError, match="boolean, got float64"),
            bad(of((2,), bool), of((3,)), 0.0, raises=ValueError, match=r"where\(bool\[2\], float"),
        ),
    ),
    Op("eq", reference=np.equal, torch="eq", **COMPARE),
    Op("ne", reference=np.not_equal, torch="ne", **COMPARE),
    Op("lt", reference=np.less, torch="lt", **COMPARE),
    Op("le", reference=np.less_equal, torch="le", **COMPARE),
    Op("gt", reference=np.greater, torch="gt", **COMPARE),
    Op("ge", reference=np.greater_equal, torch="ge", **COMPARE),
    Op(
        "logical_and", predicate, np.logical_and, "logical_and", differentiable=False, protocol=True
    ),
    Op("logical_or", predicate, np.logical_or, "logical_or", differentiable=False, protocol=True),
    Op(
        "logical_not",
        lambda rng: [call(np.array([True, False])), call(np.array(False))],
        np.logical_not,
        "logical_not",
        (),
        False,
        True,
    ),
    Op("logical_xor", predicate, np.logical_xor, "logical_xor", differentiable=False),
    Op("bitwise_and", integers, np.bitwise_and, "bitwise_and", differentiable=False),
    Op("bitwise_or", integers, np.bitwise_or, "bitwise_or", differentiable=False),
    Op("bitwise_xor", integers, np.bitwise_xor, "bitwise_xor", differentiable=False),
    Op(
        "bitwise_not",
        lambda rng: [call(np.array([[5, 3], [8, 1]])), call(np.array([True, False]))],
        np.bitwise_not,
        "bitwise_not",
        differentiable=False,
    ),
]
