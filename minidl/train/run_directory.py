"""The directory of one run: where each file lies, and how it is made.

::

    config.source.yaml   the config as it was given
    config.yaml          the config as it was understood, defaults filled in
    overrides.txt        the changes made on the command line, if any
    metrics.jsonl        the journal
    checkpoints/         last.json and its arrays: where the training stands
    model/               the best model so far: config.yaml and model.safetensors
    plots/               curves.png, confusion.png
    summary.json         how the run ended
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minidl.train.checkpoint import write_atomically
from minidl.train.config import Config


class RunDirectory:
    """Paths of a run's files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "config.yaml"
        self.source = root / "config.source.yaml"
        self.overrides = root / "overrides.txt"
        self.journal = root / "metrics.jsonl"
        self.checkpoints = root / "checkpoints"
        self.model = root / "model"
        self.weights = self.model / "model.safetensors"
        self.plots = root / "plots"
        self.summary = root / "summary.json"

    @classmethod
    def create(cls, config: Config, overrides: Sequence[str] = ()) -> RunDirectory:
        """Make the directory of a new run and write its config there.

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
            run.model.mkdir()
            run.plots.mkdir()
            run.source.write_text(config.source_text, encoding="utf-8")
            run.config.write_text(config.to_yaml(), encoding="utf-8")
            # The model is handed on to others, so where this run was tracked is left out.
            untracked = config.model_copy(update={"tracking": None})
            (run.model / "config.yaml").write_text(untracked.to_yaml(), encoding="utf-8")
            if overrides:
                run.overrides.write_text("\n".join(overrides) + "\n", encoding="utf-8")
        except FileExistsError as error:
            raise config.problem(
                ("trainer", "name"),
                f"the run directory {error.filename} exists already",
                "choose another name, or leave `name` out to have one made",
            ) from error
        except OSError as error:
            raise config.problem(
                ("trainer", "run_root"), f"the run directory cannot be made: {error}"
            ) from error
        return run

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
