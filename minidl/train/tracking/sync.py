"""``minidl sync``: send MLflow what it lacks of a run that has ended, from the run directory.

The run directory has everything: what the run was (``description.json``), every point (the
journal), the files, and how it ended. MLflow is asked what it has, and is given the rest; so a
second call finds nothing to do. A run that is being trained now is its trainer's business and is
refused.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minidl.train import publish
from minidl.train.config import Config, ConfigError, load_config
from minidl.train.config.sections import TrackingSection
from minidl.train.inference import answers_samples
from minidl.train.journal import Entry, read_journal
from minidl.train.run_directory import RunDirectory, RunInUseError
from minidl.train.tracking import mlflow_client, mlflow_uri
from minidl.train.tracking.description import RunDescription, RunRecord
from minidl.train.tracking.logged_model import register, send_model
from minidl.train.tracking.mlflow_client import MlflowRun, NotSentError
from minidl.train.tracking.points import KnownPoints, points_of
from minidl.train.tracking.settings import require_mlflow

#: What a summary may say of how a run ended.
ENDS = ("FINISHED", "FAILED", "KILLED")


class SyncError(RuntimeError):
    """A run cannot be sent; the message says why and what would help."""


@dataclass(frozen=True)
class SyncReport:
    """What MLflow lacked of a run and has now; ``refused`` is what it could not be given."""

    uri: str
    experiment_id: str
    run_id: str
    status: str
    points: int = 0
    files: int = 0
    models: int = 0
    new_run: bool = False
    new_status: bool = False
    refused: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything was lacking."""
        return bool(self.points or self.files or self.models or self.new_run or self.new_status)


def sync_run(root: Path, *, uri: str | None = None) -> SyncReport:
    """Send what MLflow lacks of the run in directory ``root``.

    Parameters
    ----------
    uri
        Another store than the one the run was tracked to.

    Raises
    ------
    SyncError
        It is no run directory, is being trained now, or the store does not answer or refuses.
    """
    run = RunDirectory(root)
    try:
        config = load_config(run.config)
        description = _description(run, config)
        entries = read_journal(run.journal) if run.journal.exists() else []
    except ConfigError as error:
        raise SyncError(f"{root} cannot be sent: {error}") from error
    except (OSError, ValueError) as error:
        raise SyncError(f"{root} is no run directory, or a damaged one: {error}") from error
    target = _target(config, description, uri, root)
    try:
        require_mlflow(target)
    except ModuleNotFoundError as error:
        raise SyncError(f"{root} cannot be sent: {error}") from error
    try:
        with run.locked():  # no training begins while this one sends
            return _send(run, config, description, entries, target, elsewhere=uri is not None)
    except RunInUseError as error:
        raise SyncError(
            f"{root} is being trained now; its process sends what is missing itself"
        ) from error
    except NotSentError as error:
        raise SyncError(f"{root}: {error}") from error
    except Exception as error:  # MLflow and its libraries raise what they like
        where = mlflow_uri.redacted(target)
        reason = mlflow_client.first_line(error)
        raise SyncError(f"{root}: MLflow at {where} failed: {reason}") from error


def _description(run: RunDirectory, config: Config) -> RunDescription:
    path = publish.description_path(run)
    if path.exists():
        return RunDescription.read(path)
    # A process may have been killed before it could describe its run: the config tells most.
    return publish.describe_config(config, run)


def _target(config: Config, description: RunDescription, uri: str | None, root: Path) -> str:
    section = config.tracking
    if uri is None and section is None:
        raise SyncError(
            f"{root} was not tracked: its config has no `tracking` section. Say where to send it: "
            "--uri sqlite:///mlflow.db"
        )
    try:
        meant = mlflow_uri.resolve_uri(uri or (section.uri if section else ""))
    except ValueError as error:
        raise SyncError(f"{root} cannot be sent: {error}") from error
    begun = description.uri
    if uri is not None or begun is None or (path := mlflow_uri.sqlite_path(begun)) is None:
        return meant
    # A relative path meant the directory that the run was begun in, unless that was moved since.
    here = mlflow_uri.sqlite_path(meant)
    return meant if here is not None and here.exists() and not path.exists() else begun


def _send(
    run: RunDirectory,
    config: Config,
    description: RunDescription,
    entries: list[Entry],
    uri: str,
    *,
    elsewhere: bool,
) -> SyncReport:
    if reason := mlflow_uri.why_no_answer(uri, mlflow_uri.answer_seconds()):
        raise NotSentError(f"MLflow at {mlflow_uri.redacted(uri)} is not available ({reason})")
    mlflow_client.prepare_environment()
    section = config.tracking or TrackingSection()
    record = publish.record_path(run)
    sent = MlflowRun(
        uri,
        section.experiment,
        description,
        record=None if elsewhere else RunRecord.read(record),
        parent=None if elsewhere else section.parent_run_id,
        reopen=False,
    )
    if not elsewhere:
        with suppress(OSError):  # without it the run is found by its tag
            sent.record(uri, description.uid).write(record)
    sent.send_params(description.params)
    sent.send_datasets(description.datasets)
    points = _send_points(sent, entries)
    files, refused = _send_files(sent, run, config)
    models = 0
    if section.log_model and run.weights.exists() and answers_samples(config):
        try:
            models = int(_send_model(sent, run, config, entries))
        except NotSentError as error:
            refused.append(str(error))
    status = _how_it_ended(run)
    if section.registered_model and sent.model_id and status == "FINISHED":
        try:
            models += register(sent, section.registered_model, section.alias)
        except NotSentError as error:
            refused.append(str(error))
    new_status = sent.status != status
    if new_status:
        sent.end(status, ended=entries[-1].time if entries else description.started)
    return SyncReport(
        uri,
        sent.experiment_id,
        sent.run_id,
        status,
        points=points,
        files=files,
        models=models,
        new_run=sent.is_new,
        new_status=new_status,
        refused=tuple(refused),
    )


def _send_points(sent: MlflowRun, entries: list[Entry]) -> int:
    journal = [
        point
        for entry in entries
        for point in points_of(entry.metrics, step=entry.step, time=entry.time)
    ]
    known = KnownPoints(() if sent.is_new else sent.known_points(), journal)
    return sum(sent.send_points([point for point in journal if known.lack(point)]))


def _send_files(sent: MlflowRun, run: RunDirectory, config: Config) -> tuple[int, list[str]]:
    count, refused = 0, []
    for path, artifact_path in publish.artifacts(config, run):
        if not sent.lacks_artifact(path, artifact_path):
            continue
        try:
            sent.send_artifact(path, artifact_path)
            count += 1
        except NotSentError as error:
            refused.append(str(error))
    return count, refused


def _send_model(sent: MlflowRun, run: RunDirectory, config: Config, entries: list[Entry]) -> bool:
    points = publish.best_entries(entries, config, _summary(run).get("best_epoch"))
    return send_model(sent, run.model, publish.example_of(run), points)


def _how_it_ended(run: RunDirectory) -> str:
    """Return the status in the summary; a run that no process trains and has none was killed."""
    status = run.status()
    return status if status in ENDS else "KILLED"


def _summary(run: RunDirectory) -> dict[str, Any]:
    try:
        found = json.loads(run.summary.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
