"""Losses that compare an input with a target, element by element or in pairs."""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

import numpy as np

from minidl.autograd.primitive import constant
from minidl.ops.activation import logsigmoid, softplus
from minidl.ops.arithmetic import gt, le, lt, where
from minidl.ops.elementwise import abs, exp, log, square, stop_gradient
from minidl.ops.logarithms import xlogy
from minidl.ops.reduce import mean, sum
from minidl.ops.shape import broadcast_to, cast, shape_of, unsqueeze

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "gaussian_nll_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "log_cosh_loss",
    "mse_loss",
    "msle_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
    "soft_margin_loss",
]


Reduction: TypeAlias = Literal["mean", "sum", "none"]


def mse_loss(x: Any, target: Any, *, reduction: Reduction = "mean") -> Any:
    """Return (x - target)², averaged, summed, or as it is.

    Raises
    ------
    ValueError
        The shapes differ, or ``reduction`` is unknown.
    """
    same_shape("mse_loss", x, target)
    return reduced("mse_loss", square(x - like(target, x)), reduction)


def l1_loss(x: Any, target: Any, *, reduction: Reduction = "mean") -> Any:
    """Return the absolute difference, averaged, summed, or as it is.

    Raises
    ------
    ValueError
        The shapes differ, or ``reduction`` is unknown.
    """
    same_shape("l1_loss", x, target)
    return reduced("l1_loss", abs(x - like(target, x)), reduction)


def msle_loss(x: Any, target: Any, *, eps: float = 1e-7, reduction: Reduction = "mean") -> Any:
    """Return the squared difference of logarithms, ``(log(x + eps) - log(target + eps))²``.

    For positive quantities whose ratio matters more than their difference.

    Raises
    ------
    ValueError
        The shapes differ, or ``reduction`` is unknown.
    """
    same_shape("msle_loss", x, target)
    return reduced("msle_loss", square(log(x + eps) - log(like(target, x) + eps)), reduction)


def log_cosh_loss(x: Any, target: Any, *, reduction: Reduction = "mean") -> Any:
    """Return log(cosh(x - target)): a square near 0, the absolute difference far from it.

    Raises
    ------
    ValueError
        The shapes differ, or ``reduction`` is unknown.
    """
    same_shape("log_cosh_loss", x, target)
    d = x - like(target, x)
    return reduced("log_cosh_loss", d + softplus(d * -2.0) - math.log(2.0), reduction)


def same_shape(name: str, x: Any, target: Any) -> None:
    # PyTorch only warns, and broadcasts (N, 1) against (N,) to (N, N): a famous source of models
    # that do not learn.
    if shape_of(x) != shape_of(target):
        raise ValueError(
            f"{name}: input {shape_of(x)} and target {shape_of(target)} must have the same shape"
        )


