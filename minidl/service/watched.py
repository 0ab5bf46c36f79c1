"""One attempt as the scheduler watches it: how it is, how long it runs, when it must end.

What stands here is a memory of what the database and the attempt's records say; a scheduler that
begins anew makes it again from these.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path

from minidl.service import run_notes
from minidl.service.executors.executor import (
    AttemptSpec,
    End,
    Executor,
    ExecutorUnavailableError,
    Observation,
    PlacingError,
    chain_of,
    read_record,
)
from minidl.service.records import Attempt, Job
from minidl.service.states import AttemptState

log = logging.getLogger("minidl.service.scheduler")

#: Seconds until an executor that did not answer is asked again, and between two SIGKILLs.
SILENCE_SECONDS, KILL_SECONDS = 2.0, 1.0


@dataclass
class Watched:
    """A living attempt with its job, as they were last read, and its executor.

    Attributes
    ----------
    end
        How it ended, once that is seen; it stays here until it is written down.
    told_at
        When it was told to stop (monotonic seconds).
    """

    job: Job
    attempt: Attempt
    spec: AttemptSpec
    executor: Executor
    handle: str | None = None
    observation: Observation | None = None
    end: End | None = None
    told_at: float | None = None
    begun_told: bool = False
    next_note: float = 0.0
    _runs_since: float | None = None
    _silent_until: float = 0.0
    _next_kill: float = 0.0
    _silence_told: bool = field(default=False, repr=False)

    @classmethod
    def of(cls, job: Job, attempt: Attempt, spec: AttemptSpec, executor: Executor) -> Watched:
        """Watch an attempt, from its beginning or from wherever it is."""
        watched = cls(job, attempt, spec, executor, attempt.handle)
        watched.begun_told = job.progress.get("attempt") == attempt.number
        if attempt.started_at is not None:
            # From the clock once, then monotonic: a clock that is set must not end an attempt.
            watched._runs_since = time.monotonic() - max(0.0, time.time() - attempt.started_at)
        return watched

    @property
    def directory(self) -> Path:
        """The job's directory."""
        return Path(self.spec.directory)

    @property
    def run_seconds(self) -> float:
        """How long this attempt has run."""
        return 0.0 if self._runs_since is None else time.monotonic() - self._runs_since

    @property
    def overdue(self) -> bool:
        """Whether the job has used up its time, over all its attempts."""
        timeout = self.job.timeout
        return timeout is not None and self.job.run_seconds + self.run_seconds >= timeout

    @property
    def runs(self) -> bool:
        """Whether it is known to run, and the database does not say so yet."""
        observation = self.observation
        return (
            self.attempt.state is AttemptState.STARTING
            and self.end is None
            and observation is not None
            and observation.state == "running"
        )

    def note_running(self, attempt: Attempt) -> None:
        """Take over what the database says now; it runs from here on."""
        self.attempt = attempt
        if self._runs_since is None:
            self._runs_since = time.monotonic()

    def look(self) -> None:
        """Place the attempt if that has not been done, and see how it is."""
        if self.end is not None or time.monotonic() < self._silent_until:
            return
        try:
            if self.handle is None and self.job.stop_reason is None:
                self.handle = self.executor.start(self.spec)
            self.observation = self.executor.observe(self.spec, self.handle)
        except PlacingError as error:
            self.end = End(None, str(error), time.time())
        except ExecutorUnavailableError as error:
            self._silence(error)
        else:
            self._silence_told = False
            if self.observation.state in ("ended", "lost"):
                self.end = self.observation.end or End(None)

    def press(self) -> None:
        """Tell an attempt to stop; and when its grace is over, end it."""
        now = time.monotonic()
        if self.end is not None or now < self._silent_until:
            return
        if self.told_at is None:
            self.told_at = now
        kill = now >= self.told_at + self.spec.grace
        if kill and now < self._next_kill:
            return
        try:
            self.executor.stop(self.spec, self.handle, kill=kill)
        except ExecutorUnavailableError as error:
            self._silence(error)
        if kill:
            self._next_kill = now + KILL_SECONDS

    def _silence(self, error: ExecutorUnavailableError) -> None:
        self._silent_until = time.monotonic() + SILENCE_SECONDS
        if not self._silence_told:
            self._silence_told = True
            log.warning("attempt %s of job %s: %s", self.attempt.number, self.job.id, error)

    @property
    def is_at_its_run(self) -> bool:
        """Whether what lies in ``run/`` is of this chain of attempts, and not of one before."""
        return chain_of(self.directory) == self.spec.chain

    def has_new_steps(self) -> bool:
        """Whether the attempt has brought its run further than the run was before."""
        return (
            self.is_at_its_run
            and run_notes.steps(self.directory, self.job.kind) > self.spec.reached
        )

    def steps(self) -> tuple[int | None, int | None]:
        """Return the first and the last step of the attempt, where it has made any."""
        begun = read_record(self.spec.files.begun)
        if begun is None or begun.get("step") is None:
            return None, None
        first = int(begun["step"])
        return first, max(first, run_notes.steps(self.directory, self.job.kind))
