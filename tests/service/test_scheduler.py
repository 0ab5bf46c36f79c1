"""The scheduler's logic: a real store, and attempts that are as the test says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_jobs
from scripted_executor import Key, ScriptedExecutor

from minidl.service import policy, scheduler, watched
from minidl.service.executors.executor import Observation
from minidl.service.placing import data_identity, spec_of
from minidl.service.records import Attempt, Job
from minidl.service.scheduler import Scheduler
from minidl.service.settings import ServiceSettings
from minidl.service.states import AttemptState, JobState, Mode, StopReason
from minidl.service.store import Store, StoreUnavailableError
from minidl.train.tracking.description import RunRecord

CONFIG = tiny_jobs.config()


class Desk:
    """A store, and schedulers over it, one after the other."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.url = f"sqlite:///{data / 'service.db'}"
        self.store = Store.open(self.url, data=data)
        self.executor = ScriptedExecutor()
        self.settings = ServiceSettings(data=data, concurrency=2, threads=1, grace=60.0)
        self.schedulers: list[Scheduler] = []

    def scheduler(self, **settings: Any) -> Scheduler:
        made = Scheduler(self.store, {"local": self.executor}, replace(self.settings, **settings))
        self.schedulers.append(made)
        return made

    def submit(self, owner: str = "ada", **settings: Any) -> str:
        return self.store.submit(tiny_jobs.new_job(CONFIG, **settings), actor=owner)[0].id

    def job(self, job_id: str) -> Job:
        return self.store.job(job_id)

    def attempt(self, job_id: str) -> Attempt:
        return self.store.attempts(job_id)[-1]

    def cancel(self, job_id: str) -> None:
        self.store.cancel(job_id, actor="ada")

    def kinds(self, job_id: str) -> list[str]:
        return [event.kind for event in self.store.events(job_id=job_id)]

    def close(self) -> None:
        for each in self.schedulers:
            each._ends.close()
            each._retention.close()
            each._let_go()
        self.store.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.close()


