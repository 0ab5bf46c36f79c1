"""Connections that are killed all the time: clients that repeat themselves lose and double nothing.

The clients do what the API's do, the leader what the scheduler does; both say again what was not
answered. Meanwhile every connection to the database is ended again and again, at whatever moment.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from databases import new_job

from minidl.service.states import JOB_STEPS, AttemptState, JobState
from minidl.service.store import (
    Leadership,
    LostLeadershipError,
    Store,
    StoreUnavailableError,
)

pytest_plugins = ["databases"]
pytestmark = pytest.mark.slow

CLIENTS, EACH = 6, 10
KILLS = 50
DEADLINE = 240.0


def again_and_again(call: Callable[[], Any], outages: list[str]) -> Any:
    """Call it until the database answers."""
    end = time.monotonic() + DEADLINE
    while True:
        try:
            return call()
        except StoreUnavailableError as error:
            assert time.monotonic() < end
            outages.append(str(error))


class Killer(threading.Thread):
    """Ends all connections to a database but its own, so often, or until it is told to stop."""

    def __init__(self, url: str, done: threading.Event) -> None:
        super().__init__()
        self.url, self.done, self.kills = url, done, 0

    def run(self) -> None:
        name = self.url.rpartition("/")[2]
        with psycopg.connect(f"{self.url.rpartition('/')[0]}/postgres", autocommit=True) as own:
            while not self.done.is_set() and self.kills < KILLS:
                ended = own.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                    [name],
                ).fetchall()
                self.kills += bool(ended)
                self.done.wait(0.05)


class Scheduler(threading.Thread):
    """Runs each job in no time, one after the other."""

    def __init__(self, store: Store, enough: Callable[[], bool], outages: list[str]) -> None:
        super().__init__()
        self.store, self.enough, self.outages = store, enough, outages

    def run(self) -> None:
        leader: Leadership | None = None
        while not self.enough():
            try:
                leader = leader or self.store.lead("me")
                if leader is not None:
                    leader.check()
                    self.tick(leader)
            except LostLeadershipError:
                leader = None
            except StoreUnavailableError as error:
                self.outages.append(str(error))
        if leader is not None:
            leader.release()

    def tick(self, leader: Leadership) -> None:
        for _, attempt in leader.active():  # also one whose beginning was not answered
            leader.placed(attempt, "7")
            leader.end_attempt(
                attempt,
                state=AttemptState.SUCCEEDED,
                job_state=JobState.SUCCEEDED,
                exit_status=0,
                run_seconds=1.0,
            )
        job = leader.next_job(running_by_user={}, per_user=None, now=time.time())
        if job is not None:
            leader.begin_attempt(job.id, executor="local", host="here")


def test_connections_killed_at_any_moment(
    postgresql_url: str, open_store: Callable[..., Store]
) -> None:
    store = open_store(postgresql_url)
    outages: list[str] = []
    killing, ended = threading.Event(), threading.Event()
    killer = Killer(postgresql_url, killing)
    scheduler = Scheduler(store, ended.is_set, outages)
    numbers = itertools.count()

    def client(number: int) -> list[str]:
        made = []
        while len(made) < EACH or killer.kills < KILLS:
            new = new_job(idempotency_key=f"{number}-{next(numbers)}")

            def submit(new: Any = new) -> Any:
                return store.submit(new, actor="ada")

            made.append(again_and_again(submit, outages)[0].id)
        return made

    killer.start()
    scheduler.start()
    try:
        with ThreadPoolExecutor(CLIENTS) as pool:
            made = list(itertools.chain(*pool.map(client, range(CLIENTS))))
    finally:
        killing.set()
        killer.join()
    try:
        end = time.monotonic() + DEADLINE
        while store.counts()[JobState.SUCCEEDED] < len(made):
            assert time.monotonic() < end
            assert scheduler.is_alive()
    finally:
        ended.set()
        scheduler.join()
    assert killer.kills >= KILLS
    assert len(outages) > 10
    assert_each_ran_once(store, made)


def assert_each_ran_once(store: Store, made: list[str]) -> None:
    assert len(set(made)) == len(made)
    jobs = store.jobs(limit=100_000).items
    assert sorted(job.id for job in jobs) == sorted(made)
    events = store.events(limit=100_000)
    for job in jobs:
        (attempt,) = store.attempts(job.id)
        assert (job.state, attempt.state) == (JobState.SUCCEEDED, AttemptState.SUCCEEDED)
        assert (job.attempts, job.run_seconds) == (1, 1.0)
    by_job: dict[Any, list[JobState]] = {}
    for event in events:
        if event.job_id is not None:
            by_job.setdefault(event.job_id, []).append(JobState(event.data["state"]))
    assert set(by_job) == set(made)
    for states in by_job.values():
        assert len(states) == 4
        assert all(after in JOB_STEPS[before] for before, after in itertools.pairwise(states))
