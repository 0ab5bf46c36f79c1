"""Table of `minidl.ops.loss`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from optable.record import Op, bad, of
from optable.samples import (
    Rng,
    Sample,
    call,
    grid,
)


def pairs(rng: Rng) -> Iterator[Sample]:
    for reduction_ in ("mean", "sum", "none"):
        yield call(grid(rng, 2, 3), grid(rng, 2, 3), reduction=reduction_)
    yield call(grid(rng), grid(rng))
    yield call(grid(rng, 2, 0), grid(rng, 2, 0), reduction="sum")


def elementwise_loss(function: Callable[..., Any]) -> Callable[..., Any]:
    def reference(x: Any, y: Any, reduction: str = "mean") -> Any:
        take = {"mean": np.mean, "sum": np.sum, "none": np.asarray}
        return take[reduction](function(x - y))

    return reference


PAIR_ERRORS = (
    bad(of((2,)), of((2, 1)), raises=ValueError, match=r"\(2,\) and target \(2, 1\).*same shape"),
    bad(of((2,)), of((2,)), reduction="avg", raises=ValueError, match="reduction.*'avg'"),
)


OPS = [
    Op("mse_loss", pairs, elementwise_loss(np.square), "nn.functional.mse_loss", PAIR_ERRORS),
    Op("l1_loss", pairs, elementwise_loss(np.abs), "nn.functional.l1_loss", PAIR_ERRORS),
]
