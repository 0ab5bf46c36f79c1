"""What follows the end of an attempt, as a table of all ends and all reasons to stop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from minidl.service import policy
from minidl.service.executors.executor import End
from minidl.service.policy import Verdict, verdict
from minidl.service.records import Job
from minidl.service.states import (
    JOB_AFTER,
    JOB_STEPS,
    AttemptState,
    JobKind,
    JobState,
    Mode,
    StopReason,
)

NOW = 1_000_000.0
JOB = Job(
    id="0123456789abcdef",
    kind=JobKind.TRAINING,
    name=None,
    owner="ada",
    state=JobState.RUNNING,
    stop_reason=None,
    error=None,
    labels={},
    priority=0,
    timeout=None,
    max_retries=0,
    retries_used=0,
    idle_interruptions=0,
    created_at=NOW,
    queued_at=NOW,
    started_at=NOW,
    ended_at=None,
    attempts=1,
    run_seconds=0.0,
    executor="local",
    progress={},
    result={},
    mlflow=None,
    mode=Mode.RESUME,
    overrides=(),
    not_before=None,
    files_removed_at=None,
)

DONE, FAILED, USER, REFUSED, TOLD = 0, 1, 2, 3, 75
SEGV, ABRT, BUS, TERM, KILL, INT, HUP = -11, -6, -7, -15, -9, -2, -1
#: What is the machine's doing, and what the training's own.
OF_THE_MACHINE = [REFUSED, TOLD, TERM, KILL, INT, HUP, 130, 143, 137, None]
OWN = [FAILED, 5, SEGV, ABRT, BUS, 139, 134]
STOPS = [None, StopReason.CANCEL, StopReason.TIMEOUT, StopReason.SHUTDOWN]


def judge(
    status: int | None,
    *,
    error: str | None = None,
    new_steps: bool = True,
    run_seconds: float = 1.0,
    placed: bool = True,
    **job: Any,
) -> Verdict:
    end = End(status, error, NOW)
    told = {"new_steps": new_steps, "run_seconds": run_seconds, "placed": placed}
    return verdict(replace(JOB, **job), end, now=NOW, **told)  # type: ignore[arg-type]


def expected(status: int | None, stop: StopReason | None) -> tuple[AttemptState, JobState]:
    """The table of `minidl.service.policy`, for a job without retries that makes steps."""
    if status == DONE:
        return AttemptState.SUCCEEDED, JobState.SUCCEEDED
    if status == USER:
        return AttemptState.FAILED, JobState.FAILED
    if stop is StopReason.CANCEL:
        return AttemptState.CANCELLED, JobState.CANCELLED
    if stop is StopReason.TIMEOUT:
        return AttemptState.TIMED_OUT, JobState.TIMED_OUT
    if status in OF_THE_MACHINE:
        return AttemptState.INTERRUPTED, JobState.QUEUED
    return AttemptState.FAILED, JobState.FAILED


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("status", [DONE, USER, *OF_THE_MACHINE, *OWN])
def test_every_end_under_every_reason_to_stop(status: int | None, stop: StopReason | None) -> None:
    decided = judge(status, stop_reason=stop, timeout=60.0)
    assert (decided.attempt, decided.job) == expected(status, stop)
    assert not decided.count_retry
    assert decided.job in JOB_AFTER[decided.attempt]
    state = JobState.CANCELLING if stop is StopReason.CANCEL else JobState.RUNNING
    assert decided.job in JOB_STEPS[state], "the store would refuse it"


@pytest.mark.parametrize("status", OWN)
def test_failures_are_tried_again_later_and_later_as_often_as_was_asked_for(status: int) -> None:
    waits = []
    for used in range(3):
        decided = judge(status, max_retries=3, retries_used=used)
        assert (decided.attempt, decided.job) == (AttemptState.FAILED, JobState.QUEUED)
        assert decided.count_retry
        assert decided.not_before is not None
        waits.append(decided.not_before - NOW)
    assert waits == [5.0, 10.0, 20.0]
    last = judge(status, max_retries=3, retries_used=3)
    assert (last.job, last.count_retry) == (JobState.FAILED, False)
    many = judge(status, max_retries=1000, retries_used=999)
    assert many.not_before == NOW + policy.LONGEST_RETRY_SECONDS


def test_an_error_of_the_user_is_not_tried_again() -> None:
    decided = judge(USER, error="data: no such root", max_retries=3)
    assert (decided.job, decided.count_retry) == (JobState.FAILED, False)
    assert (decided.cause, decided.error) == ("user_error", "data: no such root")


@pytest.mark.parametrize("status", OF_THE_MACHINE)
def test_an_interruption_costs_no_retry_and_no_time(status: int | None) -> None:
    decided = judge(status, max_retries=2, retries_used=2, idle_interruptions=4)
    assert (decided.job, decided.count_retry) == (JobState.QUEUED, False)
    assert (decided.idle, decided.not_before) == (0, None), "it has made new steps"


@pytest.mark.parametrize("status", OF_THE_MACHINE)
def test_interruptions_without_a_new_step_come_to_an_end(status: int | None) -> None:
    waits = []
    for before in range(policy.MOST_IDLE_INTERRUPTIONS - 1):
        decided = judge(status, new_steps=False, idle_interruptions=before)
        assert (decided.job, decided.idle) == (JobState.QUEUED, before + 1)
        assert decided.not_before is not None
        waits.append(decided.not_before - NOW)
    assert waits == [1.0, 2.0, 4.0, 8.0]
    last = judge(status, error="killed by SIGKILL", new_steps=False, idle_interruptions=4)
    assert (last.attempt, last.job) == (AttemptState.INTERRUPTED, JobState.FAILED)
    assert last.error == (
        "interrupted 5 times in a row without a new step; the last time: killed by SIGKILL"
    )


def test_what_cannot_be_placed_is_waited_for_longer() -> None:
    waits = []
    for before in range(policy.MOST_IDLE_INTERRUPTIONS - 1):
        decided = judge(None, new_steps=False, idle_interruptions=before, placed=False)
        assert (decided.job, decided.cause) == (JobState.QUEUED, "not_placed")
        assert decided.not_before is not None
        waits.append(decided.not_before - NOW)
    assert waits == [15.0, 30.0, 60.0, 120.0]
    error = "no space left on device"
    last = judge(None, error=error, new_steps=False, idle_interruptions=4, placed=False)
    assert last.job is JobState.FAILED
    assert last.error == f"interrupted 5 times in a row without a new step; the last time: {error}"


def test_a_shutdown_is_not_the_jobs_fault() -> None:
    decided = judge(TOLD, new_steps=False, idle_interruptions=4, stop_reason=StopReason.SHUTDOWN)
    assert (decided.job, decided.idle, decided.cause) == (JobState.QUEUED, 4, "shutdown")


def test_a_failure_while_the_service_shuts_down_is_a_failure() -> None:
    decided = judge(FAILED, max_retries=1, stop_reason=StopReason.SHUTDOWN)
    assert (decided.attempt, decided.job) == (AttemptState.FAILED, JobState.QUEUED)
    assert decided.count_retry


def test_a_job_whose_time_is_used_up_does_not_go_on() -> None:
    decided = judge(KILL, timeout=60.0, run_seconds=60.0)
    assert (decided.attempt, decided.job) == (AttemptState.INTERRUPTED, JobState.TIMED_OUT)
    assert decided.error == "it ran longer than its timeout of 60 s"
    assert judge(KILL, timeout=60.0, run_seconds=59.0).job is JobState.QUEUED


def test_what_went_wrong_is_told_with_the_reason_to_stop() -> None:
    decided = judge(FAILED, error="disk full", timeout=90.0, stop_reason=StopReason.TIMEOUT)
    assert decided.error == "it ran longer than its timeout of 90 s; disk full"
    assert judge(FAILED, error="disk full", stop_reason=StopReason.CANCEL).error == "disk full"


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (DONE, "done"),
        (FAILED, "exit"),
        (SEGV, "SIGSEGV"),
        (KILL, "SIGKILL"),
        (-40, "signal_40"),
        (TOLD, "told_to_stop"),
        (REFUSED, "refused"),
        (None, "lost"),
    ],
)
def test_causes_are_words(status: int | None, cause: str) -> None:
    assert judge(status).cause == cause
