"""What an attempt does: train, or work on a sweep, in the job's directory.

``run/`` there is the run of the job. An attempt goes on with it from its newest checkpoint that is
whole; where there is none, it begins anew. What is replaced is never removed: it is set aside, as
``run.1``, ``run.2`` …, until the job is deleted.

A job that was asked to begin afresh may be interrupted before that has happened, so each attempt is
told at which attempt the present *chain* has begun, and compares that with what is written beside
the runs.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidl.service.executors.executor import (
    AttemptSpec,
    End,
    chain_of,
    chain_path,
    thread_environment,
    write_record,
)
from minidl.train.checkpoint import CheckpointError
from minidl.train.config import Config, ConfigError, config_from_data, load_config
from minidl.train.journal import read_journal
from minidl.train.reporter import LineReporter, Reporter
from minidl.train.resume import check_overrides, newest_checkpoint
from minidl.train.run_directory import RunDirectory
from minidl.train.tracking.mlflow_uri import redacted
from minidl.train.trainer import Result, Trainer

if TYPE_CHECKING:
    from minidl.sweep.plan import Plan

RUN = "run"


# ---- trainings ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """What there is to do of a training, in each of its ranks alike; plain data.

    Attributes
    ----------
    resumes
        Whether the run that stands there is gone on with.
    config
        The file to begin with; None: what the attempt was told.
    changes
        What is changed in it, or in the run that is gone on with.
    reason
        Why the run begins anew; None where it does not.
    """

    resumes: bool
    config: str | None = None
    changes: tuple[str, ...] = ()
    reason: str | None = None


def train(spec: AttemptSpec) -> End:
    """Begin, or go on with, the job's training.

    Raises
    ------
    ConfigError
        The config, or a change to it, is wrong.
    TrainingError, RunInUseError, OSError
        As a training raises them.
    """
    task = prepare(spec)
    if isinstance(task, End):
        return task
    try:
        return carry_out(spec, task)
    except CheckpointError as error:
        if not task.resumes:
            raise
        return carry_out(spec, begin_anew(spec, str(error)))


def prepare(spec: AttemptSpec) -> Task | End:
    """Look at what stands there, and decide what there is to do; an end where there is nothing.

    Raises
    ------
    ConfigError
        A change to the config is wrong.
    """
    begin_chain(spec)
    run = RunDirectory(Path(spec.directory) / RUN)
    if run.root.exists() and not run.config.is_file():
        shutil.rmtree(run.root)  # killed while it was made: it holds nothing
    if not run.root.exists():
        return _begin(spec, None, None)
    reason = why_not_whole(run)
    if reason is not None:
        return begin_anew(spec, reason)
    before = load_config(run.config)
    changes = spec.overrides
    try:
        check_overrides(changes)
        if load_config(run.config, changes) == before:  # an attempt before this one has made them
            changes = ()
    except ConfigError:
        raise
    except ValueError as error:  # it would be another training
        raise before.problem((), str(error)) from error
    if run.status() == "FINISHED" and not changes:
        print("the run has finished already")
        return End(0)
    return Task(resumes=True, changes=changes)


def begin_anew(spec: AttemptSpec, reason: str) -> Task:
    """Set a run aside that cannot be gone on with, and begin with its config, if that is whole."""
    run = RunDirectory(Path(spec.directory) / RUN)
    config = _config_of(run)
    old = set_aside(run.root)
    print(f"the run cannot be gone on with ({reason}): it is kept as {old.name}, and begins anew")
    return _begin(spec, config, reason)


def _begin(spec: AttemptSpec, config: Config | None, reason: str | None) -> Task:
    """Write the config down where it is not what the attempt was told; a change needs a file."""
    if config is None and not spec.overrides:
        return Task(resumes=False, reason=reason)
    config = config_from_data(spec.config) if config is None else config
    path = spec.files.spec.with_suffix(".yaml")
    path.write_text(config.to_yaml(), encoding="utf-8")
    return Task(resumes=False, config=str(path), changes=spec.overrides, reason=reason)


def carry_out(spec: AttemptSpec, task: Task, *, tells: bool = True) -> End:
    """Train; each rank of a training does.

    Parameters
    ----------
    tells
        Whether this process tells the log, and writes down where the training begins: the first
        rank does.
    """
    how = "resumed" if task.resumes else "new" if task.reason is None else "anew"
    reporter = _AttemptReporter(spec, how, task.reason) if tells else Reporter()
    if task.resumes:
        root = Path(spec.directory) / RUN
        return _outcome(Trainer.resume(root, task.changes, reporter=reporter).run())
    if task.config is None:
        config = config_from_data(spec.config)
    else:
        config = load_config(Path(task.config), task.changes)
    trainer = Trainer(_dressed(spec, config), overrides=task.changes, reporter=reporter)
    return _outcome(trainer.run())


def _outcome(result: Result) -> End:
    tracking = None if result.tracking is None else result.tracking.status
    return End(result.exit_status, tracking=tracking)


def why_not_whole(run: RunDirectory) -> str | None:
    """Say why a run cannot be gone on with; None where it can."""
    try:
        load_config(run.config)
        run.facts()
        if run.journal.exists():
            read_journal(run.journal)
        newest_checkpoint(run, lambda message: None)
    except (OSError, ValueError) as error:  # of which ConfigError and CheckpointError are kinds
        return " ".join(str(error).split())
    return None


def _config_of(run: RunDirectory) -> Config | None:
    """Return the config of a run with the changes it has seen; None where it is damaged."""
    try:
        return load_config(run.config)
    except ConfigError:
        return None


def _dressed(spec: AttemptSpec, config: Config) -> Config:
    """Return the config with the job's directory and name in it."""
    trainer = config.trainer.model_copy(update={"run_root": spec.directory, "name": RUN})
    changes: dict[str, Any] = {"trainer": trainer}
    if config.tracking is not None:
        tags = config.tracking.tags | {"job": spec.job_id}
        name = config.tracking.run_name or spec.name
        changes["tracking"] = config.tracking.model_copy(update={"tags": tags, "run_name": name})
    return config.model_copy(update=changes)


