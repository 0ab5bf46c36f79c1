"""One optimizer step: gradients of one or several batches, held finite, clipped, and taken."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import numpy as np

from minidl.autograd.primitive import Array
from minidl.compiling import Compiled
from minidl.optim import AveragedModel, clip_grad_norm_, clip_grad_value_
from minidl.optim.clipping import gradients_of
from minidl.train.build import Experiment
from minidl.train.config import TrainerSection
from minidl.train.shared_step import NonFiniteError, SharedStep
from minidl.train.tasks import Outcome, Task
from minidl.train.watch import Watch

P = ParamSpec("P")
T = TypeVar("T")

#: So many steps in a row without a finite gradient will not get better by themselves.
MOST_IN_A_ROW = 10


class Stepper:
    """Takes steps; what the trainer's settings say of a step is done here.

    Where several ranks train together they take each step together (`minidl.train.shared_step`).

    Parameters
    ----------
    before_step
        Called between the backward pass and the optimizer, before gradients are clipped.
    tell
        Called once with the reason where steps cannot be replayed, and run eagerly.
    watch
        What the ranks tell each other of in each step, where there are several.

    Attributes
    ----------
    shared : SharedStep or None
        How steps are taken together with other ranks, if there are any.
    average : AveragedModel or None
        The moving average of the weights, if the settings want one.
    """

    def __init__(
        self,
        experiment: Experiment,
        settings: TrainerSection,
        *,
        before_step: Callable[[], None] = lambda: None,
        tell: Callable[[str], None] = lambda _: None,
        watch: Watch | None = None,
    ) -> None:
        self.experiment, self.settings = experiment, settings
        self.before_step, self.tell = before_step, tell
        self._told = False
        self.shared: SharedStep | None = None
        if watch is not None and watch.world.size > 1:
            self.shared = SharedStep(experiment, watch)
        self.average = (
            AveragedModel(experiment.model, settings.ema.decay, use_buffers=True)
            if settings.ema
            else None
        )
        task: Task = experiment.task

        def single(inputs: Any, targets: Any) -> list[Outcome]:
            return task.single(experiment, inputs, targets, self)

        def gather(inputs: Any, targets: Any, weighed: bool, last: bool = False) -> Outcome:
            # With ``last`` it is a program of its own: one that sums gradients over ranks.
            return task.gather(experiment, inputs, targets, self, weighed=weighed)

        def compute(inputs: Any, targets: Any) -> tuple[Any, Any]:
            return task.compute(experiment, inputs, targets)

        single.__qualname__ = gather.__qualname__ = "the training step"
        compute.__qualname__ = "the evaluation"
        self._single, self._gather = self._replayed(single), self._replayed(gather)
        #: The task's own, for evaluation, likewise.
        self.compute = self._replayed(compute)

    def _replayed(self, function: Callable[P, T]) -> Callable[P, T]:
        """Return the function as it is recorded and replayed, if the settings want that."""
        wanted = self.settings.compile
        if wanted is False or self.experiment.device != "cpu":  # arrays of the host are recorded
            return function
        return Compiled(
            function, strict=wanted is True, check=1, tell=self._tell_once, trial=self._trial
        )

    @contextmanager
    def _trial(self) -> Iterator[None]:
        """A step that will be undone, to be compared: callbacks must not hear of it."""
        before, self.before_step = self.before_step, lambda: None
        try:
            yield
        finally:
            self.before_step = before

    def _tell_once(self, reason: str) -> None:
        """Tell of the first thing that cannot be replayed: evaluation has it from the step."""
        if not self._told:
            self._told = True
            self.tell(reason)

    def step(self, batches: Sequence[tuple[Any, Any]]) -> list[Outcome]:
        """Take one step from these batches; return what each gave.

        Raises
        ------
        NonFiniteError
            Loss or gradients are no numbers; unless the guard is ``stop``, the model is as it was.
        """
        experiment = self.experiment
        batches = [experiment.placed(*batch) for batch in batches]
        # A forward pass moves running statistics, and may fill them with what is no number.
        buffers = {} if self.settings.nan_guard == "stop" else self._buffers()
        try:
            outcomes = self._taken(batches)
        except NonFiniteError:
            for name, buffer in experiment.model.named_buffers():
                if name in buffers:
                    buffer.copy_(buffers[name])
            raise
        if self.average is not None:
            self.average.update()
        return outcomes

    def _taken(self, batches: Sequence[tuple[Any, Any]]) -> list[Outcome]:
        if self.shared is not None:
            return self.shared.take(batches, self._gather, self.gradients)
        if len(batches) == 1:
            return self._single(*batches[0])
        return self.experiment.task.several(self.experiment, batches, self, self._gather)

    def _buffers(self) -> dict[str, Array]:
        return {name: b.numpy().copy() for name, b in self.experiment.model.named_buffers()}

    # What a task calls within a step: it is the task's `Guard`.

    def loss(self, value: float) -> None:
        """Refuse a loss that is no number."""
        if not math.isfinite(value):
            raise NonFiniteError(f"the loss became {value}")

    def gradients(self) -> None:
        """Hold the gradients finite if they are guarded, and clip them."""
        parameters = list(self.experiment.model.parameters())
        if self.settings.nan_guard != "stop" and not _finite(gradients_of(parameters)):
            raise NonFiniteError("a gradient is no finite number")
        self.before_step()
        if self.settings.clip_value is not None:
            clip_grad_value_(parameters, self.settings.clip_value)
        if self.settings.clip_norm is not None:
            clip_grad_norm_(parameters, self.settings.clip_norm)


def _finite(gradients: list[Array]) -> bool:
    # A sum is one pass without an array of truths; where it overflows, the elements decide.
    with np.errstate(over="ignore", invalid="ignore"):
        return all(bool(np.isfinite(g.sum()) or np.isfinite(g).all()) for g in gradients)
