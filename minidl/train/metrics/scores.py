"""Metrics of classes that look at how sure a model was: ranks and probabilities.

Probabilities are the softmax of the logits, taken in float64. Definitions are scikit-learn's
(`roc_auc_score`, `brier_score_loss`, `log_loss`) where it has the metric.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np

from minidl.arguments import Size, checked
from minidl.autograd.primitive import Array
from minidl.train.metrics.counting import share
from minidl.train.metrics.exact_sum import ExactSum
from minidl.train.metrics.metric import AveragedMetric, ClassMetric, softmax


class AUROC(AveragedMetric):
    """Area under the receiver operating characteristic: how well probabilities order samples.

    For a class it is the chance that a sample of it gets a larger probability of it than a sample
    of another class, ties counting half. With two classes there is one figure, of the second
    class; with more, each is held against the rest.

    All logits are kept: ``4 * classes`` bytes a sample in float32 (60,000 samples of 10 classes:
    2.4 MB), and twice as much again in float64 while it is computed.

    Parameters
    ----------
    average
        ``macro``: mean over classes, NaN where a class has no samples, or all; ``weighted``: mean
        weighted by each class's samples, NaN where one has all; ``none``: one figure a class.

    References
    ----------
    J. Hanley and B. McNeil, "The Meaning and Use of the Area under a Receiver Operating
    Characteristic (ROC) Curve", Radiology 1982: the area as a statistic of ranks.
    """

    stem: ClassVar = "auroc"
    higher_is_better: ClassVar = True
    averages: ClassVar = ("macro", "weighted", "none")

    def __init__(self, average: Literal["macro", "weighted", "none"] = "macro") -> None:
        super().__init__(average)

    @property
    def name(self) -> str:
        """``auroc``, or ``auroc_weighted``."""
        return "auroc_weighted" if self.average == "weighted" else self.stem

    def reset(self) -> None:
        """Forget all samples."""
        super().reset()
        self.logits: list[Array] = []
        self.targets: list[Array] = []

    def _take(self, outputs: Array, targets: Array) -> None:
        self.logits.append(outputs.copy())
        self.targets.append(targets.copy())

    def _merge(self, other: Self) -> None:
        self.logits += other.logits
        self.targets += other.targets

    def _value(self) -> float | Array:
        scores, truth = softmax(np.concatenate(self.logits)), np.concatenate(self.targets)
        classes = scores.shape[1]
        if classes == 2:
            areas = np.full(2, _area(scores[:, 1], truth == 1))
        else:
            areas = np.array([_area(scores[:, c], truth == c) for c in range(classes)])
        if self.average == "none":
            return areas
        if self.average == "macro":
            return float(areas.mean())
        samples = np.bincount(truth, minlength=classes)
        return float(np.average(np.where(samples > 0, areas, 0.0), weights=samples))


def _area(scores: Array, positive: Array) -> float:
    """Return the area under the curve of one class, from the ranks of its samples."""
    ours = int(np.count_nonzero(positive))
    others = len(scores) - ours
    if not (ours and others) or np.isnan(scores).any():
        return math.nan
    _, group, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    # Equal scores share the mean of their ranks; twice that is whole, and sums of it are exact.
    twice_ranks = 2 * np.cumsum(sizes) - sizes + 1
    above = int(twice_ranks[group[positive]].sum()) - ours * (ours + 1)
    return above / (2 * ours * others)


class BrierScore(ClassMetric):
    """Mean squared distance of probabilities from the truth.

    ``1/N Σ_n Σ_c (y_nc - p_nc)²``, with ``y`` 1 for the true class and 0 for others: from 0 to 2.
    With two classes it is halved, as scikit-learn does by default: ``1/N Σ_n (y_n - p_n)²``.

    References
    ----------
    G. Brier, "Verification of Forecasts Expressed in Terms of Probability", Monthly Weather
    Review 1950.
    """

    stem: ClassVar = "brier_score"
    higher_is_better: ClassVar = False

    def reset(self) -> None:
        """Forget all samples."""
        super().reset()
        self.total = ExactSum()

    def _take(self, outputs: Array, targets: Array) -> None:
        distance = softmax(outputs)
        distance[np.arange(len(targets)), targets] -= 1.0
        scale = 0.5 if outputs.shape[1] == 2 else 1.0
        self.total.add(scale * (distance * distance).sum(axis=1))

    def _merge(self, other: Self) -> None:
        self.total.merge(other.total)

    def _value(self) -> float:
        return self.total.value / self.count


class LogLoss(ClassMetric):
    """Mean of minus the logarithm of the true class's probability, in nats.

    It is the cross-entropy without class weights, label smoothing or mixing, whatever the loss that
    is trained on has of them. Taken from the logits, so that nothing is clipped (scikit-learn,
    given probabilities, clips them where they would be 0).
    """

    stem: ClassVar = "log_loss"
    higher_is_better: ClassVar = False

    def reset(self) -> None:
        """Forget all samples."""
        super().reset()
        self.total = ExactSum()

    def _take(self, outputs: Array, targets: Array) -> None:
        self.total.add(surprise(outputs, targets))

    def _merge(self, other: Self) -> None:
        self.total.merge(other.total)

    def _value(self) -> float:
        return self.total.value / self.count


def surprise(logits: Array, targets: Array) -> Array:
    """Return minus the log-probability of each sample's true class, ``(N,)``, in float64."""
    shifted = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):
        shifted -= shifted.max(axis=1, keepdims=True)
        own = np.take_along_axis(shifted, targets[:, None], axis=1)[:, 0]
        return np.asarray(np.log(np.exp(shifted).sum(axis=1)) - own)


