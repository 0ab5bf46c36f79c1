"""The op table: one entry for every public function of `minidl.ops`, a file for each family.

The tests in ``tests/ops`` are generated from it; a public function or a primitive that no entry
reaches fails them. To add one: write its entry in the family's file, look at what fails.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

import minidl
from minidl import Tensor
from optable.record import Op
from optable.samples import Sample

FAMILIES = [
    "arithmetic",
    "elementwise",
    "rounding",
    "logarithms",
    "special",
    "complexes",
    "reduce",
    "scan",
    "lengths",
    "ordering",
    "statistics",
    "truth",
    "shape",
    "joining",
    "diagonals",
    "rearrange",
    "indexing",
    "scatter",
    "products",
    "algebra",
    "einsum",
    "decompositions",
    "solvers",
    "systems",
    "softmax",
    "fft",
    "activation",
    "attention",
    "conv",
    "cross_entropy",
    "distance",
    "ranking",
    "ctc",
    "embedding",
    "image",
    "imbalance",
    "loss",
    "normalization",
    "padding",
    "pool",
    "adaptive_pool",
    "transposed",
    "patches",
    "random",
    "windows",
]

OPS: list[Op] = [op for name in FAMILIES for op in import_module(f"optable.{name}").OPS]
BY_NAME = {op.name: op for op in OPS}
CASES: list[tuple[Op, int, Sample]] = [
    (op, i, sample) for op in OPS for i, sample in enumerate(op.samples(np.random.default_rng(7)))
]


def plain(value: Any) -> Any:
    """Arrays at the bottom of boxes, however many are returned."""
    if isinstance(value, (tuple, list)):
        return tuple(plain(part) for part in value)
    while isinstance(value, Tensor):
        value = value.value
    return value


def parts(value: Any) -> tuple[Any, ...]:
    """Results, one or several."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def joined(value: Any) -> Any:
    """All differentiable results as one: `max` along an axis returns indices too."""
    floats = [part for part in parts(value) if part.dtype.kind == "f"]
    if len(floats) == 1 or not floats:
        return floats[0] if floats else parts(value)[0]
    return minidl.cat([part.reshape((-1,)) for part in floats])
