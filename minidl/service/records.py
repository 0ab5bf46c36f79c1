"""What the store gives and takes: plain records, which know nothing of the database.

Times are seconds since 1970 (UTC) as floats; mappings hold plain data that JSON has a form for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from minidl.service.states import AttemptState, JobKind, JobState, Mode, Role, StopReason

T = TypeVar("T")

PRIORITIES = range(-100, 101)
#: Characters of a name, a label's key or value, an Idempotency-Key: indices hold them.
MAX_TEXT = 200
MAX_LABELS = 32
MAX_RETRIES = 100
MAX_RANKS = 1024


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A submission that has been checked.

    Attributes
    ----------
    config_text
        The config as it was submitted.
    config
        The same, read and resolved, as plain data.
    idempotency_key
        What the submitter calls this submission: a second one of the same name is the same.
    timeout
        Seconds of running time, over all attempts.
    max_retries
        How often a failed attempt is followed by another.
    ranks
        Processes of an attempt that train together.

    Raises
    ------
    ValueError
        The store cannot keep it so.
    """

    kind: JobKind
    config_text: str
    config: Mapping[str, Any]
    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0
    timeout: float | None = None
    max_retries: int = 0
    ranks: int = 1
    idempotency_key: str | None = None

    def __post_init__(self) -> None:
        texts = {"the name": self.name, "the Idempotency-Key": self.idempotency_key}
        texts |= {f"the key {key!r} of a label": key for key in self.labels}
        texts |= {f"the value of label {key!r}": value for key, value in self.labels.items()}
        for what, text in texts.items():
            if text is not None:
                check_text(what, text)
        if len(self.labels) > MAX_LABELS:
            raise ValueError(f"a job has at most {MAX_LABELS} labels, got {len(self.labels)}")
        if "\0" in self.config_text:
            raise ValueError("the config has a NUL character, which YAML does not know")
        if self.priority not in PRIORITIES:
            lowest, highest = PRIORITIES[0], PRIORITIES[-1]
            raise ValueError(f"a priority is {lowest} to {highest}, got {self.priority}")
        if self.timeout is not None and not 0 < self.timeout < math.inf:
            raise ValueError(f"a timeout is a positive number of seconds, got {self.timeout}")
        if not 0 <= self.max_retries <= MAX_RETRIES:
            raise ValueError(f"max_retries is 0 to {MAX_RETRIES}, got {self.max_retries}")
        if not 1 <= self.ranks <= MAX_RANKS:
            raise ValueError(f"ranks is 1 to {MAX_RANKS}, got {self.ranks}")


def check_text(what: str, text: str) -> None:
    """Raise ValueError where a text is too long to be looked up, or cannot be shown in a line."""
    if len(text) > MAX_TEXT:
        raise ValueError(f"{what} has {len(text)} characters, and {MAX_TEXT} are allowed")
    if not text.isprintable():
        raise ValueError(f"{what} has characters that cannot be printed: {text!r}")


@dataclass(frozen=True, kw_only=True)
class Quota:
    """How many jobs may wait at the same time: of one owner, and of all."""

    per_owner: int | None = None
    total: int | None = None


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as it stands in the store.

    Attributes
    ----------
    stop_reason
        Why its attempt was told to stop.
    error
        What went wrong last.
    ranks
        Processes of an attempt that train together.
    retries_used, idle_interruptions
        Of the budget of retries; interruptions in a row without a new step.
    queued_at
        Since when it stands in line; an interruption leaves its place as it was.
    attempts
        How many there were; they count on after a retry or resume.
    run_seconds
        Time that attempts ran since it was submitted, retried or resumed.
    progress
        epoch, epochs, step, total_steps and the metrics of the last point.
    result
        metrics, best, monitor … of the run's summary.
    mlflow
        run_id, experiment_id, url.
    mode, overrides
        How the next attempt begins, and what it changes in the config.
    config_text, config
        As submitted, and resolved; both empty in lists, which do not load them.
    not_before
        The next attempt waits until then.
    files_removed_at
        When retention removed its files: then it can be retried, but not resumed.
    """

    id: str
    kind: JobKind
    name: str | None
    owner: str
    state: JobState
    stop_reason: StopReason | None
    error: str | None
    labels: Mapping[str, str]
    priority: int
    timeout: float | None
    max_retries: int
    retries_used: int
    idle_interruptions: int
    created_at: float
    queued_at: float
    started_at: float | None
    ended_at: float | None
    attempts: int
    run_seconds: float
    executor: str | None
    progress: Mapping[str, Any]
    result: Mapping[str, Any]
    mlflow: Mapping[str, Any] | None
    mode: Mode
    overrides: Sequence[str]
    not_before: float | None
    files_removed_at: float | None
    ranks: int = 1
    config_text: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One try at a job.

    Attributes
    ----------
    handle
        What the executor knows it by; None until it has been placed.
    cause
        A word for why it ended as it did, for example ``signal`` or ``exit``.
    """

    job_id: str
    number: int
    state: AttemptState
    executor: str
    handle: str | None
    host: str
    mode: Mode
    created_at: float
    started_at: float | None
    ended_at: float | None
    exit_status: int | None
    cause: str | None
    error: str | None
    first_step: int | None
    last_step: int | None


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to a job, or that someone did. Ids grow in the order of commits."""

    id: int
    at: float
    kind: str
    actor: str
    job_id: str | None
    data: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class TokenRecord:
    """What is known of a token; its text is told once, when it is made."""

    id: str
    user: str
    role: Role
    label: str | None
    created_at: float
    created_by: str
    expires_at: float | None
    revoked_at: float | None
    last_used_at: float | None


@dataclass(frozen=True, kw_only=True)
class JobFilter:
    """Which jobs: all given conditions hold.

    Attributes
    ----------
    states
        One of these; empty: any.
    labels
        All of these.
    q
        The id begins with it, or the name contains it (in any case).
    """

    states: Sequence[JobState] = ()
    owner: str | None = None
    kind: JobKind | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    q: str | None = None


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some of the items, and the cursor to ask for the next ones; None: there are no more."""

    items: Sequence[T]
    next_cursor: str | None
