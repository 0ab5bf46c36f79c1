"""Table of `minidl.ops.embedding`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, grid, labels, ours


def reference_one_hot(labels: Any, num_classes: int | None = None) -> Any:
    return np.eye(labels.max() + 1 if num_classes is None else num_classes, dtype=int)[labels]


FLAT = np.array([0, 2, 1, 1, 2])


def bags(rng: Rng) -> Iterator[Sample]:
    for mode in ("sum", "mean", "max"):
        yield call(np.array([[0, 2, 1], [1, 3, 2]]), grid(rng, 4, 2), mode=mode)
        yield ours(FLAT, grid(rng, 3, 2), np.array([0, 2, 2]), mode=mode)
    yield call(FLAT, grid(rng, 3, 2), np.array([0, 2]), mode="sum", per_sample_weights=grid(rng, 5))
    yield ours(FLAT, grid(rng, 3, 2), np.array([0, 2, 5]), include_last_offset=True, padding_idx=1)


def bag(
    i: Any, w: Any, offsets: Any = None, mode: str = "mean", per_sample_weights: Any = None,
    include_last_offset: bool = False, padding_idx: Any = None,
) -> Any:  # fmt: skip
    if offsets is None:
        offsets = np.arange(len(i)) * i.shape[1]
        i = i.reshape(-1)
    ends = offsets[1:] if include_last_offset else [*offsets[1:], len(i)]
    take = {"sum": np.sum, "mean": np.mean, "max": np.max}[mode]
    out = []
    for a, b in zip(offsets, ends, strict=False):
        rows = (
            w[i[a:b]] if per_sample_weights is None else w[i[a:b]] * per_sample_weights[a:b, None]
        )
        rows = rows[i[a:b] != padding_idx] if padding_idx is not None else rows
        out.append(take(rows, 0) if len(rows) else np.zeros(w.shape[1], w.dtype))
    return np.stack(out)


OPS = [
    Op(
        "one_hot",
        labels,
        reference_one_hot,
        lambda torch, x, num_classes=-1: torch.nn.functional.one_hot(x, num_classes),
        (bad(np.array([0, 3]), 3, raises=IndexError, match="0 to 3 do not fit 3 classes"),),
        False,
    ),
    Op(
        "embedding",
        lambda rng: [
            call(np.array([[0, 2], [1, 1]]), grid(rng, 3, 2)),
            call(np.array(1), grid(rng, 3, 2)),
            call(np.zeros((0,), int), grid(rng, 3, 2)),
        ],
        lambda i, w: w[i],
        "nn.functional.embedding",
        (
            bad(of((2,)), of((3, 2)), raises=TypeError, match="integers, got float64"),
            bad(
                np.array([0, -1]),
                of((3, 2)),
                raises=IndexError,
                match="indices -1 to 0 do not fit 3 rows",
            ),
            bad(
                of((2,), int),
                of((3, 2)),
                5,
                raises=IndexError,
                match="padding_idx 5 is not one of 3",
            ),
        ),
    ),
    Op(
        "embedding_bag",
        bags,
        bag,
        lambda torch, i, w, offsets=None, **how: torch.nn.functional.embedding_bag(
            i, w, offsets, **how
        ),
        (
            bad(of((2, 2), int), of((3, 2)), mode="avg", raises=ValueError, match="got 'avg'"),
            bad(of((2,), int), of((3, 2)), raises=ValueError, match="a vector with offsets"),
            bad(
                of((2, 2), int),
                of((3, 2)),
                per_sample_weights=of((2, 2)),
                raises=ValueError,
                match="want mode 'sum'",
            ),
        ),
    ),
    Op(
        "bilinear",
        lambda rng: [
            call(grid(rng, 2, 3), grid(rng, 2, 2), grid(rng, 4, 3, 2), grid(rng, 4)),
            call(grid(rng, 3), grid(rng, 2), grid(rng, 1, 3, 2)),
        ],
        lambda a, b, w, bias=None: (
            np.einsum("...i,oij,...j->...o", a, w, b) + (0 if bias is None else bias)
        ),
        "nn.functional.bilinear",
        (bad(of((2, 3)), of((2, 2)), of((1, 2, 2)), raises=ValueError, match="do not fit weight"),),
    ),
]
