"""What a job's directory tells of its run: how far it is, what it has found, where MLflow has it.

Everything is read from files that the training writes anyway, and which may be half written, or
damaged, or not there: what cannot be read is left out. A journal is read from its end, so that a
long one costs no more than a short one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from minidl.service.executors.executor import AttemptFiles, read_record
from minidl.service.states import JobKind
from minidl.train.run_directory import RunDirectory
from minidl.train.tracking.description import RunRecord
from minidl.train.tracking.mlflow_uri import open_command, redacted

TAIL_BYTES = 64 * 1024
MOST_METRICS = 100


def progress(directory: Path, kind: JobKind, number: int) -> dict[str, Any]:
    """Say how far the run of a job is.

    Parameters
    ----------
    directory
        The job's.
    number
        Of the attempt that is at work.

    Returns
    -------
    dict
        For a training ``epoch``, ``step`` and the newest value of each metric, with ``epochs``
        and ``total_steps`` where these are known; for a sweep its ``trials``, how many have
        ``begun``, and how many ``finished``. ``attempt`` is the number. Empty where nothing is
        known.
    """
    begun = read_record(AttemptFiles(directory, number).begun) or {}
    if kind is JobKind.SWEEP:
        found = _of_sweep(directory / "run")
        found |= {"trials": begun["trials"]} if "trials" in begun else {}
    else:
        found = _of_training(directory / "run")
        found |= {name: begun[name] for name in ("epochs", "total_steps") if begun.get(name)}
    return {**found, "attempt": number} if found else {}


def _of_training(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    for entry in _newest(RunDirectory(run).journal):
        found = {"epoch": entry["epoch"], "step": entry["step"]}
        metrics |= entry["metrics"]
    if metrics:
        found["metrics"] = dict(list(metrics.items())[:MOST_METRICS])
    return found


def _of_sweep(run: Path) -> dict[str, Any]:
    begun = finished = 0
    for trial in _trials(run):
        begun += 1
        finished += (trial / "summary.json").exists()
    return {"begun": begun, "finished": finished} if begun else {}


def _trials(run: Path) -> Iterator[Path]:
    yield from (path for path in run.glob("trial-*") if path.is_dir())


def steps(directory: Path, kind: JobKind) -> int:
    """Return how far the run is in steps; of a sweep, those of all trials together."""
    run = directory / "run"
    return sum(_last_step(each) for each in (_trials(run) if kind is JobKind.SWEEP else [run]))


def _last_step(run: Path) -> int:
    return max((int(entry["step"]) for entry in _newest(RunDirectory(run).journal)), default=0)


def _newest(journal: Path) -> Iterator[dict[str, Any]]:
    """Read the last entries of a journal, in their order."""
    try:
        with journal.open("rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES)
            file.seek(start)
            lines = file.read().splitlines(keepends=True)
    except OSError:
        return
    for line in lines[1 if start else 0 :]:
        if not line.endswith(b"\n"):
            continue
        try:
            entry = json.loads(line)
            if isinstance(entry["metrics"], dict) and isinstance(entry["step"], int):
                yield {"epoch": entry.get("epoch", 0), **entry}
        except (ValueError, KeyError, TypeError):
            continue


def result(directory: Path, kind: JobKind, config: Mapping[str, Any]) -> dict[str, Any]:
    """Say what the run of a job has found; empty where it has not come to an end."""
    if kind is JobKind.SWEEP:
        facts = read_record(directory / "run" / "sweep.json") or {}
        return {name: facts[name] for name in ("study", "outcome", "best") if name in facts}
    run = RunDirectory(directory / "run")
    summary = read_record(run.summary)
    if summary is None:
        return {}
    kept = ("status", "seconds", "epochs", "steps", "best_epoch", "best_step", "stopped", "metrics")
    found = {name: summary[name] for name in kept if name in summary}
    monitor = (config.get("trainer") or {}).get("monitor")
    found["monitor"] = monitor
    found["best"] = _value_at(run.journal, monitor, summary.get("best_step"))
    return found


def _value_at(journal: Path, metric: str | None, step: object) -> Any:
    """Return what the journal has of a metric at a step, None where it has not."""
    value = None
    try:
        with journal.open("rb") as file:
            for line in file:
                entry = json.loads(line)
                if entry["step"] == step and metric in entry["metrics"]:
                    value = entry["metrics"][metric]
    except (OSError, ValueError, KeyError, TypeError):
        return value
    return value


def mlflow(directory: Path, *, page: str | None = None) -> dict[str, Any] | None:
    """Say where MLflow has the run; None where it has not, or nobody knows.

    ``url`` is a page for people, where MLflow is a server; ``command`` is what opens the run.
    ``page`` is the server's address as people reach it, if trainings know it by another.
    """
    record = RunRecord.read(directory / "run" / "tracking.json")
    if record is not None:
        where = (redacted(record.uri), record.experiment_id, record.run_id)
    else:
        facts = read_record(directory / "run" / "sweep.json") or {}
        command = facts.get("mlflow_command")
        if not facts.get("mlflow_run_id") or not command:
            return None
        return {
            "run_id": facts["mlflow_run_id"],
            "experiment_id": None,
            "url": _page_of(command, page),
            "command": command,
        }
    command = open_command(*where)
    shown = _page_of(command, page)
    return {"run_id": where[2], "experiment_id": where[1], "url": shown, "command": command}


def _page_of(command: str, page: str | None) -> str | None:
    """Return the page that shows a run; None where a command does, which opens a database."""
    if not command.startswith(("http://", "https://")):
        return None
    # What stands behind the server's address begins with #, as in all pages of MLflow.
    _, mark, place = command.partition("/#/")
    return command if page is None else page.rstrip("/") + mark + place
