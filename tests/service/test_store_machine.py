"""The store against a model of it that fits on a page: any calls, in any order, on both databases.

Hypothesis makes up what users, the scheduler, a second scheduler and restarts do, and shortens what
goes wrong. After each step the jobs are what the model says, and of each at most one attempt lives.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from databases import Clock, PostgreSQLDatabases, new_job
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from minidl.service.states import (
    ATTEMPT_STEPS,
    JOB_AFTER,
    JOB_STEPS,
    STOP_WEIGHT,
    AttemptState,
    JobState,
    Mode,
    StopReason,
)
from minidl.service.store import (
    KeyReusedError,
    LostLeadershipError,
    NotFoundError,
    Store,
    WrongStateError,
)
from minidl.service.tables import metadata

pytest_plugins = ["databases"]

#: How an attempt and its job can end together; and any two, most of which cannot.
TOGETHER = [(state, job_state) for state, after in JOB_AFTER.items() for job_state in sorted(after)]
ANY_TWO = st.tuples(st.sampled_from(AttemptState), st.sampled_from(JobState))


@dataclass
class Modelled:
    """A job, as the model knows it."""

    owner: str
    priority: int
    queued_at: float
    state: JobState = JobState.QUEUED
    stop_reason: StopReason | None = None
    attempts: list[AttemptState] = field(default_factory=list)
    has_files: bool = True


class StoreMachine(RuleBasedStateMachine):
    """What may be done, what the model makes of it, and what must be true after it."""

    ids = Bundle("ids")

    def __init__(self, open_store: Callable[[Clock], Store]) -> None:
        super().__init__()
        self.clock = Clock()
        self.open = lambda: open_store(self.clock)
        self.store = self.open()
        self.leader: Any = self.store.lead("first")
        self.deposed: Any = None
        self.model: dict[str, Modelled] = {}
        self.keys: dict[tuple[str, str], tuple[str, int]] = {}

    def teardown(self) -> None:
        self.leader.release()
        self.store.close()

    def attempt_or_refused(self, allowed: bool, call: Callable[[], Any]) -> bool:
        """Call it; it is refused exactly where the model says so."""
        try:
            call()
        except (WrongStateError, NotFoundError):
            assert not allowed
            return False
        assert allowed
        return True

    @rule(seconds=st.sampled_from([0.0, 1.0, -5.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(
        target=ids,
        owner=st.sampled_from(["ada", "bob"]),
        priority=st.sampled_from([0, 0, 5]),
        key=st.sampled_from([None, None, "k"]),
    )
    def submit(self, owner: str, priority: int, key: str | None) -> Any:
        known = self.keys.get((owner, key or ""))
        try:
            job, is_new = self.store.submit(
                new_job(priority=priority, idempotency_key=key), actor=owner
            )
        except KeyReusedError:
            assert known is not None
            assert known[1] != priority
            return multiple()
        assert is_new == (known is None)
        if known is not None:
            assert (job.id, priority) == known
            return multiple()
        assert all(job.id > before for before in self.model)
        self.model[job.id] = Modelled(owner, priority, self.clock.now)
        if key is not None:
            self.keys[owner, key] = (job.id, priority)
        return job.id

    @rule(job=ids)
    def cancel(self, job: str) -> None:
        known = self.model.get(job)
        allowed = known is not None and not known.state.is_terminal
        if self.attempt_or_refused(allowed, lambda: self.store.cancel(job, actor="eve")):
            assert known is not None
            waits = known.state is JobState.QUEUED
            known.state = JobState.CANCELLED if waits else JobState.CANCELLING
            known.stop_reason = StopReason.CANCEL

    @rule(job=ids, mode=st.sampled_from(Mode))
    def requeue(self, job: str, mode: Mode) -> None:
        known = self.model.get(job)
        allowed = known is not None and known.state.is_terminal
        allowed = allowed and (known.has_files or mode is Mode.AFRESH)  # type: ignore[union-attr]
        if self.attempt_or_refused(
            allowed, lambda: self.store.requeue(job, actor="eve", mode=mode)
        ):
            assert known is not None
            known.state, known.stop_reason, known.has_files = JobState.QUEUED, None, True
            known.queued_at = self.clock.now

    @rule(job=ids)
    def delete(self, job: str) -> None:
        known = self.model.get(job)
        allowed = known is not None and known.state.is_terminal
        if self.attempt_or_refused(allowed, lambda: self.store.delete(job, actor="eve")):
            del self.model[job]
            self.keys = {key: value for key, value in self.keys.items() if value[0] != job}

    @rule()
    def begin_the_next(self) -> None:
        order = sorted(
            (-known.priority, known.queued_at, job)
            for job, known in self.model.items()
            if known.state is JobState.QUEUED
        )
        found = self.leader.next_job(running_by_user={}, per_user=None, now=self.clock.now)
        assert (found and found.id) == (order[0][2] if order else None)
        if found:
            self.begin(found.id)

    @rule(job=ids)
    def begin(self, job: str) -> None:
        known = self.model.get(job)
        allowed = known is not None and known.state is JobState.QUEUED
        if self.attempt_or_refused(
            allowed, lambda: self.leader.begin_attempt(job, executor="local", host="h")
        ):
            assert known is not None
            known.state = JobState.STARTING
            known.attempts.append(AttemptState.STARTING)

    @rule(job=ids, waiting=st.booleans(), back=st.integers(0, 1))
    def place(self, job: str, waiting: bool, back: int) -> None:
        known, number = self.model.get(job), self.number_of(job, back)
        if known is None or number is None:
            return
        now = known.attempts[number]
        wanted = AttemptState.STARTING if waiting else AttemptState.RUNNING
        allowed = not now.has_ended and (wanted is now or wanted in ATTEMPT_STEPS[now])
        attempt = self.store.attempts(job)[number]
        if self.attempt_or_refused(
            allowed, lambda: self.leader.placed(attempt, "7", waiting=waiting)
        ):
            known.attempts[number] = wanted
            if not waiting and known.state is JobState.STARTING:
                known.state = JobState.RUNNING

    @rule(job=ids, ends=st.sampled_from(TOGETHER) | ANY_TWO, back=st.sampled_from([0, 0, 0, 1]))
    def end(self, job: str, ends: tuple[AttemptState, JobState], back: int) -> None:
        state, job_state = ends
        known, number = self.model.get(job), self.number_of(job, back)
        if known is None or number is None:
            return
        now = known.attempts[number]
        goes_together = job_state in JOB_AFTER.get(state, ())
        said_before = now is state and goes_together
        allowed = goes_together and not now.has_ended and job_state in JOB_STEPS[known.state]
        attempt = self.store.attempts(job)[number]
        if (
            self.attempt_or_refused(
                allowed or said_before,
                lambda: self.leader.end_attempt(attempt, state=state, job_state=job_state),
            )
            and not said_before
        ):
            known.attempts[number], known.state = state, job_state
            if job_state is JobState.QUEUED:
                known.stop_reason = None

    @rule(job=ids, reason=st.sampled_from(StopReason))
    def ask_to_stop(self, job: str, reason: StopReason) -> None:
        known = self.model.get(job)
        allowed = known is not None and known.state.is_active
        if self.attempt_or_refused(allowed, lambda: self.leader.ask_to_stop(job, reason)):
            assert known is not None
            known.stop_reason = max(
                filter(None, (known.stop_reason, reason)), key=STOP_WEIGHT.__getitem__
            )
            if known.stop_reason is StopReason.CANCEL:
                known.state = JobState.CANCELLING

    @rule(job=ids)
    def retire(self, job: str) -> None:
        known = self.model.get(job)
        goes = known is not None and known.state.is_terminal and known.has_files
        assert self.leader.retire(job) == goes
        if goes:
            assert known is not None
            known.has_files = False

    @rule()
    def another_leads(self) -> None:
        """The service is started again; the old one is still somewhere, and must do nothing."""
        self.leader.release()
        self.deposed, self.leader = self.leader, self.store.lead("next")
        assert self.leader.epoch == self.deposed.epoch + 1

    @rule(job=ids)
    def the_deposed_tries(self, job: str) -> None:
        if self.deposed is not None:
            for write in (
                lambda: self.deposed.begin_attempt(job, executor="local", host="h"),
                lambda: self.deposed.note(job, progress={"step": 1}),
                lambda: self.deposed.retire(job),
            ):
                with pytest.raises(LostLeadershipError):
                    write()

    @rule()
    def restart(self) -> None:
        self.leader.release()
        self.store.close()
        self.store, self.deposed = self.open(), None
        self.leader = self.store.lead("again")

    def number_of(self, job: str, back: int) -> int | None:
        """The last attempt of a job, or the one before."""
        known = self.model.get(job)
        number = len(known.attempts) - 1 - back if known else -1
        return number if number >= 0 else None

    @invariant()
    def the_store_is_what_the_model_says(self) -> None:
        jobs = {job.id: job for job in self.store.jobs(limit=1000).items}
        assert set(jobs) == set(self.model)
        living = {attempt.job_id: attempt for _, attempt in self.leader.active()}
        for job_id, known in self.model.items():
            job = jobs[job_id]
            found = (job.state, job.stop_reason, job.owner, job.priority, job.queued_at)
            assert found == (
                *(known.state, known.stop_reason, known.owner, known.priority, known.queued_at),
            )
            assert job.attempts == len(known.attempts)
            assert (job.ended_at is not None) == known.state.is_terminal
            assert (job.files_removed_at is None) == known.has_files
            alive = [state for state in known.attempts if not state.has_ended]
            assert len(alive) <= 1
            assert bool(alive) == known.state.is_active == (job_id in living)
            if alive:
                assert alive[0] is living[job_id].state
                assert living[job_id].number == len(known.attempts)

    @invariant()
    def events_tell_the_same_story(self) -> None:
        told: dict[str | None, list[JobState]] = {}
        events = self.store.events(limit=10_000)
        assert [event.id for event in events] == sorted({event.id for event in events})
        for event in events:
            if event.job_id is not None:
                told.setdefault(event.job_id, []).append(JobState(event.data["state"]))
        for states in told.values():
            assert states[0] is JobState.QUEUED
            for before, after in itertools.pairwise(states):
                assert before is after or after in JOB_STEPS[before]
        for job_id, known in self.model.items():
            assert told[job_id][-1] is known.state


def run(open_store: Callable[[Clock], Store], *, examples: int, steps: int) -> None:
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(lambda: StoreMachine(open_store), settings=chosen)


def test_on_sqlite(sqlite_template: Path, tmp_path: Path) -> None:
    made: list[tuple[Clock, Path]] = []

    def open_store(clock: Clock) -> Store:
        """A new file for each new clock; the same one where the machine starts again."""
        if not made or made[-1][0] is not clock:
            folder = tmp_path / str(len(made))
            folder.mkdir()
            made.append((clock, Path(shutil.copy(sqlite_template, folder / "service.db"))))
        file = made[-1][1]
        return Store.open(f"sqlite:///{file}", data=file.parent, clock=clock)

    run(open_store, examples=8, steps=25)


def test_on_postgresql(
    postgresql_url: str, postgresql_databases: PostgreSQLDatabases, tmp_path: Path
) -> None:
    seen: list[Clock] = []

    def open_store(clock: Clock) -> Store:
        store = Store.open(postgresql_url, data=tmp_path / "data", clock=clock)
        if clock not in seen:
            seen.append(clock)
            with store.database.write() as transaction:
                names = ", ".join(metadata.tables)
                transaction.connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY"))
        return store

    run(open_store, examples=3, steps=20)
