"""Metrics over a whole set of samples, exact however it was cut into batches."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.autograd import no_grad
from minidl.autograd.primitive import Array
from minidl.data import DataLoader
from minidl.nn import Module


class Average:
    """Mean of a loss and share of correct classes, over samples.

    Sums are kept in float64, weighted by the number of samples (or the sum of their classes'
    weights), so a smaller last batch counts for what it is.
    """

    def __init__(self) -> None:
        self.loss = 0.0
        self.weight = 0.0
        self.correct = 0
        self.count = 0

    def add(self, loss: tuple[float, float], correct: int, count: int) -> None:
        """Take in a batch: its mean loss and its weight, and how many of ``count`` were right."""
        mean, weight = loss
        self.loss += mean * weight
        self.weight += weight
        self.correct += correct
        self.count += count

    def metrics(self, part: str) -> dict[str, float]:
        """Return ``{part}/loss`` and ``{part}/accuracy``."""
        return {
            f"{part}/loss": self.loss / self.weight if self.weight else math.nan,
            f"{part}/accuracy": self.correct / self.count,
        }


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found: metrics, and the confusion matrix (rows true, columns predicted)."""

    metrics: dict[str, float]
    confusion: Array


def evaluate(
    model: Module,
    loss: Callable[[Any, Any], tuple[float, float]],
    loader: DataLoader,
    *,
    part: str,
    classes: int,
    on_batch: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Evaluate a model on all samples of a loader, without derivatives, in evaluation mode.

    Parameters
    ----------
    loss
        Takes logits ``(N, classes)`` and labels ``(N,)``; returns the batch's mean and the weight
        it has in a larger mean (as `Experiment.measure` does).
    part
        Prefix of the metrics' names: ``val``, ``test``.
    on_batch
        Called after each batch; may raise to stop.
    """
    average = Average()
    confusion = np.zeros((classes, classes), np.int64)
    training = model.training
    model.eval()
    try:
        with no_grad():
            for inputs, labels in loader:
                logits = model(inputs)
                truth, guess = labels.numpy(), logits.numpy().argmax(axis=1)
                average.add(loss(logits, labels), int((guess == truth).sum()), len(truth))
                np.add.at(confusion, (truth, guess), 1)
                on_batch()
    finally:
        model.train(training)
    return Evaluation(average.metrics(part), confusion)
