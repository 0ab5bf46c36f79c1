"""What users do with jobs: submit, cancel, retry, resume, delete; on both databases."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from databases import Clock, new_job

from minidl.service.records import JobFilter, Quota
from minidl.service.states import AttemptState, JobKind, JobState, Mode, StopReason
from minidl.service.store import KeyReusedError, NotFoundError, QuotaError, Store, WrongStateError
from minidl.service.store.rows import new_id

pytest_plugins = ["databases"]


def submit(store: Store, *, actor: str = "ada", **changes: Any) -> Any:
    return store.submit(new_job(**changes), actor=actor)[0]


def end(store: Store, job_id: str, state: AttemptState, job_state: JobState, **more: Any) -> Any:
    """Begin an attempt of a job, and end it."""
    with store.lead("test") as leader:
        attempt = leader.begin_attempt(job_id, executor="local", host="here")
        return leader.end_attempt(attempt, state=state, job_state=job_state, **more)


def kinds(store: Store, job_id: str | None = None) -> list[str]:
    return [event.kind for event in store.events(job_id=job_id)]


def test_a_submission_comes_back_as_it_was(job_store: Store, clock: Clock) -> None:
    text = "seed: 1 # ünïcode, \u202e and 🙂\r\n\tname: x\n"
    job, is_new = job_store.submit(
        new_job(
            kind=JobKind.SWEEP,
            name="größer",
            config_text=text,
            config={"seed": 1, "lr": 1e-3, "nested": [None, True, "é"]},
            labels={"team": "vision", "run": "7"},
            priority=-3,
            timeout=12.5,
            max_retries=2,
        ),
        actor="ada",
    )
    assert is_new
    assert job == job_store.job(job.id)
    assert (job.kind, job.name, job.owner, job.state) == (
        JobKind.SWEEP,
        "größer",
        "ada",
        JobState.QUEUED,
    )
    assert (job.config_text, job.config["nested"]) == (text, [None, True, "é"])
    assert (job.labels, job.priority) == ({"team": "vision", "run": "7"}, -3)
    assert (job.timeout, job.max_retries, job.attempts, job.mlflow) == (12.5, 2, 0, None)
    assert job.created_at == job.queued_at == clock.now
    assert (job.started_at, job.ended_at, job.stop_reason, job.error) == (None,) * 4
    (event,) = job_store.events(job_id=job.id)
    assert (event.kind, event.actor, event.at) == ("submitted", "ada", clock.now)
    assert event.data == {"state": "queued", "name": "größer", "kind": "sweep"}


def test_nobody_there(job_store: Store) -> None:
    for call in (
        lambda: job_store.job("0" * 16),
        lambda: job_store.attempts("0" * 16),
        lambda: job_store.cancel("x", actor="ada"),
        lambda: job_store.requeue("' OR 1=1", actor="ada", mode=Mode.RESUME),
        lambda: job_store.delete("", actor="ada"),
    ):
        with pytest.raises(NotFoundError, match="there is no job"):
            call()
    assert job_store.queue_position("0" * 16) is None
    assert kinds(job_store) == []


WRONG = [
    ({"priority": 101}, "a priority is -100 to 100, got 101"),
    ({"timeout": 0.0}, "a timeout is a positive number of seconds, got 0.0"),
    ({"timeout": float("nan")}, "a timeout is a positive number of seconds, got nan"),
    ({"max_retries": -1}, "max_retries is 0 to 100, got -1"),
    ({"name": "x" * 201}, "the name has 201 characters, and 200 are allowed"),
    ({"name": "two\nlines"}, r"the name has characters that cannot be printed: 'two\\nlines'"),
    ({"labels": {"a": "\ud800"}}, "the value of label 'a' has characters that cannot be printed"),
    ({"labels": {"\0": "a"}}, "of a label has characters that cannot be printed"),
    ({"labels": {str(n): "" for n in range(33)}}, "a job has at most 32 labels, got 33"),
    ({"idempotency_key": "k" * 201}, "the Idempotency-Key has 201 characters"),
    ({"config_text": "a: \0"}, "the config has a NUL character"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_what_cannot_be_kept_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        new_job(**changes)


def test_ids_sort_by_time_even_where_the_clock_goes_back(job_store: Store, clock: Clock) -> None:
    ids = []
    for step in (0.0, 0.0, 0.0, 5.0, -3600.0, -3600.0, 7300.0):
        clock.now += step
        ids.append(submit(job_store).id)
    assert ids == sorted(set(ids))
    assert {len(one) for one in ids} == {16}
    assert new_id(2e9, after=None) > new_id(1e9, after=None)


def test_the_same_key_is_the_same_submission(job_store: Store, clock: Clock) -> None:
    first = submit(job_store, idempotency_key="k", labels={"a": "1", "b": "2"})
    clock.now += 100
    again = job_store.submit(new_job(idempotency_key="k", labels={"b": "2", "a": "1"}), actor="ada")
    assert again == (first, False)
    assert kinds(job_store) == ["submitted"]
    for change in ({"priority": 1}, {"config_text": "seed: 2\n"}, {"name": "n"}, {"labels": {}}):
        with pytest.raises(KeyReusedError, match=f"'k' was used before, for job {first.id}"):
            job_store.submit(
                new_job(**{"idempotency_key": "k", "labels": {"a": "1", "b": "2"}, **change}),
                actor="ada",
            )
    other = submit(job_store, actor="bob", idempotency_key="k")  # a key is its owner's
    assert other.id != first.id
    job_store.cancel(first.id, actor="ada")
    assert job_store.submit(
        new_job(idempotency_key="k", labels={"a": "1", "b": "2"}), actor="ada"
    ) == (job_store.job(first.id), False)
    job_store.delete(first.id, actor="ada")
    assert submit(job_store, idempotency_key="k").id != first.id


def test_one_key_from_many_threads_and_two_stores(
    job_store: Store, database_url: str, open_store: Any
) -> None:
    stores = [job_store, open_store(database_url)]
    start = threading.Barrier(16)

    def go(number: int) -> tuple[str, bool]:
        start.wait()
        job, is_new = stores[number % 2].submit(new_job(idempotency_key="k"), actor="ada")
        return job.id, is_new

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(go, range(16)))
    assert len({job_id for job_id, _ in answers}) == 1
    assert [is_new for _, is_new in answers].count(True) == 1
    assert job_store.counts()[JobState.QUEUED] == 1


def test_quotas_are_exact_however_many_come_at_once(
    job_store: Store, database_url: str, open_store: Any
) -> None:
    stores = [job_store, open_store(database_url)]
    quota = Quota(per_owner=5, total=8)
    start = threading.Barrier(24)

    def go(number: int) -> str:
        start.wait()
        actor = ("ada", "bob")[number % 2]
        try:
            stores[number % 2].submit(new_job(), actor=actor, quota=quota)
        except QuotaError:
            return "refused"
        return actor

    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(go, range(24)))
    assert answers.count("refused") == 16
    assert max(answers.count("ada"), answers.count("bob")) <= 5
    waiting = job_store.jobs(JobFilter(owner="ada")).items[0]
    job_store.cancel(waiting.id, actor="ada")
    submit_one = new_job(idempotency_key="k")
    job, _ = job_store.submit(submit_one, actor="eve", quota=quota)
    with pytest.raises(QuotaError, match="8 jobs are waiting, and 8 may"):
        job_store.submit(new_job(), actor="eve", quota=quota)
    # What was acknowledged is acknowledged again, full or not; and nobody gets around by a retry.
    assert job_store.submit(submit_one, actor="eve", quota=quota) == (job, False)
    with pytest.raises(QuotaError):
        job_store.requeue(waiting.id, actor="ada", mode=Mode.AFRESH, quota=quota)


def test_cancel_a_waiting_job(job_store: Store, clock: Clock) -> None:
    job = submit(job_store)
    clock.now += 5
    cancelled = job_store.cancel(job.id, actor="bob")
    assert (cancelled.state, cancelled.stop_reason) == (JobState.CANCELLED, StopReason.CANCEL)
    assert cancelled.ended_at == clock.now
    with pytest.raises(WrongStateError, match=f"job {job.id} is cancelled: there is nothing"):
        job_store.cancel(job.id, actor="bob")
    last = job_store.events(job_id=job.id)[-1]
    assert (last.kind, last.actor, last.data) == ("cancel_asked", "bob", {"state": "cancelled"})


def test_cancel_a_running_job_twice(job_store: Store) -> None:
    job = submit(job_store)
    with job_store.lead("test") as leader:
        attempt = leader.begin_attempt(job.id, executor="local", host="here")
        assert job_store.cancel(job.id, actor="ada").state is JobState.CANCELLING
        assert job_store.cancel(job.id, actor="ada").state is JobState.CANCELLING
        placed = leader.placed(attempt, "7")  # it was on its way
        assert (placed.state, job_store.job(job.id).state) == (
            AttemptState.RUNNING,
            JobState.CANCELLING,
        )
        # The policy had not heard of it yet: there is no way back to the queue.
        with pytest.raises(WrongStateError, match="is cancelling and cannot become queued"):
            leader.end_attempt(attempt, state=AttemptState.INTERRUPTED, job_state=JobState.QUEUED)
        assert job_store.attempts(job.id)[0].state is AttemptState.RUNNING
        ended = leader.end_attempt(
            attempt, state=AttemptState.CANCELLED, job_state=JobState.CANCELLED, exit_status=75
        )
    assert (ended.state, ended.stop_reason) == (JobState.CANCELLED, StopReason.CANCEL)
    assert kinds(job_store, job.id).count("cancel_asked") == 1


def test_retry_begins_afresh_with_a_new_budget(job_store: Store, clock: Clock) -> None:
    job = submit(job_store, max_retries=3)
    with job_store.lead("test") as leader:
        attempt = leader.begin_attempt(job.id, executor="local", host="here")
        leader.note(job.id, progress={"step": 3}, result={"a": 1}, mlflow={"run_id": "r"})
        leader.end_attempt(
            attempt,
            state=AttemptState.FAILED,
            job_state=JobState.FAILED,
            error="it broke",
            count_retry=True,
            run_seconds=2.5,
            idle_interruptions=2,
        )
    failed = job_store.job(job.id)
    assert (failed.error, failed.retries_used, failed.run_seconds) == ("it broke", 1, 2.5)
    assert (failed.idle_interruptions, failed.attempts) == (2, 1)
    clock.now += 9
    again = job_store.requeue(job.id, actor="ada", mode=Mode.AFRESH)
    assert (again.state, again.mode, again.queued_at) == (JobState.QUEUED, Mode.AFRESH, clock.now)
    assert (again.retries_used, again.idle_interruptions, again.run_seconds) == (0, 0, 0.0)
    assert (again.error, again.ended_at, again.mlflow, again.progress) == (None, None, None, {})
    assert (again.attempts, again.created_at) == (1, failed.created_at)  # they count on
    with pytest.raises(WrongStateError, match="is queued: only a job that has ended can be ret"):
        job_store.requeue(job.id, actor="ada", mode=Mode.AFRESH)


def test_resume_goes_on_with_overrides(job_store: Store) -> None:
    job = submit(job_store)
    end(job_store, job.id, AttemptState.SUCCEEDED, JobState.SUCCEEDED, exit_status=0)
    with job_store.lead("test") as leader:
        leader.note(job.id, progress={"step": 3}, mlflow={"run_id": "r"})
    overrides = ["trainer.epochs=20"]
    again = job_store.requeue(job.id, actor="ada", mode=Mode.RESUME, overrides=overrides)
    assert (again.state, again.mode, again.overrides) == (JobState.QUEUED, Mode.RESUME, overrides)
    assert (again.progress, again.mlflow) == ({"step": 3}, {"run_id": "r"})
    with job_store.lead("test") as leader:
        attempt = leader.begin_attempt(job.id, executor="local", host="here")
        assert (attempt.number, attempt.mode) == (2, Mode.RESUME)
    assert job_store.events(job_id=job.id)[-2].data == {"state": "queued", "overrides": overrides}


def test_a_job_that_never_began_begins_when_resumed(job_store: Store) -> None:
    job = submit(job_store)
    job_store.cancel(job.id, actor="ada")
    assert job_store.requeue(job.id, actor="ada", mode=Mode.RESUME).mode is Mode.AFRESH


def test_delete_takes_all_rows_but_the_events(job_store: Store) -> None:
    job = submit(job_store, labels={"a": "b"}, name="n")
    with pytest.raises(WrongStateError, match="is queued: cancel it before deleting it"):
        job_store.delete(job.id, actor="ada")
    end(job_store, job.id, AttemptState.FAILED, JobState.FAILED)
    job_store.delete(job.id, actor="bob")
    with pytest.raises(NotFoundError):
        job_store.job(job.id)
    assert job_store.jobs(JobFilter(labels={"a": "b"})).items == []
    with job_store.database.read() as transaction:
        for table in ("attempts", "configs", "labels"):
            found = transaction.connection.exec_driver_sql(f"SELECT count(*) FROM {table}")
            assert found.scalar() == 0, table
    last = job_store.events(job_id=job.id)[-1]
    assert (last.kind, last.actor) == ("deleted", "bob")
    assert last.data == {"state": "failed", "name": "n", "owner": "ada"}


def test_two_users_end_it_at_once(job_store: Store, database_url: str, open_store: Any) -> None:
    """A cancellation and a leader's step race: whatever wins, the tables are never contradicted."""
    stores = [job_store, open_store(database_url)]
    with stores[1].lead("test") as leader:
        for _ in range(10):
            job = submit(job_store)
            start = threading.Barrier(2)

            def cancel(job_id: str = job.id, start: threading.Barrier = start) -> str:
                start.wait()
                return job_store.cancel(job_id, actor="ada").state.value

            def begin(job_id: str = job.id, start: threading.Barrier = start) -> str:
                start.wait()
                try:
                    leader.begin_attempt(job_id, executor="local", host="here")
                except WrongStateError:
                    return "refused"
                return "began"

            with ThreadPoolExecutor(2) as pool:
                outcome = tuple(call.result() for call in (pool.submit(cancel), pool.submit(begin)))
            assert outcome in {("cancelled", "refused"), ("cancelling", "began")}
            assert len(job_store.attempts(job.id)) == (outcome[1] == "began")


def test_events_follow_one_another(job_store: Store) -> None:
    jobs = [submit(job_store) for _ in range(5)]
    seen: list[int] = []
    while found := job_store.events(after=seen[-1] if seen else 0, limit=2):
        seen += [event.id for event in found]
    assert len(seen) == 5
    assert seen == sorted(set(seen))
    assert job_store.last_event() == seen[-1]
    job_store.audit("signed_in", actor="ada", data={"actor": "x", "kind": "y"})
    event = job_store.events(after=seen[-1])[0]
    assert (event.kind, event.actor, event.job_id) == ("signed_in", "ada", None)
    assert event.data == {"actor": "x", "kind": "y"}
    assert [e.job_id for e in job_store.events(job_id=jobs[2].id)] == [jobs[2].id]
