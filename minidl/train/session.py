"""The training loop itself: steps, epochs, and what is due after them.

`Session` trains the objects of an `Experiment` and writes to the run's journal and directory.
How a run begins and ends is the trainer's business (`minidl.train.trainer`).

Of several ranks each has a session. All take the same steps and the same decisions at the same
points, from figures that are the same on all; the first one writes and speaks for all.

After each step the session *settles*: it logs, validates, ends the epoch and writes a checkpoint,
as far as each is due and `Progress` does not note it as done. A training that is taken up begins
with the same call, so that one cut off in the middle of its settling does the rest of it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from minidl.autograd.primitive import Array
from minidl.compiling import CompileError
from minidl.optim import ReduceLROnPlateau, Schedule
from minidl.train import standing
from minidl.train.build import Experiment
from minidl.train.callbacks import Callback
from minidl.train.checkpoint import read_arrays
from minidl.train.config import Config, TrainerSection
from minidl.train.inference import best_model
from minidl.train.interruption import Interruption
from minidl.train.journal import Journal
from minidl.train.metrics import Average, Evaluation, evaluate
from minidl.train.optimization import MOST_IN_A_ROW, Stepper
from minidl.train.progress import Progress
from minidl.train.reporter import Reporter
from minidl.train.run_directory import RunDirectory
from minidl.train.run_files import RunFiles
from minidl.train.selection import note_if_best, reason_to_stop
from minidl.train.shared_step import NonFiniteError
from minidl.train.tasks import Outcome
from minidl.train.together import FailedElsewhere, share_buffers, share_weights, together
from minidl.train.tracking import Tracker
from minidl.train.triggers import Every, seconds_of
from minidl.train.watch import Watch


class TrainingError(RuntimeError):
    """The training cannot go on; the message says why and what may help.

    ``everywhere`` says that all ranks have ended by it, and not this one alone.
    """

    def __init__(self, message: str, *, everywhere: bool = False) -> None:
        super().__init__(message)
        self.everywhere = everywhere


@dataclass
class Session:
    """One pass through a training: the loop, with the run's files at hand.

    ``samples`` and ``seconds`` count what this attempt has trained and how long that took,
    evaluation excluded; ``confusion`` is the test samples' confusion matrix, and ``pictures`` what
    the task shows of the best model, once there is one. ``journal`` and ``tracker`` are None on
    ranks other than the first.
    """

    config: Config
    experiment: Experiment
    progress: Progress
    reporter: Reporter
    run: RunDirectory
    journal: Journal | None
    files: RunFiles
    tracker: Tracker | None
    interruption: Interruption
    callbacks: Sequence[Callback] = ()
    samples: int = 0
    seconds: float = 0.0
    confusion: Array | None = None
    pictures: dict[str, list[Array]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settings = self.settings
        self.watch = Watch(self.interruption, self.experiment.world, late=self._late)
        self.stepper = Stepper(
            self.experiment,
            settings,
            before_step=lambda: self.tell("on_backward_end"),
            tell=self.reporter.say,
            watch=self.watch,
        )
        self.validation, self.checkpoints = (
            Every(*settings.validate_every),
            Every(*settings.checkpoint_every),
        )
        self.whole, self.recent = Average(), Average()  # of the epoch; since the last point
        self.figures: dict[str, float] = {}  # what the last validation found
        self._began = self._mark = time.perf_counter()
        self._before = self.progress.seconds
        self._settled = self._mark
        self._epoch_seconds, self._epoch_count = 0.0, 0

    @property
    def settings(self) -> TrainerSection:
        """The config's ``trainer`` section."""
        return self.config.trainer

    # ---- what callbacks may use --------------------------------------------------------------

    def log(self, metrics: Mapping[str, float]) -> None:
        """Write to the journal, then hand to the tracking; ranks but the first do neither."""
        if self.journal is None:
            return
        entry = self.journal.write(self.progress.step, self.progress.epoch, metrics)
        if self.tracker is not None:
            self.tracker.log(entry.metrics, step=entry.step, time=entry.time)

    def stop(self, reason: str) -> None:
        """End the training after the present step; ``reason`` is told."""
        if not self.progress.stopped:
            self.progress.stopped = reason
            self.reporter.say(reason)

    def tell(self, event: str, *arguments: Any) -> None:
        """Call this method of every callback."""
        for callback in self.callbacks:
            getattr(callback, event)(self, *arguments)

    # ---- the loop ----------------------------------------------------------------------------

    def train(self) -> None:
        """Train to the end: of the epochs, steps or time, or of what still gets better."""
        share_weights(self.experiment.world, self.experiment.model)
        self.watch.ask()
        self.tell("on_train_begin")
        if self.settings.nan_guard == "rollback" and self.progress.step == 0:
            self.checkpoint()  # there must be something to go back to
        self.settle()
        while not self.over():
            if self.progress.epoch == 0 or self.progress.epoch_ended:
                self.begin_epoch()
            with closing(self.batches()) as batches:
                for group in batches:
                    self.step(group)
                    self.settle()
                    if self.over():
                        break
        self.tell("on_train_end")

    def over(self) -> bool:
        """Whether the training has reached its end."""
        settings, progress = self.settings, self.progress
        return (
            bool(progress.stopped)
            or (settings.max_steps is not None and progress.step >= settings.max_steps)
            or (
                settings.epochs is not None
                and progress.epoch >= settings.epochs
                and progress.epoch_ended
            )
        )

    def begin_epoch(self) -> None:
        """Go to the next epoch."""
        self.progress.epoch += 1
        self.progress.batch, self.progress.epoch_ended = 0, False
        self.whole, self.recent = Average(), Average()
        self.tell("on_epoch_begin")

    def batches(self) -> Generator[list[tuple[Any, Any]]]:
        """Yield what is left of the epoch, as many batches at a time as make a step."""
        loader, progress = self.experiment.data.train, self.progress
        loader.load_state_dict({"epoch": progress.epoch, "batch": progress.batch})
        steps = math.ceil((len(loader) - progress.batch) / self.settings.accumulate)
        self.reporter.epoch_begins(progress.epoch, self.settings.epochs, steps)
        self._mark = self._settled = time.perf_counter()
        self._epoch_seconds, self._epoch_count = 0.0, 0
        with closing(iter(loader)) as batches:
            while group := list(islice(batches, self.settings.accumulate)):
                yield group

    def step(self, batches: Sequence[tuple[Any, Any]]) -> Sequence[Outcome]:
        """Take one optimizer step; return what each of its batches gave."""
        progress, schedule = self.progress, self.experiment.schedule
        outcomes: Sequence[Outcome] = ()
        try:
            outcomes = self.stepper.step(batches)
            progress.nonfinite_in_a_row = 0
        except NonFiniteError as error:
            self.leave_out(error)
        except CompileError as error:
            raise TrainingError(f"{error} (trainer.compile: auto lets such a step run)") from error
        progress.step += 1
        progress.batch += len(batches)
        progress.epoch_ended = progress.batch >= len(self.experiment.data.train)
        if isinstance(schedule, Schedule):
            schedule.set_step(progress.step)
        for outcome in outcomes:
            self.whole.add(outcome)
            self.recent.add(outcome)
            self._epoch_count += outcome.count
            self.samples += outcome.count
        elapsed = time.perf_counter() - self._settled  # with the wait for the batch
        self.seconds += elapsed
        self._epoch_seconds += elapsed
        self.tell("on_step_end", outcomes)
        return outcomes

    def settle(self) -> None:
        """Do what is due at this step and not done yet."""
        progress = self.progress
        self._count_time()
        if progress.step:
            ends = self.over()
            point = progress.step % self.settings.log_every == 0 or progress.epoch_ended or ends
            due = point and progress.logged != progress.step
            self.show_step(self.log_point() if due else None)
            if (self.validation.due(progress) or ends) and progress.validated != progress.step:
                self.validate()
            ended = progress.epoch_ended and progress.finished_epoch != progress.epoch
            figures = self.end_epoch() if ended else None
            due = self.checkpoints.due(progress) or self.over()
            if due and progress.saved != progress.step:
                self.checkpoint()
            if figures is not None:  # an epoch that is told of is on disk already
                self.reporter.epoch_ends(progress.epoch, self.settings.epochs, figures)
        self._settled = time.perf_counter()
        self.watch.check()

    def _count_time(self) -> None:
        self.progress.seconds = self._before + time.perf_counter() - self._began
        if self.settings.max_time is not None and not self.over() and self.watch.late:
            limit = self.settings.max_time
            self.stop(f"stopped after {limit} (trainer.max_time), in step {self.progress.step}")

    def _late(self) -> bool:
        limit = self.settings.max_time
        seconds = self._before + time.perf_counter() - self._began
        return limit is not None and seconds > seconds_of(limit)

    def show_step(self, figures: dict[str, float] | None) -> None:
        """Tell the reporter of a step, if one was taken in this attempt."""
        if self.reporter.current_step < self.progress.step:
            self.reporter.step(figures)

    def log_point(self) -> dict[str, float]:
        """Log the training's metrics since the last point, and return them."""
        now = time.perf_counter()
        rate = self.recent.count / max(now - self._mark, 1e-9)
        figures = self.recent.metrics("train") | {
            "lr": self.experiment.optimizer.param_groups[0]["lr"],
            "throughput/samples_per_s": rate,
        }
        self.progress.logged = self.progress.step
        if self.recent.count:  # of steps that were left out there is nothing to tell
            self.log(figures)
        self._mark, self.recent = now, Average()
        return figures

    def end_epoch(self) -> dict[str, float]:
        """Tell the callbacks what the epoch gave, and return it for the user."""
        progress = self.progress
        figures = self.whole.metrics("train") | self.figures
        self.tell("on_epoch_end", figures)
        progress.finished_epoch = progress.epoch
        return figures | {
            "lr": self.experiment.optimizer.param_groups[0]["lr"],
            "throughput/samples_per_s": self._epoch_count / max(self._epoch_seconds, 1e-9),
        }

    # ---- steps that go wrong -----------------------------------------------------------------

    def leave_out(self, error: NonFiniteError) -> None:
        """Do what the guard says of a step whose loss or gradients are no numbers."""
        progress, guard = self.progress, self.settings.nan_guard
        progress.nonfinite += 1
        progress.nonfinite_in_a_row += 1
        what = f"{error} at step {progress.step + 1}"
        too_often = progress.nonfinite_in_a_row if guard == "skip" else progress.nonfinite
        if guard == "stop" or too_often >= MOST_IN_A_ROW:
            self.give_up(what)
        if guard == "skip":
            self.reporter.say(f"{what} (epoch {progress.epoch}): the step is left out")
            return
        last = self.run.checkpoints / "last.json"
        standing.load(self, last)
        self.reporter.say(f"{what} (epoch {progress.epoch}): weights and optimizer of {last}")

    def give_up(self, what: str) -> None:
        """Raise `TrainingError`: nothing good comes after a loss that is no number."""
        if self.experiment.world.rank:
            raise FailedElsewhere(0, 1)
        last = self.run.checkpoints / "last.json"
        raise TrainingError(
            f"{what} (epoch {self.progress.epoch}); a smaller optimizer.lr (now "
            f"{self.experiment.optimizer.param_groups[0]['lr']:g}) or trainer.clip_norm may help. "
            + (f"The last checkpoint is {last}" if last.exists() else "There is no checkpoint yet"),
            everywhere=True,
        )

    # ---- how good the model is ---------------------------------------------------------------

    def averaged(self) -> AbstractContextManager[None]:
        """Put the average of the weights, if there is one, into the model for a while."""
        average = self.stepper.average
        return average.applied() if average is not None else nullcontext()

    def evaluate(self, loader: Any, part: str) -> Evaluation:
        """Evaluate the model as it is."""
        share_buffers(self.experiment.world, self.experiment.model)
        return evaluate(
            self.experiment,
            loader,
            part=part,
            on_batch=self.watch.ask_and_check,
            compute=self.stepper.compute,
        )

    def validate(self) -> None:
        """Validate, keep the model if it is the best so far, and see whether to go on."""
        figures = self.whole.metrics("train")
        with self.averaged():
            if (val := self.experiment.data.val) is not None:
                self.figures = self.evaluate(val, "val").metrics
                if (
                    not math.isfinite(self.figures["val/loss"])
                    and self.settings.nan_guard == "stop"
                ):
                    self.give_up(f"the validation loss became {self.figures['val/loss']}")
                self.log(self.figures)
                self.reporter.validated(self.figures)
                figures |= self.figures
            self.progress.validated = self.progress.step
            value = figures[self.settings.monitor]
            if isinstance(self.experiment.schedule, ReduceLROnPlateau):
                self.experiment.schedule.step(value)
            keep = self.experiment.task.keeps_last
            if note_if_best(self.progress, self.settings.monitor, value, keep=keep):
                content = best_model(self.experiment.model, self.experiment.data)
                self.files.write(self.run.weights, content)
        self.tell("on_validation_end", figures)
        if reason := reason_to_stop(self.progress, self.settings, value):
            self.stop(reason)

    def test(self) -> dict[str, float]:
        """Evaluate the best model on the test samples.

        Raises
        ------
        TrainingError
            No validation found a model that could be kept.
        """
        self.files.close()
        if self.progress.best is None:
            self.give_up(f"no validation gave a number for {self.settings.monitor}")
        model, world = self.experiment.model, self.experiment.world
        last = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        with together(world):
            arrays, _ = read_arrays(self.run.weights) if world.rank == 0 else ({}, {})
        model.load_state_dict(world.broadcast(arrays))
        try:
            found = self.evaluate(self.experiment.data.test, "test")
            if world.rank == 0:
                self.pictures = self.experiment.task.pictures(self.experiment)
        finally:
            # A checkpoint, written if a signal comes now, holds the last weights, not the best.
            model.load_state_dict(last)
        self.confusion = found.confusion
        self.log(found.metrics)
        return found.metrics

    # ---- where the training stands -----------------------------------------------------------

    def checkpoint(self, name: str = "last") -> None:
        """Write where the training stands; a later one is written where this one cannot be."""
        before, self.progress.saved = self.progress.saved, self.progress.step
        if name != "last":
            self.progress.saved = before  # a checkpoint that was not due replaces none that is
        path = self.files.checkpoint(
            *(self.experiment, self.journal, standing.state_of(self)),
            average=self.stepper.average,
            name=name,
        )
        if path is not None:
            self.tell("on_checkpoint", path)

    def restore(self, path: Path) -> None:
        """Go to where a checkpoint stands.

        Raises
        ------
        CheckpointError
            It is damaged, or of another config; nothing has been changed.
        """
        standing.restore(self, path)
        self._before = self.progress.seconds
