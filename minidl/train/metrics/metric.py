"""What a metric is: figures of a whole set of samples, taken in batch by batch.

A metric is made once, given every batch's outputs and targets by `update`, and asked by `compute`
at the end. Whatever the batches, the answer is the same: what is kept are counts, exact sums
(`minidl.train.metrics.exact_sum`), or all scores. There are two families: of classes (`counting`,
`scores`), and of numbers (`regression`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import ClassVar, Literal, Self, TypeAlias, get_args

import numpy as np

from minidl.autograd.primitive import Array

Averaging: TypeAlias = Literal["macro", "micro", "weighted", "none"]


class Metric:
    """Base of all metrics. A subclass says what it keeps (`reset`), takes (`_take`) and gives.

    Samples may be taken in by several objects, in several processes, and brought together
    (`merge`): the answer is that of one object that has seen them all.

    Attributes
    ----------
    stem : str
        What its name in logs begins with: ``f1`` of ``val/f1_macro`` and of ``val/f1/cat``.
    higher_is_better : bool
        Whether a monitor looks for the largest value.
    count : int
        Samples taken in.
    """

    stem: ClassVar[str]
    higher_is_better: ClassVar[bool]

    def __init__(self) -> None:
        self.reset()

    @property
    def name(self) -> str:
        """Its name in logs, without the part (``val``) of the data and without a class."""
        return self.stem

    def reset(self) -> None:
        """Forget all samples."""
        self.count = 0

    def update(self, outputs: Array, targets: Array) -> None:
        """Take in a batch.

        Raises
        ------
        ValueError
            The shapes do not fit each other, or a target is no class.
        """
        outputs, targets = self._fitted(np.asarray(outputs), np.asarray(targets))
        if len(targets):
            self._take(outputs, targets)
            self.count += len(targets)

    def merge(self, other: Self) -> None:
        """Take in the samples that another metric, of the same settings, has taken in."""
        if other.count:
            self._merge(other)
            self.count += other.count

    def compute(self) -> float | Array:
        """Return the figure of all samples so far, or one a class; NaN where there were none."""
        return self._value() if self.count else math.nan

    def names(self, classes: Sequence[str] = ()) -> list[str]:
        """Return the names of the figures that `figures` gives."""
        return [self.name]

    def figures(self, classes: Sequence[str] = ()) -> dict[str, float]:
        """Return what `compute` gives, by name: ``{"f1/cat": 0.9, "f1/dog": 0.8}``."""
        names = self.names(classes)
        values = np.broadcast_to(self.compute(), len(names)).tolist()
        return dict(zip(names, values, strict=True))

    def check(self, classes: Sequence[str]) -> None:
        """Hold the metric against the data's classes.

        Raises
        ------
        ValueError
            It cannot be taken of so many.
        """

    def _fitted(self, outputs: Array, targets: Array) -> tuple[Array, Array]:
        raise NotImplementedError

    def _take(self, outputs: Array, targets: Array) -> None:
        raise NotImplementedError

    def _merge(self, other: Self) -> None:
        raise NotImplementedError

    def _value(self) -> float | Array:
        raise NotImplementedError


class ClassMetric(Metric):
    """Base of metrics of classes.

    Shapes: outputs are logits ``(N, classes)`` (probabilities are `softmax` of them), targets class
    indices ``(N,)``.
    """

    def _fitted(self, outputs: Array, targets: Array) -> tuple[Array, Array]:
        name = type(self).__name__
        if outputs.ndim != 2 or targets.shape != outputs.shape[:1]:
            raise ValueError(
                f"{name}: logits (N, classes) and class indices (N,) are wanted, got shapes "
                f"{outputs.shape} and {targets.shape}"
            )
        if not np.issubdtype(targets.dtype, np.integer):
            raise ValueError(f"{name}: targets are class indices, got {targets.dtype}")
        if len(targets) and not 0 <= targets.min() <= targets.max() < outputs.shape[1]:
            wrong = targets.max() if targets.min() >= 0 else targets.min()
            raise ValueError(f"{name}: target {wrong} is none of the {outputs.shape[1]} classes")
        return outputs, targets


class AveragedMetric(ClassMetric):
    """Base of metrics that have a value a class, and averages over classes."""

    averages: ClassVar[tuple[str, ...]] = get_args(Averaging)

    def __init__(self, average: Averaging = "macro") -> None:
        if average not in self.averages:
            raise ValueError(
                f"{type(self).__name__}: average must be one of {', '.join(self.averages)}, "
                f"got {average!r}"
            )
        self.average = average
        super().__init__()

    @property
    def name(self) -> str:
        """``f1_macro``; ``f1`` where there is one a class."""
        return self.stem if self.average == "none" else f"{self.stem}_{self.average}"

    def names(self, classes: Sequence[str] = ()) -> list[str]:
        """Return one name, or one a class: ``f1/cat``, ``f1/dog``."""
        if self.average != "none":
            return [self.name]
        return [f"{self.stem}/{label}" for label in labels(classes)]


class NumberMetric(Metric):
    """Base of metrics of numbers.

    Shapes: outputs and targets ``(N,)``, or ``(N, numbers)``; one column is as good as none.
    """

    def _fitted(self, outputs: Array, targets: Array) -> tuple[Array, Array]:
        if outputs.ndim in (1, 2) and outputs[:, None].size == targets[:, None].size:
            columns = (len(targets), -1) if len(targets) else (0, 1)
            flat = outputs.reshape(columns), targets.reshape(columns)
            if flat[0].shape == flat[1].shape:
                return flat[0].astype(np.float64), flat[1].astype(np.float64)
        raise ValueError(
            f"{type(self).__name__}: predictions and targets of one shape (N,) or (N, numbers) "
            f"are wanted, got {outputs.shape} and {targets.shape}"
        )


def monitored(
    metrics: Sequence[Metric], classes: Sequence[str] = (), *, classifies: bool
) -> list[str]:
    """Return the names of all figures that a run has after each validation.

    Training has averages of the loss, and of the accuracy where there are classes; validation has
    all metrics.
    """
    averages = ["loss", "accuracy"] if classifies else ["loss"]
    validated = [*averages, *(name for metric in metrics for name in metric.names(classes))]
    names = [f"train/{name}" for name in averages] + [f"val/{name}" for name in validated]
    return list(dict.fromkeys(names))


def labels(classes: Sequence[str]) -> list[str]:
    """Return the classes' names as they can stand in the name of a metric.

    MLflow allows letters, digits, ``_``, ``-``, ``.`` and spaces in a step of a name; all else
    becomes ``_``. Where that makes two names alike, or leaves one that is no name, classes are
    numbered.

    Examples
    --------
    >>> labels(["cat", "T-shirt/top", "é"])
    ['cat', 'T-shirt_top', 'é']
    >>> labels(["<5", ">5"])
    ['0', '1']
    """
    cleaned = [re.sub(r"[^\w\-. ]", "_", name).strip() for name in classes]
    if len(set(cleaned)) < len(cleaned) or any(not name.strip("._ ") for name in cleaned):
        return [str(i) for i in range(len(classes))]
    return cleaned


def softmax(logits: Array) -> Array:
    """Return probabilities ``(N, classes)``, in float64 whatever the logits are."""
    shifted = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):  # NaN stays NaN, and is told by the loss
        shifted -= shifted.max(axis=1, keepdims=True)
        weights = np.exp(shifted)
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))
