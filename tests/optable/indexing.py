"""Table of `minidl.ops.indexing`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, grid, ours


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


def written(x: Any, index: Any, value: Any) -> Any:
    out = x.copy()
    out[index] = value
    return out


def torch_written(torch: Any, x: Any, index: Any, value: Any) -> Any:
    out = x.clone()
    out[index] = value
    return out


OPS = [
    Op(
        "getitem",
        indexes,
        lambda x, index: x[index],
        lambda torch, x, index: x[index],
        errors=(
            bad(
                of((2, 3)), 2, raises=IndexError, match=r"getitem\(float64\[2, 3\]\).*out of bounds"
            ),
            bad(of((2, 3)), of((2,)), raises=IndexError, match="integers or booleans, got float64"),
            bad(of((2, 3)), (0, 0, 0), raises=IndexError, match="too many indices"),
        ),
    ),
    Op(
        "setitem",
        writes,
        written,
        torch_written,
        errors=(
            bad(
                of((2, 3)),
                2,
                1.0,
                raises=IndexError,
                match=r"setitem\(float64\[2, 3\].*out of bounds",
            ),
            bad(of((2,), int), 0, of(()), raises=TypeError, match="float64 into an array of int64"),
            bad(
                of((2, 3)),
                0,
                of((2,)),
                raises=ValueError,
                match=r"setitem\(float64\[2, 3\], float64\[2\]",
            ),
        ),
    ),
]
