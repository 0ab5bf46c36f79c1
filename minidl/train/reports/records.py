"""What a run directory says of its run, read without trusting it.

A run may be in the middle of its training, killed, half copied or damaged; whoever lists a
hundred runs wants to see the other ninety-nine, and of this one what is left and what is wrong.
So nothing here raises over a file's content: what cannot be read is told in ``problems``.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, Literal, TypeAlias

from minidl.train.config import ConfigError
from minidl.train.config.sections import flatten
from minidl.train.config.yaml_source import parse, read_text
from minidl.train.journal import Entry, read_journal
from minidl.train.metrics import higher_is_better
from minidl.train.run_directory import RunDirectory
from minidl.train.tracking.mlflow_uri import redacted

State: TypeAlias = Literal["running", "finished", "failed", "killed", "unfinished", "empty"]

_NOTES = {"about": "run.json", "description": "description.json", "tracking": "tracking.json"}
_STATES: dict[Any, State] = {"FINISHED": "finished", "FAILED": "failed", "KILLED": "killed"}


class RunNotFoundError(ValueError):
    """A path that holds no run; the message says what would be right."""


@dataclass(frozen=True)
class Best:
    """The best value of a metric, and where it was reached."""

    metric: str
    value: float
    epoch: int
    step: int


@dataclass(frozen=True)
class RunRecord:
    """All that is known of a run.

    ``config`` is the resolved one as plain data, ``summary`` how the run ended, ``about`` and
    ``description`` what was recorded when it began, ``tracking`` where MLflow has it; each is
    empty where there is none.
    """

    directory: Path
    name: str
    state: State
    config: dict[str, Any] = field(default_factory=dict)
    entries: Sequence[Entry] = ()
    summary: dict[str, Any] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    description: dict[str, Any] = field(default_factory=dict)
    tracking: dict[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @cached_property
    def flat(self) -> dict[str, str]:
        """The config under dotted paths."""
        return flatten(self.config) if self.config else {}

    @cached_property
    def metrics(self) -> dict[str, float]:
        """The last value of each metric; those of the test samples as the summary has them."""
        last: dict[str, float] = {}
        for entry in self.entries:
            last |= entry.metrics
        tested = self.summary.get("metrics")
        if isinstance(tested, dict):
            numbers = {name: _number(value) for name, value in tested.items()}
            last |= {name: value for name, value in numbers.items() if value is not None}
        return last

    @property
    def monitor(self) -> str:
        """The metric that tells the best model."""
        return self.flat.get("trainer.monitor", "val/accuracy")

    @cached_property
    def best(self) -> Best | None:
        """The best value of the monitored metric so far."""
        return best_of(self.entries, self.monitor)

    @property
    def epochs(self) -> int | None:
        """Epochs that were begun."""
        return self._count("epochs", [entry.epoch for entry in self.entries])

    @property
    def steps(self) -> int | None:
        """Steps that were taken, as far as they are known."""
        return self._count("steps", [entry.step for entry in self.entries])

    @property
    def began(self) -> float | None:
        """When the run began, in seconds since 1970: the first sign of it."""
        for told in (self.about.get("created"), self.description.get("started")):
            if (started := _number(told)) is not None:
                return started
        # The journal's time outlives a copy of the directory; a file's may not.
        times = [entry.time for entry in self.entries if entry.time > 0]
        if times:
            return times[0]
        try:
            return (self.directory / "config.yaml").stat().st_mtime
        except OSError:
            return None

    @property
    def seconds(self) -> float | None:
        """How long it took; for a run without an end, until the last sign of it."""
        seconds = _number(self.summary.get("seconds"))
        if seconds is not None:
            return seconds
        times = [entry.time for entry in self.entries if entry.time > 0]
        return times[-1] - times[0] if times else None

    @property
    def samples_per_s(self) -> float | None:
        """The median rate of its points."""
        _, rates = self.series("throughput/samples_per_s")
        return median(rates) if rates else None

    @property
    def environment(self) -> dict[str, str]:
        """Versions, commit and machine when the run began, as tags; empty where not recorded."""
        for told in (self.about.get("environment"), self.description.get("tags")):
            if isinstance(told, dict):
                return {str(name): str(value) for name, value in told.items()}
        return {}

    def series(self, metric: str) -> tuple[list[int], list[float]]:
        """Return the steps and values of a metric; values may be no finite numbers."""
        found = [(e.step, e.metrics[metric]) for e in self.entries if metric in e.metrics]
        return [step for step, _ in found], [value for _, value in found]

    def _count(self, name: str, seen: list[int]) -> int | None:
        value = _number(self.summary.get(name))
        return max(seen, default=None) if value is None else int(value)


def best_of(entries: Sequence[Entry], metric: str) -> Best | None:
    """Return the best value of a metric; None where it has no finite one."""
    sign = 1.0 if higher_is_better(metric) else -1.0
    found = [e for e in entries if math.isfinite(e.metrics.get(metric, math.nan))]
    entry = max(found, key=lambda e: sign * e.metrics[metric], default=None)
    return None if entry is None else Best(metric, entry.metrics[metric], entry.epoch, entry.step)


def read_runs(root: Path) -> list[RunRecord]:
    """Read all runs in a directory, and in directories of runs that lie in it (of a sweep, say).

    Raises
    ------
    RunNotFoundError
        There is no such directory, or it is itself a run.
    """
    if not root.is_dir():
        what = "is no directory" if root.exists() else "there is no such directory"
        raise RunNotFoundError(f"{root}: {what}; runs lie in trainer.run_root, by default runs/")
    if _looks_like_run(root):
        raise RunNotFoundError(
            f"{root}: this is one run; `minidl runs show {root}` shows it, and "
            f"`minidl runs ls {root.parent}` lists it with its neighbours"
        )
    records = []
    for child in _directories(root):
        within = [] if _looks_like_run(child) else _directories(child)
        runs = [grandchild for grandchild in within if _looks_like_run(grandchild)]
        records += [_read(run, f"{child.name}/{run.name}") for run in runs]
        if not runs:
            records.append(_read(child, child.name))
    return records


def read_run(directory: Path) -> RunRecord:
    """Read one run.

    Raises
    ------
    RunNotFoundError
        There is no such directory, or nothing of a run in it.
    """
    if not directory.is_dir():
        what = "is no directory" if directory.exists() else "there is no such directory"
        hint = Path("runs") / directory
        also = f"; did you mean {hint}?" if hint.is_dir() else ""
        raise RunNotFoundError(f"{directory}: {what}{also}")
    if not _looks_like_run(directory):
        also = "; `minidl runs ls` lists them" if _directories(directory) else ""
        raise RunNotFoundError(f"{directory}: not a run directory (no config.yaml){also}")
    return _read(directory, directory.resolve().name)


def _directories(root: Path) -> list[Path]:
    try:
        return sorted(path for path in root.iterdir() if path.is_dir())
    except OSError:
        return []


def _looks_like_run(directory: Path) -> bool:
    run = RunDirectory(directory)
    return any(os.path.lexists(path) for path in (run.config, run.journal, run.summary))


def _read(directory: Path, name: str) -> RunRecord:
    run = RunDirectory(directory)
    problems: list[str] = []
    if not _looks_like_run(directory):
        return RunRecord(directory, name, "empty", problems=("there is nothing of a run in it",))
    summary = _read_json(run.summary, problems) if run.summary.exists() else {}
    state: State = _STATES.get(summary.get("status"), "unfinished")
    if summary and summary.get("status") not in _STATES:
        problems.append(f"summary.json: the status is {summary.get('status')!r}")
    if run.in_use():
        state = "running"
    notes: dict[str, dict[str, Any]] = {}
    for word, path in _NOTES.items():
        notes[word] = _read_json(directory / path, problems) if (directory / path).exists() else {}
    return RunRecord(
        directory,
        name,
        state,
        _read_config(run.config, problems),
        _read_entries(run.journal, problems),
        summary,
        **notes,
        problems=tuple(problems),
    )


def _read_config(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        # What is written there was checked when it was; a later minidl may know other keys.
        found = parse(read_text(str(path)), name=str(path), environ={}).root.plain()
    except ConfigError as error:
        first = str(error).partition("\n")[0].removeprefix(f"{path}: ")
        problems.append(f"config.yaml: {first.removeprefix(f'{path}:')}")
        return {}
    if not isinstance(found, dict):
        problems.append("config.yaml: no mapping of sections")
        return {}
    tracking = found.get("tracking")
    if isinstance(tracking, dict) and isinstance(tracking.get("uri"), str):
        tracking["uri"] = redacted(tracking["uri"])  # whoever sees the run needs no password
    lost = [name for name in ("data", "model", "optimizer", "trainer") if name not in found]
    if lost:
        problems.append(f"config.yaml: it ends early: there is no {', '.join(lost)}")
    return found


def _read_entries(path: Path, problems: list[str]) -> Sequence[Entry]:
    try:
        entries = read_journal(path)
        torn = path.stat().st_size and not path.read_bytes().endswith(b"\n")
    except FileNotFoundError:
        problems.append("metrics.jsonl: there is none")
        return ()
    except (OSError, ValueError) as error:
        problems.append(f"metrics.jsonl: {str(error).removeprefix(f'{path}:')}")
        return ()
    if torn:
        problems.append("metrics.jsonl: its last line is torn, and left out")
    return entries


def _read_json(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
        if not isinstance(found, dict):
            raise ValueError("no JSON object")
    except (OSError, ValueError) as error:
        problems.append(f"{path.name}: {error}")
        return {}
    return found


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and value is not True else None
