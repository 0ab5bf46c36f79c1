"""One optimizer step of several ranks, each with its share of the batch.

Each rank takes the gradients of its own samples, weighed as in a sum over all samples; these are
summed over the ranks while the backward pass goes on (`minidl.distributed.GradientSum`), and
divided by the weight of all samples. So N ranks take the step that one process would take on the
whole batch, whatever the loss normalizes by: counts, classes' weights, or targets that are not
ignored. A rank without a sample (of a small last batch) adds nothing, and takes the step like all.

Beside the gradients a few numbers are summed: what the batch gave, for the figures that are logged,
whether the loss is a number, and what each rank has noticed (`minidl.train.watch`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, fields
from typing import Any

import numpy as np

from minidl.autograd.primitive import Array
from minidl.distributed import GradientSum
from minidl.optim import scale_grad_
from minidl.train.build import Experiment
from minidl.train.tasks import Outcome
from minidl.train.watch import Notice, Watch


class NonFiniteError(ArithmeticError):
    """Loss or gradients of a step are no numbers; the message says which."""


class SharedStep:
    """Takes steps together with the other ranks.

    Parameters
    ----------
    watch
        Is asked what this rank has noticed, and told what all of them have, in each step.
    """

    def __init__(self, experiment: Experiment, watch: Watch) -> None:
        self.experiment, self.watch = experiment, watch
        self.sums = GradientSum(experiment.world, experiment.optimizer)

    def take(
        self,
        batches: Sequence[tuple[Any, Any]],
        gather: Callable[[Any, Any, bool, bool], Outcome],
        gradients: Callable[[], None],
    ) -> list[Outcome]:
        """Take one step from this rank's shares of some batches; return what all gave, in one.

        Parameters
        ----------
        gather
            Adds the gradients of a batch to those that are there: weighed or not, and whether it
            is the step's last.
        gradients
            Holds the summed gradients finite, and clips them.

        Raises
        ------
        NonFiniteError
            On every rank: the loss of one, or a gradient, is no number.
        """
        optimizer, loss = self.experiment.optimizer, self.experiment.loss
        weighed = getattr(loss, "reduction", "mean") != "sum"
        optimizer.zero_grad()
        found: list[Outcome] = []
        failed: NonFiniteError | None = None
        for number, (inputs, targets) in enumerate(batches, 1):
            last = number == len(batches)
            if last:
                self.sums.begin()  # its backward pass completes the gradients
            try:
                if len(inputs) and failed is None:
                    found.append(gather(inputs, targets, weighed, last))
            except NonFiniteError as error:
                failed = error
        whole = self._of_all_ranks(self.sums.finish(self._numbers(found, failed)), failed)
        if weighed and whole.weight:
            scale_grad_(self.experiment.model.parameters(), 1.0 / whole.weight)
        gradients()
        optimizer.step()
        return [whole]

    def _numbers(self, found: Sequence[Outcome], failed: NonFiniteError | None) -> Array:
        """Return what this rank has found and noticed, to be summed over the ranks."""
        own = np.zeros(6 + len(fields(Notice)))
        for outcome in found:
            correct = outcome.correct
            own[:5] += (
                *(outcome.loss * outcome.weight, outcome.weight, outcome.count),
                *(0 if correct is None else correct, correct is not None),
            )
        own[5] = failed is not None
        own[6:] = astuple(self.watch.notice())
        return own

    def _of_all_ranks(self, sums: Array, failed: NonFiniteError | None) -> Outcome:
        """Return what all ranks have found; act on a loss that is no number."""
        loss, weight, count, right, classified, bad, *noticed = sums.tolist()
        self.watch.agreed(Notice(*noticed))
        if bad:
            raise failed or NonFiniteError("the loss of another rank became no finite number")
        return Outcome(
            loss / weight if weight else 0.0,
            weight,
            round(count),
            right=round(right) if classified else None,
        )
