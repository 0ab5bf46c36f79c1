"""The directory of one run: where each file lies, and how it is made.

::

    run.json             who it is: its uid, when and where it was begun
    config.source.yaml   the config as it was given
    config.yaml          the config as it was understood, defaults filled in
    overrides.txt        the changes made on the command line, if any
    metrics.jsonl        the journal: what was measured
    clock.jsonl          when that was, and how fast the training went
    checkpoints/         last.json and its arrays: where the training stands
    model/               the best model so far: config.yaml and model.safetensors
    plots/               curves.png, confusion.png
    confusion.json       of classes: their names, and the test samples' confusion matrix
    summary.json         how the run ended; not there while it has not
    .lock                locked by the process that trains it
"""

from __future__ import annotations

import fcntl
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minidl.train import environment
from minidl.train.checkpoint import CheckpointError, write_atomically
from minidl.train.config import Config


class RunInUseError(RuntimeError):
    """Another process trains this run."""


class RunDirectory:
    """Paths of a run's files."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = root = Path(root)
        self.about = root / "run.json"
        self.lock = root / ".lock"
        self.config = root / "config.yaml"
        self.source = root / "config.source.yaml"
        self.overrides = root / "overrides.txt"
        self.journal = root / "metrics.jsonl"
        self.checkpoints = root / "checkpoints"
        self.model = root / "model"
        self.weights = self.model / "model.safetensors"
        self.plots = root / "plots"
        self.confusion = root / "confusion.json"
        self.summary = root / "summary.json"

    @classmethod
    def create(
        cls,
        config: Config,
        overrides: Sequence[str] = (),
        *,
        more: Mapping[str, Any] | None = None,
    ) -> RunDirectory:
        """Make the directory of a new run and write its config there.

        Parameters
        ----------
        more
            What else ``run.json`` is to hold, as plain data.

        Raises
        ------
        ConfigError
            ``trainer.name`` is taken, or the directory cannot be made.
        """
        settings = config.trainer
        if settings.name is not None and (
            settings.name in ("", ".", "..") or Path(settings.name).name != settings.name
        ):
            raise config.problem(
                ("trainer", "name"),
                f"`name` must be the name of one directory, got {settings.name!r}",
                "`run_root` says where it lies",
            )
        try:
            root = _new_directory(Path(settings.run_root), settings.name, config)
            run = cls(root)
            run._write_beginning(config, overrides, more or {})
        except FileExistsError as error:
            taken = cls(Path(str(error.filename)))
            unfinished = taken.config.is_file() and taken.status() != "FINISHED"
            raise config.problem(
                ("trainer", "name"),
                f"the run directory {error.filename} exists already"
                + (", with a run that has not finished" if unfinished else ""),
                (f"go on with it by `minidl resume {error.filename}`, or " if unfinished else "")
                + "choose another name, or leave `name` out to have one made",
            ) from error
        except OSError as error:
            raise config.problem(
                ("trainer", "run_root"), f"the run directory cannot be made: {error}"
            ) from error
        return run

    def _write_beginning(
        self, config: Config, overrides: Sequence[str], more: Mapping[str, Any]
    ) -> None:
        self.model.mkdir()
        self.plots.mkdir()
        self.source.write_text(config.source_text, encoding="utf-8")
        # The model is handed on to others, so where this run was tracked is left out.
        untracked = config.model_copy(update={"tracking": None})
        (self.model / "config.yaml").write_text(untracked.to_yaml(), encoding="utf-8")
        about = {
            "uid": uuid.uuid4().hex,
            "created": time.time(),
            "environment": environment.describe(),
            **more,
        }
        self.about.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        if overrides:
            self.overrides.write_text("\n".join(overrides) + "\n", encoding="utf-8")
        # Last, and at once: a directory with a config.yaml is a run, whenever it was killed.
        self.write_config(config)

    def write_config(self, config: Config) -> None:
        """Write the config as it was understood."""
        write_atomically(self.config, config.to_yaml().encode())

    @classmethod
    def open(cls, root: str | os.PathLike[str]) -> RunDirectory:
        """Return the directory of a run that is there.

        Raises
        ------
        CheckpointError
            It is none.
        """
        run = cls(root)
        if not run.config.is_file():
            raise CheckpointError(f"{root}: not a run directory (there is no config.yaml)")
        return run

    @property
    def uid(self) -> str:
        """What tells this run from all others, wherever its directory is moved to."""
        return str(self.facts()["uid"])

    def facts(self) -> dict[str, Any]:
        """Return what ``run.json`` holds.

        Raises
        ------
        CheckpointError
            It is missing or damaged.
        """
        try:
            facts: dict[str, Any] = json.loads(self.about.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{self.about}: cannot be read ({error})") from error
        return facts

    def status(self) -> str | None:
        """Return how the run ended; None where it has not, or was killed outright."""
        try:
            return str(json.loads(self.summary.read_text(encoding="utf-8"))["status"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process; the lock goes with the process, however it ends.

        Raises
        ------
        RunInUseError
            Another process trains it.
        """
        with open(self.lock, "a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RunInUseError(f"{self.root}: another process is training this run") from error
            yield

    def in_use(self) -> bool:
        """Whether a process trains the run right now."""
        try:
            with open(self.lock, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    def finish(self, summary: dict[str, Any]) -> None:
        """Write how the run ended."""
        write_atomically(self.summary, json.dumps(summary, indent=1).encode() + b"\n")


def _new_directory(parent: Path, name: str | None, config: Config) -> Path:
    if name is not None:
        root = parent / name
        root.mkdir(parents=True)
        return root
    stamp = time.strftime("%Y%m%d-%H%M%S") + f"-{config.digest()[:6]}"
    for number in range(1000):  # two runs of one config may start within one second
        root = parent / (f"{stamp}-{number}" if number else stamp)
        try:
            root.mkdir(parents=True)
        except FileExistsError:
            continue
        return root
    raise FileExistsError(17, "too many runs within one second", str(parent / stamp))
