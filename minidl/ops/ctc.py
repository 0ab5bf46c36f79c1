"""Connectionist temporal classification: the likelihood of a label sequence of unknown timing.

The forward recursion over time is made of differentiable operations on all sequences at once, so
derivatives of any order follow from it.

References
----------
A. Graves et al., "Connectionist Temporal Classification", ICML 2006.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from minidl.autograd.primitive import Array, plain
from minidl.ops.arithmetic import where
from minidl.ops.indexing import getitem
from minidl.ops.joining import cat, stack
from minidl.ops.loss import Reduction, reduced
from minidl.ops.reduce import mean
from minidl.ops.shape import shape_of, unsqueeze
from minidl.ops.softmax import logsumexp

__all__ = [
    "ctc_loss",
]

#: Stands for log 0: finite, so that differences of it are no NaN.
_NEVER = -1e30


def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    *,
    blank: int = 0,
    reduction: Reduction = "mean",
    zero_infinity: bool = False,
) -> Any:
    """Return -log of the probability that the network says the target, over all timings.

    Parameters
    ----------
    log_probs
        ``(T, N, C)`` or ``(T, C)``: logarithms of probabilities, as `log_softmax` gives them.
    targets
        ``(N, S)``, padded, or all labels end to end ``(sum of target_lengths,)``.
    input_lengths, target_lengths
        ``(N,)`` or ``()``: how much of each sequence counts. Constants.
    blank
        The class that stands for nothing.
    reduction
        ``"mean"`` divides each loss by its target's length first.
    zero_infinity
        Give 0 for targets that do not fit in their input, in place of infinity.

    Raises
    ------
    ValueError
        Lengths or targets do not fit.
    TypeError
        Targets or lengths that differ over the examples of a vmap.
    """
    single = len(shape_of(log_probs)) == 2
    probs = unsqueeze(log_probs, 1) if single else log_probs
    steps, batch, classes = shape_of(probs)
    inputs, wanted = (
        plain(v, "ctc_loss() of lengths").reshape(-1).astype(np.intp)
        for v in (input_lengths, target_lengths)
    )
    labels = _padded(plain(targets, "ctc_loss() of targets"), wanted, batch)
    if len(inputs) != batch or inputs.max(initial=0) > steps or not 0 <= blank < classes:
        raise ValueError(
            f"ctc_loss: input_lengths {inputs.tolist()} and blank {blank} do not fit log_probs of "
            f"shape {shape_of(log_probs)}"
        )
    if labels.size and (labels.min() < 0 or labels.max() >= classes):
        raise ValueError(f"ctc_loss: targets must be 0 to {classes - 1}, got {labels.max()}")
    loss = -_log_likelihood(probs, labels, inputs, wanted, blank)
    impossible = loss > -_NEVER / 2
    loss = where(impossible, 0.0 if zero_infinity else np.inf, loss)
    if reduction == "mean":
        return mean(loss / np.maximum(wanted, 1).astype(probs.dtype))
    return reduced("ctc_loss", loss[0] if single else loss, reduction)


def _padded(targets: Array, lengths: Array, batch: int) -> Array:
    """Labels as ``(N, longest)``, 0 where there are none."""
    if len(lengths) != batch:
        raise ValueError(f"ctc_loss: {batch} target_lengths are wanted, got {len(lengths)}")
    longest = int(lengths.max(initial=0))
    out = np.zeros((batch, longest), np.intp)
    if targets.ndim == 1 and (batch > 1 or targets.size != longest):
        if targets.size != lengths.sum():
            raise ValueError(f"ctc_loss: {lengths.sum()} labels are wanted, got {targets.size}")
        bounds = np.concatenate([[0], np.cumsum(lengths)])
        rows = [targets[a:b] for a, b in itertools.pairwise(bounds)]
    else:
        table = targets.reshape(batch, -1)
        if table.shape[1] < longest:
            raise ValueError(f"ctc_loss: targets {targets.shape} are shorter than {longest}")
        rows = [row[:length] for row, length in zip(table, lengths, strict=True)]
    for row, labels in zip(out, rows, strict=True):
        row[: len(labels)] = labels
    return out


def _log_likelihood(probs: Any, labels: Array, inputs: Array, wanted: Array, blank: int) -> Any:
    steps, batch, _ = shape_of(probs)
    width = 2 * labels.shape[1] + 1
    path = np.full((batch, width), blank, np.intp)  # blanks before, between and after the labels
    path[:, 1::2] = labels
    # A blank between two different labels may be left out.
    skip = np.zeros((batch, width), bool)
    skip[:, 2:] = (path[:, 2:] != blank) & (path[:, 2:] != path[:, :-2])
    said = getitem(probs, (np.arange(steps)[:, None, None], np.arange(batch)[:, None], path))
    start = np.zeros((batch, width), bool)
    start[:, :2] = True
    alpha = where(start, said[0], _NEVER)
    history = [alpha]
    edge = np.full((batch, 2), _NEVER, probs.dtype)
    for t in range(1, steps):
        before = cat([edge, alpha], 1)
        stay, step, jump = before[:, 2:], before[:, 1:-1], where(skip, before[:, :-2], _NEVER)
        alpha = logsumexp(stack([stay, step, jump]), 0) + said[t]
        history.append(alpha)
    # A sequence ends at its own time, on its last label or the blank behind it.
    last = stack(history)[np.maximum(inputs - 1, 0), np.arange(batch)]
    ends = np.zeros((batch, width), bool)
    ends[np.arange(batch), 2 * wanted] = True
    ends[np.arange(batch), np.maximum(2 * wanted - 1, 0)] = True
    return logsumexp(where(ends, last, _NEVER), 1)
