"""Runs whose process could not tell MLflow how they ended: an attempt does, or the service."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_jobs
from executor_conformance import ended
from mlflow_stores import MLFLOW_MARKS, client, history

from minidl.service import mlflow_ends
from minidl.service.executors.executor import AttemptSpec, End, read_record
from minidl.service.executors.local import LocalExecutor
from minidl.service.mlflow_ends import MARK, MlflowEnds, is_wanted
from minidl.service.scheduler import Scheduler
from minidl.service.settings import ServiceSettings
from minidl.service.states import JobState
from minidl.service.store import Store
from minidl.train.journal import read_journal
from minidl.train.tracking.description import RunRecord

pytest_plugins = ["mlflow_stores"]

SECONDS = 240.0


def wait_for(what: Callable[[], Any]) -> Any:
    end = time.monotonic() + SECONDS
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


# ---- whether, and how often ---------------------------------------------------------------------


def tracked(directory: Path, **settings: Any) -> AttemptSpec:
    (directory / "run").mkdir(parents=True, exist_ok=True)
    (directory / "run/run.json").write_text("{}")
    data = tiny_jobs.config(tracking={"uri": "sqlite:///mlflow.db"})
    return tiny_jobs.spec(directory, data, **settings)


@pytest.mark.parametrize(
    ("end", "wanted"),
    [
        (End(None), True),
        (End(-9), True),
        (End(-11), True),
        (End(1), True),
        (End(0, tracking="partial"), True),
        (End(0, tracking="unavailable"), True),
        (End(0, tracking="complete"), False),
        (End(75, tracking="complete"), False),
    ],
)
def test_mlflow_is_told_where_the_training_has_not(tmp_path: Path, end: End, wanted: bool) -> None:
    assert is_wanted(tracked(tmp_path / "job"), end) is wanted


def test_what_is_not_tracked_or_never_began_is_not_told(tmp_path: Path) -> None:
    assert not is_wanted(tiny_jobs.spec(tmp_path / "job", tiny_jobs.config()), End(-9))
    data = tiny_jobs.config(tracking={"uri": "sqlite:///mlflow.db"})
    assert not is_wanted(tiny_jobs.spec(tmp_path / "job", data), End(-9))


class Tries(MlflowEnds):
    """Counts instead of starting processes; fails so often."""

    def __init__(self, data: Path, *, failures: int = 0) -> None:
        super().__init__(data)
        self.failures = failures
        self.told: list[str] = []

    def _tell(self, job_id: str) -> bool:
        self.told.append(job_id)
        if len(self.told) <= self.failures:
            return False
        self._mark(job_id).unlink()
        return True


@pytest.fixture
def tries(tmp_path: Path) -> Iterator[Callable[..., Tries]]:
    made: list[Tries] = []

    def make(**settings: Any) -> Tries:
        made.append(Tries(tmp_path, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_it_is_tried_until_it_is_done(
    tmp_path: Path, tries: Callable[..., Tries], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_ends, "FIRST_WAIT", 0.01)
    ends, spec = tries(failures=3), tracked(tmp_path / "jobs/a")
    ends.note(spec, End(-9))
    ends.begin("a")
    wait_for(lambda: not (tmp_path / "jobs/a" / MARK).exists())
    assert ends.told == ["a"] * 4


def test_a_later_service_goes_on_with_it(tmp_path: Path, tries: Callable[..., Tries]) -> None:
    first = tries()
    for name in ("a", "b", "c"):
        first.note(tracked(tmp_path / "jobs" / name), End(-9 if name != "c" else 0))
    (tmp_path / "jobs/c" / MARK).unlink()
    second = tries()
    second.recover(active={"b"})
    wait_for(lambda: not (tmp_path / "jobs/a" / MARK).exists())
    assert second.told == ["a"]
    assert (tmp_path / "jobs/b" / MARK).exists()


def test_what_is_gone_on_with_is_not_told(tmp_path: Path, tries: Callable[..., Tries]) -> None:
    ends = tries()
    ends.note(tracked(tmp_path / "jobs/a"), End(-9))
    ends.forget("a")
    ends.begin("a")
    assert not (tmp_path / "jobs/a" / MARK).exists()
    assert ends.told == []


# ---- with MLflow --------------------------------------------------------------------------------


class Service:
    """A scheduler that runs in a thread, with real attempts."""

    def __init__(self, data: Path, uri: str, *, grace: float) -> None:
        self.data, self.uri = data, uri
        self.store = Store.open(f"sqlite:///{data / 'service.db'}", data=data)
        executor = LocalExecutor(environment=tiny_jobs.environment(data / "hidden"))
        settings = ServiceSettings(data=data, threads=1, grace=grace)
        self.scheduler = Scheduler(self.store, {"local": executor}, settings)
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.scheduler.run, args=(self.stop,))
        self.thread.start()

    def submit(self, data: dict[str, Any]) -> str:
        job_id = self.store.submit(tiny_jobs.new_job(data), actor="ada")[0].id
        self.scheduler.wake.set()
        return job_id

    def state(self, job_id: str) -> JobState:
        return self.store.job(job_id).state

    def record(self, job_id: str) -> RunRecord | None:
        return RunRecord.read(self.data / "jobs" / job_id / "run/tracking.json")

    def pid(self, job_id: str, number: int) -> int | None:
        started = read_record(self.data / f"jobs/{job_id}/attempts/{number}.started.json")
        return started and started["pid"]

    def has_begun(self, job_id: str, number: int) -> bool:
        return (self.data / f"jobs/{job_id}/attempts/{number}.begun.json").exists()

    def close(self) -> None:
        self.stop.set()
        self.scheduler.wake.set()
        self.thread.join(timeout=SECONDS)
        self.store.close()


@pytest.fixture
def service(tmp_path: Path, mlflow_uri: str) -> Iterator[Service]:
    service = Service(tmp_path, mlflow_uri, grace=1.0)
    yield service
    service.close()


def status_of(uri: str, record: RunRecord) -> str:
    return str(client(uri).get_run(record.run_id).info.status)


class TestWithMlflow:
    pytestmark = [pytest.mark.slow, *MLFLOW_MARKS]  # noqa: RUF012

    def test_a_killed_run_is_gone_on_with_and_ended_when_its_job_is(self, service: Service) -> None:
        job_id = service.submit(tiny_jobs.long(tracking={"uri": service.uri}))
        record = wait_for(lambda: service.record(job_id))
        assert status_of(service.uri, record) == "RUNNING"

        # Killed outright, and followed by another attempt, which goes on with the run in MLflow.
        os.kill(service.pid(job_id, 1) or 0, signal.SIGKILL)
        wait_for(lambda: service.has_begun(job_id, 2))
        assert status_of(service.uri, record) == "RUNNING"
        assert not (service.data / "jobs" / job_id / MARK).exists()

        # Killed outright, and nothing follows: it hears no SIGTERM.
        os.kill(service.pid(job_id, 2) or 0, signal.SIGSTOP)
        service.store.cancel(job_id, actor="ada")
        service.scheduler.wake.set()
        wait_for(lambda: service.state(job_id) is JobState.CANCELLED)
        assert service.record(job_id) == record
        wait_for(lambda: status_of(service.uri, record) == "KILLED")
        wait_for(lambda: not (service.data / "jobs" / job_id / MARK).exists())
        log = (service.data / f"jobs/{job_id}/log.txt").read_text()
        assert "MLflow was told what it lacked of run, and that it was KILLED" in log
        entries = read_journal(service.data / f"jobs/{job_id}/run/metrics.jsonl")
        measured = [entry.step for entry in entries if "train/loss" in entry.metrics]
        known = [step for step, _, _ in history(service.uri, record.run_id, "train/loss")]
        assert known == measured
        mlflow = service.store.job(job_id).mlflow
        assert mlflow is not None
        assert mlflow["run_id"] == record.run_id

    def test_a_killed_sweep_and_its_trials_are_ended(self, tmp_path: Path, mlflow_uri: str) -> None:
        directory = tmp_path / "jobs/sweep"
        directory.mkdir(parents=True)
        data = tiny_jobs.sweep(trials=2, jobs=2, steps=10_000_000, tracking={"uri": mlflow_uri})
        spec = tiny_jobs.spec(directory, data, threads=2)
        executor = LocalExecutor(environment=tiny_jobs.environment(tmp_path / "hidden"))
        handle = executor.start(spec)
        run = directory / "run"
        wait_for(lambda: len(list(run.glob("trial-*/tracking.json"))) == 2)
        executor.stop(spec, handle, kill=True)
        end = ended(executor, spec, handle)
        assert is_wanted(spec, end)
        runs = client(mlflow_uri).search_runs(["1"])
        assert [each.info.status for each in runs] == ["RUNNING"] * 3
        assert mlflow_ends.main([str(directory)]) == 0
        runs = client(mlflow_uri).search_runs(["1"])
        assert [each.info.status for each in runs] == ["KILLED"] * 3
