"""What can be done along a training, by whoever is told of it.

A `Callback` is told when something has happened, and given the session: `session.progress` (where
the training stands), `session.experiment` (model, optimizer, data), `session.log` (write metrics
to journal and MLflow), `session.run` (the run's files), `session.stop(reason)`. What it keeps
between calls it gives out as ``state_dict``, which is part of each checkpoint; so it goes on
where it was when a training is taken up.

Those below can be named in a config (``callbacks: [{type: Snapshot, every: [1, epochs]}]``); any
other is passed to the trainer in Python:

>>> class Lines(Callback):
...     def on_epoch_end(self, session, metrics):
...         print(session.progress.epoch, metrics["val/loss"])

and then ``Trainer(config, callbacks=[Lines()]).run()``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from minidl.arguments import Size, checked
from minidl.optim.clipping import gradients_of
from minidl.train.inference import best_model
from minidl.train.triggers import Every

__all__ = ["Callback", "GradientNorm", "Snapshot", "WeightNorm"]

if TYPE_CHECKING:
    from minidl.train.session import Session
    from minidl.train.tasks import Outcome

Often = tuple[Size, Literal["steps", "epochs"]]


class Callback:
    """Base of all callbacks; a subclass defines the methods that it wants to be told by."""

    def on_train_begin(self, session: Session) -> None:
        """Before the first step of this attempt, after a checkpoint has been taken up."""

    def on_epoch_begin(self, session: Session) -> None:
        """Before the first batch of an epoch."""

    def on_backward_end(self, session: Session) -> None:
        """Gradients are there, and neither clipped nor used."""

    def on_step_end(self, session: Session, outcomes: Sequence[Outcome]) -> None:
        """A step was taken; ``outcomes`` has what each of its batches gave."""

    def on_validation_end(self, session: Session, metrics: Mapping[str, float]) -> None:
        """The model was validated; early stopping has not decided yet."""

    def on_epoch_end(self, session: Session, metrics: Mapping[str, float]) -> None:
        """An epoch has ended; ``metrics`` are its training metrics and the last validation's."""

    def on_checkpoint(self, session: Session, path: Path) -> None:
        """A checkpoint was written."""

    def on_train_end(self, session: Session) -> None:
        """The training has ended by itself, and the best model is about to be tested."""

    def state_dict(self) -> dict[str, Any]:
        """Return what must survive an interruption, as plain data."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""


class GradientNorm(Callback):
    """Log the norm of all gradients together, before clipping, as ``gradient/norm``.

    Parameters
    ----------
    every
        Steps from one to the next.
    """

    @checked
    def __init__(self, every: Size = 50) -> None:
        self.every = every
        self._norm = 0.0

    def on_backward_end(self, session: Session) -> None:
        """Take the norm, if it is time."""
        if (session.progress.step + 1) % self.every == 0:
            found = gradients_of(session.experiment.model.parameters())
            self._norm = math.hypot(*(float(np.linalg.norm(g.ravel())) for g in found))

    def on_step_end(self, session: Session, outcomes: Sequence[Outcome]) -> None:
        """Log what was taken before the step."""
        if session.progress.step % self.every == 0:
            session.log({"gradient/norm": self._norm})


class WeightNorm(Callback):
    """Log the norm of each weight, as ``weight/NAME``."""

    @checked
    def __init__(self, every: Often = (1, "epochs")) -> None:
        self.trigger = Every(*every)

    def on_step_end(self, session: Session, outcomes: Sequence[Outcome]) -> None:
        """Note the norms, if it is time."""
        if self.trigger.due(session.progress):
            named = session.experiment.model.named_parameters()
            session.log(
                {
                    f"weight/{name}": float(np.linalg.norm(p.detach().numpy().ravel()))
                    for name, p in named
                }
            )


class Snapshot(Callback):
    """Keep the weights along the way, as ``snapshots/step-00000500.safetensors``."""

    @checked
    def __init__(self, every: Often = (1, "epochs")) -> None:
        self.trigger = Every(*every)

    def on_step_end(self, session: Session, outcomes: Sequence[Outcome]) -> None:
        """Write the model, if it is time."""
        if self.trigger.due(session.progress):
            path = session.run.root / "snapshots" / f"step-{session.progress.step:08}.safetensors"
            content = best_model(session.experiment.model, session.experiment.data)
            session.files.write(path, content)
