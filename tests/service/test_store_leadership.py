"""One scheduler at a time, the fence around what it writes, and what it does; on both databases."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from databases import Clock, PostgreSQLDatabases, new_job

from minidl.service.states import (
    ATTEMPT_STEPS,
    JOB_AFTER,
    JOB_STEPS,
    TERMINAL,
    AttemptState,
    JobState,
    Mode,
    StopReason,
)
from minidl.service.store import (
    Leadership,
    LostLeadershipError,
    NotFoundError,
    Store,
    StoreUnavailableError,
    WrongStateError,
)

pytest_plugins = ["databases"]

INTERRUPTED = {"state": AttemptState.INTERRUPTED, "job_state": JobState.QUEUED}
SUCCEEDED = {"state": AttemptState.SUCCEEDED, "job_state": JobState.SUCCEEDED, "exit_status": 0}


@pytest.fixture
def leader(job_store: Store) -> Iterator[Leadership]:
    with job_store.lead("first") as leader:
        yield leader


def submit(store: Store, *, actor: str = "ada", **changes: Any) -> str:
    return store.submit(new_job(**changes), actor=actor)[0].id


def begin(leader: Leadership, job_id: str) -> Any:
    return leader.begin_attempt(job_id, executor="local", host="here")


def depose(database_url: str, store: Store, databases: Callable[[], Any]) -> Leadership:
    """Let another lead while the first believes that it does: frozen, or cut off."""
    if database_url.startswith("sqlite"):
        file = store.database.file
        file.with_name(f"{file.name}.leader").unlink()
    else:
        databases().execute(
            "SELECT pg_terminate_backend(pid, 9000) FROM pg_locks "
            "WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database "
            f"WHERE datname = '{database_url.rpartition('/')[2]}')"
        )
    second = store.lead("second")
    assert second is not None
    return second


@pytest.fixture
def databases(request: pytest.FixtureRequest) -> Callable[[], PostgreSQLDatabases]:
    return lambda: request.getfixturevalue("postgresql_databases")


def test_one_leads(job_store: Store, database_url: str, open_store: Any) -> None:
    other = open_store(database_url)
    with job_store.lead("first") as first:
        assert other.lead("second") is None
        assert job_store.lead("third") is None
        first.check()
    with other.lead("second") as second:
        assert second.epoch == first.epoch + 1
        assert job_store.lead("first") is None
    leads = [event.data for event in job_store.events() if event.kind == "leads"]
    assert leads == [{"holder": "first", "epoch": 1}, {"holder": "second", "epoch": 2}]


def test_one_leads_by_whatever_name_the_file_goes(
    sqlite_url: str, tmp_path: Path, open_store: Any
) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "data" / "service.db")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    with open_store(sqlite_url).lead("first"):
        for name in ("link.db", "link/service.db", "data/../data/service.db"):
            assert open_store(f"sqlite:///{tmp_path / name}").lead("second") is None


HOLDER = """
import sys, time
from pathlib import Path
from minidl.service.store import Store
store = Store.open(sys.argv[1], data=Path(sys.argv[2]))
leader = store.lead("child")
print("leads" if leader else "does not", flush=True)
time.sleep(600)
"""


def test_who_is_killed_leads_no_more(job_store: Store, database_url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, database_url, str(tmp_path / "data")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "leads\n"
            assert job_store.lead("first") is None
        finally:
            child.kill()
    end = time.monotonic() + 120
    while (leader := job_store.lead("first")) is None:  # PostgreSQL hears of it in its own time
        assert time.monotonic() < end
    assert leader.epoch == 2
    leader.release()


def test_a_deposed_leader_writes_nothing(
    job_store: Store, database_url: str, leader: Leadership, databases: Any
) -> None:
    job, other = submit(job_store), submit(job_store)
    attempt = leader.placed(begin(leader, job), "7")
    with depose(database_url, job_store, databases) as second:
        before = (job_store.job(job), job_store.job(other), job_store.last_event())
        for write in (
            lambda: begin(leader, other),
            lambda: leader.placed(attempt, "8"),
            lambda: leader.note(job, progress={"step": 1}),
            lambda: leader.ask_to_stop(job, StopReason.TIMEOUT),
            lambda: leader.end_attempt(attempt, **SUCCEEDED),
            lambda: leader.retire(job),
            leader.check,
        ):
            with pytest.raises(LostLeadershipError, match="another scheduler"):
                write()
        assert (job_store.job(job), job_store.job(other), job_store.last_event()) == before
        assert [a.handle for a in job_store.attempts(job)] == ["7"]
        second.check()
        assert second.end_attempt(attempt, **SUCCEEDED).state is JobState.SUCCEEDED


def test_a_lost_connection_is_no_lost_leadership(
    postgresql_url: str, postgresql_databases: PostgreSQLDatabases, open_store: Any
) -> None:
    store = open_store(postgresql_url)
    with store.lead("first") as leader:
        job = submit(store)
        name = postgresql_url.rpartition("/")[2]
        terminate = (
            f"SELECT pg_terminate_backend(pid, 9000) FROM pg_stat_activity WHERE datname = '{name}'"
        )
        assert all(done for (done,) in postgresql_databases.execute(terminate))
        leader.check()
        assert store.lead("second") is None
        begin(leader, job)
        assert leader.epoch == 1
        # While nobody can connect it cannot be known who leads.
        postgresql_databases.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        postgresql_databases.execute(terminate)
        with pytest.raises(StoreUnavailableError, match="is not currently accepting connections"):
            leader.check()
        postgresql_databases.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        leader.check()


def test_an_attempt_from_the_queue_to_its_end(
    job_store: Store, leader: Leadership, clock: Clock
) -> None:
    job = submit(job_store)
    attempt = begin(leader, job)
    assert (attempt.number, attempt.state, attempt.handle) == (1, AttemptState.STARTING, None)
    assert (attempt.executor, attempt.host, attempt.mode) == ("local", "here", Mode.AFRESH)
    assert job_store.job(job).state is JobState.STARTING
    assert job_store.queue_position(job) is None
    waits = leader.placed(attempt, "ray-7", waiting=True)
    assert (waits.state, waits.handle, waits.started_at) == (AttemptState.STARTING, "ray-7", None)
    clock.now += 2
    runs = leader.placed(attempt, "ray-7")
    assert (runs.state, runs.started_at) == (AttemptState.RUNNING, clock.now)
    assert leader.placed(attempt, "ray-7") == runs  # said again
    found, living = leader.active()[0]
    assert (found, living) == (job_store.job(job), runs)
    assert found.config == {"seed": 1}
    leader.note(job, progress={"step": 3, "loss": float("nan")})
    leader.note(job, mlflow={"run_id": "r"})
    clock.now += 2
    ended = leader.end_attempt(
        attempt, **SUCCEEDED, first_step=0, last_step=9, run_seconds=2.0, cause="exit"
    )
    assert ended.progress == {"step": 3, "loss": "NaN"}
    assert (ended.state, ended.ended_at, ended.run_seconds) == (JobState.SUCCEEDED, clock.now, 2.0)
    assert (ended.started_at, ended.executor) == (clock.now - 2, "local")
    (record,) = job_store.attempts(job)
    assert (record.exit_status, record.cause, record.last_step) == (0, "exit", 9)
    assert leader.active() == []
    told = [(event.kind, event.data["state"]) for event in job_store.events(job_id=job)]
    assert told == [
        ("submitted", "queued"),
        ("attempt_started", "starting"),
        ("attempt_running", "running"),
        ("attempt_ended", "succeeded"),
    ]


def test_an_end_can_be_said_twice_but_not_otherwise(
    job_store: Store, leader: Leadership, clock: Clock
) -> None:
    job = submit(job_store)
    attempt = leader.placed(begin(leader, job), "7")
    ended = leader.end_attempt(attempt, **INTERRUPTED, run_seconds=3.0, idle_interruptions=1)
    clock.now += 1
    assert leader.end_attempt(attempt, **INTERRUPTED, run_seconds=3.0) == ended
    assert (ended.run_seconds, ended.idle_interruptions) == (3.0, 1)
    with pytest.raises(WrongStateError, match=f"attempt 1 of job {job} is interrupted"):
        leader.end_attempt(attempt, **SUCCEEDED)
    with pytest.raises(WrongStateError, match="cannot become running"):
        leader.placed(attempt, "8")
    second = begin(leader, job)
    assert leader.end_attempt(attempt, **INTERRUPTED).state is JobState.STARTING  # still harmless
    assert leader.active()[0][1] == second


def test_an_interruption_keeps_the_place_and_a_failure_waits(
    job_store: Store, leader: Leadership, clock: Clock
) -> None:
    first = submit(job_store, max_retries=2)
    clock.now += 1
    second = submit(job_store)
    leader.end_attempt(begin(leader, first), **INTERRUPTED)
    job = job_store.job(first)
    assert (job.state, job.mode, job.ended_at) == (JobState.QUEUED, Mode.RESUME, None)
    assert [job_store.queue_position(one) for one in (first, second)] == [1, 2]
    failed = {"state": AttemptState.FAILED, "job_state": JobState.QUEUED, "exit_status": 1}
    leader.end_attempt(
        begin(leader, first), **failed, count_retry=True, not_before=clock.now + 10, error="bad"
    )
    job = job_store.job(first)
    assert (job.retries_used, job.error, job.not_before) == (1, "bad", clock.now + 10)

    def coming(now: float) -> str:
        return leader.next_job(running_by_user={}, per_user=None, now=now).id

    assert coming(clock.now) == second
    assert coming(clock.now + 10) == first
    assert begin(leader, first).mode is Mode.RESUME
    assert job_store.job(first).not_before is None


def test_the_queue_goes_by_priority_then_age_and_lets_nobody_take_it_all(
    job_store: Store, leader: Leadership, clock: Clock
) -> None:
    wanted = []
    for actor, priority in (("ada", 0), ("ada", 5), ("bob", 0), ("bob", -1), ("eve", 5)):
        wanted.append(submit(job_store, actor=actor, priority=priority))
        clock.now += 1
    places = job_store.queue_positions([*wanted, "nobody"])
    assert places == dict(zip(wanted, [3, 1, 4, 5, 2], strict=True))
    running: dict[str, int] = {}
    started = []
    while job := leader.next_job(running_by_user=running, per_user=1, now=clock.now):
        begin(leader, job.id)
        started.append(job.id)
        running[job.owner] = running.get(job.owner, 0) + 1
    assert started == [wanted[1], wanted[4], wanted[2]]
    assert leader.next_job(running_by_user=running, per_user=2, now=clock.now).id == wanted[0]
    assert leader.next_job(running_by_user=running, per_user=None, now=clock.now).id == wanted[0]


def test_a_weightier_reason_to_stop_wins(job_store: Store, leader: Leadership) -> None:
    job = submit(job_store)
    with pytest.raises(WrongStateError, match="is queued: no attempt of it can be stopped"):
        leader.ask_to_stop(job, StopReason.SHUTDOWN)
    begin(leader, job)
    asked = [StopReason.SHUTDOWN, StopReason.TIMEOUT, StopReason.SHUTDOWN, StopReason.CANCEL]
    found = [leader.ask_to_stop(job, reason).stop_reason for reason in asked]
    assert found == [asked[0], asked[1], asked[1], asked[3]]
    assert job_store.job(job).state is JobState.CANCELLING
    reasons = [e.data["reason"] for e in job_store.events(job_id=job) if e.kind == "stop_asked"]
    assert reasons == ["shutdown", "timeout", "cancel"]


def test_a_job_goes_back_to_the_queue_with_no_reason_to_stop(
    job_store: Store, leader: Leadership
) -> None:
    job = submit(job_store)
    attempt = begin(leader, job)
    leader.ask_to_stop(job, StopReason.SHUTDOWN)
    assert leader.end_attempt(attempt, **INTERRUPTED, exit_status=75).stop_reason is None


def test_files_go_only_of_jobs_that_have_ended(
    job_store: Store, leader: Leadership, clock: Clock
) -> None:
    old, new, waiting = (submit(job_store) for _ in range(3))
    for job in (old, new):
        leader.end_attempt(begin(leader, job), **SUCCEEDED)
        clock.now += 10
    assert [job.id for job in leader.expired()] == [old, new]
    assert [job.id for job in leader.expired(ended_before=clock.now - 15)] == [old]
    assert [job.id for job in leader.expired(limit=1)] == [old]
    assert not leader.retire(waiting)
    assert not leader.retire("nobody")
    assert leader.retire(old)
    assert not leader.retire(old)
    assert [job.id for job in leader.expired()] == [new]
    assert job_store.job(old).files_removed_at == clock.now
    with pytest.raises(WrongStateError, match="its files were removed by retention; retry it"):
        job_store.requeue(old, actor="ada", mode=Mode.RESUME)
    assert job_store.requeue(old, actor="ada", mode=Mode.AFRESH).files_removed_at is None
    job_store.requeue(new, actor="ada", mode=Mode.RESUME)
    assert not leader.retire(new)  # someone was faster


def test_nobody_is_there(leader: Leadership) -> None:
    for call in (
        lambda: begin(leader, "nobody"),
        lambda: leader.note("nobody", progress={}),
        lambda: leader.ask_to_stop("nobody", StopReason.CANCEL),
    ):
        with pytest.raises(NotFoundError):
            call()
    assert leader.next_job(running_by_user={}, per_user=1, now=1e12) is None


PAIRS = list(itertools.product(AttemptState, JobState))


@pytest.mark.parametrize("before", [JobState.STARTING, JobState.RUNNING, JobState.CANCELLING])
def test_every_pair_of_ends_is_allowed_or_refused_as_the_tables_say(
    sqlite_url: str, open_store: Any, before: JobState
) -> None:
    store = open_store(sqlite_url)
    with store.lead("first") as leader:

        def living() -> Any:
            attempt = begin(leader, submit(store))
            if before is not JobState.STARTING:
                leader.placed(attempt, "7")
            if before is JobState.CANCELLING:
                store.cancel(attempt.job_id, actor="ada")
            return attempt

        attempt = living()
        for state, job_state in PAIRS:
            allowed = job_state in JOB_AFTER.get(state, ()) and job_state in JOB_STEPS[before]
            if not allowed:
                with pytest.raises(WrongStateError):
                    leader.end_attempt(attempt, state=state, job_state=job_state)
                continue
            assert store.job(attempt.job_id).state is before
            assert store.attempts(attempt.job_id)[0].ended_at is None
            after = leader.end_attempt(attempt, state=state, job_state=job_state)
            assert after.state is job_state
            assert (after.ended_at is not None) == (job_state in TERMINAL)
            attempt = living()


def test_the_tables_are_closed() -> None:
    assert set(JOB_STEPS) == set(JobState)
    assert set(ATTEMPT_STEPS) == set(AttemptState)
    assert set(JOB_AFTER) == {state for state in AttemptState if state.has_ended}
    for state in JobState:
        assert state not in JOB_STEPS[state]
        assert (JOB_STEPS[state] == {JobState.QUEUED}) == state.is_terminal
    assert set(JobState) == TERMINAL | {s for s in JobState if s.is_active} | {JobState.QUEUED}
