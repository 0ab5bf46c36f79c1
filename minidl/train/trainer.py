"""The trainer: a config in, a run directory out.

`Trainer.run` is the whole story in order: build everything (so that mistakes are found before
anything exists), make the run directory or take up the one that is there, start the journal and
the tracking, train (`minidl.train.session`), evaluate the best model on the test samples, and end
the run truthfully, however it ended.

Where several ranks train together (`minidl.distributed`), each has a trainer. The first one does
all of this; the others `follow`: they build and train the same, and write and say nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minidl.distributed import World, current
from minidl.train.build import build, build_callbacks
from minidl.train.callbacks import Callback
from minidl.train.checkpoint import write_atomically
from minidl.train.config import Config, load_config
from minidl.train.interruption import Interrupted, Interruption
from minidl.train.journal import Journal, read_journal
from minidl.train.limits import Limits
from minidl.train.progress import Progress
from minidl.train.publish import hand_over, require_tracking, start_tracking
from minidl.train.reporter import Closing, Reporter, reporter_for
from minidl.train.reports import plots
from minidl.train.reports.sheet import contact_sheet
from minidl.train.result import Result
from minidl.train.resume import changed_environment, check_overrides, newest_checkpoint
from minidl.train.run_directory import RunDirectory
from minidl.train.run_files import NoFiles, RunFiles
from minidl.train.session import Session, TrainingError
from minidl.train.together import FailedElsewhere, shared_config, together
from minidl.train.tracking import Tracker
from minidl.train.triggers import seconds_of

__all__ = ["Progress", "Result", "Trainer", "TrainingError"]


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
    callbacks
        Are told what happens, beside those that the config names.
    limits
        How much of the data to use; by default all.
    world
        The ranks that train together; by default those that this process has joined
        (`minidl.distributed.join`), else it trains alone. All give the same config.

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
        callbacks: Sequence[Callback] = (),
        limits: Limits | None = None,
        world: World | None = None,
    ) -> None:
        self.world = current() if world is None else world
        self.config = config
        self.overrides = overrides
        self.reporter = reporter_for() if reporter is None else reporter
        if self.world.rank:
            self.reporter = Reporter()
        with together(self.world):
            self.callbacks = (*build_callbacks(config), *callbacks)
            if self.world.rank == 0:
                require_tracking(config)
            self.experiment = build(config, limits=limits, world=self.world)
        self.limits = limits
        self.progress = Progress()
        self._resumes: RunDirectory | None = None

    @classmethod
    def resume(
        cls,
        directory: Path,
        overrides: Sequence[str] = (),
        *,
        reporter: Reporter | None = None,
        callbacks: Sequence[Callback] = (),
        world: World | None = None,
    ) -> Trainer:
        """Return a trainer whose `run` goes on with a run that was interrupted.

        The run ends as it would have without the interruption: same weights, same journal.

        Parameters
        ----------
        directory
            Of the run.
        overrides
            Changes that leave it the same training: ``data.root=…``, ``trainer.epochs=20``.

        Raises
        ------
        CheckpointError
            The directory is no run.
        ConfigError
            Its config, so changed, cannot be built.
        ValueError
            A change would make it another training.
        """
        world = current() if world is None else world
        run, kept = RunDirectory(directory), None
        with together(world):
            if world.rank == 0:
                run = RunDirectory.open(directory)
                check_overrides(overrides)
                kept = run.facts().get("limits")
        config = shared_config(world, lambda: load_config(run.config, overrides))
        kept = world.broadcast(kept)
        trainer = cls(
            config,
            overrides=overrides,
            reporter=reporter,
            callbacks=callbacks,
            limits=Limits(**kept) if kept else None,
            world=world,
        )
        trainer._resumes = run
        return trainer

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
        RunInUseError
            Another process trains the run that is to be resumed.
        CheckpointError
            The run to be resumed has no whole checkpoint, or one of another config.
        """
        # Listening from the first file to the last: what a signal finds begun is ended truthfully.
        with Interruption() as interruption, ExitStack() as stack:
            run = self._resumes
            checkpoint: tuple[str, int] | None = None
            with together(self.world):
                if self.world.rank == 0:
                    run = run or self._new_directory()
                    stack.enter_context(run.locked())
                    checkpoint = self._take_up(run)
            root = self.world.broadcast(None if run is None else run.root)
            checkpoint = self.world.broadcast(checkpoint)
            if run is None or self.world.rank:
                return self._follow(RunDirectory(str(root)), interruption, checkpoint)
            return self._run(run, interruption, checkpoint)

    def _follow(
        self, run: RunDirectory, interruption: Interruption, checkpoint: tuple[str, int] | None
    ) -> Result:
        """Train along, as another rank than the first."""
        result = Result("FAILED", run.root, exit_status=1)
        session = Session(
            *(self.config, self.experiment, self.progress, self.reporter, run, None),
            *(NoFiles(run), None, interruption, self.callbacks),
        )
        if checkpoint is not None:
            session.restore(run.checkpoints / checkpoint[0])
            self._forget_the_end()
        try:
            ended_alike = self._train(session, result)
        except FailedElsewhere:
            self.world.barrier()
            raise
        result.best_epoch, result.seconds = self.progress.best_epoch, self.progress.seconds
        if ended_alike:
            self.world.barrier()  # the first rank has still to end the run
        return result

    def _run(
        self, run: RunDirectory, interruption: Interruption, checkpoint: tuple[str, int] | None
    ) -> Result:
        result = Result("FAILED", run.root, exit_status=1)
        tracker: Tracker | None = None
        started, ended_alike = time.perf_counter(), False
        files = RunFiles(run, say=self.reporter.say)
        try:
            with self._journal(run, files, checkpoint) as journal, self.reporter:
                # After the journal, whose entries a resumed run sends again where they are missing.
                tracker = start_tracking(self.config, self.experiment, run, say=self.reporter.say)
                session = Session(
                    *(self.config, self.experiment, self.progress, self.reporter, run, journal),
                    *(files, tracker, interruption, self.callbacks),
                )
                if checkpoint is not None:
                    session.restore(run.checkpoints / checkpoint[0])
                    result.seconds = self.progress.seconds
                    self._forget_the_end()
                self._greet(run, resumed=checkpoint is not None)
                ended_alike = self._train(session, result)
                self._draw(run, session)
                if tracker is not None:
                    best = self.progress.best_epoch
                    hand_over(tracker, self.config, self.experiment, run, best_epoch=best)
        except BaseException as error:
            result.error = str(error) or type(error).__name__
            ended_alike |= isinstance(error, TrainingError) and error.everywhere
            raise
        finally:
            try:
                result.tracking = tracker.finish(result.status) if tracker is not None else None
            finally:
                result.seconds += time.perf_counter() - started
                result.best_epoch = self.progress.best_epoch
                self._summarize(run, result)
                self._close(result)
                if ended_alike:  # the other ranks wait, and may go now
                    self.world.barrier()
        return result

    def _train(self, session: Session, result: Result) -> bool:
        """Train and test, and note in ``result`` how it went; say whether all ranks ended so."""
        run = session.run
        try:
            session.train()
            result.metrics = session.test()
            result.status, result.exit_status = "FINISHED", 0
        except Interrupted as signal:
            # Set first: a second signal may come while the checkpoint is written.
            result.status, result.exit_status = "KILLED", signal.exit_status
            session.checkpoint("interrupted")
            self.reporter.say(
                f"interrupted by {signal}: checkpoint in {run.checkpoints}; "
                f"go on with it by `minidl resume {run.root}`"
            )
        except KeyboardInterrupt:
            result.status, result.exit_status = "KILLED", 130
            self.reporter.say("interrupted again: no checkpoint written")
            return False
        finally:
            if session.seconds:
                result.samples_per_s = session.samples / session.seconds
        return True

    def _new_directory(self) -> RunDirectory:
        more: dict[str, Any] = {"limits": asdict(self.limits)} if self.limits else {}
        if self.world.size > 1:
            more["ranks"] = self.world.size
        return RunDirectory.create(self.config, self.overrides, more=more)

    # ---- taking up -------------------------------------------------------------------------

    def _take_up(self, run: RunDirectory) -> tuple[str, int] | None:
        """Return the checkpoint to go on from, and its place in the journal."""
        if self._resumes is None:
            return None
        found = newest_checkpoint(run, self.reporter.say)
        for change in changed_environment(run, ranks=self.world.size):
            self.reporter.say(f"{change}: the last bits may differ from an uninterrupted run's")
        run.summary.unlink(missing_ok=True)  # it is not true any more
        if self.overrides:
            run.write_config(self.config)
            with run.overrides.open("a", encoding="utf-8") as file:
                file.write("".join(f"{override}\n" for override in self.overrides))
        return found

    def _forget_the_end(self) -> None:
        """Let a run that is resumed with changes go on beyond where it had stopped."""
        if self.overrides:
            self.progress.stopped = ""

    def _journal(
        self, run: RunDirectory, files: RunFiles, checkpoint: tuple[str, int] | None
    ) -> Journal:
        def differs(entry: object) -> None:
            self.reporter.say(
                "this machine does not repeat the interrupted training bit for bit: the journal "
                f"is written anew from step {self.progress.step}"
            )

        position = None if self._resumes is None else checkpoint[1] if checkpoint else 0
        journal = Journal(
            run.journal, position=position, on_trouble=files.trouble, on_difference=differs
        )
        if self._resumes is not None and self.overrides:
            journal.forget_expected()  # what came after may be something else now
        return journal

    def _greet(self, run: RunDirectory, *, resumed: bool) -> None:
        data = self.experiment.data
        self.reporter.say(
            f"{data.name}: {len(data.train.dataset):,} training, "
            f"{len(data.val.dataset) if data.val else 0:,} validation, "
            f"{len(data.test.dataset):,} test samples; "
            f"{sum(p.numel() for p in self.experiment.model.parameters()):,} parameters; "
            + (f"{self.world.size} ranks; " if self.world.size > 1 else "")
            + f"run directory {run.root}"
        )
        if self.world.size > data.train.batch_size:
            self.reporter.say(
                f"{self.world.size} ranks share batches of {data.train.batch_size} samples: some "
                "have nothing to do"
            )
        settings = self.config.trainer
        self.reporter.run_begins(
            total_steps=self.experiment.total_steps,
            epochs=settings.epochs,
            max_seconds=seconds_of(settings.max_time) if settings.max_time else None,
            first_step=self.progress.step,
            monitor=settings.monitor,
            directory=str(run.root),
        )
        if resumed:
            self.reporter.say(
                f"going on in epoch {self.progress.epoch}, after step {self.progress.step}"
            )
        elif self._resumes is not None:
            self.reporter.say("interrupted before its first checkpoint: from the beginning")

    # ---- what is left of a run -------------------------------------------------------------

    def _summarize(self, run: RunDirectory, result: Result) -> None:
        tracking = result.tracking
        run.finish(
            {
                "status": result.status,
                "seconds": round(result.seconds, 3),
                "epochs": self.progress.epoch,
                "steps": self.progress.step,
                "best_epoch": self.progress.best_epoch,
                "best_step": self.progress.best_step,
                "stopped": self.progress.stopped,
                "metrics": result.metrics,
                "mlflow_run_id": tracking.run_id if tracking is not None else None,
            }
        )

    def _draw(self, run: RunDirectory, session: Session) -> None:
        if session.confusion is not None:  # rows are true classes, columns those predicted
            found = {"classes": list(self.experiment.data.classes)}
            found["matrix"] = session.confusion.tolist()
            write_atomically(run.confusion, json.dumps(found).encode() + b"\n")
        if not plots.plots_available():
            self.reporter.say("no plots: matplotlib is wanted (pip install 'minidl[plot]')")
            return
        entries = read_journal(run.journal)
        plots.plot_curves(entries, run.plots / "curves.png", monitor=self.config.trainer.monitor)
        if session.confusion is not None:
            classes = self.experiment.data.classes
            plots.plot_confusion(session.confusion, classes, run.plots / "confusion.png")
        for name, rows in session.pictures.items():
            contact_sheet(rows, run.plots / f"{name}.png")

    def _close(self, result: Result) -> None:
        progress, tracking = self.progress, result.tracking
        tracked = tracking is not None and tracking.run_id is not None
        self.reporter.run_ends(
            Closing(
                result.status,
                str(result.directory),
                result.metrics,
                monitor=self.config.trainer.monitor,
                best_epoch=progress.best_epoch,
                best_step=progress.best_step,
                best=progress.best,
                epochs=progress.epoch,
                steps=progress.step,
                seconds=result.seconds,
                samples_per_s=result.samples_per_s,
                exit_status=result.exit_status,
                mlflow_run_id=tracking.run_id if tracking is not None else None,
                mlflow_command=tracking.open_command if tracking is not None and tracked else None,
                error=result.error,
            )
        )
