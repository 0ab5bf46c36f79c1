"""Table of `minidl.ops.arithmetic`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from optable.record import SHAPES_DIFFER, Op, bad, of
from optable.samples import (
    Rng,
    Sample,
    binary,
    call,
    edge,
    grid,
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


OPS = [
    Op("add", binary(), np.add, "add", (SHAPES_DIFFER,), protocol=True),
    Op("sub", binary(), np.subtract, "sub", (SHAPES_DIFFER,), protocol=True),
    Op("mul", binary(), np.multiply, "mul", (SHAPES_DIFFER,), protocol=True),
    Op("div", binary(0.5, 2.0), np.divide, "div", (SHAPES_DIFFER,), protocol=True),
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
]