@pytest.fixture(autouse=True)
def no_retention(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread has tests of its own."""
    monkeypatch.setattr("minidl.service.retention.Retention.tick", lambda *_: None)


def tick(each: Scheduler, times: int = 1) -> None:
    """Look at everything, so many times, as if somebody had said that something has changed."""
    for _ in range(times):
        each.wake.set()
        each.tick()


def running(desk: Desk, each: Scheduler, **settings: Any) -> Key:
    """Submit a job and see it run."""
    job_id = desk.submit(**settings)
    tick(each, 2)
    assert desk.job(job_id).state is JobState.RUNNING
    return job_id, desk.job(job_id).attempts


def test_a_run_that_mlflow_hears_of_late_is_linked(desk: Desk) -> None:
    each = desk.scheduler()
    job_id, _ = running(desk, each)
    assert desk.job(job_id).mlflow is None
    record = RunRecord("http://mlflow:5000", "1", "f" * 32, "uid")
    place = desk.data / "jobs" / job_id / "run/tracking.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    record.write(place)
    each._ends.done.extend(["deleted", job_id])
    tick(each)
    found = desk.job(job_id).mlflow
    assert found is not None
    assert found["run_id"] == record.run_id
    assert not each._ends.done


# ---- the queue ----------------------------------------------------------------------------------


def test_as_many_run_as_there_is_room_for_in_the_order_of_the_queue(desk: Desk) -> None:
    each = desk.scheduler()
    first, second, third = desk.submit(), desk.submit(), desk.submit(priority=5)
    tick(each, 2)
    states = [desk.job(job_id).state for job_id in (first, second, third)]
    assert states == [JobState.RUNNING, JobState.QUEUED, JobState.RUNNING]
    assert each.running == 2
    desk.executor.end((first, 1), 0)
    tick(each, 2)
    assert desk.job(first).state is JobState.SUCCEEDED
    assert desk.job(second).state is JobState.RUNNING
    assert desk.executor.started == [(third, 1), (first, 1), (second, 1)]
    assert (desk.data / "jobs" / first / "config.yaml").read_text() == desk.job(first).config_text
    assert desk.kinds(first) == [
        *("submitted", "attempt_started", "attempt_running", "attempt_ended"),
    ]


def test_of_one_user_no_more_run_than_may(desk: Desk) -> None:
    each = desk.scheduler(per_user=1)
    hers, hers_too, his = desk.submit("ada"), desk.submit("ada"), desk.submit("bob")
    tick(each, 2)
    states = [desk.job(job_id).state for job_id in (hers, hers_too, his)]
    assert states == [JobState.RUNNING, JobState.QUEUED, JobState.RUNNING]


def test_a_job_of_several_ranks_takes_as_many_places(desk: Desk) -> None:
    each = desk.scheduler(concurrency=4, threads=2)
    alone, wide, behind = desk.submit(), desk.submit(ranks=7), desk.submit()
    tick(each, 2)
    # Seven ranks want four places of two threads; what is behind them does not overtake them.
    states = [desk.job(job_id).state for job_id in (alone, wide, behind)]
    assert states == [JobState.RUNNING, JobState.QUEUED, JobState.QUEUED]
    desk.executor.end((alone, 1), 0)
    tick(each, 2)
    states = [desk.job(job_id).state for job_id in (alone, wide, behind)]
    assert states == [JobState.SUCCEEDED, JobState.RUNNING, JobState.QUEUED]
    spec = desk.executor.specs[wide, 1]
    assert (spec.ranks, spec.threads) == (7, 8)
    desk.executor.end((wide, 1), 0)
    tick(each, 2)
    assert desk.job(behind).state is JobState.RUNNING
    assert desk.executor.specs[behind, 1].ranks == 1


def test_more_ranks_than_cores_take_all_places(desk: Desk) -> None:
    each = desk.scheduler(concurrency=2, threads=1, max_ranks=16)
    wide, behind = desk.submit(ranks=16), desk.submit()
    tick(each, 2)
    assert (desk.job(wide).state, desk.job(behind).state) == (JobState.RUNNING, JobState.QUEUED)
    assert desk.executor.specs[wide, 1].threads == 2


def test_what_an_attempt_is_told(desk: Desk) -> None:
    each = desk.scheduler(threads=None, concurrency=1000)
    key = running(desk, each, name="mnist")
    spec = desk.executor.specs[key]
    assert (spec.name, spec.kind, spec.threads, spec.grace) == ("mnist", "training", 1, 60.0)
    assert spec.directory == str(desk.data / "jobs" / key[0])
    assert spec.config == CONFIG
    assert (spec.chain, spec.overrides) == (1, ())


def test_an_attempt_after_retry_or_resume_is_told_where_to_begin(desk: Desk) -> None:
    each = desk.scheduler()
    key = running(desk, each)
    desk.executor.end(key, 2)
    tick(each)
    desk.store.requeue(key[0], actor="ada", mode=Mode.RESUME, overrides=["trainer.max_steps=9"])
    tick(each, 2)
    spec = desk.executor.specs[key[0], 2]
    assert (spec.chain, spec.overrides) == (1, ("trainer.max_steps=9",))
    desk.executor.end((key[0], 2), 0)
    tick(each)
    desk.store.requeue(key[0], actor="ada", mode=Mode.AFRESH)
    tick(each, 2)
    spec = desk.executor.specs[key[0], 3]
    assert (spec.chain, spec.overrides) == (3, ())
    desk.executor.end((key[0], 3), -9)  # interrupted before it had done anything
    tick(each)
    desk.store.database.clock = lambda: time.time() + 60
    each._retry_due = 0.0
    tick_later(each, seconds=60)
    assert desk.executor.specs[key[0], 4].chain == 3


def tick_later(each: Scheduler, *, seconds: float) -> None:
    """Look at everything as if it were so much later."""
    clock = time.time
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scheduler.time, "time", lambda: clock() + seconds)
        tick(each, 2)


# ---- ends ---------------------------------------------------------------------------------------

STATUSES = [0, 1, 2, 3, 75, -9, -15, -11, None]
REASONS = [None, StopReason.CANCEL, StopReason.TIMEOUT, StopReason.SHUTDOWN]


@pytest.mark.parametrize("reason", REASONS)
def test_every_end_is_written_as_the_policy_says(desk: Desk, reason: StopReason | None) -> None:
    """Each cause, under each reason to stop, goes through the store's own table of states."""
    desk.executor.ends_when_told = None
    each = desk.scheduler(concurrency=len(STATUSES))
    keys = [running(desk, each, timeout=3600.0) for _ in STATUSES]
    for job_id, _ in keys:
        if reason is StopReason.CANCEL:
            desk.cancel(job_id)
        elif reason is not None:
            assert each._leadership is not None
            each._leadership.ask_to_stop(job_id, reason)
    tick(each)
    assert desk.executor.told == ([] if reason is None else sorted(keys))
    jobs = {key: desk.job(key[0]) for key in keys}
    for key, status in zip(keys, STATUSES, strict=True):
        desk.executor.end(key, status, "why")
    each._closing = True  # nothing is begun: what follows stays to be seen
    tick(each)
    assert each.running == 0
    for key, status in zip(keys, STATUSES, strict=True):
        end = desk.executor.attempts[key].end
        assert end is not None
        wanted = policy.verdict(jobs[key], end, new_steps=False, run_seconds=0.1, now=0.0)
        attempt, job = desk.attempt(key[0]), desk.job(key[0])
        assert (attempt.state, job.state) == (wanted.attempt, wanted.job), status
        assert (attempt.exit_status, attempt.cause) == (status, wanted.cause)
        assert attempt.ended_at == end.at
        assert job.idle_interruptions == wanted.idle


def test_a_failed_attempt_is_followed_by_another_after_a_while(desk: Desk) -> None:
    each = desk.scheduler()
    job_id, _ = running(desk, each, max_retries=1)
    desk.executor.end((job_id, 1), 1, "the loss is no number")
    tick(each, 3)
    job = desk.job(job_id)
    assert (job.state, job.retries_used, job.error) == (JobState.QUEUED, 1, "the loss is no number")
    assert job.not_before is not None
    assert 3 < job.not_before - time.time() <= policy.FIRST_RETRY_SECONDS
    assert 0 < each.tick() <= policy.FIRST_RETRY_SECONDS
    tick_later(each, seconds=5.1)
    assert desk.job(job_id).state is JobState.RUNNING
    desk.executor.end((job_id, 2), 1, "again")
    tick(each)
    assert (desk.job(job_id).state, desk.job(job_id).error) == (JobState.FAILED, "again")
    assert [attempt.state for attempt in desk.store.attempts(job_id)] == [AttemptState.FAILED] * 2


def test_interruptions_that_lead_nowhere_come_to_an_end(desk: Desk) -> None:
    each = desk.scheduler()
    job_id, _ = running(desk, each)
    for number in range(1, 6):
        assert desk.job(job_id).state is JobState.RUNNING
        desk.executor.end((job_id, number), -9, "killed by SIGKILL (out of memory?)")
        tick(each)
        tick_later(each, seconds=60.0)
    job = desk.job(job_id)
    assert (job.state, job.attempts, job.retries_used) == (JobState.FAILED, 5, 0)
    assert "interrupted 5 times in a row without a new step" in (job.error or "")
    assert "out of memory?" in (job.error or "")


def test_an_attempt_that_cannot_be_placed_is_told_and_tried_again(desk: Desk) -> None:
    desk.executor.refuses = "No space left on device"
    each = desk.scheduler()
    job_id = desk.submit()
    tick(each, 2)
    attempt = desk.attempt(job_id)
    assert (attempt.state, attempt.cause) == (AttemptState.INTERRUPTED, "not_placed")
    assert attempt.error == "No space left on device"
    assert desk.job(job_id).state is JobState.QUEUED
    desk.executor.refuses = None
    tick_later(each, seconds=policy.FIRST_PLACING_SECONDS + 1)
    assert desk.job(job_id).state is JobState.RUNNING


# ---- stopping -----------------------------------------------------------------------------------


def test_a_cancelled_attempt_is_told_after_the_reason_is_written(desk: Desk) -> None:
    each = desk.scheduler()
    key = running(desk, each)
    desk.cancel(key[0])
    assert desk.executor.told == []
    tick(each, 2)
    assert desk.executor.told == [key]
    assert desk.job(key[0]).state is JobState.CANCELLED


def test_a_cancellation_that_comes_too_late_changes_no_result(desk: Desk) -> None:
    each = desk.scheduler()
    key = running(desk, each)
    desk.executor.end(key, 0)
    desk.cancel(key[0])
    tick(each)
    assert desk.job(key[0]).state is JobState.SUCCEEDED


def test_a_cancellation_in_the_moment_of_an_interruption_wins(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scheduler decided to queue the job again when the cancellation was written."""
    each = desk.scheduler()
    key = running(desk, each)
    desk.executor.end(key, -9)
    assert each._leadership is not None
    end_attempt = each._leadership.end_attempt

    def cancelled_before(*args: Any, **kwargs: Any) -> Job:
        monkeypatch.undo()
        desk.cancel(key[0])
        return end_attempt(*args, **kwargs)

    monkeypatch.setattr(each._leadership, "end_attempt", cancelled_before)
    tick(each)
    assert desk.job(key[0]).state is JobState.CANCELLING
    each.tick()
    assert desk.job(key[0]).state is JobState.CANCELLED


def test_one_that_does_not_stop_in_time_is_killed(desk: Desk) -> None:
    desk.executor.ends_when_told = None
    each = desk.scheduler(grace=0.05)
    key = running(desk, each)
    desk.cancel(key[0])
    tick(each)
    assert (desk.executor.told, desk.executor.killed) == ([key], [])
    time.sleep(0.06)
    tick(each, 2)
    assert desk.executor.killed == [key]
    job, attempt = desk.job(key[0]), desk.attempt(key[0])
    assert (job.state, attempt.exit_status) == (JobState.CANCELLED, -9)


def test_a_timeout_counts_the_time_of_all_attempts(desk: Desk) -> None:
    each = desk.scheduler()
    job_id, _ = running(desk, each, timeout=3.0)
    (own,) = each._watched.values()
    own._runs_since = time.monotonic() - 2.0
    desk.executor.end((job_id, 1), -9)
    tick(each)
    assert 2.0 <= desk.job(job_id).run_seconds < 3.0
    tick_later(each, seconds=2.0)
    assert desk.job(job_id).state is JobState.RUNNING
    (own,) = each._watched.values()
    own._runs_since = time.monotonic() - 1.0
    tick(each, 2)
    job = desk.job(job_id)
    assert (job.state, job.error) == (
        JobState.TIMED_OUT,
        "it ran longer than its timeout of 3 s",
    )
    assert desk.executor.told == [(job_id, 2)]
    assert "stop_asked" in desk.kinds(job_id)


def test_the_time_in_which_no_service_watched_counts_too(desk: Desk) -> None:
    first = desk.scheduler()
    job_id, _ = running(desk, first, timeout=100.0)
    first._let_go()
    desk.store.database.clock = time.time
    second = desk.scheduler()
    with pytest.MonkeyPatch.context() as patch:
        clock = time.time
        patch.setattr(watched.time, "time", lambda: clock() + 101.0)
        tick(second, 2)
    assert desk.job(job_id).state is JobState.TIMED_OUT


# ---- services that come and go ------------------------------------------------------------------


def killed(each: Scheduler) -> None:
    """What `kill -9` leaves of a scheduler: nothing; its lock is free."""
    leadership, each._leadership = each._leadership, None
    assert leadership is not None
    leadership.release()


def test_a_new_service_takes_up_what_runs(desk: Desk) -> None:
    first = desk.scheduler()
    key = running(desk, first)
    killed(first)
    second = desk.scheduler()
    tick(second)
    assert (second.running, desk.executor.started) == (1, [key])
    desk.executor.end(key, 0)
    tick(second)
    assert desk.job(key[0]).state is JobState.SUCCEEDED


def test_what_was_begun_and_not_placed_is_placed_once(desk: Desk) -> None:
    first = desk.scheduler()
    tick(first)
    job_id = desk.submit()
    assert first._leadership is not None
    first._leadership.begin_attempt(job_id, executor="local", host=first._host)
    killed(first)
    second = desk.scheduler()
    tick(second, 2)
    assert desk.job(job_id).state is JobState.RUNNING
    assert desk.executor.started == [(job_id, 1)]


def test_what_was_placed_and_not_written_is_not_placed_again(desk: Desk) -> None:
    first = desk.scheduler()
    tick(first)
    job_id = desk.submit()
    assert first._leadership is not None
    attempt = first._leadership.begin_attempt(job_id, executor="local", host=first._host)
    spec = spec_of(desk.job(job_id), attempt, desk.store, desk.settings)
    desk.executor.start(spec)
    killed(first)
    second = desk.scheduler()
    tick(second, 2)
    assert desk.job(job_id).state is JobState.RUNNING
    assert desk.executor.started == [(job_id, 1)]


def test_what_was_cancelled_before_it_was_placed_never_is(desk: Desk) -> None:
    first = desk.scheduler()
    tick(first)
    job_id = desk.submit()
    assert first._leadership is not None
    first._leadership.begin_attempt(job_id, executor="local", host=first._host)
    killed(first)
    desk.cancel(job_id)
    second = desk.scheduler()
    tick(second, 2)
    assert desk.job(job_id).state is JobState.CANCELLED
    assert desk.executor.started == []


def test_what_ended_while_nobody_watched_is_written(desk: Desk) -> None:
    first = desk.scheduler()
    key, other = running(desk, first), running(desk, first)
    killed(first)
    desk.executor.end(key, 0)
    desk.executor.end(other, None, "nobody saw it")
    second = desk.scheduler()
    second._closing = True
    tick(second)
    assert desk.job(key[0]).state is JobState.SUCCEEDED
    job, attempt = desk.job(other[0]), desk.attempt(other[0])
    assert (job.state, attempt.state) == (JobState.QUEUED, AttemptState.INTERRUPTED)
    assert (attempt.cause, attempt.error) == ("lost", "nobody saw it")


def test_one_that_was_told_to_stop_by_a_service_that_died_ends_as_it_was_meant_to(
    desk: Desk,
) -> None:
    desk.executor.ends_when_told = None
    first = desk.scheduler()
    key = running(desk, first)
    desk.cancel(key[0])
    tick(first)
    killed(first)
    second = desk.scheduler(grace=0.0)
    tick(second, 3)
    assert desk.job(key[0]).state is JobState.CANCELLED


def test_while_another_leads_nothing_is_touched(desk: Desk) -> None:
    first, second = desk.scheduler(), desk.scheduler()
    key = running(desk, first)
    tick(second, 3)
    assert not second.leading
    assert "another scheduler" in (second.trouble or "")
    assert second.running == 0
    killed(first)
    tick(second)
    assert second.leading
    assert second.trouble is None
    assert second.running == 1
    assert desk.executor.started == [key]


def test_a_leader_that_was_overtaken_writes_nothing_and_lets_go(desk: Desk) -> None:
    first = desk.scheduler()
    key = running(desk, first)
    assert first._leadership is not None
    first._leadership._lock.release()  # as where the server has lost the connection
    second = desk.scheduler()
    tick(second)
    desk.executor.end(key, 0)
    first.tick()  # it sees the end, and may not write it
    assert desk.job(key[0]).state is JobState.RUNNING
    assert not first.leading
    assert first.running == 0
    tick(second)
    assert desk.job(key[0]).state is JobState.SUCCEEDED
    killed(second)
    first._store_due = 0.0
    tick(first)
    assert first.leading


def test_attempts_of_another_data_directory_are_left_to_its_service(
    desk: Desk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = desk.scheduler()
    key = running(desk, first)
    killed(first)
    (tmp_path / "elsewhere").mkdir()
    second = desk.scheduler(data=tmp_path / "elsewhere")
    tick(second, 3)
    assert (second.running, desk.job(key[0]).state) == (0, JobState.RUNNING)
    assert caplog.text.count("another data directory") == 1


def test_the_identity_of_a_data_directory_stays(tmp_path: Path) -> None:
    first = data_identity(tmp_path)
    assert len(first) == 8
    assert data_identity(tmp_path) == first
    assert [path.name for path in tmp_path.iterdir()] == ["identity"]


# ---- outages ------------------------------------------------------------------------------------


@contextmanager
def outage(desk: Desk) -> Iterator[None]:
    def fails(*_: Any, **__: Any) -> Any:
        raise StoreUnavailableError("the database at somewhere cannot be used: it is away")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(desk.store.database, "read", fails)
        patch.setattr(desk.store.database, "write", fails)
        yield


def test_an_outage_of_the_database_harms_no_attempt_and_its_end_is_written_later(
    desk: Desk,
) -> None:
    each = desk.scheduler()
    key, other = running(desk, each), running(desk, each)
    with outage(desk):
        tick(each)
        assert "it is away" in (each.trouble or "")
        desk.executor.end(key, 0)
        waits = []
        for _ in range(8):
            each._store_due = 0.0
            each.tick()
            waits.append(round(each._store_due - time.monotonic(), 1))
        assert waits == [0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0]
        assert each.tick() <= scheduler.POLL_SECONDS, "attempts are watched all the same"
    assert desk.job(key[0]).state is JobState.RUNNING
    tick(each)
    assert each.trouble is None
    assert desk.job(key[0]).state is JobState.SUCCEEDED
    assert desk.job(other[0]).state is JobState.RUNNING
    assert desk.executor.started == [key, other]


def test_an_answer_that_was_lost_is_no_second_attempt(desk: Desk) -> None:
    """The database wrote that an attempt begins, and the connection broke before the answer."""
    each = desk.scheduler()
    tick(each)
    assert each._leadership is not None
    begin = each._leadership.begin_attempt

    def lost(*args: Any, **kwargs: Any) -> Attempt:
        begin(*args, **kwargs)
        raise StoreUnavailableError("the connection was lost")

    job_id = desk.submit()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(each._leadership, "begin_attempt", lost)
        tick(each)
    tick(each, 2)
    assert desk.executor.started == [(job_id, 1)]
    assert desk.job(job_id).state is JobState.RUNNING


def test_an_end_whose_answer_was_lost_is_written_once(desk: Desk) -> None:
    each = desk.scheduler()
    key = running(desk, each)
    assert each._leadership is not None
    end = each._leadership.end_attempt

    def lost(*args: Any, **kwargs: Any) -> Job:
        end(*args, **kwargs)
        raise StoreUnavailableError("the connection was lost")

    desk.executor.end(key, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(each._leadership, "end_attempt", lost)
        tick(each)
    tick(each)
    assert each.running == 0
    assert desk.job(key[0]).state is JobState.SUCCEEDED
    assert desk.kinds(key[0]).count("attempt_ended") == 1


def test_an_executor_that_does_not_answer_is_asked_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watched, "SILENCE_SECONDS", 0.0)
    each = desk.scheduler()
    key = running(desk, each)
    desk.executor.silent = "the cluster is away"
    tick(each, 3)
    assert desk.job(key[0]).state is JobState.RUNNING
    assert caplog.text.count("the cluster is away") == 1
    desk.executor.silent = None
    desk.executor.end(key, 0)
    tick(each)
    assert desk.job(key[0]).state is JobState.SUCCEEDED


def test_a_mistake_with_one_attempt_does_not_stop_the_others(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    each = desk.scheduler()
    bad, good = running(desk, each), running(desk, each)
    desk.executor.stumbles_at = bad[0]
    desk.executor.end(good, 0)
    tick(each)
    assert desk.job(good[0]).state is JobState.SUCCEEDED
    assert "a mistake of the executor" in caplog.text


def test_an_attempt_that_waits_for_its_place_is_starting(desk: Desk) -> None:
    each = desk.scheduler()
    key = running(desk, each)
    desk.executor.end(key, 0)
    job_id = desk.submit()
    desk.executor.attempts[job_id, 1] = Observation("waiting")
    tick(each, 2)
    assert desk.job(job_id).state is JobState.STARTING
    assert desk.attempt(job_id).handle == f"handle of {job_id}/1"
    desk.executor.attempts[job_id, 1] = Observation("running")
    tick(each)
    assert desk.job(job_id).state is JobState.RUNNING


# ---- as a thread --------------------------------------------------------------------------------


@contextmanager
def thread(each: Scheduler) -> Iterator[threading.Event]:
    stop = threading.Event()
    runner = threading.Thread(target=each.run, args=(stop,))
    runner.start()
    try:
        yield stop
    finally:
        stop.set()
        each.wake.set()
        runner.join(timeout=240)
        assert not runner.is_alive()


def wait_for(what: Callable[[], Any]) -> None:
    end = time.monotonic() + 240
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_shutdown_leaves_all_jobs_in_the_queue_and_another_can_lead(desk: Desk) -> None:
    each = desk.scheduler()
    with thread(each):
        job_id = desk.submit()
        each.wake.set()
        wait_for(lambda: desk.job(job_id).state is JobState.RUNNING)
    job, attempt = desk.job(job_id), desk.attempt(job_id)
    assert (job.state, job.stop_reason, job.idle_interruptions) == (JobState.QUEUED, None, 0)
    assert (attempt.state, attempt.cause) == (AttemptState.INTERRUPTED, "shutdown")
    assert desk.executor.closed
    second = desk.scheduler()
    tick(second, 2)
    assert second.leading
    assert desk.job(job_id).state is JobState.RUNNING


def test_a_shutdown_without_the_database_stops_attempts_all_the_same(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.executor.ends_when_told = None
    each = desk.scheduler(grace=0.1)
    monkeypatch.setattr(scheduler, "SHUTDOWN_SECONDS", 0.2)
    key = running(desk, each)
    stop = threading.Event()
    stop.set()
    with outage(desk):
        each.run(stop)
    assert desk.executor.told == [key]
    assert desk.executor.killed[:1] == [key]
    tick(desk.scheduler(), 1)
    assert desk.attempt(key[0]).state is AttemptState.INTERRUPTED


def test_without_work_it_rests(desk: Desk) -> None:
    each = desk.scheduler()
    with thread(each):
        wait_for(lambda: each.leading)
        time.sleep(0.3)
        before = time.process_time()
        time.sleep(1.0)
        assert time.process_time() - before < 0.3  # a loop that never rests would take all of it


def test_who_wakes_it_need_not_wait(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "IDLE_SECONDS", 3600.0)
    each = desk.scheduler()
    with thread(each):
        wait_for(lambda: each.leading and each._refresh_due > time.monotonic() + 60)
        job_id = desk.submit()
        each.wake.set()
        wait_for(lambda: desk.job(job_id).state is JobState.RUNNING)


def test_a_stumble_ends_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "STUMBLE_SECONDS", 0.01)
    each = desk.scheduler()
    refresh, calls = each._refresh, []

    def stumbles(*args: Any) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("a mistake")
        refresh(*args)

    monkeypatch.setattr(each, "_refresh", stumbles)
    job_id = desk.submit()
    with thread(each):
        wait_for(lambda: desk.job(job_id).state is JobState.RUNNING)
