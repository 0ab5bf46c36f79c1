"""Table of `minidl.ops.ctc`: against the sum over all timings, and PyTorch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.nn import functional
from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, grid


def sequences(rng: Rng) -> Iterator[Sample]:
    targets, lengths = np.array([[1, 2], [1, 1], [2, 0]]), np.array([2, 2, 1])
    for how in ({}, {"reduction": "sum"}, {"reduction": "none"}):
        yield call(grid(rng, 4, 3, 3), targets, np.array([4, 3, 2]), lengths, **how)
    yield call(grid(rng, 3, 2, 3), np.array([1, 2, 1]), np.array([3, 3]), np.array([2, 1]))
    yield call(grid(rng, 3, 3), np.array([2, 1]), np.array(3), np.array(2))
    yield call(grid(rng, 3, 1, 3), np.array([[0, 1]]), np.array([3]), np.array([2]), blank=2)
    yield call(
        grid(rng, 2, 1, 3), np.array([[1, 1]]), np.array([2]), np.array([2]), zero_infinity=True
    )


def all_timings(
    x: Any,
    targets: Any,
    inputs: Any,
    lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Any:
    if x.ndim == 2:
        x, inputs, lengths = x[:, None], inputs.reshape(1), lengths.reshape(1)
        targets = targets[None]
        losses = all_timings(x, targets, inputs, lengths, blank, "none", zero_infinity)
        return losses[0] / max(lengths[0], 1) if reduction == "mean" else losses[0]
    if targets.ndim == 1:
        bounds = [0, *np.cumsum(lengths)]
        rows = [targets[a:b] for a, b in itertools.pairwise(bounds)]
    else:
        rows = [row[:n] for row, n in zip(targets, lengths, strict=True)]
    x = x - np.log(np.exp(x).sum(-1, keepdims=True))
    losses = []
    for n, wanted in enumerate(rows):
        total = 0.0
        for path in itertools.product(range(x.shape[2]), repeat=int(inputs[n])):
            said = [k for k, _ in itertools.groupby(path) if k != blank]
            if said == list(wanted):
                total += np.exp(sum(x[t, n, c] for t, c in enumerate(path)))
        losses.append(-np.log(total) if total else 0.0 if zero_infinity else np.inf)
    losses = np.array(losses, x.dtype)
    if reduction == "mean":
        return (losses / np.maximum(lengths, 1)).mean()
    return losses if reduction == "none" else losses.sum()


def of_logits(x: Any, *args: Any, **how: Any) -> Any:
    return functional.ctc_loss(functional.log_softmax(x, -1), *args, **how)


def torch_of_logits(torch: Any, x: Any, *args: Any, **how: Any) -> Any:
    return torch.nn.functional.ctc_loss(torch.log_softmax(x, -1), *args, **how)


TWO = np.array([[1, 2]])
OPS = [
    Op(
        "ctc_loss",
        sequences,
        all_timings,
        torch_of_logits,
        (
            bad(
                of((2, 1, 3)),
                TWO,
                np.array([3]),
                np.array([2]),
                raises=ValueError,
                match=r"input_lengths \[3\]",
            ),
            bad(
                of((2, 1, 3)),
                TWO + 1,
                np.array([2]),
                np.array([2]),
                raises=ValueError,
                match="0 to 2, got 3",
            ),
            bad(
                of((2, 1, 3)),
                TWO,
                np.array([2]),
                np.array([2, 1]),
                raises=ValueError,
                match="1 target_lengths",
            ),
        ),
        function=of_logits,
        rtol=1e-9,
    )
]
