"""The trainer: a config in, a run directory out.

`Trainer.run` is the whole story in order: build everything (so that mistakes are found before
anything exists), make the run directory, start the journal and the tracking, train epoch by
epoch (`minidl.train.session`), evaluate the best model on the test samples, and end the run
truthfully, however it ended.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from minidl.train.build import build
from minidl.train.config import Config
from minidl.train.interruption import Interrupted, Interruption
from minidl.train.journal import Journal, read_journal
from minidl.train.publish import hand_over, require_tracking, start_tracking
from minidl.train.reporter import Reporter, figure
from minidl.train.reports import plots
from minidl.train.reports.sheet import contact_sheet
from minidl.train.run_directory import RunDirectory
from minidl.train.session import Progress, Session, TrainingError
from minidl.train.tracking import Tracker, TrackingReport

__all__ = ["Progress", "Result", "Trainer", "TrainingError"]

Status = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class Result:
    """How a run ended.

    ``status`` is MLflow's word for it; ``exit_status`` is 0, or tells a shell of a signal.
    ``seconds`` is the time of the whole run, ``samples_per_s`` the rate of its training alone.
    """

    status: Status
    directory: Path
    metrics: dict[str, float] = field(default_factory=dict)
    best_epoch: int = 0
    seconds: float = 0.0
    samples_per_s: float = 0.0
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
        require_tracking(config)
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
                tracker = start_tracking(self.config, self.experiment, run, say=self.reporter.say)
                with Journal(run.journal) as journal, self.reporter:
                    session = self._session(run, journal, tracker, interruption)
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
                    self._draw(run, session)
                    if tracker is not None:
                        hand_over(
                            tracker,
                            self.config,
                            self.experiment,
                            run,
                            best_epoch=self.progress.best_epoch,
                        )
            finally:
                try:
                    report = tracker.finish(status) if tracker is not None else None
                finally:
                    seconds = time.perf_counter() - started
                    self._summarize(run, status, seconds, metrics, report)
        result = Result(
            status,
            run.root,
            metrics,
            best_epoch=self.progress.best_epoch,
            seconds=seconds,
            samples_per_s=session.samples / session.seconds if session.seconds else 0.0,
            tracking=report,
            exit_status=exit_status,
        )
        self._close(result)
        return result

    def _session(
        self,
        run: RunDirectory,
        journal: Journal,
        tracker: Tracker | None,
        interruption: Interruption,
    ) -> Session:
        return Session(
            self.config,
            self.experiment,
            self.progress,
            self.reporter,
            run,
            journal,
            tracker,
            interruption,
        )

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

    # ---- what is left of a run -------------------------------------------------------------

    def _draw(self, run: RunDirectory, session: Session) -> None:
        if not plots.plots_available():
            self.reporter.say("no plots: matplotlib is wanted (pip install 'minidl[plot]')")
        else:
            monitor = self.config.trainer.monitor
            entries = read_journal(run.journal)
            plots.plot_curves(entries, run.plots / "curves.png", monitor=monitor)
            if session.confusion is not None:
                classes = self.experiment.data.classes
                plots.plot_confusion(session.confusion, classes, run.plots / "confusion.png")
            for name, rows in session.pictures.items():
                contact_sheet(rows, run.plots / f"{name}.png")

    def _close(self, result: Result) -> None:
        rows = {name: figure(name, value) for name, value in result.metrics.items()}
        if result.best_epoch:
            rows["best epoch"] = f"{result.best_epoch} (by {self.config.trainer.monitor})"
        rows["time"] = f"{result.seconds:.1f} s"
        if result.samples_per_s:
            rows["samples/s"] = f"{result.samples_per_s:,.0f} in training"
        rows["run directory"] = str(result.directory)
        if result.tracking is not None and result.tracking.run_id is not None:
            rows["MLflow run"] = result.tracking.run_id
            rows["open MLflow"] = result.tracking.open_command
        self.reporter.table(f"run {result.status}", rows)
