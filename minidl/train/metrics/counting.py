"""Metrics of classes that are shares of counts: which samples were told right.

The class with the greatest logit is the model's guess. Definitions are scikit-learn's
(`accuracy_score`, `top_k_accuracy_score`, `precision_recall_fscore_support`,
`confusion_matrix`). Counts are integers, so nothing here depends on the batches.

A share of nothing (the precision of a class never guessed, the recall of one without samples) is
0, as scikit-learn has it, but without its warning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from minidl.arguments import Size, checked
from minidl.autograd.primitive import Array
from minidl.train.metrics.metric import AveragedMetric, ClassMetric


class Accuracy(ClassMetric):
    """Share of samples whose class is the one with the greatest logit (of equals: the first)."""

    stem: ClassVar = "accuracy"
    higher_is_better: ClassVar = True

    def reset(self) -> None:
        """Forget all samples."""
        super().reset()
        self.right = 0

    def _take(self, outputs: Array, targets: Array) -> None:
        self.right += int(np.count_nonzero(outputs.argmax(axis=1) == targets))

    def _merge(self, other: Self) -> None:
        self.right += other.right

    def _value(self) -> float:
        return self.right / self.count


class TopKAccuracy(ClassMetric):
    """Share of samples whose class is among the ``k`` with the greatest logits.

    Of equal logits the last class goes first, as scikit-learn has it (its `accuracy`, and ours,
    takes the first). A sample with a NaN among its logits counts as wrong.

    Parameters
    ----------
    k
        Fewer than there are classes; with all of them it would always be 1.
    """

    stem: ClassVar = "top_accuracy"
    higher_is_better: ClassVar = True

    @checked
    def __init__(self, k: Size = 5) -> None:
        self.k = k
        super().__init__()

    @property
    def name(self) -> str:
        """``top5_accuracy``."""
        return f"top{self.k}_accuracy"

    def reset(self) -> None:
        """Forget all samples."""
        super().reset()
        self.right = 0

    def check(self, classes: Sequence[str]) -> None:
        """Hold that there are more than ``k`` classes."""
        if self.k >= len(classes):
            raise ValueError(
                f"`k` must be below the number of classes, {len(classes)}, got {self.k}: the "
                "answer would always be 1"
            )

    def _take(self, outputs: Array, targets: Array) -> None:
        own = np.take_along_axis(outputs, targets[:, None], axis=1)
        later = np.arange(outputs.shape[1]) > targets[:, None]
        before = np.count_nonzero((outputs > own) | ((outputs == own) & later), axis=1)
        told = ~np.isnan(outputs).any(axis=1)
        self.right += int(np.count_nonzero((before < self.k) & told))

    def _merge(self, other: Self) -> None:
        self.right += other.right

    def _value(self) -> float:
        return self.right / self.count


class ShareByClass(AveragedMetric):
    """Base of precision, recall and F1: a share a class, and its averages.

    Parameters
    ----------
    average
        ``macro``: mean over the classes that occur, among the samples or among the guesses;
        ``weighted``: mean weighted by each class's samples; ``micro``: the share over the counts
        of all classes together; ``none``: one figure a class.
    """

    higher_is_better: ClassVar = True

    def reset(self) -> None:
        """Forget all samples."""
        super().reset()
        #: Told right, guessed, and true samples, of each class: ``(3, classes)``.
        self.counts = np.zeros((3, 0), np.int64)

    def _take(self, outputs: Array, targets: Array) -> None:
        guess = outputs.argmax(axis=1)
        which = (targets[guess == targets], guess, targets)
        counts = np.stack([np.bincount(part, minlength=outputs.shape[1]) for part in which])
        self.counts = self.counts + counts if self.count else counts

    def _merge(self, other: Self) -> None:
        self.counts = self.counts + other.counts if self.count else other.counts

    def _value(self) -> float | Array:
        counts = self.counts.sum(axis=1, keepdims=True) if self.average == "micro" else self.counts
        shares = share(*self.parts(*counts))
        _, guessed, true = counts
        if self.average == "none":
            return shares
        if self.average == "weighted":
            return float(np.average(shares, weights=true))
        return float(shares[(guessed > 0) | (true > 0)].mean())

    def parts(self, right: Array, guessed: Array, true: Array) -> tuple[Array, Array]:
        """Return what is divided, and by what."""
        raise NotImplementedError


class Precision(ShareByClass):
    """Of the samples guessed to be of a class, the share that are: ``right / guessed``."""

    stem: ClassVar = "precision"

    def parts(self, right: Array, guessed: Array, true: Array) -> tuple[Array, Array]:
        """Return what is divided, and by what."""
        return right, guessed


class Recall(ShareByClass):
    """Of a class's samples, the share guessed to be of it: ``right / true``."""

    stem: ClassVar = "recall"

    def parts(self, right: Array, guessed: Array, true: Array) -> tuple[Array, Array]:
        """Return what is divided, and by what."""
        return right, true


class F1(ShareByClass):
    """Harmonic mean of precision and recall: ``2 right / (guessed + true)``."""

    stem: ClassVar = "f1"

    def parts(self, right: Array, guessed: Array, true: Array) -> tuple[Array, Array]:
        """Return what is divided, and by what."""
        return 2 * right, guessed + true


class ConfusionMatrix:
    """Counts ``(classes, classes)``: rows are true classes, columns guessed ones."""

    def __init__(self, classes: int) -> None:
        self.counts = np.zeros((classes, classes), np.int64)

    def update(self, guess: Array, truth: Array) -> None:
        """Take in class indices ``(N,)``."""
        size = len(self.counts)
        self.counts += np.bincount(truth * size + guess, minlength=size * size).reshape(size, size)


def class_table(confusion: Array) -> list[dict[str, float]]:
    """Return ``precision``, ``recall``, ``f1`` and ``support`` of each class of a matrix."""
    right, guessed, true = np.diagonal(confusion), confusion.sum(axis=0), confusion.sum(axis=1)
    counts = (right, guessed, true)
    found = {cls.stem: share(*cls().parts(*counts)).tolist() for cls in (Precision, Recall, F1)}
    found["support"] = true.tolist()
    return [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]


def share(part: Array, whole: Array) -> Array:
    """Divide counts; a share of nothing is 0."""
    zeros = np.zeros(np.shape(whole), np.float64)
    return np.divide(part, whole, out=zeros, where=np.asarray(whole) != 0)