def reduced(name: str, loss: Any, reduction: str) -> Any:
    if reduction == "none":
        return loss
    if reduction not in ("mean", "sum"):
        raise ValueError(f"{name}: reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    return mean(loss) if reduction == "mean" else sum(loss)


def smooth_l1_loss(x: Any, target: Any, *, reduction: Reduction = "mean", beta: float = 1.0) -> Any:
    """Return ``d² / 2β`` where the difference d is below β in size, else ``|d| - β/2``.

    Raises
    ------
    ValueError
        The shapes differ, ``reduction`` is unknown, or ``beta`` is negative.
    """
    same_shape("smooth_l1_loss", x, target)
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta must be at least 0, got {beta}")
    size = abs(x - like(target, x))
    if beta == 0:
        return reduced("smooth_l1_loss", size, reduction)
    loss = where(lt(size, beta), size * size * (0.5 / beta), size - 0.5 * beta)
    return reduced("smooth_l1_loss", loss, reduction)


def huber_loss(x: Any, target: Any, *, reduction: Reduction = "mean", delta: float = 1.0) -> Any:
    """Return ``d² / 2`` where the difference d is at most δ in size, else ``δ (|d| - δ/2)``.

    Raises
    ------
    ValueError
        The shapes differ, ``reduction`` is unknown, or ``delta`` is not positive.
    """
    same_shape("huber_loss", x, target)
    if delta <= 0:
        raise ValueError(f"huber_loss: delta must be above 0, got {delta}")
    size = abs(x - like(target, x))
    loss = where(le(size, delta), size * size * 0.5, (size - 0.5 * delta) * delta)
    return reduced("huber_loss", loss, reduction)


def _weighted(loss: Any, weight: Any) -> Any:
    return loss if weight is None else loss * like(weight, loss)


def like(value: Any, x: Any) -> Any:
    """Give whole numbers (targets, weights) the dtype of ``x``, so that float32 stays float32."""
    return cast(value, x.dtype) if getattr(value, "dtype", x.dtype).kind in "iub" else value


def binary_cross_entropy(
    x: Any, target: Any, *, weight: Any = None, reduction: Reduction = "mean"
) -> Any:
    """Return the cross-entropy of probabilities ``x``; logarithms are held at -100.

    Raises
    ------
    ValueError
        The shapes differ, ``reduction`` is unknown, or something in ``x`` is not from 0 to 1.
    """
    same_shape("binary_cross_entropy", x, target)
    target = like(target, x)
    _require_probabilities("binary_cross_entropy", x)
    held = [_held_log(x), _held_log(1.0 - x)]
    loss = -(target * held[0] + (1.0 - target) * held[1])
    return reduced("binary_cross_entropy", _weighted(loss, weight), reduction)


def _require_probabilities(name: str, x: Any) -> None:
    x = constant(x)
    wrong = (x < 0) | (x > 1)  # NaN is neither: anomaly mode tells where that came from
    if np.any(wrong):
        found = np.asarray(x)[wrong].flat[0]
        raise ValueError(
            f"{name}: probabilities from 0 to 1 are wanted, got {found:g}; if these are logits, "
            "BCEWithLogitsLoss takes them as they are"
        )


def _held_log(x: Any) -> Any:
    low = lt(x, math.exp(-100.0))
    return where(low, -100.0, log(where(low, 1.0, x)))


def binary_cross_entropy_with_logits(
    x: Any,
    target: Any,
    *,
    weight: Any = None,
    reduction: Reduction = "mean",
    pos_weight: Any = None,
) -> Any:
    """Return the cross-entropy of sigmoid(x), without overflow or underflow.

    ``pos_weight`` scales the positive class.

    Raises
    ------
    ValueError
        The shapes differ, or ``reduction`` is unknown.
    """
    same_shape("binary_cross_entropy_with_logits", x, target)
    target = like(target, x)
    factor: Any = 1.0 if pos_weight is None else (like(pos_weight, x) - 1.0) * target + 1.0
    loss = (1.0 - target) * x - factor * logsigmoid(x)
    return reduced("binary_cross_entropy_with_logits", _weighted(loss, weight), reduction)


def kl_div(x: Any, target: Any, *, reduction: str = "mean", log_target: bool = False) -> Any:
    """Return ``target · (log target - x)``: the divergence of log-probabilities ``x``.

    ``reduction="batchmean"`` divides the sum by the length of the first axis.

    Raises
    ------
    ValueError
        The shapes differ, or ``reduction`` is unknown.
    """
    same_shape("kl_div", x, target)
    target = like(target, x)
    if log_target:
        loss = exp(target) * (target - x)
    else:
        loss = xlogy(target, target) - target * x
    if reduction == "batchmean":
        return sum(loss) / shape_of(x)[0]
    return reduced("kl_div", loss, reduction)


def poisson_nll_loss(
    x: Any,
    target: Any,
    *,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: Reduction = "mean",
) -> Any:
    """Return the negative log-likelihood of counts under Poisson's distribution.

    ``x`` is the logarithm of the rate, or the rate; ``full`` adds Stirling's term.

    Raises
    ------
    ValueError
        The shapes differ, or ``reduction`` is unknown.
    """
    same_shape("poisson_nll_loss", x, target)
    target = like(target, x)
    loss = exp(x) - target * x if log_input else x - target * log(x + eps)
    if full:
        many = gt(target, 1.0)
        held = where(many, target, 1.0)
        stirling = held * log(held) - held + 0.5 * log(held * (2.0 * math.pi))
        loss = loss + where(many, stirling, 0.0)
    return reduced("poisson_nll_loss", loss, reduction)


def gaussian_nll_loss(
    x: Any,
    target: Any,
    var: Any,
    *,
    full: bool = False,
    eps: float = 1e-6,
    reduction: Reduction = "mean",
) -> Any:
    """Return the negative log-likelihood under a normal distribution of mean ``x``.

    ``var`` is held at ``eps``, where no gradient flows to it; ``full`` adds the constant.

    Raises
    ------
    ValueError
        The shapes differ, or ``reduction`` is unknown.
    """
    same_shape("gaussian_nll_loss", x, target)
    target = like(target, x)
    if not shape_of(var) and shape_of(x):
        var = (
            broadcast_to(var, shape_of(x))
            if hasattr(var, "dtype")
            else np.full(shape_of(x), var, x.dtype)
        )
    elif len(shape_of(var)) == len(shape_of(x)) - 1:
        var = unsqueeze(var, -1)
    # Held at eps as to its value; the gradient flows as if it were not, as in PyTorch.
    held = var + stop_gradient(where(lt(var, eps), eps - var, 0.0))
    loss = 0.5 * (log(held) + square(x - target) / held)
    loss = loss + 0.5 * math.log(2.0 * math.pi) if full else loss
    return reduced("gaussian_nll_loss", loss, reduction)


def soft_margin_loss(x: Any, target: Any, *, reduction: Reduction = "mean") -> Any:
    """Return log(1 + e^(-target · x)), with targets ±1.

    Raises
    ------
    ValueError
        The shapes differ, or ``reduction`` is unknown.
    """
    same_shape("soft_margin_loss", x, target)
    return reduced("soft_margin_loss", -logsigmoid(x * like(target, x)), reduction)