@dataclass(frozen=True)
class Reliability:
    """How often a model was right, by how sure it was: one entry a bin of confidence.

    Attributes
    ----------
    edges : numpy.ndarray
        ``(bins + 1,)``, from 0 to 1; a bin takes its upper edge.
    samples : numpy.ndarray
        Samples in each bin, ``(bins,)``.
    confidence, accuracy : numpy.ndarray
        Mean probability of the guess, and share of right guesses, ``(bins,)``; 0 in empty bins.
    """

    edges: Array
    samples: Array
    confidence: Array
    accuracy: Array

    @property
    def error(self) -> float:
        """The expected calibration error."""
        shares = self.samples / self.samples.sum()
        return math.fsum(shares * np.abs(self.accuracy - self.confidence))


class CalibrationError(ClassMetric):
    """Expected calibration error: how far a model's confidence is from how often it is right.

    ``ECE = Σ_m |B_m| / N · |acc(B_m) - conf(B_m)|`` over bins ``B_m`` of equal width of the
    confidence, which is the probability of the guessed class; bin m is ``((m-1)/M, m/M]``.

    Parameters
    ----------
    bins
        M, 15 in the reference.

    References
    ----------
    M. Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015;
    C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3.
    """

    stem: ClassVar = "calibration_error"
    higher_is_better: ClassVar = False

    @checked
    def __init__(self, bins: Size = 15) -> None:
        self.bins = bins
        super().__init__()

    def reset(self) -> None:
        """Forget all samples."""
        super().reset()
        self.samples = np.zeros(self.bins, np.int64)
        self.right = np.zeros(self.bins, np.int64)
        self.confidences = [ExactSum() for _ in range(self.bins)]

    def _take(self, outputs: Array, targets: Array) -> None:
        confidence = softmax(outputs).max(axis=1)
        right = outputs.argmax(axis=1) == targets
        within = np.searchsorted(self._edges()[1:-1], confidence)
        self.samples += np.bincount(within, minlength=self.bins)
        self.right += np.bincount(within[right], minlength=self.bins)
        for number in np.unique(within):
            self.confidences[number].add(confidence[within == number])

    def _merge(self, other: Self) -> None:
        self.samples += other.samples
        self.right += other.right
        for own, found in zip(self.confidences, other.confidences, strict=True):
            own.merge(found)

    def _edges(self) -> Array:
        return np.linspace(0.0, 1.0, self.bins + 1)

    def reliability(self) -> Reliability:
        """Return the bins themselves, as a reliability diagram draws them."""
        sums = np.array([total.value for total in self.confidences])
        return Reliability(
            self._edges(), self.samples, share(sums, self.samples), share(self.right, self.samples)
        )

    def _value(self) -> float:
        return self.reliability().error
