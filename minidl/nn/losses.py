"""Losses that compare an output with a target: of classes, of numbers, of distributions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from minidl.arguments import Count, Fraction, NonNegative, Positive, Probability, checked
from minidl.nn import expect, functional
from minidl.nn.function_module import FunctionModule
from minidl.nn.module import Buffer
from minidl.ops.loss import Reduction
from minidl.ops.shape import shape_of

Weights = Sequence[float] | Buffer


def as_buffer(weight: Any) -> Buffer | None:
    """Keep weights as a part of the loss's state, float32 where they are plain numbers."""
    return None if weight is None else Buffer(weight)


class Loss(FunctionModule):
    """What losses have in common: a reduction, and no mean over nothing."""

    reductions: ClassVar[tuple[str, ...]] = ("mean", "sum", "none")
    #: Whether the target is class indices, so that floats of another shape are told apart later.
    of_classes: ClassVar[bool] = False
    reduction: str

    def reduce_by(self, reduction: str) -> None:
        """Set ``reduction``.

        Raises
        ------
        ValueError
            It is unknown.
        """
        if reduction not in self.reductions:
            wanted = ", ".join(map(repr, self.reductions[:-1]))
            raise ValueError(
                f"{type(self).__name__}: reduction must be {wanted} or {self.reductions[-1]!r}, "
                f"got {reduction!r}"
            )
        self.reduction = reduction

    def forward(self, *inputs: Any) -> Any:
        """Return the loss.

        Raises
        ------
        ValueError
            Shapes do not fit, or the mean over an empty batch is asked for.
        TypeError
            One floating input has another dtype than the first.
        """
        shape = shape_of(inputs[0]) if inputs else (1,)
        if 0 in shape and self.reduction != "none" and self.reduction != "sum":
            raise ValueError(
                f"{type(self).__name__}: the batch is empty, an input {shape} has no mean; leave "
                "empty batches out, or use reduction='sum'"
            )
        if not self.of_classes or shape_of(inputs[-1]) == shape:
            expect.one_dtype(type(self).__name__, inputs)
        return super().forward(*inputs)


class _Plain(Loss):
    """A loss with no other setting than its reduction."""

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        self.reduce_by(reduction)


class CrossEntropyLoss(Loss):
    """Cross-entropy of logits and class indices (or probabilities); see `functional.cross_entropy`.

    Shapes: logits ``(N, C, *)``, target ``(N, *)`` of integers -> a single number, unless
    ``reduction="none"``. ``weight`` is one factor a class.
    """

    function = staticmethod(functional.cross_entropy)
    of_classes = True

    @checked
    def __init__(
        self,
        weight: Weights | None = None,
        *,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        label_smoothing: Fraction = 0.0,
    ) -> None:
        self.weight = as_buffer(weight)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.reduce_by(reduction)


class NLLLoss(Loss):
    """Negative log-likelihood of log-probabilities and class indices; see `functional.nll_loss`."""

    function = staticmethod(functional.nll_loss)
    of_classes = True

    @checked
    def __init__(
        self,
        weight: Weights | None = None,
        *,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
    ) -> None:
        self.weight = as_buffer(weight)
        self.ignore_index = ignore_index
        self.reduce_by(reduction)


