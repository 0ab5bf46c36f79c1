"""Steps without a run: for those who try or measure, and keep nothing.

`Steps` takes the optimizer steps that a training would take, on the same batches in the same order,
and writes no file. The learning-rate finder and the profiler are made of it.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import closing
from itertools import islice
from typing import Any

from minidl.profiling import phase
from minidl.train.optimization import Stepper

#: What is trained on at a time: the batches that make one step.
Batches = list[tuple[Any, Any]]


class Steps(Stepper):
    """Takes steps of an experiment, epoch after epoch without end."""

    def batches(self) -> Generator[Batches, None, None]:
        """Yield the batches of each step, several where gradients are accumulated."""
        loader, epoch = self.experiment.data.train, 0
        while True:
            epoch += 1
            loader.set_epoch(epoch)
            with closing(iter(loader)) as batches:
                while group := list(islice(batches, self.settings.accumulate)):
                    yield group

    def take(self, batches: Batches) -> float:
        """Take one step; return the mean loss before it.

        Raises
        ------
        ArithmeticError
            The loss is no finite number.
        """
        outcomes = self.step(batches)
        weight = math.fsum(outcome.weight for outcome in outcomes)
        total = math.fsum(outcome.loss * outcome.weight for outcome in outcomes)
        return total / weight if weight else 0.0

    def gradients(self) -> None:
        """Hold the gradients finite and clip them, under a name of its own in a profile."""
        with phase("clip"):
            super().gradients()
