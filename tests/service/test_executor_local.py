"""Attempts on this machine: what every executor does, and what is this one's own."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import tiny_jobs
from executor_conformance import ExecutorConformance, NewExecutor, at_step, ended, pid_of

from minidl.service.executors.executor import (
    AttemptSpec,
    End,
    ExecutorUnavailableError,
    Observation,
    PlacingError,
    read_record,
)
from minidl.service.executors.local import MARK, LocalExecutor, last_words
from minidl.service.policy import is_interruption

pytestmark = pytest.mark.slow


class Place:
    """A directory of this machine, and executors that work there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = tiny_jobs.environment(directory / "hidden")
        self.made: list[LocalExecutor] = []

    def executor(self, **variables: str) -> LocalExecutor:
        self.made.append(LocalExecutor(environment={**self.environment, **variables}))
        return self.made[-1]

    def spec(self, job: str, data: dict[str, Any] | None = None, **settings: Any) -> AttemptSpec:
        directory = self.directory / job
        directory.mkdir(exist_ok=True)
        return tiny_jobs.spec(directory, data, **settings)

    def close(self) -> None:
        """End what a test has left running."""
        for executor in self.made:
            for process in executor._processes.values():
                process.kill()
                process.wait()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.close()


class TestLocal(ExecutorConformance):
    @pytest.fixture
    def new_executor(self, place: Place) -> NewExecutor:
        return place.executor


def wait_for(what: Callable[[], Any]) -> Any:
    """Return what becomes true in time."""
    end = time.monotonic() + 120.0
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def test_the_lock_is_held_from_before_the_process_until_its_end(place: Place) -> None:
    executor = place.executor()
    spec = place.spec("locked", tiny_jobs.long())
    handle = executor.start(spec)

    def is_held() -> bool:
        with spec.files.lock.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    for _ in range(50):  # while Python is still being loaded
        assert is_held()
        time.sleep(0.005)
    at_step(executor, spec, handle, 1)
    assert is_held()
    executor.stop(spec, handle, kill=True)
    ended(executor, spec, handle)
    assert not is_held()


def test_an_attempt_whose_starter_was_killed_in_between_is_begun_once(place: Place) -> None:
    """The lock was taken and the spec written, and then the service was killed."""
    spec = place.spec("between")
    spec.write()
    spec.files.lock.touch()
    executor = place.executor()
    handle = executor.start(spec)
    assert ended(executor, spec, handle).exit_status == 0, spec.files.log.read_text()


def test_how_an_unseen_attempt_ended_is_not_made_up(place: Place) -> None:
    spec = place.spec("unseen", tiny_jobs.long())
    script = (
        "from minidl.service.executors.local import LocalExecutor as E;"
        "from minidl.service.executors.executor import AttemptSpec as S; from pathlib import Path;"
        f"E().start(S.read(Path({str(place.directory / 'told.json')!r})))"
    )
    (place.directory / "told.json").write_bytes(spec.write().read_bytes())
    spec.files.spec.unlink()
    # A service that starts an attempt and is gone: nobody is the attempt's parent.
    subprocess.run([sys.executable, "-c", script], env=place.environment, check=True, timeout=240)
    executor = place.executor()
    at_step(executor, spec, None, 1)
    os.kill(pid_of(spec), signal.SIGKILL)
    end = ended(executor, spec, None)
    assert end.exit_status is None
    assert "no service was there to see how" in (end.error or "")
    # It is written down: a service that was taken for dead does not begin it again.
    assert executor.start(spec) == "unseen/1"
    assert executor.observe(spec, None) == Observation("lost", end)


def test_signals_are_told_by_their_names(place: Place) -> None:
    executor = place.executor()
    spec = place.spec("crashed", tiny_jobs.long())
    handle = executor.start(spec)
    at_step(executor, spec, handle, 1)
    os.kill(pid_of(spec), signal.SIGSEGV)
    end = ended(executor, spec, handle)
    assert (end.exit_status, end.error) == (-signal.SIGSEGV, "killed by SIGSEGV")
    assert "Segmentation fault" in spec.files.log.read_text(), "with the line where it was"


def test_sigterm_from_elsewhere_too_spoils_no_checkpoint(place: Place) -> None:
    """As from systemd, which signals all processes of a service, and the service then its own."""
    executor, spec = place.executor(), place.spec("twice", tiny_jobs.long())
    handle = executor.start(spec)
    at_step(executor, spec, handle, 1)
    os.kill(pid_of(spec), signal.SIGTERM)
    for each in (executor, place.executor()):
        each.stop(spec, handle, kill=False)
    assert ended(executor, spec, handle).exit_status == 75
    assert "interrupted again" not in spec.files.log.read_text()