class FocalLoss(Loss):
    """Cross-entropy with weight on what is hard; see `minidl.nn.functional.focal_loss`."""

    function = staticmethod(functional.focal_loss)
    of_classes = True

    @checked
    def __init__(
        self,
        *,
        gamma: NonNegative = 2.0,
        weight: Weights | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        self.gamma = gamma
        self.weight = as_buffer(weight)
        self.reduce_by(reduction)


class BinaryFocalLoss(Loss):
    """Binary cross-entropy of logits with weight on what is hard; see `functional`."""

    function = staticmethod(functional.binary_focal_loss)

    @checked
    def __init__(
        self,
        *,
        gamma: NonNegative = 2.0,
        alpha: Fraction | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        self.gamma = gamma
        self.alpha = alpha
        self.reduce_by(reduction)


class BCELoss(Loss):
    """Cross-entropy of probabilities and targets from 0 to 1; `BCEWithLogitsLoss` is stabler."""

    function = staticmethod(functional.binary_cross_entropy)

    @checked
    def __init__(self, weight: Weights | None = None, *, reduction: Reduction = "mean") -> None:
        self.weight = as_buffer(weight)
        self.reduce_by(reduction)


class BCEWithLogitsLoss(Loss):
    """Cross-entropy of logits and targets from 0 to 1; ``pos_weight`` scales the positive class."""

    function = staticmethod(functional.binary_cross_entropy_with_logits)

    @checked
    def __init__(
        self,
        weight: Weights | None = None,
        *,
        reduction: Reduction = "mean",
        pos_weight: Weights | None = None,
    ) -> None:
        self.weight = as_buffer(weight)
        self.pos_weight = as_buffer(pos_weight)
        self.reduce_by(reduction)


class MSELoss(_Plain):
    """Mean squared error; see `minidl.nn.functional.mse_loss`."""

    function = staticmethod(functional.mse_loss)


class L1Loss(_Plain):
    """Mean absolute error; see `minidl.nn.functional.l1_loss`."""

    function = staticmethod(functional.l1_loss)


class LogCoshLoss(_Plain):
    """log(cosh(x - target)); see `minidl.nn.functional.log_cosh_loss`."""

    function = staticmethod(functional.log_cosh_loss)


class SoftMarginLoss(_Plain):
    """log(1 + e^(-target · x)), targets ±1."""

    function = staticmethod(functional.soft_margin_loss)


class HingeLoss(_Plain):
    """max(0, 1 - target · x), targets ±1."""

    function = staticmethod(functional.hinge_loss)


class SquaredHingeLoss(_Plain):
    """max(0, 1 - target · x)², targets ±1."""

    function = staticmethod(functional.squared_hinge_loss)


class MultiLabelMarginLoss(_Plain):
    """Margin between right and wrong classes; see `functional.multilabel_margin_loss`."""

    function = staticmethod(functional.multilabel_margin_loss)


class MSLELoss(Loss):
    """Mean squared difference of logarithms; see `minidl.nn.functional.msle_loss`."""

    function = staticmethod(functional.msle_loss)

    @checked
    def __init__(self, *, eps: Positive = 1e-7, reduction: Reduction = "mean") -> None:
        self.eps = eps
        self.reduce_by(reduction)


class SmoothL1Loss(Loss):
    """A square below ``beta``, the absolute difference above; see `functional.smooth_l1_loss`."""

    function = staticmethod(functional.smooth_l1_loss)

    @checked
    def __init__(self, *, reduction: Reduction = "mean", beta: NonNegative = 1.0) -> None:
        self.beta = beta
        self.reduce_by(reduction)


class HuberLoss(Loss):
    """A square up to ``delta``, linear above; see `minidl.nn.functional.huber_loss`."""

    function = staticmethod(functional.huber_loss)

    @checked
    def __init__(self, *, reduction: Reduction = "mean", delta: Positive = 1.0) -> None:
        self.delta = delta
        self.reduce_by(reduction)


class KLDivLoss(Loss):
    """Divergence of log-probabilities from a distribution; see `minidl.nn.functional.kl_div`.

    ``reduction="batchmean"`` is the divergence as it is defined.
    """

    reductions: ClassVar = ("mean", "sum", "none", "batchmean")
    function = staticmethod(functional.kl_div)

    def __init__(
        self,
        *,
        reduction: Literal["mean", "sum", "none", "batchmean"] = "mean",
        log_target: bool = False,
    ) -> None:
        self.log_target = log_target
        self.reduce_by(reduction)


class PoissonNLLLoss(Loss):
    """Negative log-likelihood of counts; see `minidl.nn.functional.poisson_nll_loss`."""

    function = staticmethod(functional.poisson_nll_loss)

    @checked
    def __init__(
        self,
        *,
        log_input: bool = True,
        full: bool = False,
        eps: Positive = 1e-8,
        reduction: Reduction = "mean",
    ) -> None:
        self.log_input = log_input
        self.full = full
        self.eps = eps
        self.reduce_by(reduction)


class GaussianNLLLoss(Loss):
    """Negative log-likelihood of numbers, ``(mean, target, var)``; see `functional`."""

    function = staticmethod(functional.gaussian_nll_loss)

    @checked
    def __init__(
        self, *, full: bool = False, eps: Positive = 1e-6, reduction: Reduction = "mean"
    ) -> None:
        self.full = full
        self.eps = eps
        self.reduce_by(reduction)


class CTCLoss(Loss):
    """Likelihood of a sequence of labels without alignment; see `minidl.nn.functional.ctc_loss`."""

    function = staticmethod(functional.ctc_loss)

    @checked
    def __init__(
        self, blank: Count = 0, *, reduction: Reduction = "mean", zero_infinity: bool = False
    ) -> None:
        self.blank = blank
        self.zero_infinity = zero_infinity
        self.reduce_by(reduction)


class DiceLoss(Loss):
    """One minus the overlap of masks; see `minidl.nn.functional.dice_loss`."""

    function = staticmethod(functional.dice_loss)

    @checked
    def __init__(self, *, smooth: NonNegative = 1.0, reduction: Reduction = "mean") -> None:
        self.smooth = smooth
        self.reduce_by(reduction)


class TverskyLoss(Loss):
    """One minus the overlap of masks, kinds of errors weighted; see `functional.tversky_loss`."""

    function = staticmethod(functional.tversky_loss)

    @checked
    def __init__(
        self,
        *,
        beta: Probability = 0.7,
        smooth: NonNegative = 1.0,
        reduction: Reduction = "mean",
    ) -> None:
        self.beta = beta
        self.smooth = smooth
        self.reduce_by(reduction)
