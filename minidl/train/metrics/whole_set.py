"""Metrics over a whole set of samples, exact however it was cut into batches."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from minidl.autograd import no_grad
from minidl.autograd.primitive import Array
from minidl.train.metrics.counting import ConfusionMatrix
from minidl.train.metrics.metric import Metric
from minidl.train.metrics.mistakes import Mistake, WorstMistakes
from minidl.train.metrics.scores import CalibrationError, Reliability

if TYPE_CHECKING:  # tasks and the builder name metrics
    from minidl.data import DataLoader
    from minidl.distributed import World
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
        if (correct := outcome.correct) is not None:
            self.classified = True
            self.correct += correct

    def merge(self, other: Average) -> None:
        """Take in what another average has taken in."""
        self.loss += other.loss
        self.weight += other.weight
        self.correct += other.correct
        self.count += other.count
        self.classified = self.classified or other.classified

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
    """What `evaluate` found: metrics, and the confusion matrix (rows true, columns predicted).

    ``mistakes`` (the worst first) and ``reliability`` are there where they were asked for.
    """

    metrics: dict[str, float]
    confusion: Array | None
    mistakes: list[Mistake] = field(default_factory=list)
    reliability: Reliability | None = None


def evaluate(
    experiment: Experiment,
    loader: DataLoader,
    *,
    part: str,
    on_batch: Callable[[], None] = lambda: None,
    worst: int = 0,
    reliability: bool = False,
    compute: Callable[[Any, Any], tuple[Any, Any]] | None = None,
) -> Evaluation:
    """Evaluate a model on all samples of a loader, without derivatives, in evaluation mode.

    The loss, the accuracy and the confusion matrix of classes, and all of ``experiment.metrics``.
    Several ranks take their shares of each batch, and all return what all of them have found.

    Parameters
    ----------
    part
        Prefix of the metrics' names: ``val``, ``test``.
    on_batch
        Called after each batch; may raise to stop.
    compute
        The task's `compute` for this experiment, where it is replayed.
    worst
        How many of the worst mistakes to return, of classes.
    reliability
        Whether to return how often the model was right by how sure it was, of classes.
    """
    compute = compute or functools.partial(experiment.task.compute, experiment)
    average, model, classes = Average(), experiment.model, experiment.data.classes
    classifies = experiment.task.classifies
    confusion = ConfusionMatrix(len(classes)) if classifies else None
    mistakes = WorstMistakes(worst) if classifies and worst else None
    bins = CalibrationError() if classifies and reliability else None
    metrics = [*experiment.metrics, *([bins] if bins else [])]
    for metric in metrics:
        metric.reset()
    order = loader.order()
    training = model.training
    model.eval()
    try:
        with no_grad():
            for batch in loader:
                if not len(batch[0]):  # of a small batch this rank has no share
                    on_batch()
                    continue
                inputs, targets = experiment.placed(*batch)
                loss, output = compute(inputs, targets)
                outcome = experiment.task.told(experiment, loss, output, inputs, targets)
                outputs, truth, guess = outcome.outputs, outcome.truth, outcome.guess
                if outputs is not None and truth is not None:
                    for metric in metrics:
                        metric.update(outputs, truth)
                    if confusion is not None and guess is not None:
                        confusion.update(guess, truth)
                    if mistakes is not None:
                        places = order[average.count : average.count + outcome.count]
                        mistakes.update(outputs, truth, places)
                average.add(outcome)
                on_batch()
    finally:
        model.train(training)
    counts = None if confusion is None else confusion.counts
    average, metrics, counts = _of_all_ranks(experiment.world, average, metrics, counts)
    found = average.metrics(part)
    for metric in metrics[: len(experiment.metrics)]:
        found |= {f"{part}/{name}": value for name, value in metric.figures(classes).items()}
    return Evaluation(
        found,
        counts,
        [] if mistakes is None else mistakes.compute(),
        None if bins is None else bins.reliability(),
    )


def _of_all_ranks(
    world: World, average: Average, metrics: list[Metric], counts: Array | None
) -> tuple[Average, list[Metric], Array | None]:
    """Bring together, on each rank, what all of them have measured."""
    if world.size == 1:
        return average, metrics, counts
    (average, metrics, counts), *others = world.gather((average, metrics, counts))
    for their_average, their_metrics, their_counts in others:
        average.merge(their_average)
        for metric, other in zip(metrics, their_metrics, strict=True):
            metric.merge(other)
        if counts is not None and their_counts is not None:
            counts = counts + their_counts
    return average, metrics, counts
