"""What an attempt finds in its job's directory, and what it makes of it; in this process."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_jobs

from minidl.service import attempt, attempt_work, run_notes
from minidl.service.attempt_work import begin_chain, set_aside, train, why_not_whole
from minidl.service.executors.executor import (
    AttemptSpec,
    End,
    chain_of,
    read_record,
    write_record,
)
from minidl.service.states import JobKind
from minidl.train.config import ConfigError
from minidl.train.reports import plots
from minidl.train.run_directory import RunDirectory

Begun = dict[str, Any]


@pytest.fixture(autouse=True)
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "plots_available", lambda: False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job's directory after an attempt that trained to the end; tests copy it."""
    directory = tmp_path_factory.mktemp("jobs") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "plots_available", lambda: False)
        directory.mkdir()
        spec = tiny_jobs.spec(directory)
        spec.write()
        assert train(spec) == End(0)
    return directory


@pytest.fixture
def job(whole: Path, tmp_path: Path) -> Path:
    """The directory of a job whose run was killed after its last step."""
    directory = tmp_path / "job"
    shutil.copytree(whole, directory)
    run = RunDirectory(directory / "run")
    run.summary.unlink()
    config = run.config.read_text().replace(str(whole), str(directory))
    run.config.write_text(config)
    return directory


def again(job: Path, **settings: Any) -> AttemptSpec:
    spec = tiny_jobs.spec(job, **{"number": 2, **settings})
    spec.write()
    return spec


def begun(spec: AttemptSpec) -> Begun:
    found = read_record(spec.files.begun)
    assert found is not None
    return found


def test_a_new_run_is_named_and_placed_by_the_service(tmp_path: Path) -> None:
    data = tiny_jobs.resolved(
        trainer={"name": "mine", "run_root": "/elsewhere"},
        tracking={"uri": "sqlite:///x.db", "tags": {"team": "a"}},
    )
    spec = tiny_jobs.spec(tmp_path / "job1", data, name="digits")
    dressed = attempt_work._dressed(spec, attempt_work.config_from_data(data))
    assert dressed.trainer.run_root == str(tmp_path / "job1")
    assert dressed.trainer.name == "run"
    assert dressed.tracking is not None
    assert dressed.tracking.run_name == "digits"
    assert dressed.tracking.tags == {"team": "a", "job": "job1"}


def test_an_interrupted_run_is_gone_on_with(job: Path, whole: Path) -> None:
    spec = again(job)
    assert train(spec) == End(0)
    assert begun(spec) == {
        **{"how": "resumed", "step": 4, "total_steps": 4, "epochs": None, "reason": None},
        "monitor": "val/accuracy",
    }
    assert tiny_jobs.fingerprints(job / "run") == tiny_jobs.fingerprints(whole / "run")


def test_a_run_that_has_finished_is_not_trained_again(whole: Path) -> None:
    spec = again(whole, number=7)
    assert train(spec) == End(0)
    assert not spec.files.begun.exists()


def test_a_longer_run_is_made_longer_once(job: Path) -> None:
    longer = ("trainer.max_steps=6",)
    assert train(again(job, overrides=longer)) == End(0)
    run = RunDirectory(job / "run")
    assert run_notes.steps(job, JobKind.TRAINING) == 6
    # The attempt was killed after its end, before that was written: the next has nothing to do.
    assert train(again(job, number=3, overrides=longer)) == End(0)
    assert run.overrides.read_text() == "trainer.max_steps=6\n"


@pytest.mark.parametrize("override", ["optimizer.lr=1", "trainer.max_steps=none", "nonsense"])
def test_a_change_that_cannot_be_is_the_users_error(job: Path, override: str) -> None:
    with pytest.raises(ConfigError, match=override.partition("=")[0].rpartition(".")[2]):
        train(again(job, overrides=(override,)))
    assert (job / "run").exists()


def damage_newest(run: RunDirectory) -> None:
    last = json.loads((run.checkpoints / "last.json").read_text())
    (run.checkpoints / last["file"]).write_bytes(b"nothing")


def damage_all(run: RunDirectory) -> None:
    for path in run.checkpoints.glob("state-*"):
        path.write_bytes(b"nothing")


def damage_config(run: RunDirectory) -> None:
    run.config.write_text("model: [")


def damage_journal(run: RunDirectory) -> None:
    run.journal.write_text("nothing\n" + run.journal.read_text())


def damage_identity(run: RunDirectory) -> None:
    run.about.write_text("{")


def test_of_two_checkpoints_the_whole_one_is_taken(job: Path, whole: Path) -> None:
    damage_newest(RunDirectory(job / "run"))
    spec = again(job)
    assert train(spec) == End(0)
    assert (begun(spec)["how"], begun(spec)["step"]) == ("resumed", 3)
    assert tiny_jobs.fingerprints(job / "run") == tiny_jobs.fingerprints(whole / "run")


@pytest.mark.parametrize("damage", [damage_all, damage_config, damage_journal, damage_identity])
def test_where_nothing_is_whole_it_begins_anew_and_says_why(
    job: Path, whole: Path, damage: Callable[[RunDirectory], None], capsys: Any
) -> None:
    damage(RunDirectory(job / "run"))
    spec = again(job)
    assert train(spec) == End(0)
    assert (begun(spec)["how"], begun(spec)["step"]) == ("anew", 0)
    assert begun(spec)["reason"]
    assert "it is kept as run.1, and begins anew" in capsys.readouterr().out
    assert (job / "run.1/run.json").exists()
    assert tiny_jobs.fingerprints(job / "run") == tiny_jobs.fingerprints(whole / "run")


