"""Table of `minidl.ops.imbalance`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.special import log_softmax

from optable.loss import PAIR_ERRORS, take
from optable.record import Op, bad, of
from optable.samples import Rng, Sample, grid, ours


def masks(rng: Rng) -> Iterator[Sample]:
    target = rng.integers(0, 2, (3, 2, 2)).astype(float)
    probability = rng.uniform(0.1, 0.9, (3, 2, 2))
    for reduction in ("mean", "sum", "none"):
        yield ours(probability, target, reduction=reduction)
    yield ours(rng.uniform(0.1, 0.9, (2, 3)), rng.uniform(0.1, 0.9, (2, 3)), smooth=0.5)


def over(x: Any) -> tuple[int, ...]:
    return tuple(range(1, x.ndim))


def dice(x: Any, t: Any, reduction: str = "mean", smooth: float = 1.0) -> Any:
    a = over(x)
    common = 2 * (x * t).sum(a) + smooth
    return take(1 - common / ((x * x).sum(a) + (t * t).sum(a) + smooth), reduction)


def tversky(x: Any, t: Any, reduction: str = "mean", smooth: float = 1.0, beta: float = 0.7) -> Any:
    a = over(x)
    common = (x * t).sum(a) + smooth
    wrong = beta * ((1 - t) * x).sum(a) + (1 - beta) * (t * (1 - x)).sum(a)
    return take(1 - common / (common + wrong), reduction)


def labelled(rng: Rng) -> Iterator[Sample]:
    for how in ({}, {"gamma": 0.0}, {"gamma": 1.5, "reduction": "sum"}, {"reduction": "none"}):
        yield ours(grid(rng, 4, 3), rng.integers(0, 3, 4), **how)


def focal(x: Any, t: Any, gamma: float = 2.0, reduction: str = "mean") -> Any:
    right = log_softmax(x, 1)[np.arange(len(t)), t]
    return take(-right * (1 - np.exp(right)) ** gamma, reduction)


def signed(rng: Rng) -> Iterator[Sample]:
    for how in ({}, {"gamma": 0.0, "reduction": "none"}, {"alpha": 0.25}, {"gamma": 1.5}):
        yield ours(grid(rng, 4, 3), rng.integers(0, 2, (4, 3)), **how)


def binary_focal(
    x: Any, t: Any, gamma: float = 2.0, alpha: Any = None, reduction: str = "mean"
) -> Any:
    p = np.where(t == 1, 1 / (1 + np.exp(-x)), 1 / (1 + np.exp(x)))
    loss = -np.log(p) * (1 - p) ** gamma
    return take(loss if alpha is None else loss * np.where(t == 1, alpha, 1 - alpha), reduction)


FLAT = bad(of((2,)), of((2,)), raises=ValueError, match="one mask a sample")
GAMMA = bad(of((2, 2)), of((2, 2)), gamma=-1.0, raises=ValueError, match="gamma must be at least 0")

OPS = [
    Op("dice_loss", masks, dice, errors=(*PAIR_ERRORS[:1], FLAT)),
    Op("tversky_loss", masks, tversky, errors=(*PAIR_ERRORS[:1], FLAT)),
    Op("focal_loss", labelled, focal, errors=(GAMMA,)),
    Op("binary_focal_loss", signed, binary_focal, errors=(*PAIR_ERRORS[:1], GAMMA)),
]
