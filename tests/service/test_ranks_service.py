"""A service's jobs of two ranks: a rank is killed, the service is, and jobs are told to end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_jobs
from attempt_processes import alive, ranks, standing_still
from executor_conformance import ended, step_of
from services import RunningService, StartService

from minidl.service import run_notes
from minidl.service.executors.executor import AttemptFiles, read_record
from minidl.service.executors.local import LocalExecutor
from minidl.service.ranks import why_no_ranks
from minidl.service.states import JobKind
from minidl.train.checkpoint import checkpoints_in, verify_checkpoint

pytest_plugins = ["services"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(why_no_ranks() is not None, reason=str(why_no_ranks())),
]

SECONDS = 240.0
STEPS = 200
OPTIONS = ("--concurrency", "1", "--threads", "2", "--grace", "60")


def wait_for(what: Callable[[], Any]) -> Any:
    end = time.monotonic() + SECONDS
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


@pytest.fixture
def quiet(tmp_path: Path) -> str:
    """A PYTHONPATH with which trainings draw no plots."""
    return tiny_jobs.environment(tmp_path / "hidden")["PYTHONPATH"]


@pytest.fixture
def services(start: StartService, quiet: str) -> Callable[[], RunningService]:
    """Start a service, and the next one in the same directory with the same token."""
    token: list[str] = []

    def begin() -> RunningService:
        service = start("data", *OPTIONS, PYTHONPATH=quiet)
        token.extend([service.token] if service.token else [])
        service.token = token[0]
        return service

    return begin


def steps(directory: Path) -> int:
    return run_notes.steps(directory, JobKind.TRAINING)


def test_a_killed_rank_and_a_killed_service_lose_nothing(
    services: Callable[[], RunningService], tmp_path: Path
) -> None:
    service = services()
    job = service.submit(tiny_jobs.config(steps=STEPS), ranks=2)
    assert (job["ranks"], job["state"]) == (2, "queued")
    directory = service.data / "jobs" / job["id"]
    wait_for(lambda: steps(directory) >= 3)
    with standing_still(directory):  # or it might end before the service is back
        service.kill()  # the attempt goes on …
        service = services()  # … and is taken up
        both = ranks(directory)
        assert len(both) == 2
        os.kill(both[-1], signal.SIGKILL)
    killed = time.monotonic()
    first = AttemptFiles(directory, 1)
    wait_for(lambda: first.end.exists())
    assert time.monotonic() - killed < 30  # what is promised; it takes a moment
    assert not set(both) & set(ranks(directory))
    for path in checkpoints_in(directory / "run" / "checkpoints"):
        verify_checkpoint(path)
    assert service.wait_for(job["id"], seconds=SECONDS)["state"] == "succeeded"
    attempts = service.ask("GET", f"/v1/jobs/{job['id']}/attempts").data["attempts"]
    assert [attempt["state"] for attempt in attempts] == ["interrupted", "succeeded"]
    assert (attempts[0]["cause"], attempts[0]["exit_status"]) == ("SIGKILL", -9)
    assert "one of 2 ranks was killed by SIGKILL" in attempts[0]["error"]
    begun = read_record(AttemptFiles(directory, 2).begun) or {}
    assert begun["how"] == "resumed"
    assert begun["step"] >= 3
    whole = tmp_path / "whole" / "j"
    assert tiny_jobs.fingerprints(directory / "run") == tiny_jobs.undisturbed(
        whole, tiny_jobs.resolved(steps=STEPS), ranks=2
    )


def test_told_to_end_all_ranks_do(services: Callable[[], RunningService]) -> None:
    service = services()
    endless = tiny_jobs.config(steps=10_000_000)
    job = service.submit(endless, ranks=2)["id"]
    behind = service.submit(endless, ranks=2, timeout=2.0)["id"]
    directory = service.data / "jobs" / job
    wait_for(lambda: steps(directory) >= 3)
    assert service.ask("GET", f"/v1/jobs/{behind}").data["queue_position"] == 1
    assert service.ask("POST", f"/v1/jobs/{job}/cancel").status == 200
    assert service.wait_for(job, seconds=SECONDS)["state"] == "cancelled"
    assert AttemptFiles(directory, 1).read_end().exit_status == 75  # type: ignore[union-attr]
    assert (directory / "run" / "checkpoints" / "last.json").exists()
    wait_for(lambda: not alive(directory))
    # Its time is up, whether it has begun to train by then or not.
    assert service.wait_for(behind, seconds=SECONDS)["state"] == "timed_out"
    wait_for(lambda: not alive(service.data))
    assert service.stop(seconds=SECONDS) == 0


def test_ranks_do_not_outlive_the_process_that_started_them(tmp_path: Path) -> None:
    executor = LocalExecutor(environment=tiny_jobs.environment(tmp_path / "hidden"))
    directory = tmp_path / "jobs" / "orphaned"
    directory.mkdir(parents=True)
    spec = tiny_jobs.spec(directory, tiny_jobs.long(), ranks=2, threads=2)
    handle = executor.start(spec)
    try:
        wait_for(lambda: steps(directory) >= 2)
        os.kill((read_record(spec.files.started) or {})["pid"], signal.SIGKILL)
        assert ended(executor, spec, handle).exit_status == -signal.SIGKILL
        wait_for(lambda: not alive(directory))
    finally:
        executor.stop(spec, handle, kill=True)
    reached = step_of(spec)
    changes = (f"trainer.max_steps={reached + 3}",)
    second = tiny_jobs.spec(
        directory, tiny_jobs.long(), ranks=2, threads=2, number=2, overrides=changes
    )
    assert ended(executor, second, executor.start(second)).exit_status == 0
    assert (read_record(second.files.begun) or {})["step"] == reached
    assert step_of(second) == reached + 3


def test_what_is_wrong_in_one_rank_is_told_once(tmp_path: Path) -> None:
    executor = LocalExecutor(environment=tiny_jobs.environment(tmp_path / "hidden"))
    directory = tmp_path / "jobs" / "wrong"
    directory.mkdir(parents=True)
    data = tiny_jobs.resolved() | {"optimizer": {"type": "AdamV"}}
    spec = tiny_jobs.spec(directory, data, ranks=2, threads=2)
    end = ended(executor, spec, executor.start(spec))
    assert end.exit_status == 2
    assert "AdamV" in (end.error or "")
    log = spec.files.log.read_text()
    assert log.count("AdamV") == 1
    assert "Traceback" not in log
