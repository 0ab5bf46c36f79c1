"""Metrics over a whole set of samples, exact however it was cut into batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.autograd import no_grad
from minidl.autograd.primitive import Array

if TYPE_CHECKING:  # tasks and the builder name metrics
    from minidl.data import DataLoader
    from minidl.train.build import Experiment
    from minidl.train.tasks import Outcome


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
        self.classified = False

    def add(self, outcome: Outcome) -> None:
        """Take in what a batch gave."""
        self.loss += outcome.loss * outcome.weight
        self.weight += outcome.weight
        self.count += outcome.count
        if outcome.truth is not None and outcome.guess is not None:
            self.classified = True
            self.correct += int(np.count_nonzero(outcome.truth == outcome.guess))

    def metrics(self, part: str) -> dict[str, float]:
        """Return ``{part}/loss``, and ``{part}/accuracy`` where there are classes."""
        found = {f"{part}/loss": self.loss / self.weight if self.weight else math.nan}
        return found | ({f"{part}/accuracy": self.correct / self.count} if self.classified else {})

    def state_dict(self) -> dict[str, Any]:
        """Return the sums as plain numbers; written as JSON they come back to the last bit."""
        return dict(vars(self))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises
        ------
        ValueError
            The state is not that of an average.
        """
        if state.keys() != vars(self).keys():
            raise ValueError(
                f"Average: a state has {', '.join(vars(self))}, got {', '.join(state)}"
            )
        vars(self).update({name: type(vars(self)[name])(state[name]) for name in vars(self)})


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found: metrics, and the confusion matrix (rows true, columns predicted)."""

    metrics: dict[str, float]
    confusion: Array | None


def evaluate(
    experiment: Experiment,
    loader: DataLoader,
    *,
    part: str,
    on_batch: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Evaluate a model on all samples of a loader, without derivatives, in evaluation mode.

    Parameters
    ----------
    part
        Prefix of the metrics' names: ``val``, ``test``.
    on_batch
        Called after each batch; may raise to stop.
    """
    average, model = Average(), experiment.model
    classes = len(experiment.data.classes)
    confusion = np.zeros((classes, classes), np.int64) if experiment.task.classifies else None
    training = model.training
    model.eval()
    try:
        with no_grad():
            for inputs, targets in loader:
                _, outcome = experiment.task.outcome(experiment, inputs, targets)
                average.add(outcome)
                if confusion is not None and outcome.truth is not None:
                    np.add.at(confusion, (outcome.truth, np.asarray(outcome.guess)), 1)
                on_batch()
    finally:
        model.train(training)
    return Evaluation(average.metrics(part), confusion)