class _AttemptReporter(LineReporter):
    """Lines in the job's log, and a record of where the training begins."""

    def __init__(self, spec: AttemptSpec, how: str, reason: str | None) -> None:
        super().__init__()
        self._spec, self._how, self._reason = spec, how, reason

    def run_begins(
        self,
        *,
        total_steps: int | None = None,
        epochs: int | None = None,
        max_seconds: float | None = None,
        first_step: int = 0,
        monitor: str | None = None,
        directory: str | None = None,
    ) -> None:
        """Write the record, and have the run's directory stay."""
        sync_directory(Path(self._spec.directory))
        super().run_begins(
            total_steps=total_steps,
            epochs=epochs,
            max_seconds=max_seconds,
            first_step=first_step,
            monitor=monitor,
            directory=directory,
        )
        record = {
            "how": self._how,
            "step": first_step,
            "total_steps": total_steps,
            "epochs": epochs,
            "monitor": monitor,
            "reason": self._reason,
        }
        write_record(self._spec.files.begun, record)


# ---- what stands there --------------------------------------------------------------------------


def begin_chain(spec: AttemptSpec) -> None:
    """Set a run aside that belongs to an earlier chain of attempts.

    Killed anywhere in between, the next attempt does what is left of it.
    """
    directory = Path(spec.directory)
    if chain_of(directory) == spec.chain:
        return
    if (directory / RUN).exists():
        print(f"begins afresh: the run before is kept as {set_aside(directory / RUN).name}")
    write_record(chain_path(directory), {"began": spec.chain})


def set_aside(root: Path) -> Path:
    """Give a directory another name, ``run.1`` or the next one that is free; return that."""
    for number in count(1):
        other = root.with_name(f"{root.name}.{number}")
        if not other.exists():
            break
    root.rename(other)
    sync_directory(root.parent)
    return other


def sync_directory(directory: Path) -> None:
    """Have the names in a directory stay after a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ---- sweeps -------------------------------------------------------------------------------------


def sweep(spec: AttemptSpec, lock: int) -> End:
    """Begin, or go on with, the job's sweep.

    The trials' processes hold the job's lock too: the attempt has ended when the last of them has.

    Raises
    ------
    ConfigError
        The config is wrong.
    """
    from minidl.sweep.run import SweepError, run_sweep

    begin_chain(spec)
    root = Path(spec.directory) / RUN
    root.mkdir(exist_ok=True)
    plan = plan_of(spec)
    # The trials share what the job has: a few at a time, each with its part of the threads.
    jobs = min(plan.jobs, spec.threads)
    os.environ.update(thread_environment(max(1, spec.threads // jobs)))
    how = "resumed" if (root / "study.db").exists() else "new"
    write_record(spec.files.begun, {"how": how, "step": None, "trials": plan.trials})
    try:
        return End(run_sweep(replace(plan, jobs=jobs), keep_open=(lock,)).exit_status)
    except SweepError as error:
        return End(1, redacted(str(error)))


def plan_of(spec: AttemptSpec) -> Plan:
    """Return the plan of a job's sweep, whose directory is the job's ``run/``."""
    from minidl.sweep.plan import make_plan
    from minidl.train.config.yaml_scalars import dump_yaml

    data = {name: section for name, section in spec.config.items() if section is not None}
    data["trainer"] = {**data.get("trainer", {}), "run_root": spec.directory}
    data["trainer"].pop("name", None)
    if "tracking" in data:
        tracking = {
            **data["tracking"],
            "tags": {**data["tracking"].get("tags", {}), "job": spec.job_id},
        }
        tracking["run_name"] = tracking.get("run_name") or spec.name
        data["tracking"] = tracking
    path = spec.files.spec.with_suffix(".yaml")
    path.write_text(dump_yaml(data), encoding="utf-8")
    root = Path(spec.directory) / RUN
    study = re.sub(r"[^\w.-]+", "-", spec.name).lstrip(".-") or spec.job_id
    plan = make_plan(path, spec.overrides, study=study, storage=f"sqlite:///{root / 'study.db'}")
    return replace(plan, directory=root)
