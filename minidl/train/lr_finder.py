"""Finding a learning rate: a short training in which it grows, and where the loss falls fastest.

The rate grows from step to step by a constant factor. At first nothing is learned, then the loss
falls, faster and faster, and in the end the training diverges. A good rate lies where the fall is
steepest, below the one with the lowest loss. The training is of copies, and nothing is written.

References
----------
L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017, section 3.3. To
smooth with a corrected average and to stop at four times the best loss is fast.ai's habit.
"""

from __future__ import annotations

import copy
import math
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from minidl.arguments import Bound, Probability, checked
from minidl.autograd.primitive import Array
from minidl.train.build import Experiment
from minidl.train.config import TrainerSection
from minidl.train.steps import Steps

Rate = Annotated[float, Bound(gt=0, lt=math.inf)]


class LRFindingError(ValueError):
    """There is nothing to find; the message says why."""


@dataclass(frozen=True)
class LRFinding:
    """What the sweep saw.

    ``rates``, ``losses`` and ``smoothed`` are arrays of one length: the loss of each batch, before
    the step at that rate. ``diverged`` says that the sweep ended early. ``steepest`` and
    ``minimum`` are places in them: where the smoothed loss fell fastest (None where it never did),
    and where it was lowest.
    """

    rates: Array
    losses: Array
    smoothed: Array
    diverged: bool
    steepest: int | None
    minimum: int

    @property
    def suggestion(self) -> float | None:
        """The rate at which the loss fell fastest; None where it never fell."""
        return None if self.steepest is None else float(self.rates[self.steepest])

    @property
    def tenth_of_minimum(self) -> float | None:
        """A tenth of the rate with the lowest loss; None where the loss never fell."""
        return None if self.steepest is None else float(self.rates[self.minimum]) / 10.0


@checked
def find_learning_rate(
    experiment: Experiment,
    *,
    settings: TrainerSection | None = None,
    lowest: Rate = 1e-7,
    highest: Rate = 10.0,
    steps: Annotated[int, Bound(ge=20)] = 100,
    smoothing: Probability = 0.9,
    divergence: Annotated[float, Bound(gt=1)] = 4.0,
) -> LRFinding:
    """Train a copy of an experiment while its learning rate grows, and see where the loss falls.

    The schedule plays no part. Groups of parameters keep the ratios of their rates. The experiment
    stays as it was.

    Parameters
    ----------
    settings
        The config's ``trainer`` section, for what it says of a step (clipping).
    lowest, highest
        Where the rate begins and ends.
    steps
        How many steps from one to the other.
    smoothing
        What an average keeps of itself when it takes in a loss, 0 for no smoothing.
    divergence
        Stop where the smoothed loss lies above its lowest by this many times that, less one.

    Raises
    ------
    LRFindingError
        The task has no loss that tells better from worse, or the training diverges before there is
        anything to see.
    ValueError
        A bound is out of its own bounds, or ``lowest`` is not below ``highest``.
    """
    if lowest >= highest:
        raise ValueError(f"the lowest rate must be below the highest, got {lowest} and {highest}")
    if experiment.task.keeps_last:
        raise LRFindingError(
            f"{type(experiment.task).__name__} sets two models against each other: its loss does "
            "not fall as they learn, so no rate can be read from it"
        )
    trial = _copy(experiment)
    rates = np.geomspace(lowest, highest, steps)
    losses: list[float] = []
    smoothed: list[float] = []
    average, diverged = 0.0, False
    runner = Steps(trial, settings or TrainerSection())
    # To diverge is what the sweep is for: NumPy need not warn of it.
    with closing(runner.batches()) as batches, np.errstate(all="ignore"):
        for rate in rates.tolist():
            _set_rate(trial, rate)
            try:
                loss = runner.take(next(batches))
            except ArithmeticError:  # the loss is no number any more
                diverged = True
                break
            average = smoothing * average + (1.0 - smoothing) * loss
            losses.append(loss)
            # An average that began at zero is too small, by what it kept of that zero.
            smoothed.append(average / (1.0 - smoothing ** len(losses)))
            best = min(smoothed)
            if smoothed[-1] > best + (divergence - 1.0) * abs(best):
                diverged = True
                break
    return _finding(rates, losses, smoothed, diverged=diverged)


def _copy(experiment: Experiment) -> Experiment:
    """Copy what a step changes, together: the optimizer's parameters are the model's."""
    model, loss, optimizer, rng = copy.deepcopy(
        (experiment.model, experiment.loss, experiment.optimizer, experiment.rng)
    )
    data = replace(experiment.data, train=copy.copy(experiment.data.train))
    return replace(
        experiment, data=data, model=model, loss=loss, optimizer=optimizer, schedule=None, rng=rng
    )


def _set_rate(experiment: Experiment, rate: float) -> None:
    """Give the first group this rate, and the others what they have beside it."""
    groups = experiment.optimizer.param_groups
    bases = [group.setdefault("initial_lr", group["lr"]) for group in groups]
    for group, base in zip(groups, bases, strict=True):
        group["lr"] = rate * (base / bases[0] if bases[0] else 1.0)


def _finding(
    rates: Array, losses: list[float], smoothed: list[float], *, diverged: bool
) -> LRFinding:
    """Look for the steepest fall; the first tenth of the sweep is left out, for its noise."""
    count, first = len(losses), len(rates) // 10
    if count <= first + 2:
        raise LRFindingError(
            f"the loss left all bounds at step {count + 1} of {len(rates)}, at a rate of "
            f"{rates[min(count, len(rates) - 1)]:.3g}: begin the sweep lower"
        )
    curve = np.asarray(smoothed)
    minimum = int(curve.argmin())
    # Rates are evenly spaced in their logarithm, so a difference is a slope in it.
    slopes = np.gradient(curve)[first : max(minimum, first)]
    steepest = first + int(slopes.argmin()) if len(slopes) and slopes.min() < 0.0 else None
    return LRFinding(rates[:count], np.asarray(losses), curve, diverged, steepest, minimum)
