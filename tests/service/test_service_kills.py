"""The whole of it, `minidl service` over HTTP: killed outright, and told to end; with a sweep."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import tiny_jobs
from attempt_processes import alive, standing_still
from services import RunningService, StartService

from minidl.service.executors.executor import read_record
from minidl.train.run_directory import RunDirectory

pytest_plugins = ["services"]
pytestmark = pytest.mark.slow

SECONDS = 240.0
#: Seconds of training, so that there is something to be killed.
STEPS = 4000
SELDOM = {
    "trainer": {
        "log_every": 500,
        "checkpoint_every": [100, "steps"],
        "validate_every": [2000, "steps"],
    }
}


class Killed:
    """A service that is killed and started again in one data directory, and its first token."""

    def __init__(self, start: StartService, folder: Path) -> None:
        self._start = start
        self.path = tiny_jobs.environment(folder / "hidden")["PYTHONPATH"]
        self.now = self.start()
        self.token = self.now.token
        self.data = self.now.data

    def start(self) -> RunningService:
        options = ("--concurrency", "2", "--threads", "2", "--grace", "20")
        self.now = self._start("data", *options, PYTHONPATH=self.path)
        return self.now

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.now.ask(method, path, body, token=self.token)
        assert answer.status < 300, answer.body
        return answer.data

    def job(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("GET", f"/v1/jobs/{job_id}")
        return found

    def attempts(self, job_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("GET", f"/v1/jobs/{job_id}/attempts")["attempts"]
        return found

    def pid(self, job_id: str) -> int | None:
        """The process of a job's newest attempt."""
        number = self.job(job_id)["attempts"]
        started = read_record(self.data / f"jobs/{job_id}/attempts/{number}.started.json")
        return None if started is None else int(started["pid"])

    def begun(self, job_id: str) -> bool:
        """Whether a job's newest attempt has begun to train."""
        folder = self.data / f"jobs/{job_id}/attempts"
        number = self.job(job_id)["attempts"]
        return number > 0 and (folder / f"{number}.begun.json").exists()


def _kill(pid: int | None) -> None:
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def wait_for(what: Callable[[], Any]) -> Any:
    end = time.monotonic() + SECONDS
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


@pytest.fixture
def killed(start: StartService, tmp_path: Path) -> Killed:
    return Killed(start, tmp_path)


def submission(data: dict[str, Any]) -> dict[str, Any]:
    """What may be submitted of a config: where its runs lie is the service's."""
    kept = {name: section for name, section in data.items() if section is not None}
    return {"config": kept}


def test_killed_and_told_to_end_every_job_ends_as_it_should(killed: Killed, tmp_path: Path) -> None:
    training = tiny_jobs.config(steps=STEPS, **SELDOM)
    long_one = killed.ask("POST", "/v1/jobs", submission(training))["id"]
    sweep_of = {
        **tiny_jobs.config(steps=STEPS, **SELDOM),
        "sweep": {"parameters": {"optimizer.lr": [0.01, 0.002]}, "metric": "val/loss", "jobs": 2},
    }
    sweep = killed.ask("POST", "/v1/jobs", submission(sweep_of))["id"]
    assert killed.job(sweep)["kind"] == "sweep"

    wait_for(lambda: killed.begun(long_one) and killed.begun(sweep))
    with standing_still(killed.data):  # or they might have ended before the service is back
        killed.now.kill()  # attempts go on …
        killed.start()  # … and are taken up
        assert [len(killed.attempts(job_id)) for job_id in (long_one, sweep)] == [1, 1]
        _kill(killed.pid(sweep))  # its trials end with it, and another attempt goes on with them
    wait_for(lambda: killed.job(sweep)["attempts"] == 2)
    started = [killed.pid(job_id) for job_id in (long_one, sweep)]
    killed.now.kill()
    for pid in started:  # both at once, and nobody sees how they end
        _kill(pid)
    killed.start()
    wait_for(lambda: killed.begun(sweep))
    assert (
        killed.now.stop(seconds=SECONDS) == 0
    )  # told to end: checkpoints are written, and nothing is left
    assert alive(killed.data) == []
    killed.start()
    for job_id in (long_one, sweep):
        wait_for(lambda: killed.job(job_id)["ended_at"])  # noqa: B023
        job, attempts = killed.job(job_id), killed.attempts(job_id)
        assert (job["state"], job["error"], job["retries_used"]) == ("succeeded", None, 0), attempts
        assert {attempt["state"] for attempt in attempts[:-1]} <= {"interrupted"}
        assert attempts[-1]["state"] == "succeeded"

    whole = tiny_jobs.undisturbed(
        tmp_path / "whole", tiny_jobs.resolved(steps=STEPS, **SELDOM), threads=2
    )
    assert tiny_jobs.fingerprints(killed.data / f"jobs/{long_one}/run") == whole
    assert killed.job(long_one)["progress"]["step"] == STEPS
    run = killed.data / f"jobs/{sweep}/run"
    trials = sorted(run.glob("trial-*"))
    assert [RunDirectory(trial).status() for trial in trials] == ["FINISHED", "FINISHED"]
    assert killed.job(sweep)["progress"]["finished"] == 2
    assert killed.job(sweep)["result"]["best"]["number"] in (0, 1)
