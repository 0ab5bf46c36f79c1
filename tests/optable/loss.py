"""Table of `minidl.ops.loss`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy.special import log_expit, xlogy

from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, edge, grid, ours


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


def take(loss: Any, reduction: str) -> Any:
    if reduction == "batchmean":
        return loss.sum() / len(loss)
    return {"mean": np.mean, "sum": np.sum, "none": np.asarray}[reduction](loss)


def with_options(*kwargs: dict[str, Any]) -> Any:
    def samples(rng: Rng) -> Iterator[Sample]:
        yield from pairs(rng)
        for how in kwargs:
            yield call(grid(rng, 2, 3), grid(rng, 2, 3), **how)

    return samples


def smooth(x: Any, y: Any, reduction: str = "mean", beta: float = 1.0) -> Any:
    d = np.abs(x - y)
    return take(d if beta == 0 else np.where(d < beta, d * d / 2 / beta, d - beta / 2), reduction)


def huber(x: Any, y: Any, reduction: str = "mean", delta: float = 1.0) -> Any:
    d = np.abs(x - y)
    return take(np.where(d <= delta, d * d / 2, delta * (d - delta / 2)), reduction)


def chances(rng: Rng) -> Iterator[Sample]:
    for r in ("mean", "sum", "none"):
        yield call(
            grid(rng, 2, 3, low=0.1, high=0.9), grid(rng, 2, 3, low=0.1, high=0.9), reduction=r
        )
    x = grid(rng, 2, 3, low=0.1, high=0.9)
    yield ours(x, grid(rng, 2, 3, low=0.1, high=0.9), weight=np.array([1, 2, 3]))
    yield Sample((np.array([0.0, 1.0]), np.array([1.0, 0.0])), smooth=False, torch=False)


def bce(x: Any, y: Any, weight: Any = 1.0, reduction: str = "mean") -> Any:
    with np.errstate(all="ignore"):
        logs = np.maximum(np.log(x), -100), np.maximum(np.log(1 - x), -100)
    return take(-weight * (y * logs[0] + (1 - y) * logs[1]), reduction)


def logits(rng: Rng) -> Iterator[Sample]:
    for r in ("mean", "sum", "none"):
        yield call(grid(rng, 2, 3), grid(rng, 2, 3, low=0.1, high=0.9), reduction=r)
    y = grid(rng, 2, 3, low=0.1, high=0.9)
    yield ours(grid(rng, 2, 3), y, pos_weight=np.array([1, 2, 3]), weight=np.array([2, 1, 1]))
    yield edge(np.array([50.0, -50.0, 0.0]), np.array([1.0, 0.0, 0.5]))


def divergences(rng: Rng) -> Iterator[Sample]:
    for r in ("mean", "sum", "none", "batchmean"):
        if r != "mean":  # PyTorch warns
            yield call(grid(rng, 2, 3), grid(rng, 2, 3, low=0.1), reduction=r)
        yield ours(grid(rng, 2, 3), grid(rng, 2, 3), reduction=r, log_target=True)


def counts(rng: Rng) -> Iterator[Sample]:
    y = np.array([[0.3, 1.5, 2.0], [4.0, 0.0, 7.0]])
    for how in ({}, {"log_input": False}, {"full": True}, {"reduction": "none"}):
        yield Sample((grid(rng, 2, 3, low=0.2), y), how, torch=not how.get("full"))


def poisson(
    x: Any,
    y: Any,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Any:
    loss = np.exp(x) - y * x if log_input else x - y * np.log(x + eps)
    if full:
        with np.errstate(all="ignore"):
            more = y * np.log(y) - y + 0.5 * np.log(2 * np.pi * y)
        loss = loss + np.where(y > 1, more, 0.0)
    return take(loss, reduction)


def bells(rng: Rng) -> Iterator[Sample]:
    for how in ({}, {"full": True}, {"reduction": "sum"}, {"reduction": "none"}):
        yield call(grid(rng, 2, 3), grid(rng, 2, 3), grid(rng, 2, 3, low=0.3), **how)
    yield call(grid(rng, 2, 3), grid(rng, 2, 3), grid(rng, 2, low=0.3))


def gaussian(
    x: Any, y: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Any:
    var = np.maximum(var if var.ndim == x.ndim else var[..., None], eps)
    loss = 0.5 * (np.log(var) + (x - y) ** 2 / var) + (0.5 * np.log(2 * np.pi) if full else 0)
    return take(loss, reduction)


def ratios(rng: Rng) -> Iterator[Sample]:
    for how in ({}, {"reduction": "sum"}, {"reduction": "none", "eps": 0.1}):
        yield ours(grid(rng, 2, 3, low=0.2), grid(rng, 2, 3, low=0.2), **how)


def msle(x: Any, y: Any, eps: float = 1e-7, reduction: str = "mean") -> Any:
    return take((np.log(x + eps) - np.log(y + eps)) ** 2, reduction)


OPS = [
    Op("mse_loss", pairs, elementwise_loss(np.square), "nn.functional.mse_loss", PAIR_ERRORS),
    Op("l1_loss", pairs, elementwise_loss(np.abs), "nn.functional.l1_loss", PAIR_ERRORS),
    Op(
        "smooth_l1_loss",
        with_options({"beta": 0.7}, {"beta": 0.0}),
        smooth,
        "nn.functional.smooth_l1_loss",
        PAIR_ERRORS,
    ),
    Op(
        "huber_loss",
        with_options({"delta": 0.7}),
        huber,
        "nn.functional.huber_loss",
        (
            *PAIR_ERRORS,
            bad(of((2,)), of((2,)), delta=0.0, raises=ValueError, match="delta must be above 0"),
        ),
    ),
    Op("binary_cross_entropy", chances, bce, "nn.functional.binary_cross_entropy", PAIR_ERRORS),
    Op(
        "binary_cross_entropy_with_logits",
        logits,
        lambda x, y, weight=1.0, reduction="mean", pos_weight=1.0: take(
            -weight * (pos_weight * y * log_expit(x) + (1 - y) * log_expit(-x)), reduction
        ),
        "nn.functional.binary_cross_entropy_with_logits",
        PAIR_ERRORS,
    ),
    Op(
        "kl_div",
        divergences,
        lambda x, y, reduction="mean", log_target=False: take(
            np.exp(y) * (y - x) if log_target else xlogy(y, y) - y * x, reduction
        ),
        "nn.functional.kl_div",
        (PAIR_ERRORS[0],),
    ),
    Op(
        "poisson_nll_loss",
        counts,
        poisson,
        "nn.functional.poisson_nll_loss",
        PAIR_ERRORS,
    ),
    Op("gaussian_nll_loss", bells, gaussian, "nn.functional.gaussian_nll_loss", (), rtol=1e-11),
    Op(
        "soft_margin_loss",
        lambda rng: [
            call(grid(rng, 2, 3), np.array([[1, -1, 1], [-1, -1, 1]]), reduction=r)
            for r in ("mean", "sum", "none")
        ],
        lambda x, y, reduction: take(np.logaddexp(0, -y * x), reduction),
        "nn.functional.soft_margin_loss",
        PAIR_ERRORS,
    ),
    Op(
        "log_cosh_loss",
        lambda rng: [ours(*sample.args, **sample.kwargs) for sample in pairs(rng)],
        lambda x, y, reduction="mean": take(np.log(np.cosh(x - y)), reduction),
        errors=PAIR_ERRORS,
    ),
    Op("msle_loss", ratios, msle, errors=PAIR_ERRORS),
]
