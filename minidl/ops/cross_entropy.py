"""Cross-entropy between logits and class indices or probabilities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.autograd.primitive import Primitive, constant, primitive
from minidl.kernels import entropy as kernel
from minidl.ops.arithmetic import eq, ne, where
from minidl.ops.batching import folded
from minidl.ops.indexing import getitem
from minidl.ops.loss import Reduction
from minidl.ops.reduce import mean, sum
from minidl.ops.shape import cast, permute, reshape, shape_of
from minidl.ops.softmax import log_softmax, softmax

__all__ = [
    "cross_entropy",
    "nll_loss",
]


def _away(x: Any, target: Any, smoothing: float) -> Any:
    """Return softmax - goal, (N, C): the goal is the distribution that the labels stand for."""
    classes = shape_of(x)[1]
    hot = cast(eq(target[:, None], np.arange(classes)), x.dtype)
    goal = hot * (1.0 - smoothing) + smoothing / classes if smoothing else hot
    return softmax(x, 1) - goal


def _turned(t: Any, x: Any, g: Any) -> Any:
    """Return g · J t with the Jacobian of softmax, which is symmetric: both modes' second rule."""
    s, h = softmax(x, 1), t * g[:, None]
    return s * (h - sum(h * s, 1, keepdim=True))


def _rows(logits: Any, target: Any, *, smoothing: float) -> Any:
    """Compute the losses by other operations, where the kernel cannot: on a device."""
    logp = log_softmax(logits, 1)
    picked = -getitem(logp, (np.arange(len(target)), target))
    return picked * (1.0 - smoothing) - mean(logp, 1) * smoothing if smoothing else picked


# The loss of each row in one operation: its gradient is softmax - goal, with no log taken back.
_cross_entropy_gradient: Primitive = primitive(
    "cross_entropy_gradient",
    kernel.by_logits,
    vjp=(
        lambda c, _out, _g, x, target, *, smoothing: sum(c * _away(x, target, smoothing), 1),
        lambda c, _out, g, x, _target, *, smoothing: _turned(c, x, g),
        None,
    ),
    jvp=(
        lambda t, out, g, x, target, *, smoothing: t[:, None] * _away(x, target, smoothing),
        lambda t, out, g, x, target, *, smoothing: _turned(t, x, g),
        None,
    ),
    batch=folded,
)
_cross_entropy_gradient.elsewhere = lambda g, x, target, *, smoothing: (
    g[:, None] * _away(x, target, smoothing)
)

_cross_entropy_rows: Primitive = primitive(
    "cross_entropy",
    kernel.cross_entropy,
    vjp=(
        lambda g, _out, x, target, *, smoothing: _cross_entropy_gradient(
            g, x, target, smoothing=smoothing
        ),
        None,
    ),
    jvp=(
        lambda t, out, x, target, *, smoothing: sum(t * _away(x, target, smoothing), 1),
        None,
    ),
    batch=folded,
)
_cross_entropy_rows.elsewhere = _rows


def cross_entropy(
    logits: Any,
    target: Any,
    *,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """Return the cross-entropy between softmax(logits) and the target, as PyTorch defines it.

    Parameters
    ----------
    logits
        ``(N, C)``, ``(N, C, d1, …)`` or ``(C,)``: unnormalized log-probabilities.
    target
        Class indices in the same shape without the axis C (integers), or probabilities in the
        shape of the logits (floats).
    weight
        ``(C,)``: a factor for each class.
    ignore_index
        Targets with this value count for nothing.
    reduction
        ``"mean"`` (weighted where there are weights), ``"sum"``, or ``"none"``.
    label_smoothing
        From 0 to 1: this share of the target is spread evenly over all classes.

    Raises
    ------
    ValueError
        Shapes do not fit, or ``reduction`` or ``label_smoothing`` is none of the above.
    IndexError
        A target is not a class.
    """
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"cross_entropy: label_smoothing must be 0 to 1, got {label_smoothing}")
    x, labels, outer = _by_rows("cross_entropy", logits, target)
    classes = shape_of(x)[1]
    if labels.dtype.kind == "f":
        goal = labels * (1.0 - label_smoothing) + label_smoothing / classes
        scale = goal if weight is None else goal * weight
        rows = -sum(log_softmax(x, 1) * scale, 1)
        return _reduce("cross_entropy", rows, None, outer, reduction)
    labels, counted = _check_labels("cross_entropy", labels, classes, ignore_index)
    if weight is None:
        rows = _cross_entropy_rows(x, labels, smoothing=float(label_smoothing))
        return _reduce("cross_entropy", rows, counted, outer, reduction)
    logp = log_softmax(x, 1)
    share = getitem(weight, labels)
    rows = -(1.0 - label_smoothing) * share * getitem(logp, (np.arange(len(labels)), labels))
    if label_smoothing:
        rows = rows - label_smoothing / classes * sum(logp * weight, 1)
    share = share if counted is None else where(counted, share, 0.0)
    return _reduce("cross_entropy", rows, counted, outer, reduction, share)


