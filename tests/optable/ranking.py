"""Table of `minidl.ops.ranking`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.special import log_expit

from optable.distance import apart, similarity
from optable.loss import take
from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, grid, ours

SIGNS = np.array([1, -1, 1])
REDUCTIONS = ("mean", "sum", "none")


def signed(*shapes: Any, **how: Any) -> Any:
    def samples(rng: Rng) -> Iterator[Sample]:
        for r in REDUCTIONS:
            yield call(*(grid(rng, *shape) for shape in shapes), SIGNS, reduction=r)
        yield call(*(grid(rng, *shape) for shape in shapes), SIGNS, **how)

    return samples


def classes(rng: Rng) -> Iterator[Sample]:
    for r in REDUCTIONS:
        yield call(grid(rng, 2, 3), np.array([2, 0]), reduction=r)
    yield call(grid(rng, 3), np.array(1), p=2, margin=0.5)
    yield call(grid(rng, 2, 3), np.array([2, 0]), p=2)


def multi_margin(x: Any, y: Any, p: int = 1, margin: float = 1.0, reduction: str = "mean") -> Any:
    if x.ndim == 1:
        return multi_margin(x[None], y[None], p, margin, "sum")
    rows = [
        sum(max(0.0, margin - row[k] + row[j]) ** p for j in range(len(row)) if j != k) / len(row)
        for row, k in zip(x, y, strict=True)
    ]
    return take(np.array(rows, x.dtype), reduction)


def labels(rng: Rng) -> Iterator[Sample]:
    y = np.array([[2, 0, -1, 1], [1, -1, 0, 0]])
    for r in REDUCTIONS:
        yield call(grid(rng, 2, 4, high=1.3), y, reduction=r)
    yield call(grid(rng, 4, high=1.3), y[0])
    yield call(grid(rng, 2, 3), np.full((2, 3), -1))


def multilabel_margin(x: Any, y: Any, reduction: str = "mean") -> Any:
    if x.ndim == 1:
        return multilabel_margin(x[None], y[None], "sum")
    rows = []
    for row, own in zip(x, y, strict=True):
        named = list(own[: list(own).index(-1)] if -1 in own else own)
        rest = [j for j in range(len(row)) if j not in named]
        rows.append(sum(max(0.0, 1 - row[k] + row[j]) for k in named for j in rest) / len(row))
    return take(np.array(rows, x.dtype), reduction)


def several(rng: Rng) -> Iterator[Sample]:
    y = np.array([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    for r in REDUCTIONS:
        yield Sample((grid(rng, 2, 3), y), {"reduction": r}, torch=False)
    yield call(grid(rng, 2, 3), np.array([[1, 0, 1], [0, 0, 1]]))


def triplets(rng: Rng) -> Iterator[Sample]:
    for how in [{"reduction": r} for r in REDUCTIONS] + [{"swap": True}, {"p": 1.0, "margin": 0.3}]:
        yield call(grid(rng, 3, 2), grid(rng, 3, 2), grid(rng, 3, 2), **how)


def triplet(
    a: Any,
    p_: Any,
    n: Any,
    margin: float = 1.0,
    p: float = 2.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Any:
    far = apart(a, n, p)
    if swap:
        far = np.minimum(far, apart(p_, n, p))
    return take(np.maximum(apart(a, p_, p) - far + margin, 0), reduction)


DIFFER = bad(of((2,)), of((3,)), of((2,)), raises=ValueError, match="same shape")


def signed_pairs(rng: Rng) -> Iterator[Sample]:
    for how in ({}, {"reduction": "sum"}, {"reduction": "none"}):
        yield ours(grid(rng, 2, 3), np.array([[1, -1, 1], [-1, -1, 1]]), **how)


def distances(rng: Rng) -> Iterator[Sample]:
    for how in ({}, {"margin": 0.6}, {"reduction": "none"}):
        yield ours(grid(rng, 4, low=0.1), np.array([0, 1, 1, 0]), **how)


OPS = [
    Op(
        "hinge_embedding_loss",
        signed((3,), margin=1.5),
        lambda x, y, margin=1.0, reduction="mean": take(
            np.where(y == 1, x, np.maximum(0, margin - x)), reduction
        ),
        "nn.functional.hinge_embedding_loss",
        (bad(of((2,)), of((3,)), raises=ValueError, match="same shape"),),
    ),
    Op(
        "margin_ranking_loss",
        signed((3,), (3,), margin=0.5),
        lambda x, y, t, margin=0.0, reduction="mean": take(
            np.maximum(0, -t * (x - y) + margin), reduction
        ),
        "nn.functional.margin_ranking_loss",
        (DIFFER,),
    ),
    Op(
        "cosine_embedding_loss",
        signed((3, 2), (3, 2), margin=0.2),
        lambda x, y, t, margin=0.0, reduction="mean": take(
            np.where(t == 1, 1 - similarity(x, y), np.maximum(0, similarity(x, y) - margin)),
            reduction,
        ),
        "nn.functional.cosine_embedding_loss",
        (DIFFER,),
        rtol=1e-8,
    ),
    Op(
        "multi_margin_loss",
        classes,
        multi_margin,
        "nn.functional.multi_margin_loss",
        (bad(of((2, 3)), np.array([0, 1]), p=3, raises=ValueError, match="p 1 or 2"),),
    ),
    Op("multilabel_margin_loss", labels, multilabel_margin, "nn.functional.multilabel_margin_loss"),
    Op(
        "multilabel_soft_margin_loss",
        several,
        lambda x, y, reduction="mean": take(
            -(y * log_expit(x) + (1 - y) * log_expit(-x)).mean(-1), reduction
        ),
        "nn.functional.multilabel_soft_margin_loss",
    ),
    Op(
        "triplet_margin_loss",
        triplets,
        triplet,
        "nn.functional.triplet_margin_loss",
        (bad(of((2, 2)), of((2, 3)), of((2, 2)), raises=ValueError, match="same shape"),),
    ),
    Op(
        "triplet_margin_with_distance_loss",
        lambda rng: [call(grid(rng, 3, 2), grid(rng, 3, 2), grid(rng, 3, 2), margin=0.5)],
        triplet,
        "nn.functional.triplet_margin_with_distance_loss",
    ),
    Op(
        "hinge_loss",
        signed_pairs,
        lambda x, t, reduction="mean": take(np.maximum(0, 1 - t * x), reduction),
        errors=(bad(of((2,)), of((3,)), raises=ValueError, match="same shape"),),
    ),
    Op(
        "squared_hinge_loss",
        signed_pairs,
        lambda x, t, reduction="mean": take(np.maximum(0, 1 - t * x) ** 2, reduction),
        errors=(bad(of((2,)), of((3,)), raises=ValueError, match="same shape"),),
    ),
    Op(
        "siamese_contrastive_loss",
        distances,
        lambda d, t, margin=1.0, reduction="mean": take(
            (1 - t) * d**2 + t * np.maximum(0, margin - d) ** 2, reduction
        ),
        errors=(bad(of((2,)), of((2,)), margin=-1.0, raises=ValueError, match="margin must be"),),
    ),
]
