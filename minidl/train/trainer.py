"""The training loop: a config in, a run directory out.

`Trainer.run` is the whole story in order: build everything (so that mistakes are found before
anything exists), make the run directory, start the journal and the tracking, train epoch by
epoch, evaluate the best model on the test samples, and end the run truthfully, however it ended.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from minidl.optim import clip_grad_norm_
from minidl.train import environment, mlflow_uri, plots
from minidl.train.build import Experiment, build
from minidl.train.checkpoint import read_arrays, save_checkpoint
from minidl.train.config import Config
from minidl.train.inference import save_best
from minidl.train.interruption import Interrupted, Interruption
from minidl.train.journal import Journal, read_journal
from minidl.train.metrics import Average, Evaluation, evaluate
from minidl.train.reporter import Reporter, figure
from minidl.train.run_directory import RunDirectory
from minidl.train.tracking import (
    DatasetInfo,
    Tracker,
    TrackingReport,
    TrackingSettings,
    require_mlflow,
)

Status = Literal["FINISHED", "FAILED", "KILLED"]


class TrainingError(RuntimeError):
    """The training cannot go on; the message says why and what may help."""


@dataclass
class Progress:
    """Where a training stands; part of every checkpoint."""

    epoch: int = 0
    step: int = 0
    best: float | None = None
    best_epoch: int = 0


@dataclass(frozen=True)
class Result:
    """How a run ended.

    ``status`` is MLflow's word for it; ``exit_status`` is 0, or tells a shell of a signal.
    """

    status: Status
    directory: Path
    metrics: dict[str, float] = field(default_factory=dict)
    best_epoch: int = 0
    tracking: TrackingReport | None = None
    exit_status: int = 0


class Trainer:
    """Trains what a config describes.

    Parameters
    ----------
    config
        A checked config.
    overrides
        The changes that were made to it on the command line, for the record.
    reporter
        Where progress goes; the terminal by default.

    Raises
    ------
    ConfigError
        Something the config names cannot be made, or MLflow is wanted and not installed.
    """

    def __init__(
        self,
        config: Config,
        *,
        overrides: Sequence[str] = (),
        reporter: Reporter | None = None,
    ) -> None:
        self.config = config
        self.overrides = overrides
        self.reporter = Reporter() if reporter is None else reporter
        self._require_tracking()
        self.experiment = build(config)
        self.progress = Progress()

    def run(self) -> Result:
        """Train to the end, or until a signal.

        Returns
        -------
        Result
            Also for a run that was interrupted (``KILLED``).

        Raises
        ------
        TrainingError
            The loss is no longer a finite number.
        """
        status: Status = "FAILED"
        exit_status = 0
        metrics: dict[str, float] = {}
        tracker: Tracker | None = None
        report: TrackingReport | None = None
        # Listening from the first file to the last: what a signal finds begun is ended truthfully.
        with Interruption() as interruption:
            run = RunDirectory.create(self.config, self.overrides)
            started = time.perf_counter()
            try:
                tracker = self._start_tracking(run)
                with Journal(run.journal) as journal, self.reporter:
                    session = _Session(self, run, journal, tracker, interruption)
                    try:
                        session.train()
                        metrics = session.test()
                        status = "FINISHED"
                    except Interrupted as signal:
                        # Set first: a second signal may come while the checkpoint is written.
                        status, exit_status = "KILLED", signal.exit_status
                        session.checkpoint()
                        self.reporter.say(
                            f"interrupted by {signal}: checkpoint in {run.checkpoints}"
                        )
                    except KeyboardInterrupt:
                        status, exit_status = "KILLED", 130
                        self.reporter.say("interrupted again: no checkpoint written")
                    self._draw(run, session, tracker)
            finally:
                try:
                    report = tracker.finish(status) if tracker is not None else None
                finally:
                    seconds = time.perf_counter() - started
                    self._summarize(run, status, seconds, metrics, report)
        result = Result(status, run.root, metrics, self.progress.best_epoch, report, exit_status)
        self._close(result, seconds)
        return result

    def _summarize(
        self,
        run: RunDirectory,
        status: Status,
        seconds: float,
        metrics: dict[str, float],
        report: TrackingReport | None,
    ) -> None:
        run.finish(
            {
                "status": status,
                "seconds": round(seconds, 3),
                "epochs": self.progress.epoch,
                "steps": self.progress.step,
                "best_epoch": self.progress.best_epoch,
                "metrics": metrics,
                "mlflow_run_id": report.run_id if report else None,
            }
        )

    # ---- tracking --------------------------------------------------------------------------

    def _require_tracking(self) -> None:
        if self.config.tracking is not None:
            try:
                require_mlflow()
            except ModuleNotFoundError as error:
                raise self.config.problem(("tracking",), str(error)) from error
            try:
                mlflow_uri.resolve_uri(self.config.tracking.uri)
            except ValueError as error:
                raise self.config.problem(("tracking", "uri"), str(error)) from error

    def _start_tracking(self, run: RunDirectory) -> Tracker | None:
        section = self.config.tracking
        if section is None:
            return None
        data = self.experiment.data
        parts = {"training": data.train, "validation": data.val, "test": data.test}
        datasets = [
            DatasetInfo(
                name=loader.dataset.name,
                digest=loader.dataset.digest(),
                source=str(self.config.data.arguments().get("root", "minidl")),
                context=context,  # type: ignore[arg-type]
                profile={"num_rows": len(loader.dataset), "shape": list(data.sample_shape)},
            )
            for context, loader in parts.items()
            if loader is not None
        ]
        tags = environment.describe() | {"config.digest": self.config.digest()}
        return Tracker(
            TrackingSettings(
                section.uri, section.experiment, section.system_metrics, section.log_model
            ),
            run_name=section.run_name or run.root.name,
            # A password in the address of the server is not to be read by its users.
            params=self.config.flat() | {"tracking.uri": mlflow_uri.redacted(section.uri)},
            tags=tags | section.tags | {"run.directory": str(run.root.absolute())},
            datasets=datasets,
            on_message=self.reporter.say,
        )

    # ---- what is left of a run -------------------------------------------------------------

    def _draw(self, run: RunDirectory, session: _Session, tracker: Tracker | None) -> None:
        if not plots.plots_available():
            self.reporter.say("no plots: matplotlib is wanted (pip install 'minidl[plot]')")
        else:
            monitor = self.config.trainer.monitor
            entries = read_journal(run.journal)
            plots.plot_curves(entries, run.plots / "curves.png", monitor=monitor)
            if session.confusion is not None:
                classes = self.experiment.data.classes
                plots.plot_confusion(session.confusion, classes, run.plots / "confusion.png")
        if tracker is None:
            return
        for path in sorted(run.plots.iterdir()):
            tracker.artifact(path, "plots")
        tracker.artifact(run.journal, "run")
        section = self.config.tracking
        if section is not None and mlflow_uri.redacted(section.uri) == section.uri:
            for path in (run.source, run.config):
                tracker.artifact(path, "run")
        if run.weights.exists():
            data = self.experiment.data
            tracker.model(
                run.model,
                sample_shape=data.sample_shape,
                example=data.test.dataset.inputs[:2],
                points=[
                    entry
                    for entry in read_journal(run.journal)
                    if entry.epoch == self.progress.best_epoch and "val/accuracy" in entry.metrics
                ],
            )

    def _close(self, result: Result, seconds: float) -> None:
        rows = {name: figure(name, value) for name, value in result.metrics.items()}
        if result.best_epoch:
            rows["best epoch"] = f"{result.best_epoch} (by {self.config.trainer.monitor})"
        seen = self.progress.step * self.config.data.batch_size
        rows["time"] = f"{seconds:.1f} s"
        rows["samples/s"] = f"{seen / seconds:,.0f}"
        rows["run directory"] = str(result.directory)
        if result.tracking is not None and result.tracking.run_id is not None:
            rows["MLflow run"] = result.tracking.run_id
            rows["open MLflow"] = result.tracking.open_command
        self.reporter.table(f"run {result.status}", rows)


class _Session:
    """One pass through a training: the loop, with the run's files at hand."""

    def __init__(
        self,
        trainer: Trainer,
        run: RunDirectory,
        journal: Journal,
        tracker: Tracker | None,
        interruption: Interruption,
    ) -> None:
        self.config = trainer.config
        self.settings = trainer.config.trainer
        self.experiment: Experiment = trainer.experiment
        self.progress = trainer.progress
        self.reporter = trainer.reporter
        self.run = run
        self.journal = journal
        self.tracker = tracker
        self.interruption = interruption
        self.confusion: Any = None

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
        for inputs, labels in data.train:
            loss, correct = self.step(inputs, labels)
            for average in (whole, recent):
                average.add(loss, correct, len(labels))
            if self.progress.step % self.settings.log_every == 0:
                now = time.perf_counter()
                figures = self.figures(recent, now - mark)
                self.log(figures)
                self.reporter.step(figures)
                mark, recent = now, Average()
            else:
                self.reporter.step()
            self.interruption.check()
        rate = whole.count / (time.perf_counter() - began)
        figures = whole.metrics("train")
        if data.val is not None:
            found = self.evaluate(data.val, "val").metrics
            self.log(found)
            figures |= found
            self.hold_finite(found["val/loss"], f"the validation loss became {found['val/loss']}")
        self.keep_best(figures[self.settings.monitor])
        self.checkpoint()
        lr = self.experiment.optimizer.param_groups[0]["lr"]
        figures |= {"lr": lr, "throughput/samples_per_s": rate}
        self.reporter.epoch_ends(epoch, epochs, figures)

    def step(self, inputs: Any, labels: Any) -> tuple[tuple[float, float], int]:
        """Take one optimizer step; return the batch's loss with its weight, and correct answers."""
        experiment, optimizer = self.experiment, self.experiment.optimizer
        optimizer.zero_grad()
        logits = experiment.model(inputs)
        loss = experiment.loss(logits, experiment.targets(labels))
        value = loss.item()
        self.hold_finite(value, f"the loss became {value} at step {self.progress.step + 1}")
        loss.backward()
        if self.settings.clip_norm is not None:
            clip_grad_norm_(experiment.model.parameters(), self.settings.clip_norm)
        optimizer.step()
        self.progress.step += 1
        if experiment.schedule is not None:
            experiment.schedule.set_step(self.progress.step)
        guess = logits.detach().numpy().argmax(axis=1)
        return experiment.mean_loss(value, labels), int(np.count_nonzero(guess == labels.numpy()))

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
        experiment = self.experiment
        return evaluate(
            experiment.model,
            experiment.measure,
            loader,
            part=part,
            classes=len(experiment.data.classes),
            on_batch=self.interruption.check,
        )

    def keep_best(self, value: float) -> None:
        """Keep the model if the monitored metric is the best so far (a loss: the lowest)."""
        best = self.progress.best
        lower = self.settings.monitor.endswith("loss")
        if best is None or (value < best if lower else value > best):
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
        finally:
            # A checkpoint, written if a signal comes now, holds the last weights, not the best.
            model.load_state_dict(last)
        self.confusion = found.confusion
        self.log(found.metrics)
        return found.metrics
