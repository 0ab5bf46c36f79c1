"""What every executor has to pass, on whatever it places its attempts.

A test module derives a class from `ExecutorConformance` and gives it the fixture ``new_executor``,
which makes a further executor over the same machines, as a restarted service does.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_jobs

from minidl.service import run_notes
from minidl.service.executors.executor import (
    AttemptSpec,
    End,
    Executor,
    ExecutorUnavailableError,
    Observation,
    PlacingError,
    read_record,
)
from minidl.service.policy import is_interruption
from minidl.service.states import JobKind
from minidl.train.checkpoint import checkpoints_in, verify_checkpoint

NewExecutor = Callable[[], Executor]
#: Long enough for the slowest machine; no test waits so long for what it expects.
PATIENCE = 240.0


class ExecutorConformance:
    """The tests; `new_executor` is the derived class's."""

    @pytest.fixture
    def new_executor(self) -> NewExecutor:
        raise NotImplementedError

    def wait_for_refusal(self, executor: Executor, handle: str) -> None:
        """Wait until the process of an attempt has ended that could not begin."""
        raise NotImplementedError

    @pytest.fixture
    def executor(self, new_executor: NewExecutor, directory: Path) -> Iterator[Executor]:
        """The first of them; what a test that fails has left at work is ended."""
        executor = new_executor()
        yield executor
        for path in directory.glob("attempts/?.json"):
            spec = AttemptSpec.read(path)
            if spec.files.read_end() is None:
                executor.stop(spec, None, kill=False)
                executor.stop(spec, None, kill=True)

    @pytest.fixture
    def directory(self, tmp_path: Path) -> Path:
        """A job's directory; its name, which is the job's id, is unlike any other test's."""
        found = tmp_path / "jobs" / f"j{time.time_ns():x}"
        found.mkdir(parents=True)
        return found

    def test_trains_to_the_end_as_without_a_service(
        self, new_executor: NewExecutor, executor: Executor, directory: Path, tmp_path: Path
    ) -> None:
        spec = tiny_jobs.spec(directory)
        handle = placed(executor, spec)
        # A service that died before it had noted the handle places it again: nothing comes of it.
        other = new_executor()
        assert placed(other, spec) == handle
        assert ended(other, spec, None).exit_status == 0
        assert ended(executor, spec, handle).exit_status == 0
        placed(executor, spec)  # nor after its end
        assert ended(new_executor(), spec, handle) == spec.files.read_end()
        log = spec.files.log.read_text()
        assert log.count(f"attempt 1 of job {spec.job_id}") == 1
        assert "run FINISHED" in log
        assert tiny_jobs.fingerprints(directory / "run") == tiny_jobs.undisturbed(
            tmp_path / "undisturbed", tiny_jobs.resolved()
        )

    def test_stops_with_a_checkpoint_that_the_next_attempt_takes_up(
        self, new_executor: NewExecutor, executor: Executor, directory: Path
    ) -> None:
        spec = tiny_jobs.spec(directory, tiny_jobs.long())
        handle = placed(executor, spec)
        at_step(executor, spec, handle, 3)
        for teller in (executor, executor, new_executor()):  # a second SIGTERM would spoil it
            told(teller, spec, handle)
        assert ended(executor, spec, handle).exit_status == 75
        reached = step_of(spec)

        following = replace(spec, number=2, overrides=(f"trainer.max_steps={reached + 5}",))
        handle = placed(executor, following)
        assert ended(executor, following, handle).exit_status == 0
        assert step_of(spec) == reached + 5
        begun = read_record(following.files.begun)
        assert begun is not None
        assert (begun["how"], begun["step"]) == ("resumed", reached)

    def test_one_that_hears_no_signal_is_killed(self, executor: Executor, directory: Path) -> None:
        spec = tiny_jobs.spec(directory, tiny_jobs.long(), grace=1.0)
        handle = placed(executor, spec)
        at_step(executor, spec, handle, 1)
        os.kill(pid_of(spec), signal.SIGSTOP)
        told(executor, spec, handle)
        # It runs on; unless its grace is over already, and the executor does not wait to be told.
        seen = look(executor, spec, handle)
        assert seen in (None, Observation("running")) or seen.end is not None
        told(executor, spec, handle, kill=True)
        end = ended(executor, spec, handle)
        assert is_interruption(end.exit_status)
        assert end.error is not None

    def test_one_whose_process_is_killed_is_an_interruption(
        self, executor: Executor, new_executor: NewExecutor, directory: Path
    ) -> None:
        spec = tiny_jobs.spec(directory, tiny_jobs.long())
        handle = placed(executor, spec)
        at_step(executor, spec, handle, 1)
        os.kill(pid_of(spec), signal.SIGKILL)
        end = ended(new_executor(), spec, handle)
        assert is_interruption(end.exit_status)
        assert ended(executor, spec, handle) == end  # whoever asks, and whenever

    def test_a_config_that_is_wrong_is_the_users_error(
        self, executor: Executor, directory: Path
    ) -> None:
        data = tiny_jobs.resolved() | {"optimizer": {"type": "AdamV"}}
        spec = tiny_jobs.spec(directory, data)
        end = ended(executor, spec, placed(executor, spec))
        assert end.exit_status == 2
        assert end.error is not None
        assert "AdamV" in end.error

    def test_works_on_a_sweep(self, executor: Executor, directory: Path) -> None:
        spec = tiny_jobs.spec(directory, tiny_jobs.sweep())
        assert ended(executor, spec, placed(executor, spec)) == spec.files.read_end()
        assert spec.files.read_end().exit_status == 0, spec.files.log.read_text()
        assert (directory / "run" / "study.db").exists()

    def test_never_two_attempts_of_a_job_at_once(self, executor: Executor, directory: Path) -> None:
        spec = tiny_jobs.spec(directory, tiny_jobs.long())
        handle = placed(executor, spec)
        at_step(executor, spec, handle, 1)
        second = replace(spec, number=2)
        try:
            theirs = executor.start(second)
        except (PlacingError, ExecutorUnavailableError):
            pass
        else:  # where the executor cannot know, the attempt's process finds out
            self.wait_for_refusal(executor, theirs)
            assert executor.observe(second, theirs).state != "ended"
        assert not second.files.started.exists()
        at_step(executor, spec, handle, 1)
        told(executor, spec, handle)
        assert ended(executor, spec, handle).exit_status == 75
        assert not second.files.started.exists()