def nll_loss(
    log_probabilities: Any,
    target: Any,
    *,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Any:
    """Return the negative log-likelihood of the target classes.

    Shapes, ``weight``, ``ignore_index``, ``reduction`` and errors: see `cross_entropy`.
    """
    x, labels, outer = _by_rows("nll_loss", log_probabilities, target)
    if labels.dtype.kind == "f":
        raise TypeError(f"nll_loss: targets are class indices (integers), got {labels.dtype}")
    labels, counted = _check_labels("nll_loss", labels, shape_of(x)[1], ignore_index)
    rows = -getitem(x, (np.arange(len(labels)), labels))
    if weight is None:
        return _reduce("nll_loss", rows, counted, outer, reduction)
    share = getitem(weight, labels)
    share = share if counted is None else where(counted, share, 0.0)
    return _reduce("nll_loss", rows * share, counted, outer, reduction, share)


def _by_rows(name: str, x: Any, target: Any) -> tuple[Any, Any, tuple[int, ...]]:
    """Bring logits to (rows, C) and targets to (rows,) or (rows, C); and the shape they had."""
    if not hasattr(target, "dtype"):
        target = np.asarray(target)
    shape = shape_of(x)
    soft = target.dtype.kind == "f"
    if not shape:
        raise ValueError(f"{name}: logits of shape (C,) or (N, C, …) are wanted, got {shape}")
    outer = () if len(shape) == 1 else (shape[0], *shape[2:])
    if shape_of(target) != (shape if soft else outer):
        fix = ""
        if soft and shape_of(target) == outer:
            fix = "; if these are class indices, make them whole: target.astype(np.int64)"
        elif not soft and shape_of(target) == shape:
            fix = "; if these are one-hot rows, take target.argmax(1), or make them floating"
        raise ValueError(
            f"{name}: logits {shape} want {'probabilities' if soft else 'class indices'} of shape "
            f"{shape if soft else outer}, got {shape_of(target)}{fix}"
        )
    if len(shape) == 1:
        x = reshape(x, (1, *shape))
        target = reshape(target, (1, *shape_of(target)))
    elif len(shape) > 2:
        last = (0, *range(2, len(shape)), 1)
        x = reshape(permute(x, last), (-1, shape[1]))
        target = reshape(permute(target, last), (-1, shape[1])) if soft else reshape(target, (-1,))
    return x, target, outer


def _check_labels(name: str, labels: Any, classes: int, ignore: int) -> tuple[Any, Any]:
    """Labels with ignored ones made 0, and where they count (None: everywhere)."""
    known = constant(labels)  # under vmap: those of all examples
    if known.dtype.kind not in "iu":
        raise TypeError(f"{name}: class indices must be integers, got {known.dtype}")
    if ignore < 0 and known.size and known.max() < classes and known.min() >= 0:
        return labels, None  # two looks at what is nearly always so
    ignored = known == ignore
    bad = ((known < 0) | (known >= classes)) & ~ignored
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        label = int(known.flat[first])
        raise IndexError(
            f"{name}: target {label} (row {first}) is not a class; there are {classes}, 0 to "
            f"{classes - 1}; "
            + (
                f"count classes from 0, or let the last layer give {label + 1} of them"
                if label >= 0
                else f"count classes from 0, or say ignore_index={label} where there is none"
            )
        )
    if not ignored.any():
        return labels, None
    counted = ne(labels, ignore)
    return where(counted, labels, 0), counted


def _reduce(
    name: str,
    rows: Any,
    counted: Any,
    outer: tuple[int, ...],
    reduction: str,
    share: Any = None,
) -> Any:
    if counted is not None:
        rows = where(counted, rows, 0.0)
    if reduction == "none":
        return reshape(rows, outer)
    if reduction == "sum":
        return sum(rows)
    if reduction != "mean":
        raise ValueError(f"{name}: reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    if share is not None:
        return sum(rows) / sum(share)
    if counted is None:
        return mean(rows)
    count = sum(counted)
    # The mean of nothing is NaN, without a warning.
    return sum(rows) / where(count > 0, cast(count, rows.dtype), math.nan)
