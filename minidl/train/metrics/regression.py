"""Metrics of numbers: how far predictions are from what was to be predicted.

Definitions are scikit-learn's (`mean_squared_error`, `mean_absolute_error`, `r2_score`); of
several numbers a sample it is their mean ("uniform average"). Differences are taken in float64
and summed exactly, so nothing here depends on the batches.
"""

from __future__ import annotations

import math
from typing import ClassVar, Self

import numpy as np

from minidl.autograd.primitive import Array
from minidl.train.metrics.exact_sum import ExactSum
from minidl.train.metrics.metric import NumberMetric


class _MeanDifference(NumberMetric):
    """Base of means over all differences."""

    higher_is_better: ClassVar = False

    def reset(self) -> None:
        """Forget all samples."""
        super().reset()
        self.total = ExactSum()
        self.terms = 0

    def _take(self, outputs: Array, targets: Array) -> None:
        self.total.add(self._cost(outputs - targets))
        self.terms += targets.size

    def _merge(self, other: Self) -> None:
        self.total.merge(other.total)
        self.terms += other.terms

    def _value(self) -> float:
        return self.total.value / self.terms

    def _cost(self, difference: Array) -> Array:
        raise NotImplementedError


class MeanSquaredError(_MeanDifference):
    """Mean of ``(prediction - target)²``."""

    stem: ClassVar = "mse"

    def _cost(self, difference: Array) -> Array:
        return difference * difference


class MeanAbsoluteError(_MeanDifference):
    """Mean of ``|prediction - target|``, in the targets' unit."""

    stem: ClassVar = "mae"

    def _cost(self, difference: Array) -> Array:
        return np.abs(difference)


class R2Score(NumberMetric):
    """Share of the targets' variance that is explained: ``1 - Σ (y - ŷ)² / Σ (y - mean(y))²``.

    1 is perfect, 0 is what predicting the mean gives, and there is no lower end. Fewer than two
    samples give NaN. Targets that are all the same give 1 if they are met exactly, and 0 if not.
    """

    stem: ClassVar = "r2"
    higher_is_better: ClassVar = True

    def reset(self) -> None:
        """Forget all samples."""
        super().reset()
        self.first: Array | None = None
        self.sums: list[tuple[ExactSum, ExactSum, ExactSum]] = []

    def _take(self, outputs: Array, targets: Array) -> None:
        if self.first is None:
            self.first = targets[0]
            self.sums = [(ExactSum(), ExactSum(), ExactSum()) for _ in self.first]
        # The variance is taken from sums of y - y_0, of which the mean is not large beside the
        # deviation: at most √N times. Sums of y and y² would leave nothing of 1e8 ± 1.
        shifted = targets - self.first
        missed = (outputs - targets) ** 2
        for column, (residual, linear, square) in enumerate(self.sums):
            residual.add(missed[:, column])
            linear.add(shifted[:, column])
            square.add(shifted[:, column] ** 2)

    def _merge(self, other: Self) -> None:
        if self.first is None or other.first is None:
            self.first, self.sums = other.first, other.sums
            return
        # Both have their own y_0: Σ (y - b) and Σ (y - b)² become sums of y - a, with d = b - a.
        for d, own, found in zip(other.first - self.first, self.sums, other.sums, strict=True):
            residual, linear, square = found
            own[0].merge(residual)
            own[1].merge(linear)
            own[2].merge(square)
            own[1].add(np.array(other.count * d))
            own[2].add(np.array([2.0 * d * linear.value, other.count * d * d]))

    def _value(self) -> float:
        if self.count < 2:
            return math.nan
        return math.fsum(map(self._explained, self.sums)) / len(self.sums)

    def _explained(self, sums: tuple[ExactSum, ExactSum, ExactSum]) -> float:
        residual, linear, square = (total.value for total in sums)
        variation = square - linear * linear / self.count
        if residual == 0.0:
            return 1.0
        return 1.0 - residual / variation if variation else 0.0
