"""The service with a real Ray cluster behind it, as a user has it: submit, watch, cancel, and kill
whatever can be killed.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_jobs
from ray_head import RAY_MARKS, RayHead
from services import RunningService, start_service

from minidl.service import run_notes
from minidl.service.executors.executor import AttemptFiles, read_record
from minidl.service.ranks import why_no_ranks
from minidl.service.states import JobKind

pytest_plugins = ["ray_head"]
pytestmark = [*RAY_MARKS, pytest.mark.slow]
SECONDS = 180.0
#: Long enough to be caught at it, short enough to be waited for.
STEPS = 800


class Service:
    """A service that sends its attempts to a cluster; it is killed and started again at will."""

    def __init__(self, head: RayHead, data: Path, *options: str) -> None:
        self._head, self._data = head, data
        self._options = ("--executor", "ray", "--ray-address", head.address, *options)
        self.token: str | None = None
        self.now: RunningService
        self.start()

    def start(self) -> None:
        more = ("--ray-python", sys.executable, "--threads", "1", "--concurrency", "2")
        variables = {"RAY_AUTH_TOKEN": self._head.token}
        self.now = start_service(self._data, *self._options, *more, **variables)
        self.token = self.now.token = self.now.token or self.token

    def submit(self, config: dict[str, Any], **more: Any) -> str:
        return str(self.now.submit(config, **more)["id"])

    def ask(self, path: str) -> Any:
        return self.now.ask("GET", f"/v1/jobs/{path}").data

    def attempts(self, job: str) -> list[str]:
        return [attempt["state"] for attempt in self.ask(f"{job}/attempts")["attempts"]]

    def ends(self, job: str) -> str:
        return str(self.now.wait_for(job, seconds=SECONDS)["state"])

    def at_step(self, job: str, step: int) -> None:
        """Wait until a job has come so far, by its files: the service tells it seconds later."""
        limit = time.monotonic() + SECONDS
        directory = self._data / "jobs" / job
        while run_notes.steps(directory, JobKind.TRAINING) < step:
            assert time.monotonic() < limit, "".join(self.now.log[-30:])
            time.sleep(0.05)

    def goes_on(self, job: str, attempt: int) -> None:
        """Wait until an attempt has gone further than the one before it."""
        limit = time.monotonic() + SECONDS
        while (begun := read_record(self.files(job, attempt).begun)) is None:
            assert time.monotonic() < limit, "".join(self.now.log[-30:])
            time.sleep(0.05)
        self.at_step(job, begun["step"] + 3)

    def files(self, job: str, attempt: int) -> AttemptFiles:
        return AttemptFiles(self._data / "jobs" / job, attempt)

    def run(self, job: str) -> Path:
        return self._data / "jobs" / job / "run"


@pytest.fixture
def service(ray_head: RayHead, tmp_path: Path) -> Iterator[Service]:
    found = Service(ray_head, tmp_path / "data")
    yield found
    found.now.stop(seconds=SECONDS)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What becomes of the training of `STEPS` steps when nobody disturbs it."""
    place = tmp_path_factory.mktemp("undisturbed") / "j"
    return tiny_jobs.undisturbed(place, tiny_jobs.resolved(steps=STEPS))


def test_jobs_are_run_followed_and_cancelled(service: Service) -> None:
    training = service.submit(tiny_jobs.config(), name="digits")
    sweep = service.submit(tiny_jobs.config() | {"sweep": tiny_jobs.sweep()["sweep"]})
    # All ranks are on one of the cluster's machines, which has as many cores.
    several = 1 if why_no_ranks() else 2
    long = service.submit(tiny_jobs.config(steps=10_000_000), ranks=several)
    wrong = service.now.ask("POST", "/v1/jobs", {"config": tiny_jobs.config(model={"layers": []})})
    assert wrong.status == 422

    assert service.ends(training) == "succeeded"
    log = service.now.ask("GET", f"/v1/jobs/{training}/log").body.decode()
    assert f"attempt 1 of job {training}" in log
    assert "run FINISHED" in log
    assert service.ask(training)["executor"] == "ray"
    assert service.ask(f"{training}/metrics")["points"]
    assert service.ends(sweep) == "succeeded"

    service.at_step(long, 3)
    assert (f"; {several} ranks;" in service.files(long, 1).log.read_text()) == (several > 1)
    assert service.now.ask("POST", f"/v1/jobs/{long}/cancel").status == 200
    assert service.ends(long) == "cancelled"
    assert service.attempts(long) == ["cancelled"]
    assert service.files(long, 1).read_end().exit_status == 75  # type: ignore[union-attr]
    assert (service.run(long) / "checkpoints" / "last.json").exists()


def test_whatever_is_killed_a_job_ends_once_and_truly(
    service: Service, ray_head: RayHead, expected: dict[str, str]
) -> None:
    config = tiny_jobs.config(steps=STEPS)
    # The attempt's own process.
    job = service.submit(config)
    service.at_step(job, 3)
    started = read_record(service.files(job, 1).started)
    assert started is not None
    os.kill(started["pid"], signal.SIGKILL)
    # The cluster, with the service left to wait for it; Ray ends its jobs' processes itself.
    service.goes_on(job, 2)
    ray_head.kill_head()
    time.sleep(3)
    # No false end: it runs, for all that can be known, or has ended before Ray could end it.
    assert service.ask(job)["state"] in ("running", "succeeded")
    ray_head.start()
    assert service.ends(job) == "succeeded"
    *before, last = service.attempts(job)
    assert (before, last) in [(["interrupted"] * times, "succeeded") for times in (1, 2)]
    assert tiny_jobs.fingerprints(service.run(job)) == expected

    # Told to end, the service has the cluster's attempts write their checkpoints.
    job = service.submit(config)
    service.at_step(job, 3)
    assert service.now.stop(seconds=SECONDS) == 0
    assert service.files(job, 1).read_end().exit_status == 75  # type: ignore[union-attr]
    service.start()
    # The service, killed.
    service.goes_on(job, 2)
    service.now.kill()
    service.start()
    assert service.ends(job) == "succeeded"
    assert service.attempts(job) == ["interrupted", "succeeded"]
    assert tiny_jobs.fingerprints(service.run(job)) == expected


def test_directories_at_a_url(ray_head: RayHead, tmp_path: Path, expected: dict[str, str]) -> None:
    store = f"file://{tmp_path / 'store'}"
    service = Service(ray_head, tmp_path / "data", "--ray-storage", store)
    try:
        job = service.submit(tiny_jobs.config(steps=STEPS))
        service.at_step(job, 3)
        service.now.kill()
        service.start()
        assert service.ends(job) == "succeeded"
        assert service.attempts(job) == ["succeeded"]
        assert tiny_jobs.fingerprints(service.run(job)) == expected
        log = service.now.ask("GET", f"/v1/jobs/{job}/log").body.decode()
        assert log.count("run FINISHED") == 1
    finally:
        service.now.stop(seconds=SECONDS)
