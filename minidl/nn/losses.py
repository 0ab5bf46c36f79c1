"""Losses as modules: what to minimize, with its settings."""

from __future__ import annotations

from typing import Any

from minidl.arguments import Fraction, checked
from minidl.nn import functional
from minidl.nn.module import Buffer, Module
from minidl.ops.loss import Reduction


class CrossEntropyLoss(Module):
    """Cross-entropy of logits and class indices (or probabilities); see `minidl.cross_entropy`.

    Shapes: logits ``(N, C, *)``, target ``(N, *)`` of integers -> a single number, unless
    ``reduction="none"``. ``weight`` is one factor a class.
    """

    @checked
    def __init__(
        self,
        *,
        weight: list[float] | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        label_smoothing: Fraction = 0.0,
    ) -> None:
        self.weight = None if weight is None else Buffer(weight)
        self.ignore_index = ignore_index
        self.reduction: Reduction = reduction
        self.label_smoothing = label_smoothing

    def forward(self, logits: Any, target: Any) -> Any:
        """Return the loss."""
        return functional.cross_entropy(
            logits,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"reduction={self.reduction!r}, label_smoothing={self.label_smoothing}"


class MSELoss(Module):
    """Mean squared error; see `minidl.nn.functional.mse_loss`."""

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        self.reduction: Reduction = reduction

    def forward(self, x: Any, target: Any) -> Any:
        """Return the loss."""
        return functional.mse_loss(x, target, reduction=self.reduction)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"reduction={self.reduction!r}"