def test_what_begins_anew_keeps_its_changes(job: Path) -> None:
    damage_all(RunDirectory(job / "run"))
    assert train(again(job, overrides=("trainer.max_steps=5",))) == End(0)
    assert run_notes.steps(job, JobKind.TRAINING) == 5


def test_a_directory_that_was_being_made_is_made_again(tmp_path: Path) -> None:
    directory = tmp_path / "job"
    spec = tiny_jobs.spec(directory)
    spec.write()
    begin_chain(spec)
    (directory / "run/model").mkdir(parents=True)
    assert train(spec) == End(0)
    assert begun(spec)["how"] == "new"
    assert list(directory.glob("run.*")) == []


def test_afresh_sets_the_run_aside_once(job: Path) -> None:
    spec = again(job, chain=2)
    begin_chain(spec)
    assert (chain_of(job), (job / "run").exists()) == (2, False)
    assert (job / "run.1/run.json").exists()
    # The attempt that was to begin afresh was killed; the next one has the same chain.
    (job / "run").mkdir()
    begin_chain(replace(spec, number=3))
    assert (job / "run").exists()
    assert not (job / "run.2").exists()


def test_afresh_that_was_killed_before_it_had_happened_happens_in_the_next(job: Path) -> None:
    begin_chain(again(job, number=3, chain=2))
    assert (job / "run.1").exists()


def test_a_run_that_was_set_aside_keeps_its_name_and_never_replaces_another(job: Path) -> None:
    (job / "run.1").mkdir()
    (job / "run.1/kept").touch()
    assert set_aside(job / "run").name == "run.2"
    assert (job / "run.1/kept").exists()


def test_only_a_whole_run_can_be_gone_on_with(whole: Path) -> None:
    assert why_not_whole(RunDirectory(whole / "run")) is None
    assert "no such file" in (why_not_whole(RunDirectory(whole / "nothing")) or "")


# ---- the process --------------------------------------------------------------------------------


def run_attempt(
    spec: AttemptSpec, folder: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    path = spec.write()
    return subprocess.run(
        [sys.executable, "-P", "-m", "minidl.service.attempt", str(path)],
        env={**tiny_jobs.environment(folder), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.slow
def test_it_refuses_what_was_made_before_or_written_off(tmp_path: Path) -> None:
    directory = tmp_path / "job"
    directory.mkdir()
    spec = tiny_jobs.spec(directory)
    spec.files.spec.parent.mkdir()
    write_record(spec.files.end, {"exit_status": None, "error": "written off"})
    done = run_attempt(spec, tmp_path / "hidden")
    assert done.returncode == 3
    assert "was made, or written off, before" in done.stderr
    assert not (directory / "run").exists()
    assert read_record(spec.files.end) == {"exit_status": None, "error": "written off"}


@pytest.mark.slow
def test_no_secret_is_in_its_log_or_in_the_reason_of_its_end(tmp_path: Path) -> None:
    """The address of an MLflow server with a password, which does not answer, and is wrong."""
    directory = tmp_path / "job"
    directory.mkdir()
    for uri in ("http://ada:s3cret@127.0.0.1:9/", "ftp//ada:s3cret@x", "file:///ada:s3cret@x"):
        data = tiny_jobs.resolved() | {"tracking": {"uri": uri}}
        spec = tiny_jobs.spec(directory, data, number=1 + len(list(directory.glob("attempts/*"))))
        run_attempt(spec, tmp_path / "hidden", MLFLOW_HTTP_REQUEST_TIMEOUT="1")
        assert spec.files.end.exists()
        assert "s3cret" not in spec.files.log.read_text()
        assert "s3cret" not in spec.files.end.read_text()


def test_a_full_disk_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(spec: AttemptSpec) -> End:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(attempt_work, "train", full)
    spec = tiny_jobs.spec(tmp_path / "job")

    class Quiet:
        def check(self) -> None: ...

    end = attempt._work(spec, -1, Quiet())  # type: ignore[arg-type]
    assert end == End(1, "[Errno 28] No space left on device")
    assert "attempt failed: [Errno 28] No space left on device" in capsys.readouterr().out


def test_the_end_is_on_the_disk_before_the_process_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written beside, synced, renamed, and the directory synced: in this order."""
    spec = tiny_jobs.spec(tmp_path / "job")
    spec.write()
    seen: list[str] = []
    fsync, rename = os.fsync, os.replace

    def named(descriptor: int) -> str:
        return Path(os.readlink(f"/proc/self/fd/{descriptor}")).name

    def syncs(descriptor: int) -> None:
        seen.append(f"sync {named(descriptor)}")
        fsync(descriptor)

    def renames(source: Any, target: Any) -> None:
        seen.append(f"rename {Path(source).name} {Path(target).name}")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", syncs)
    monkeypatch.setattr(os, "replace", renames)
    attempt._end(spec.files, End(0))
    assert seen == [
        "sync 1.end.json.part",
        "rename 1.end.json.part 1.end.json",
        "sync attempts",
    ]
