"""The training loop itself: steps, epochs, and what is kept of them.

`Session` trains the objects of an `Experiment` and writes to the run's journal and directory.
How a run begins and ends is the trainer's business (`minidl.train.trainer`).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

from minidl.autograd.primitive import Array
from minidl.optim import ReduceLROnPlateau, Schedule, clip_grad_norm_
from minidl.train.build import Experiment
from minidl.train.checkpoint import read_arrays, save_checkpoint
from minidl.train.config import Config, TrainerSection
from minidl.train.inference import save_best
from minidl.train.interruption import Interruption
from minidl.train.journal import Journal
from minidl.train.metrics import Average, Evaluation, evaluate
from minidl.train.reporter import Reporter
from minidl.train.run_directory import RunDirectory
from minidl.train.tasks import Outcome
from minidl.train.tracking import Tracker


class TrainingError(RuntimeError):
    """The training cannot go on; the message says why and what may help."""


@dataclass
class Progress:
    """Where a training stands; part of every checkpoint."""

    epoch: int = 0
    step: int = 0
    best: float | None = None
    best_epoch: int = 0


@dataclass
class Session:
    """One pass through a training: the loop, with the run's files at hand.

    ``samples`` and ``seconds`` count what has been trained and how long that took, evaluation
    excluded; ``confusion`` is the test samples' confusion matrix, and ``pictures`` what the task
    shows of the best model, once there is one.
    """

    config: Config
    experiment: Experiment
    progress: Progress
    reporter: Reporter
    run: RunDirectory
    journal: Journal
    tracker: Tracker | None
    interruption: Interruption
    samples: int = 0
    seconds: float = 0.0
    confusion: Array | None = None
    pictures: dict[str, list[Array]] = field(default_factory=dict)

    @property
    def settings(self) -> TrainerSection:
        """The config's ``trainer`` section."""
        return self.config.trainer

    def log(self, metrics: dict[str, float]) -> None:
        """Write to the journal, then hand to the tracking."""
        now = time.time()
        self.journal.write(self.progress.step, self.progress.epoch, metrics, time=now)
        if self.tracker is not None:
            self.tracker.log(metrics, step=self.progress.step, time=now)

    def train(self) -> None:
        """Train all epochs, or until the monitored metric no longer gets better."""
        data = self.experiment.data
        self.reporter.say(
            f"{data.name}: {len(data.train.dataset):,} training, "
            f"{len(data.val.dataset) if data.val else 0:,} validation, "
            f"{len(data.test.dataset):,} test samples; "
            f"{sum(p.numel() for p in self.experiment.model.parameters()):,} parameters; "
            f"run directory {self.run.root}"
        )
        patience = self.settings.early_stop.patience if self.settings.early_stop else math.inf
        while self.progress.epoch < self.settings.epochs:
            self.progress.epoch += 1
            self.epoch()
            if self.progress.epoch - self.progress.best_epoch >= patience:
                self.reporter.say(
                    f"early stop: {self.settings.monitor} has not been better than in epoch "
                    f"{self.progress.best_epoch} for {patience} epochs"
                )
                break

    def epoch(self) -> None:
        """Train one epoch, validate, and keep the model if it is the best so far."""
        data = self.experiment.data
        epoch, epochs = self.progress.epoch, self.settings.epochs
        self.reporter.epoch_begins(epoch, epochs, len(data.train))
        data.train.set_epoch(epoch)
        whole, recent = Average(), Average()
        began = mark = time.perf_counter()
        for number, (inputs, targets) in enumerate(data.train, 1):
            outcome = self.step(inputs, targets)
            for average in (whole, recent):
                average.add(outcome)
            if self.progress.step % self.settings.log_every == 0 or number == len(data.train):
                now = time.perf_counter()
                figures = self.figures(recent, now - mark)
                self.log(figures)
                self.reporter.step(figures)
                mark, recent = now, Average()
            else:
                self.reporter.step()
            self.interruption.check()
        elapsed = time.perf_counter() - began
        rate = whole.count / elapsed
        self.samples += whole.count
        self.seconds += elapsed
        figures = whole.metrics("train")
        if data.val is not None:
            found = self.evaluate(data.val, "val").metrics
            self.log(found)
            figures |= found
            self.hold_finite(found["val/loss"], f"the validation loss became {found['val/loss']}")
        if isinstance(self.experiment.schedule, ReduceLROnPlateau):
            self.experiment.schedule.step(figures[self.settings.monitor])
        self.keep_best(figures[self.settings.monitor])
        self.checkpoint()
        lr = self.experiment.optimizer.param_groups[0]["lr"]
        figures |= {"lr": lr, "throughput/samples_per_s": rate}
        self.reporter.epoch_ends(epoch, epochs, figures)

    def step(self, inputs: Any, targets: Any) -> Outcome:
        """Take one optimizer step; return what the batch gave."""
        experiment = self.experiment
        outcome = experiment.task.step(experiment, inputs, targets, self)
        self.progress.step += 1
        if isinstance(experiment.schedule, Schedule):
            experiment.schedule.set_step(self.progress.step)
        return outcome

    def loss(self, value: float) -> None:
        """Refuse a loss that is no number."""
        self.hold_finite(value, f"the loss became {value} at step {self.progress.step + 1}")

    def gradients(self) -> None:
        """Clip the gradients, before the step."""
        if self.settings.clip_norm is not None:
            clip_grad_norm_(self.experiment.model.parameters(), self.settings.clip_norm)

    def hold_finite(self, value: float, what: str) -> None:
        """Give up where a loss is no longer a number: nothing good comes after it."""
        if math.isfinite(value):
            return
        last = self.run.checkpoints / "last.json"
        raise TrainingError(
            f"{what} (epoch {self.progress.epoch}); a smaller optimizer.lr (now "
            f"{self.experiment.optimizer.param_groups[0]['lr']:g}) or trainer.clip_norm may help. "
            + (f"The last checkpoint is {last}" if last.exists() else "There is no checkpoint yet")
        )

    def figures(self, recent: Average, seconds: float) -> dict[str, float]:
        """Metrics of the steps since the last point."""
        return recent.metrics("train") | {
            "lr": self.experiment.optimizer.param_groups[0]["lr"],
            "throughput/samples_per_s": recent.count / seconds,
        }

    def evaluate(self, loader: Any, part: str) -> Evaluation:
        """Evaluate the model as it is."""
        return evaluate(self.experiment, loader, part=part, on_batch=self.interruption.check)

    def keep_best(self, value: float) -> None:
        """Keep the model if the monitored metric is the best so far (a loss: the lowest)."""
        best = self.progress.best
        lower = self.settings.monitor.endswith("loss")
        better = best is None or (value < best if lower else value > best)
        if better or self.experiment.task.keeps_last:
            self.progress.best, self.progress.best_epoch = value, self.progress.epoch
            save_best(self.run.weights, self.experiment.model, self.experiment.data)

    def checkpoint(self) -> None:
        """Write where the training stands."""
        save_checkpoint(
            self.run.checkpoints,
            model=self.experiment.model,
            optimizer=self.experiment.optimizer,
            rng=self.experiment.rng,
            progress=vars(self.progress),
        )

    def test(self) -> dict[str, float]:
        """Evaluate the best model on the test samples."""
        model = self.experiment.model
        last = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        arrays, _ = read_arrays(self.run.weights)
        model.load_state_dict(arrays)
        try:
            found = self.evaluate(self.experiment.data.test, "test")
            self.pictures = self.experiment.task.pictures(self.experiment)
        finally:
            # A checkpoint, written if a signal comes now, holds the last weights, not the best.
            model.load_state_dict(last)
        self.confusion = found.confusion
        self.log(found.metrics)
        return found.metrics
