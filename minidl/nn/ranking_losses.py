"""Losses that compare outputs with each other: margins, pairs, triplets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from minidl.arguments import NonNegative, Positive, checked
from minidl.nn import functional
from minidl.nn.losses import Loss, Weights, as_buffer
from minidl.ops.loss import Reduction


class _Margin(Loss):
    """A loss with a margin, 0 by default."""

    def __init__(self, margin: float = 0.0, *, reduction: Reduction = "mean") -> None:
        self.margin = margin
        self.reduce_by(reduction)


class MarginRankingLoss(_Margin):
    """max(0, -target · (x₁ - x₂) + margin), targets ±1."""

    function = staticmethod(functional.margin_ranking_loss)


class CosineEmbeddingLoss(_Margin):
    """1 - cos for pairs alike (target 1), max(0, cos - margin) for others (-1)."""

    function = staticmethod(functional.cosine_embedding_loss)


class HingeEmbeddingLoss(Loss):
    """x for pairs alike (target 1), max(0, margin - x) for others (-1)."""

    function = staticmethod(functional.hinge_embedding_loss)

    def __init__(self, margin: float = 1.0, *, reduction: Reduction = "mean") -> None:
        self.margin = margin
        self.reduce_by(reduction)


class SiameseContrastiveLoss(Loss):
    """Distances of pairs alike (target 0) small, of others above ``margin``."""

    function = staticmethod(functional.siamese_contrastive_loss)

    @checked
    def __init__(self, margin: NonNegative = 1.0, *, reduction: Reduction = "mean") -> None:
        self.margin = margin
        self.reduce_by(reduction)


class MultiMarginLoss(Loss):
    """Margin between the right class and every other; see `functional.multi_margin_loss`."""

    function = staticmethod(functional.multi_margin_loss)

    def __init__(
        self,
        p: Literal[1, 2] = 1,
        margin: float = 1.0,
        weight: Weights | None = None,
        *,
        reduction: Reduction = "mean",
    ) -> None:
        if p not in (1, 2):
            raise ValueError(f"MultiMarginLoss: p must be 1 or 2, got {p!r}")
        self.p = p
        self.margin = margin
        self.weight = as_buffer(weight)
        self.reduce_by(reduction)


class MultiLabelSoftMarginLoss(Loss):
    """Binary cross-entropy of logits, averaged over classes."""

    function = staticmethod(functional.multilabel_soft_margin_loss)

    def __init__(self, weight: Weights | None = None, *, reduction: Reduction = "mean") -> None:
        self.weight = as_buffer(weight)
        self.reduce_by(reduction)


class TripletMarginLoss(Loss):
    """The positive closer to the anchor than the negative, by a margin; see `functional`."""

    function = staticmethod(functional.triplet_margin_loss)

    @checked
    def __init__(
        self,
        margin: Positive = 1.0,
        p: Positive = 2.0,
        eps: NonNegative = 1e-6,
        swap: bool = False,
        *,
        reduction: Reduction = "mean",
    ) -> None:
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap
        self.reduce_by(reduction)


class TripletMarginWithDistanceLoss(Loss):
    """`TripletMarginLoss` with a distance of the caller's, Euclidean by default."""

    function = staticmethod(functional.triplet_margin_with_distance_loss)

    @checked
    def __init__(
        self,
        *,
        distance_function: Callable[[Any, Any], Any] | None = None,
        margin: Positive = 1.0,
        swap: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        self.distance_function = distance_function
        self.margin = margin
        self.swap = swap
        self.reduce_by(reduction)
