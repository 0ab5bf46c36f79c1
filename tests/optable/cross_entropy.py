"""Table of `minidl.ops.cross_entropy`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from optable.record import Op, bad, of
from optable.samples import (
    Array,
    Rng,
    Sample,
    call,
    edge,
    grid,
    ours,
    reference_log_softmax,
)


def losses(rng: Rng) -> Iterator[Sample]:
    """Calls that `cross_entropy` and `nll_loss` share: a matrix, a vector, images."""
    labels, pixels = np.array([1, 0, 2]), rng.integers(0, 2, (2, 2, 2))
    weight = np.array([0.5, 1.0, 2.0])
    for reduction_ in ("mean", "sum", "none"):
        yield call(grid(rng, 3, 3), labels, reduction=reduction_)
        yield call(grid(rng, 3, 3), labels, weight=weight, reduction=reduction_)
        yield call(grid(rng, 3, 3), np.array([1, -100, 2]), reduction=reduction_)
        yield call(grid(rng, 2, 2, 2, 2), pixels, reduction=reduction_)
    yield call(grid(rng, 3), np.array(2))
    yield call(grid(rng, 3, 3), np.array([1, 7, 2]), weight=weight, ignore_index=7)
    yield ours(grid(rng, 3, 3), labels.astype(np.int32))


def cross_entropies(rng: Rng) -> Iterator[Sample]:
    yield from losses(rng)
    labels, weight = np.array([1, 0, 2, -100]), np.array([0.5, 1.0, 2.0])
    goal = rng.dirichlet(np.ones(3), 3)
    for reduction_ in ("mean", "sum", "none"):
        how = {"reduction": reduction_, "label_smoothing": 0.2}
        yield call(grid(rng, 4, 3), labels, **how)
        yield call(grid(rng, 4, 3), labels, weight=weight, **how)
        yield call(grid(rng, 3, 3), goal, **how)
        yield call(grid(rng, 3, 3), goal, weight=weight, reduction=reduction_)
    yield call(grid(rng, 3), goal[0])
    yield call(grid(rng, 2, 3, 2), rng.dirichlet(np.ones(3), (2, 2)).transpose(0, 2, 1).copy())
    yield edge(np.array([[1e4, 0.0, -1e4], [-1e4, 1e4, 0.0]]), np.array([1, 1]))
    yield ours(grid(rng, 3, 3), labels[:3].astype(np.uint8))


def reference_cross_entropy(logits: Array, target: Array, **how: Any) -> Array:
    return reference_nll(reference_log_softmax(logits, 0 if logits.ndim == 1 else 1), target, **how)


def reference_nll(
    logp: Array,
    target: Array,
    *,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Array:
    """Negative log-likelihood, a loop over the targets (indices) or one sum (probabilities)."""
    classes = logp.shape[0] if logp.ndim == 1 else logp.shape[1]
    weight = np.ones(classes) if weight is None else weight
    if logp.ndim == 1:
        logp, target, squeeze = logp[None], np.asarray(target)[None], True
    else:
        squeeze = False
    rows = np.moveaxis(logp, 1, -1)
    if target.dtype.kind == "f":
        goal = np.moveaxis(target, 1, -1) * (1 - label_smoothing) + label_smoothing / classes
        losses = -(rows * goal * weight).sum(-1)
        total = losses.size
    else:
        losses, total = np.zeros(target.shape), 0.0
        for place in np.ndindex(*target.shape):
            label = target[place]
            if label == ignore_index:
                continue
            own = -weight[label] * rows[place][label]
            even = -(weight * rows[place]).sum() / classes
            losses[place] = (1 - label_smoothing) * own + label_smoothing * even
            total += weight[label]
    if reduction == "none":
        return losses[0] if squeeze else losses
    return losses.sum() / total if reduction == "mean" else losses.sum()


def torch_loss(name: str) -> Callable[..., Any]:
    def loss(torch: Any, x: Any, target: Any, weight: Any = None, **how: Any) -> Any:
        constant = None if weight is None else weight.detach()  # no derivative there in PyTorch
        return getattr(torch.nn.functional, name)(x, target, weight=constant, **how)

    return loss


LOSS_ERRORS = (
    bad(
        of((3, 4)), of((2,), int), raises=ValueError, match=r"\(3, 4\) want class indices .*\(2,\)"
    ),
    bad(of((2, 3)), np.array([0, 3]), raises=IndexError, match=r"target 3 \(row 1\) .* 0 to 2"),
    bad(of((2, 3)), np.array([0, -1]), raises=IndexError, match=r"target -1 \(row 1\)"),
    bad(of((1, 3)), np.array([0]), reduction="avg", raises=ValueError, match="reduction.*'avg'"),
    bad(of((1, 3)), np.array([True]), raises=TypeError, match="must be integers, got bool"),
    bad(of(()), np.array(0), raises=ValueError, match=r"logits of shape \(C,\)"),
)


OPS = [
    Op(
        "cross_entropy",
        cross_entropies,
        reference_cross_entropy,
        torch_loss("cross_entropy"),
        (
            *LOSS_ERRORS,
            bad(of((1, 3)), np.array([0]), label_smoothing=1.5, raises=ValueError, match="got 1.5"),
        ),
    ),
    Op(
        "nll_loss",
        losses,
        reference_nll,
        torch_loss("nll_loss"),
        (*LOSS_ERRORS, bad(of((1, 3)), of((1, 3)), raises=TypeError, match="integers.*float64")),
    ),
]
