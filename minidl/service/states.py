"""The states of jobs and attempts, and what may follow what.

The two tables at the end are the whole truth about it: the store refuses every step that is not in
them, and the tests walk through them. A *job* is what the user asked for; an *attempt* is one try
at it, one process. An interrupted attempt puts its job back to ``queued``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class JobKind(StrEnum):
    """What a job does."""

    TRAINING = "training"
    SWEEP = "sweep"


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """The job has ended; only a user's retry or resume goes on from here."""
        return self in TERMINAL

    @property
    def is_active(self) -> bool:
        """An attempt of the job may be alive."""
        return self in ACTIVE


class AttemptState(StrEnum):
    """Where an attempt stands."""

    STARTING = "starting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def has_ended(self) -> bool:
        """No process of the attempt is left."""
        return not ATTEMPT_STEPS[self]


class StopReason(StrEnum):
    """Why an attempt was told to stop; written down before it is told."""

    CANCEL = "cancel"
    TIMEOUT = "timeout"
    SHUTDOWN = "shutdown"


#: A later reason takes the place of an earlier one only where it weighs more: who asked for a
#: cancellation gets it, even where the service was about to shut down.
STOP_WEIGHT: Mapping[StopReason, int] = {
    StopReason.SHUTDOWN: 1,
    StopReason.TIMEOUT: 2,
    StopReason.CANCEL: 3,
}


class Mode(StrEnum):
    """How a job's next attempt begins: from the newest checkpoint, or from the start."""

    RESUME = "resume"
    AFRESH = "afresh"


class Role(StrEnum):
    """What a token allows: everything; own jobs; reading."""

    ADMIN = "admin"
    SUBMIT = "submit"
    READ = "read"

    def allows(self, wanted: Role) -> bool:
        """Say whether this role includes another.

        Examples
        --------
        >>> Role.ADMIN.allows(Role.READ), Role.READ.allows(Role.SUBMIT)
        (True, False)
        """
        order = [Role.READ, Role.SUBMIT, Role.ADMIN]
        return order.index(self) >= order.index(wanted)


TERMINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.TIMED_OUT, JobState.CANCELLED})
ACTIVE = frozenset({JobState.STARTING, JobState.RUNNING, JobState.CANCELLING})

#: What may follow each state of a job. A cancellation can come too late: an attempt that had
#: ended by itself ends its job as what it was.
JOB_STEPS: Mapping[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.STARTING, JobState.CANCELLED}),
    JobState.STARTING: frozenset({JobState.RUNNING, JobState.CANCELLING, JobState.QUEUED})
    | TERMINAL - {JobState.CANCELLED},
    JobState.RUNNING: frozenset({JobState.CANCELLING, JobState.QUEUED})
    | TERMINAL - {JobState.CANCELLED},
    JobState.CANCELLING: TERMINAL,
    JobState.SUCCEEDED: frozenset({JobState.QUEUED}),
    JobState.FAILED: frozenset({JobState.QUEUED}),
    JobState.TIMED_OUT: frozenset({JobState.QUEUED}),
    JobState.CANCELLED: frozenset({JobState.QUEUED}),
}

_ENDS = frozenset(
    {
        AttemptState.SUCCEEDED,
        AttemptState.FAILED,
        AttemptState.TIMED_OUT,
        AttemptState.CANCELLED,
        AttemptState.INTERRUPTED,
    }
)
#: What may follow each state of an attempt.
ATTEMPT_STEPS: Mapping[AttemptState, frozenset[AttemptState]] = {
    AttemptState.STARTING: frozenset({AttemptState.RUNNING}) | _ENDS,
    AttemptState.RUNNING: _ENDS,
    **dict.fromkeys(_ENDS, frozenset()),
}

#: The states in which an attempt's end may leave its job.
JOB_AFTER: Mapping[AttemptState, frozenset[JobState]] = {
    AttemptState.SUCCEEDED: frozenset({JobState.SUCCEEDED}),
    AttemptState.FAILED: frozenset({JobState.FAILED, JobState.QUEUED, JobState.CANCELLED}),
    AttemptState.TIMED_OUT: frozenset({JobState.TIMED_OUT}),
    AttemptState.CANCELLED: frozenset({JobState.CANCELLED}),
    # … which puts it back, unless it was to be stopped or makes no progress.
    AttemptState.INTERRUPTED: frozenset(
        {JobState.QUEUED, JobState.FAILED, JobState.CANCELLED, JobState.TIMED_OUT}
    ),
}
