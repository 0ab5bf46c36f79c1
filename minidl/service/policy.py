"""What follows the end of an attempt: a pure function of the job, how it ended, and the time.

======================================================  ==========================================
the attempt                                             the job
======================================================  ==========================================
exits with 0                                            has succeeded, also where it was to be
                                                        stopped: that came too late
exits with 2: the user's error                          has failed, without another try
was told to stop, and ends in any other way             is cancelled, has timed out, or (the service
                                                        shut down) waits in the queue again
exits with 1, or dies of a bug (SIGSEGV, SIGABRT …)     is tried again, later and later, as long as
                                                        there are retries; else it has failed
was killed by the machine (SIGKILL, SIGTERM, power,     waits in the queue again, which costs no
exit 75), or could not be placed                        retry; but not for ever: several such ends
                                                        in a row without a new step, each waited for
                                                        longer, and it has failed
======================================================  ==========================================
"""

from __future__ import annotations

import signal
from dataclasses import dataclass

from minidl.service.executors.executor import End
from minidl.service.records import Job
from minidl.service.states import AttemptState, JobState, StopReason

#: Exit statuses of an attempt (`minidl.service.attempt`).
DONE, USERS_ERROR, REFUSED, TEMPORARY = 0, 2, 3, 75
#: Signals with which a machine, or its owner, ends processes that have done nothing wrong.
OF_THE_MACHINE = frozenset(
    {signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPWR}
    if hasattr(signal, "SIGPWR")
    else {signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}
)
#: So many interruptions in a row, none of which has left a new step, are the job's own fault.
MOST_IDLE_INTERRUPTIONS = 5
#: Seconds before the next attempt, doubled with each one before it.
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 5.0, 600.0
FIRST_IDLE_SECONDS, LONGEST_IDLE_SECONDS = 1.0, 60.0
#: … where it could not be placed: a full disk, say, which is everybody's trouble and may pass.
FIRST_PLACING_SECONDS, LONGEST_PLACING_SECONDS = 15.0, 600.0


@dataclass(frozen=True)
class Verdict:
    """What becomes of an attempt and of its job.

    ``cause`` is a word for why the attempt ended as it did; ``error`` is for the user. With
    ``count_retry`` a retry is spent; ``idle`` counts the interruptions in a row without a new step;
    the next attempt waits until ``not_before``.
    """

    attempt: AttemptState
    job: JobState
    cause: str
    error: str | None = None
    count_retry: bool = False
    idle: int = 0
    not_before: float | None = None


def verdict(
    job: Job, end: End, *, new_steps: bool, run_seconds: float, now: float, placed: bool = True
) -> Verdict:
    """Decide what follows.

    Parameters
    ----------
    end
        How the attempt ended; its status is None where that is not known.
    new_steps
        Whether the attempt has brought the training further than it was.
    run_seconds
        Running time of the job over all attempts, this one included.
    placed
        Whether its process was started at all.
    """
    status, error = end.exit_status, end.error
    if status == DONE:
        return Verdict(AttemptState.SUCCEEDED, JobState.SUCCEEDED, "done")
    if status == USERS_ERROR:
        return Verdict(AttemptState.FAILED, JobState.FAILED, "user_error", error)
    if job.stop_reason is StopReason.CANCEL:
        return Verdict(AttemptState.CANCELLED, JobState.CANCELLED, "cancelled", error)
    if job.stop_reason is StopReason.TIMEOUT:
        error = f"it ran longer than its timeout of {job.timeout:g} s" + (
            f"; {error}" if error else ""
        )
        return Verdict(AttemptState.TIMED_OUT, JobState.TIMED_OUT, "timeout", error)
    if is_interruption(status):
        idle = 0 if new_steps else job.idle_interruptions + 1
        return _interrupted(job, end, idle=idle, run_seconds=run_seconds, now=now, placed=placed)
    return _failed(job, end, now=now)


def is_interruption(status: int | None) -> bool:
    """Whether a process that ended so has done nothing wrong itself."""
    if status is None or status in (REFUSED, TEMPORARY):
        return True
    if status > 128:  # as a shell, or the training after a second signal, tells of a signal
        status = 128 - status
    return -status in OF_THE_MACHINE


def _interrupted(
    job: Job, end: End, *, idle: int, run_seconds: float, now: float, placed: bool
) -> Verdict:
    cause, error = _cause(end.exit_status) if placed else "not_placed", end.error
    if job.stop_reason is StopReason.SHUTDOWN:
        return Verdict(
            AttemptState.INTERRUPTED, JobState.QUEUED, "shutdown", idle=job.idle_interruptions
        )
    if job.timeout is not None and run_seconds >= job.timeout:
        error = f"it ran longer than its timeout of {job.timeout:g} s"
        return Verdict(AttemptState.INTERRUPTED, JobState.TIMED_OUT, cause, error)
    if idle >= MOST_IDLE_INTERRUPTIONS:
        error = (
            f"interrupted {idle} times in a row without a new step; the last time: {error or cause}"
        )
        return Verdict(AttemptState.INTERRUPTED, JobState.FAILED, cause, error, idle=idle)
    wait = None
    if idle and placed:
        wait = _backoff(idle - 1, FIRST_IDLE_SECONDS, LONGEST_IDLE_SECONDS)
    elif idle:
        wait = _backoff(idle - 1, FIRST_PLACING_SECONDS, LONGEST_PLACING_SECONDS)
    return Verdict(
        *(AttemptState.INTERRUPTED, JobState.QUEUED, cause, error),
        idle=idle,
        not_before=None if wait is None else now + wait,
    )


def _failed(job: Job, end: End, *, now: float) -> Verdict:
    cause = _cause(end.exit_status)
    error = end.error or f"the attempt ended with exit status {end.exit_status}"
    if job.retries_used >= job.max_retries:
        return Verdict(AttemptState.FAILED, JobState.FAILED, cause, error)
    wait = _backoff(job.retries_used, FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
    return Verdict(
        *(AttemptState.FAILED, JobState.QUEUED, cause, error),
        count_retry=True,
        not_before=now + wait,
    )


def _cause(status: int | None) -> str:
    if status is None:
        return "lost"
    if status < 0:
        try:
            return signal.Signals(-status).name
        except ValueError:
            return f"signal_{-status}"
    return {TEMPORARY: "told_to_stop", REFUSED: "refused"}.get(status, "exit")


def _backoff(before: int, first: float, longest: float) -> float:
    return min(first * 2.0 ** min(before, 30), longest)
