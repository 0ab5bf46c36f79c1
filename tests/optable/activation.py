"""Table of `minidl.ops.activation`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import special

from optable.record import Op, bad, of
from optable.samples import (
    Rng,
    Sample,
    call,
    grid,
    unary,
)


def gelus(rng: Rng) -> Iterator[Sample]:
    yield from unary(special=[0.0, -30.0, 30.0, -5.0, np.nan])(rng)
    yield call(grid(rng, 3, 4), approximate="tanh")


def reference_gelu(x: Any, approximate: str = "none") -> Any:
    if approximate == "none":
        return x * special.ndtr(x)
    return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


OPS = [
    Op(
        "gelu",
        gelus,
        reference_gelu,
        "nn.functional.gelu",
        (
            bad(
                of((2,)),
                approximate="exact",
                raises=ValueError,
                match="'none' or 'tanh', got 'exact'",
            ),
        ),
    ),
]
