"""Losses for classes of very different size: overlap of masks, and weight on what is hard.

`minidl.nn.functional` offers them beside PyTorch's losses, with Flux's formulas.
"""

from __future__ import annotations

import math
from typing import Any

from minidl.ops.activation import logsigmoid
from minidl.ops.cross_entropy import cross_entropy
from minidl.ops.elementwise import exp, square
from minidl.ops.loss import Reduction, like, reduced, same_shape
from minidl.ops.reduce import sum
from minidl.ops.shape import shape_of

__all__ = [
    "binary_focal_loss",
    "dice_loss",
    "focal_loss",
    "tversky_loss",
]


def _samplewise(name: str, x: Any) -> tuple[int, ...]:
    """Axes of a sample."""
    if len(shape_of(x)) < 2:
        raise ValueError(f"{name}: (N, …) with one mask a sample is wanted, got {shape_of(x)}")
    return tuple(range(1, len(shape_of(x))))


def dice_loss(x: Any, target: Any, *, smooth: float = 1.0, reduction: Reduction = "mean") -> Any:
    """Return one minus the overlap of two masks, ``1 - (2 Σ x t + s) / (Σ x² + Σ t² + s)``.

    Shapes: probabilities ``x (N, *)`` and masks ``target (N, *)`` -> one loss a sample, reduced.

    Raises
    ------
    ValueError
        The shapes differ, there is no batch axis, or ``reduction`` is unknown.

    References
    ----------
    F. Milletari et al., "V-Net", 3DV 2016.
    """
    same_shape("dice_loss", x, target)
    over, target = _samplewise("dice_loss", x), like(target, x)
    common = 2.0 * sum(x * target, over) + smooth
    return reduced(
        "dice_loss",
        1.0 - common / (sum(square(x), over) + sum(square(target), over) + smooth),
        reduction,
    )


def tversky_loss(
    x: Any, target: Any, *, beta: float = 0.7, smooth: float = 1.0, reduction: Reduction = "mean"
) -> Any:
    """Return one minus the overlap of two masks, false positives and negatives weighted apart.

    ``1 - (Σ x t + s) / (Σ x t + β Σ x (1 - t) + (1 - β) Σ (1 - x) t + s)``; shapes as in
    `dice_loss`.

    Raises
    ------
    ValueError
        The shapes differ, there is no batch axis, or ``reduction`` is unknown.

    References
    ----------
    S. Salehi et al., "Tversky loss function for image segmentation using 3D fully convolutional
    deep networks", 2017.
    """
    same_shape("tversky_loss", x, target)
    over, target = _samplewise("tversky_loss", x), like(target, x)
    common = sum(x * target, over) + smooth
    wrong = beta * sum(x * (1.0 - target), over) + (1.0 - beta) * sum((1.0 - x) * target, over)
    return reduced("tversky_loss", 1.0 - common / (common + wrong), reduction)


def focal_loss(
    logits: Any,
    target: Any,
    *,
    gamma: float = 2.0,
    weight: Any = None,
    reduction: Reduction = "mean",
) -> Any:
    """Return cross-entropy times ``(1 - p)^gamma``, p the probability of the right class.

    Shapes: logits ``(N, C, *)``, target ``(N, *)`` of class indices. With ``gamma = 0`` the
    cross-entropy.

    Raises
    ------
    ValueError
        The shapes do not fit, ``gamma`` is negative, or ``reduction`` is unknown.

    References
    ----------
    T.-Y. Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 4.
    """
    _held("focal_loss", gamma)
    plain = cross_entropy(logits, target, reduction="none")
    loss = plain * _easiness(plain, gamma)
    if weight is not None:
        loss = loss * like(weight, logits)[target]
    return reduced("focal_loss", loss, reduction)


def binary_focal_loss(
    logits: Any,
    target: Any,
    *,
    gamma: float = 2.0,
    alpha: float | None = None,
    reduction: Reduction = "mean",
) -> Any:
    """Return binary cross-entropy of logits times ``(1 - p)^gamma``; see `focal_loss`.

    ``alpha`` weights the positive class, ``1 - alpha`` the negative one.

    Raises
    ------
    ValueError
        The shapes differ, ``gamma`` is negative, or ``reduction`` is unknown.
    """
    _held("binary_focal_loss", gamma)
    same_shape("binary_focal_loss", logits, target)
    target = like(target, logits)
    sign = 2.0 * target - 1.0
    plain = -logsigmoid(logits * sign)
    loss = plain * _easiness(plain, gamma)
    if alpha is not None:
        loss = loss * (alpha * target + (1.0 - alpha) * (1.0 - target))
    return reduced("binary_focal_loss", loss, reduction)


def _held(name: str, gamma: float) -> None:
    if not gamma >= 0.0 or math.isinf(gamma):
        raise ValueError(f"{name}: gamma must be at least 0, got {gamma}")


def _easiness(loss: Any, gamma: float) -> Any:
    """(1 - p)^gamma, of -log p."""
    return (1.0 - exp(-loss)) ** gamma if gamma else 1.0
