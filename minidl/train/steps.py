"""Steps without a run: for those who try or measure, and keep nothing.

`Steps` takes the optimizer steps that a training would take, on the same batches in the same order,
and writes no file. The learning-rate finder and the profiler are made of it.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Generator
from contextlib import closing
from itertools import islice
from typing import Any

from minidl.optim import clip_grad_norm_
from minidl.profiling import phase
from minidl.train.build import Experiment
from minidl.train.config import TrainerSection

#: What is trained on at a time: the batches that make one step.
Batches = list[tuple[Any, Any]]


class Steps:
    """Takes steps of an experiment, epoch after epoch without end.

    Parameters
    ----------
    settings
        The config's ``trainer`` section, for what it says of a step.
    """

    def __init__(self, experiment: Experiment, settings: TrainerSection) -> None:
        self.experiment = experiment
        self.settings = settings

    def batches(self) -> Generator[Batches, None, None]:
        """Yield the batches of each step."""
        loader, epoch = self.experiment.data.train, 0
        while True:
            epoch += 1
            loader.set_epoch(epoch)
            with closing(iter(loader)) as batches:
                while group := list(islice(batches, getattr(self.settings, "accumulate", 1))):
                    yield group

    def take(self, batches: Batches) -> float:
        """Take one step; return the mean loss before it.

        Raises
        ------
        ArithmeticError
            The loss is no finite number.
        """
        step: Any = self.experiment.task.step
        if "batches" in inspect.signature(step).parameters:  # several may make one step
            outcomes = step(self.experiment, batches, self)
        else:
            outcomes = [step(self.experiment, *batch, self) for batch in batches]
        weight = math.fsum(outcome.weight for outcome in outcomes)
        total = math.fsum(outcome.loss * outcome.weight for outcome in outcomes)
        return total / weight if weight else 0.0

    # What a task calls within a step: this is the task's `Guard`.

    def loss(self, value: float) -> None:
        """Refuse a loss that is no number."""
        if not math.isfinite(value):
            raise ArithmeticError(f"the loss became {value}")

    def gradients(self) -> None:
        """Clip the gradients, before the step."""
        if self.settings.clip_norm is not None:
            with phase("clip"):
                clip_grad_norm_(self.experiment.model.parameters(), self.settings.clip_norm)
