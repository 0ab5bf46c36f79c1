"""Attempts on a real Ray cluster."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import tiny_jobs
from executor_conformance import (
    PATIENCE,
    ExecutorConformance,
    NewExecutor,
    at_step,
    ended,
    look,
    placed,
    told,
)
from ray_head import RAY_MARKS, RayHead

from minidl.service.executors.executor import (
    Executor,
    ExecutorUnavailableError,
    Observation,
)
from minidl.service.executors.ray import RayExecutor
from minidl.service.executors.ray_jobs import RayJobs
from minidl.service.executors.stored_place import StoredPlace

pytest_plugins = ["ray_head"]
pytestmark = [*RAY_MARKS, pytest.mark.slow]


@pytest.fixture
def new_ray(ray_head: RayHead) -> Iterator[NewExecutor]:
    """Make executors on the cluster."""
    made = []

    def make() -> RayExecutor:
        made.append(RayExecutor(ray_head.jobs(), python=sys.executable, poll_seconds=0.2))
        return made[-1]

    yield make
    for executor in made:
        executor.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A job's directory; its name, which is the job's id, is unlike any other test's."""
    found = tmp_path / f"j{time.time_ns():x}"
    found.mkdir()
    return found


class TestSharedDirectory(ExecutorConformance):
    """Job directories on a disk that the cluster's machines share with the service."""

    @pytest.fixture
    def new_executor(self, new_ray: NewExecutor) -> NewExecutor:
        return new_ray

    def wait_for_refusal(self, executor: Executor, handle: str) -> None:
        jobs = executor._jobs  # type: ignore[attr-defined]
        until(lambda: jobs.find(handle), lambda job: job is not None and job.over)


class TestStorage(ExecutorConformance):
    """Job directories at a URL."""

    # What is left is the business of the process that stores the directory: `test_ray_storage`.
    test_works_on_a_sweep = None
    test_one_whose_process_is_killed_is_an_interruption = None
    test_a_config_that_is_wrong_is_the_users_error = None

    @pytest.fixture
    def new_executor(self, ray_head: RayHead, tmp_path: Path) -> Iterator[NewExecutor]:
        made = []

        def make() -> RayExecutor:
            place = StoredPlace(f"file://{tmp_path / 'store'}", give_up_seconds=12.0)
            place.closing_seconds = 3.0  # not for the grace that a store far away needs
            python, jobs = sys.executable, ray_head.jobs()
            made.append(RayExecutor(jobs, python=python, place=place, poll_seconds=0.2))
            return made[-1]

        yield make
        for executor in made:
            executor.close()


class TestCluster:
    """What only a cluster does."""

    def test_what_waits_for_cores_is_ended_at_once_and_never_begins(
        self, new_ray: NewExecutor, ray_head: RayHead, directory: Path
    ) -> None:
        executor = new_ray()
        busy = tiny_jobs.spec(directory / "busy", tiny_jobs.long(), threads=2)
        late = tiny_jobs.spec(directory / "late", tiny_jobs.long())
        for spec in (busy, late):
            Path(spec.directory).mkdir()
        at_step(executor, busy, placed(executor, busy), 1)
        handle = placed(executor, late)
        time.sleep(3)
        assert look(executor, late, handle) in (None, Observation("waiting"))
        told(executor, late, handle)
        assert ended(executor, late, handle).exit_status == -15

        told(executor, busy, None)
        assert ended(executor, busy, None).exit_status == 75
        with closing(ray_head.jobs()) as jobs:  # its turn comes
            refused = until(lambda: jobs.find(handle), lambda job: job is not None and job.over)
        assert refused is not None
        assert refused.exit_code == 3 or refused.status == "STOPPED"
        assert not late.files.started.exists()
        assert not late.files.log.exists()

    def test_a_cluster_without_our_python_says_so(self, ray_head: RayHead, directory: Path) -> None:
        with closing(RayExecutor(ray_head.jobs(), python="/nowhere/python")) as executor:
            spec = tiny_jobs.spec(directory)
            end = ended(executor, spec, placed(executor, spec))
        assert end.exit_status == 1
        assert end.error is not None
        assert "could not begin on the cluster" in end.error
        assert "/nowhere/python" in end.error
        assert "/nowhere/python: not found" in spec.files.log.read_text()

    def test_a_wrong_token_is_told(self, ray_head: RayHead, directory: Path) -> None:
        refused = pytest.raises(ExecutorUnavailableError, match=r"refuses the token \(HTTP 403\)")
        with closing(RayJobs(ray_head.address, token="guessed")) as jobs, refused:
            jobs.check()
        with closing(ray_head.jobs()) as jobs:
            assert int(jobs.check().partition(".")[0]) >= 2


def until(ask: Callable[[], Any], enough: Callable[[Any], bool]) -> Any:
    limit = time.monotonic() + PATIENCE
    while True:
        with suppress(ExecutorUnavailableError):
            if enough(seen := ask()):
                return seen
        assert time.monotonic() < limit
        time.sleep(0.2)
