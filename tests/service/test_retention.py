"""Files of jobs that ended long ago, or take too much room: gone, whole, and never those in use."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_jobs

from minidl.service import retention
from minidl.service.retention import DAY, Retention, in_use, size_of
from minidl.service.settings import ServiceSettings
from minidl.service.states import AttemptState, JobState, Mode
from minidl.service.store import Leadership, Store, StoreUnavailableError, WrongStateError
from minidl.train.run_directory import RunDirectory

CONFIG = tiny_jobs.config()


class Shelf:
    """A store with jobs that have ended at times of one's choice, each with a megabyte of files."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.now = time.time()
        self.store = Store.open(
            f"sqlite:///{data / 'service.db'}", data=data, clock=lambda: self.now
        )
        leadership = self.store.lead("test")
        assert leadership is not None
        self.leadership: Leadership = leadership

    def job(self, *, days: float, state: JobState | None = JobState.SUCCEEDED) -> str:
        job_id = self.store.submit(tiny_jobs.new_job(CONFIG), actor="ada")[0].id
        if state is not None:
            attempt = self.leadership.begin_attempt(job_id, executor="local", host="here")
            attempt = self.leadership.placed(attempt, "handle")
            if state.is_terminal:
                self.leadership.end_attempt(
                    attempt,
                    state=AttemptState(state.value),
                    job_state=state,
                    exit_status=0,
                    ended_at=self.now - days * DAY,
                )
        run = self.directory(job_id) / "run"
        run.mkdir(parents=True)
        (run / "config.yaml").touch()
        (run / "weights").write_bytes(os.urandom(1_000_000))
        return job_id

    def directory(self, job_id: str) -> Path:
        return self.data / "jobs" / job_id

    def left(self, *ids: str) -> list[bool]:
        return [self.directory(job_id).exists() for job_id in ids]

    def keep(self, **settings: Any) -> Retention:
        """Do what a service with these settings does, until nothing is left to do."""
        kept = Retention(self.store, ServiceSettings(data=self.data, **settings))
        work(kept, self.leadership)
        return kept


def work(kept: Retention, leadership: Leadership) -> None:
    kept._due = 0.0
    kept.tick(leadership)
    wait_for(lambda: not kept.busy or kept.tick(leadership))
    kept.close()


def wait_for(what: Callable[[], Any]) -> None:
    end = time.monotonic() + 120
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    shelf = Shelf(tmp_path)
    yield shelf
    shelf.leadership.release()
    shelf.store.close()


def trash(shelf: Shelf) -> list[Path]:
    return list((shelf.data / "trash").glob("*"))


def test_by_default_everything_is_kept(shelf: Shelf) -> None:
    old = shelf.job(days=10_000)
    shelf.keep()
    assert shelf.left(old) == [True]
    assert shelf.store.job(old).files_removed_at is None


def test_what_ended_long_ago_goes(shelf: Shelf) -> None:
    old, young = shelf.job(days=31, state=JobState.FAILED), shelf.job(days=29)
    shelf.keep(keep_days=30)
    assert shelf.left(old, young) == [False, True]
    job = shelf.store.job(old)
    assert (job.state, job.files_removed_at) == (JobState.FAILED, shelf.now)
    with pytest.raises(WrongStateError, match="removed by retention"):
        shelf.store.requeue(old, actor="ada", mode=Mode.RESUME)
    shelf.keep(keep_days=30)
    assert trash(shelf) == [], "the next round empties it at the latest"


def test_what_takes_too_much_room_goes_the_oldest_first(shelf: Shelf) -> None:
    ids = [shelf.job(days=days) for days in (3, 1, 4, 2)]
    shelf.keep(keep_bytes=2_500_000)
    assert shelf.left(*ids) == [False, True, False, True]
    shelf.keep(keep_bytes=2_500_000)
    assert shelf.left(*ids) == [False, True, False, True]


def test_what_waits_or_runs_stays(shelf: Shelf) -> None:
    waits, runs = shelf.job(days=0, state=None), shelf.job(days=0, state=JobState.RUNNING)
    again = shelf.job(days=100)
    shelf.store.requeue(again, actor="ada", mode=Mode.RESUME)
    shelf.keep(keep_days=0, keep_bytes=0)
    assert shelf.left(waits, runs, again) == [True, True, True]


def test_what_somebody_is_using_stays(shelf: Shelf) -> None:
    used, trial = shelf.job(days=100), shelf.job(days=100)
    in_trial = shelf.directory(trial) / "run/trial-0003"
    in_trial.mkdir()
    with (
        RunDirectory(shelf.directory(used) / "run").locked(),
        RunDirectory(in_trial).locked(),
    ):
        assert in_use(shelf.directory(trial))
        shelf.keep(keep_days=1)
        assert shelf.left(used, trial) == [True, True]
        assert shelf.store.job(used).files_removed_at is None
    shelf.keep(keep_days=1)
    assert shelf.left(used, trial) == [False, False]


def test_one_that_was_queued_again_in_the_meantime_stays(shelf: Shelf) -> None:
    old = shelf.job(days=100)
    kept = Retention(shelf.store, ServiceSettings(data=shelf.data, keep_days=1))
    kept.tick(shelf.leadership)
    wait_for(lambda: kept._candidates)
    shelf.store.requeue(old, actor="ada", mode=Mode.RESUME)
    work(kept, shelf.leadership)
    assert shelf.left(old) == [True]


def test_killed_after_the_database_knew_the_next_service_finishes_it(shelf: Shelf) -> None:
    old, deleted, kept = shelf.job(days=9), shelf.job(days=9), shelf.job(days=9)
    assert shelf.leadership.retire(old)
    shelf.store.delete(deleted, actor="ada")
    (shelf.data / "trash/half").mkdir(parents=True)
    shelf.keep()
    assert shelf.left(old, deleted, kept) == [False, False, True]
    shelf.keep()
    assert trash(shelf) == []


def test_files_of_jobs_that_the_database_does_not_know_stay(
    shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    """The service was started with the wrong database, or with one that was restored."""
    unknown = shelf.directory("0123456789abcdef")
    unknown.mkdir(parents=True)
    shelf.keep(keep_days=0, keep_bytes=0)
    assert unknown.exists()
    assert "of no job that this database knows" in caplog.text


def test_a_job_that_is_trained_again_keeps_its_new_files(shelf: Shelf) -> None:
    """Its files were to go, a service was killed, and it was retried before the next one looked."""
    old = shelf.job(days=9)
    shelf.leadership.retire(old)
    shelf.store.requeue(old, actor="ada", mode=Mode.AFRESH)
    shelf.keep()
    assert shelf.left(old) == [True]


def test_without_the_database_nothing_goes(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    old = shelf.job(days=100)

    def away(*_: Any, **__: Any) -> Any:
        raise StoreUnavailableError("away")

    with monkeypatch.context() as patch:
        patch.setattr(shelf.store.database, "read", away)
        shelf.keep(keep_days=1)
    assert shelf.left(old) == [True]


def test_rounds_are_far_apart(shelf: Shelf) -> None:
    kept = shelf.keep(keep_days=1)
    old = shelf.job(days=100)
    for _ in range(3):
        kept.tick(shelf.leadership)
    assert not kept.busy
    assert shelf.left(old) == [True]
    assert kept._due - time.monotonic() == pytest.approx(retention.ROUND_SECONDS, abs=5)


def test_size_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").write_bytes(os.urandom(100_000))
    (tmp_path / "a/link").symlink_to("/usr/bin/env")
    assert 100_000 <= size_of(tmp_path) < 120_000
    assert size_of(tmp_path / "nothing") == 0
