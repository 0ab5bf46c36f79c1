"""What a training writes into its run directory, and what it does where that fails.

A disk that is full or has become read-only is no reason to lose a training: it goes on, the user
is told once, what can be made again (a checkpoint) is tried again at its next time, and what
cannot (the best model so far, the journal) waits in memory and is written as soon as it can be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from minidl.optim import AveragedModel
from minidl.train.build import Experiment
from minidl.train.checkpoint import save_checkpoint, write_atomically
from minidl.train.journal import Journal
from minidl.train.run_directory import RunDirectory


class RunFiles:
    """Writes a run's files, and keeps what could not be written.

    Parameters
    ----------
    say
        Tells the user; of trouble with the disk, once.
    """

    def __init__(self, run: RunDirectory, *, say: Callable[[str], None]) -> None:
        self.run, self.say = run, say
        self._waiting: dict[Path, bytes] = {}
        self._told = False

    def trouble(self, error: OSError) -> None:
        """Tell, the first time, that something cannot be written."""
        if not self._told:
            self._told = True
            self.say(
                f"cannot write to {self.run.root} ({error.strerror or error}): the training goes "
                "on, and what is not written yet is kept in memory until it can be"
            )

    def write(self, path: Path, content: bytes) -> None:
        """Write a file of the run, now or when it can be."""
        self._waiting[path] = content
        self.write_waiting()

    def write_waiting(self) -> None:
        """Try again what could not be written."""
        for path, content in list(self._waiting.items()):
            try:
                path.parent.mkdir(exist_ok=True)
                write_atomically(path, content)
            except OSError as error:
                self.trouble(error)
                return
            del self._waiting[path]

    def checkpoint(
        self,
        experiment: Experiment,
        journal: Journal | None,
        progress: Mapping[str, Any],
        *,
        average: AveragedModel | None,
        name: str = "last",
    ) -> Path | None:
        """Write where the training stands; None where it cannot be written, or is not to be."""
        if journal is None:  # another rank than the first
            return None
        self.write_waiting()
        try:
            journal.sync()  # the checkpoint counts on its entries being there
            path = save_checkpoint(
                self.run.checkpoints,
                model=experiment.model,
                optimizer=experiment.optimizer,
                rng=experiment.rng,
                progress=progress,
                average=average,
                name=name,
            )
            if name == "last":
                (self.run.checkpoints / "interrupted.json").unlink(missing_ok=True)
        except OSError as error:
            self.trouble(error)
            return None
        return path

    def close(self) -> None:
        """Write what is waiting.

        Raises
        ------
        OSError
            It still cannot be written, and would be lost.
        """
        while self._waiting:
            path, content = next(iter(self._waiting.items()))
            write_atomically(path, content)
            del self._waiting[path]


class NoFiles(RunFiles):
    """What ranks other than the first one write: nothing."""

    def __init__(self, run: RunDirectory) -> None:
        super().__init__(run, say=lambda _: None)

    def write(self, path: Path, content: bytes) -> None:
        """Write nothing."""