def test_what_was_killed_is_gone_on_with_to_the_same_bytes(place: Place) -> None:
    data = tiny_jobs.resolved(steps=40)
    executor, spec = place.executor(), place.spec("same", data)
    handle = executor.start(spec)
    at_step(executor, spec, handle, 1)
    os.kill(pid_of(spec), signal.SIGKILL)
    assert ended(executor, spec, handle).exit_status == -signal.SIGKILL
    second = place.spec("same", data, number=2)
    assert ended(executor, second, executor.start(second)).exit_status == 0
    assert (read_record(second.files.begun) or {})["how"] == "resumed"
    same = tiny_jobs.undisturbed(place.directory / "apart", data)
    assert tiny_jobs.fingerprints(place.directory / "same/run") == same


def test_sigkill_reaches_all_that_is_left_of_a_sweep(place: Place) -> None:
    executor = place.executor()
    spec = place.spec("all", tiny_jobs.sweep(trials=2, jobs=2, steps=10_000_000), threads=2)
    handle = executor.start(spec)
    logs = place.directory / "all/run/logs"
    wait_for(lambda: len(list(logs.glob("*"))) == 2)

    def left() -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == "all/1":
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    wait_for(lambda: len(left()) == 3)
    executor.stop(spec, handle, kill=True)
    ended(executor, spec, handle)
    wait_for(lambda: not left())


def test_without_python_the_reason_is_told(place: Place, tmp_path: Path) -> None:
    spec = place.spec("python")
    executor = LocalExecutor(python=str(tmp_path / "no-python"))
    with pytest.raises(PlacingError, match=r"cannot be started: .*no-python"):
        executor.start(spec)
    seen = executor.observe(spec, None)
    assert seen.state == "lost"
    assert "no-python" in (seen.end or End(None)).error  # type: ignore[operator]


def test_a_module_that_is_missing_is_told_with_its_last_words(place: Place) -> None:
    spec = place.spec("module")
    (place.directory / "bad").mkdir()
    (place.directory / "bad/sitecustomize.py").write_text(
        "import sys\nsys.modules['numpy'] = None\n"
    )
    executor = LocalExecutor(environment={**os.environ, "PYTHONPATH": str(place.directory / "bad")})
    end = ended(executor, spec, executor.start(spec))
    assert end.exit_status == 1
    assert (end.error or "").startswith("exit status 1: ")
    assert "numpy" in (end.error or "")


def test_where_no_directory_can_be_made_nothing_runs(place: Place) -> None:
    (place.directory / "file").write_text("in the way")
    spec = tiny_jobs.spec(place.directory / "file" / "job")
    with pytest.raises(PlacingError, match="cannot be placed"):
        place.executor().start(spec)


def test_a_directory_that_was_taken_away_is_told(place: Place) -> None:
    spec = tiny_jobs.spec(place.directory / "gone")
    seen = place.executor().observe(spec, None)
    assert seen.state == "lost"
    assert "taken away" in (seen.end or End(None)).error  # type: ignore[operator]


def test_a_lock_that_cannot_be_asked_is_no_answer(place: Place) -> None:
    spec = place.spec("odd")
    spec.write()
    spec.files.lock.mkdir()
    for ask in (lambda: place.executor().start(spec), lambda: place.executor().observe(spec, None)):
        with pytest.raises(ExecutorUnavailableError, match="cannot be asked"):
            ask()


def test_a_lock_file_that_was_removed_lets_no_living_attempt_be_lost(place: Place) -> None:
    first = place.executor()
    spec = place.spec("removed", tiny_jobs.long())
    handle = first.start(spec)
    at_step(first, spec, handle, 1)
    spec.files.lock.unlink()
    second = place.executor()
    assert second.observe(spec, handle) == Observation("running")
    second.stop(spec, handle, kill=True)
    assert is_interruption(ended(second, spec, handle).exit_status)


def test_attempts_are_told_how_many_cores_they_have_and_no_secrets(place: Place) -> None:
    secrets = {
        "MINIDL_SERVICE_TOKEN": "minidl_x",
        "RAY_AUTH_TOKEN": "x",
        "MLFLOW_RUN_ID": "x",
    }
    executor = place.executor(**secrets)
    spec = place.spec("told", tiny_jobs.long(), threads=3, environment={"EXTRA": "more"})
    handle = executor.start(spec)
    wait_for(spec.files.started.exists)
    started = read_record(spec.files.started)
    assert started is not None
    seen = psutil.Process(started["pid"]).environ()
    assert (seen["OPENBLAS_NUM_THREADS"], seen["NUMBA_NUM_THREADS"]) == ("3", "3")
    assert (seen["EXTRA"], seen[MARK]) == ("more", "told/1")
    assert not secrets.keys() & seen.keys()
    executor.stop(spec, handle, kill=True)
    ended(executor, spec, handle)


def test_last_words(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert last_words(log) == ""
    log.write_bytes(b"x" * 5000 + b"\nthe end \xff\n\n")
    assert last_words(log) == "the end \N{REPLACEMENT CHARACTER}"