def placed(executor: Executor, spec: AttemptSpec) -> str:
    """Place an attempt, as often as it takes: one that does not answer is asked again."""
    limit = time.monotonic() + PATIENCE
    while True:
        try:
            return executor.start(spec)
        except ExecutorUnavailableError:
            if time.monotonic() > limit:
                raise
        time.sleep(0.2)


def told(executor: Executor, spec: AttemptSpec, handle: str | None, *, kill: bool = False) -> None:
    """Tell an attempt to end, as often as it takes to be heard."""
    limit = time.monotonic() + PATIENCE
    while True:
        try:
            return executor.stop(spec, handle, kill=kill)
        except ExecutorUnavailableError:
            if time.monotonic() > limit:
                raise
        time.sleep(0.2)


def look(executor: Executor, spec: AttemptSpec, handle: str | None) -> Observation | None:
    """Say how an attempt is; None where the executor does not say."""
    try:
        return executor.observe(spec, handle)
    except ExecutorUnavailableError:
        return None


def ended(executor: Executor, spec: AttemptSpec, handle: str | None) -> End:
    """Wait for an attempt's end."""
    limit = time.monotonic() + PATIENCE
    while True:
        seen = look(executor, spec, handle)
        if seen is not None and seen.end is not None:
            assert seen.state == ("lost" if seen.end.exit_status is None else "ended")
            return seen.end
        assert time.monotonic() < limit, f"{seen}\n{_log(spec)}"
        time.sleep(0.1)


def at_step(executor: Executor, spec: AttemptSpec, handle: str | None, step: int) -> None:
    """Wait until an attempt is seen to run, and to have come so far."""
    limit = time.monotonic() + PATIENCE
    directory = Path(spec.directory)
    # Seeing is also what brings the run from a machine far away.
    while (seen := look(executor, spec, handle)) != Observation("running") or (
        run_notes.steps(directory, JobKind.TRAINING) < step
    ):
        assert seen is None or seen.end is None, f"{seen}\n{_log(spec)}"
        assert time.monotonic() < limit, f"{seen}\n{_log(spec)}"
        time.sleep(0.1)


def step_of(spec: AttemptSpec) -> int:
    """The step of the newest whole checkpoint; 0 where there is none."""
    for path in checkpoints_in(Path(spec.directory) / "run" / "checkpoints"):
        return int(verify_checkpoint(path)["step"])
    return 0


def pid_of(spec: AttemptSpec) -> int:
    started = read_record(spec.files.started)
    assert started is not None
    return int(started["pid"])


def _log(spec: AttemptSpec) -> str:
    try:
        return spec.files.log.read_text()
    except OSError:
        return "it has said nothing"
