"""Losses that compare an input with a target, element by element or in pairs."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from minidl.ops.elementwise import abs, square
from minidl.ops.reduce import mean, sum
from minidl.ops.shape import shape_of

__all__ = [
    "l1_loss",
    "mse_loss",
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
    return reduced("mse_loss", square(x - target), reduction)


def l1_loss(x: Any, target: Any, *, reduction: Reduction = "mean") -> Any:
    """Return the absolute difference, averaged, summed, or as it is.

    Raises
    ------
    ValueError
        The shapes differ, or ``reduction`` is unknown.
    """
    same_shape("l1_loss", x, target)
    return reduced("l1_loss", abs(x - target), reduction)


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
