"""Whatever is killed, nothing is lost: 30 jobs, and 100 kills at random moments.

Services are killed (and started again, now and then two of them), attempts, both at once, and the
connections of the database. In the end each job has ended once, in a true state; no two attempts
of a job were alive together; and the weights are, byte for byte, those of an undisturbed training.

That no two attempts overlap is witnessed by the attempts themselves, apart from the service's own
locks: Python runs ``sitecustomize`` before anything else in each of their processes, and that takes
a lock of its own, which ends with the process, and tells where it finds it taken.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import tiny_jobs
from bare_service import Services
from databases import PostgreSQLDatabases

from minidl.service.executors.executor import read_record
from minidl.service.policy import MOST_IDLE_INTERRUPTIONS
from minidl.service.records import Job, JobFilter
from minidl.service.settings import JobFiles
from minidl.service.states import ACTIVE, AttemptState, JobState
from minidl.service.store import Store, StoreUnavailableError
from minidl.train.run_directory import RunDirectory

pytest_plugins = ["databases"]
pytestmark = pytest.mark.slow

JOBS, KILLS, STEPS, SEEDS, SLOTS = 30, 100, 10, 3, 2
#: What is killed, out of 100 times.
WEIGHTS = {"service": 40, "attempt": 20, "both": 20, "database": 20}
SECONDS = 600.0

WITNESS = """
import os, sys
if 'minidl.service.attempt' in sys.orig_argv:
    import fcntl, time
    job, number = os.environ['MINIDL_ATTEMPT'].split('/')
    place = os.environ['MINIDL_WITNESS']
    held = os.open(f'{place}/{job}.lock', os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        open(f'{place}/overlap-{job}-{number}', 'w').close()
    with open(f'{place}/{job}.log', 'a') as file:
        file.write(f'{number} {os.getpid()} {time.monotonic()}\\n')
"""


class Disturbance:
    """Kills things at random."""

    def __init__(self, folder: Path, url: str, cut: Callable[[], None], seed: int) -> None:
        self.data, self.url, self.cut = folder / "data", url, cut
        self.dice = random.Random(seed)
        self.witness = folder / "witness"
        self.witness.mkdir()
        environment = tiny_jobs.environment(folder / "hidden")
        site = folder / "hidden/sitecustomize.py"
        site.write_text(site.read_text() + WITNESS)
        self.services = Services({**environment, "MINIDL_WITNESS": str(self.witness)})
        self.store = Store.open(url, data=self.data)
        self.done: Counter[str] = Counter()

    def close(self) -> None:
        self.services.close()
        for pid in self.attempts():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.store.close()

    def start(self) -> None:
        """See that a service runs; now and then, that another one waits."""
        wanted = 2 if self.dice.random() < 0.2 else 1
        while len(self.services.pids) < wanted:
            self.services.start(data=str(self.data), database=self.url, concurrency=SLOTS)

    def ask(self, question: Callable[[], Any]) -> Any:
        """Ask the store, again where its connection was cut."""
        while True:
            try:
                return question()
            except StoreUnavailableError:
                time.sleep(0.02)

    def active(self) -> dict[str, Job]:
        asked = JobFilter(states=tuple(ACTIVE))
        return {job.id: job for job in self.ask(lambda: self.store.jobs(asked)).items}

    def attempts(self) -> dict[int, tuple[str, int]]:
        """The attempts that are alive, by the pids that they gave."""
        found = {}
        for path in self.witness.glob("*.log"):
            for line in path.read_text().splitlines():
                number, pid, _ = line.split()
                if _is_attempt(int(pid), f"{path.stem}/{number}"):
                    found[int(pid)] = (path.stem, int(number))
        return found

    def victim(self) -> int | None:
        """An attempt to kill: mostly one that trains, and never a job's fifth in vain."""
        active, found = self.active(), []
        for pid, (job_id, number) in self.attempts().items():
            job = active.get(job_id)
            if job is None or job.idle_interruptions >= MOST_IDLE_INTERRUPTIONS - 2:
                continue
            begun = JobFiles(self.data, job_id).attempts / f"{number}.begun.json"
            if begun.exists() or self.dice.random() < 0.2:
                found.append(pid)
        return self.dice.choice(found) if found else None

    def strike(self, patience: float) -> None:
        """Kill something; an attempt once there is one to kill, which may be never."""
        (what,) = self.dice.choices(list(WEIGHTS), list(WEIGHTS.values()))
        if what in ("attempt", "both"):
            end = time.monotonic() + patience
            while (victim := self.victim()) is None:
                if time.monotonic() > end:
                    return
                time.sleep(0.01)
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        if what in ("service", "both"):
            self.services.kill(self.dice.choice(self.services.pids))
        if what == "database":
            self.cut()
        self.done[what] += 1


def _is_attempt(pid: int, mark: str) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return f"MINIDL_ATTEMPT={mark}".encode() in environment


@pytest.fixture
def cut_sqlite(sqlite_url: str) -> Callable[[], None]:
    """Nobody can write for a moment: another process holds the database."""

    def cut() -> None:
        path = sqlite_url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as other:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(0.3)
            other.execute("ROLLBACK")

    return cut


@pytest.fixture
def cut_postgresql(
    postgresql_url: str, postgresql_databases: PostgreSQLDatabases
) -> Callable[[], None]:
    """The server ends all connections, also that by which a scheduler leads."""

    def cut() -> None:
        name = postgresql_url.rpartition("/")[2].partition("?")[0]
        postgresql_databases.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{name}' AND pid <> pg_backend_pid()"
        )

    return cut


@pytest.fixture
def disturbance(
    request: pytest.FixtureRequest, database_url: str, tmp_path: Path
) -> Iterator[Disturbance]:
    kind = "sqlite" if database_url.startswith("sqlite") else "postgresql"
    cut = request.getfixturevalue(f"cut_{kind}")
    (tmp_path / "data").mkdir(exist_ok=True)
    disturbance = Disturbance(tmp_path, database_url, cut, seed=20261126)
    yield disturbance
    disturbance.close()


def test_a_hundred_kills_lose_nothing(disturbance: Disturbance, tmp_path: Path) -> None:
    store = disturbance.store
    data = [tiny_jobs.resolved(steps=STEPS, seed=seed) for seed in range(SEEDS)]
    began = time.monotonic()
    wanted = [tiny_jobs.undisturbed(tmp_path / f"whole{n}", d) for n, d in enumerate(data)]
    alone = (time.monotonic() - began) / SEEDS  # moments are relative to the machine's speed

    def unfinished() -> int:
        counts = disturbance.ask(store.counts)
        return sum(count for state, count in counts.items() if not state.is_terminal)

    ids = []
    for number in range(JOBS):
        new = tiny_jobs.new_job(data[number % SEEDS], priority=number % 2)
        ids.append(store.submit(new, actor=tiny_jobs.OWNER)[0].id)
    end = time.monotonic() + SECONDS
    while (kills := sum(disturbance.done.values())) < KILLS:
        assert time.monotonic() < end, disturbance.done
        left = unfinished()
        assert left, f"all was over after {disturbance.done}"
        # Kills are spread over the life of the queue: where it is ahead of them, they hurry.
        hurry = 0.1 if (JOBS - left) * KILLS > kills * JOBS else 1.0
        disturbance.start()
        time.sleep(disturbance.dice.uniform(0.0, 0.2 * alone * hurry))
        disturbance.strike(patience=2 * alone * hurry)
    assert min(disturbance.done[what] for what in WEIGHTS) >= 8, disturbance.done
    while unfinished():
        assert time.monotonic() < end, (tmp_path / "data/service.log").read_text()[-5000:]
        disturbance.start()
        time.sleep(0.1)
    for pid in list(disturbance.services.pids):
        disturbance.services.kill(pid, signal.SIGTERM)
    print(dict(disturbance.done), f"{time.monotonic() - began:.1f} s")

    assert sorted(tmp_path.glob("witness/overlap-*")) == []
    assert disturbance.attempts() == {}
    for number, job_id in enumerate(ids):
        check(disturbance, job_id, wanted[number % SEEDS])


def check(disturbance: Disturbance, job_id: str, wanted: dict[str, str]) -> None:
    """A job has ended once, truly, and with the right weights."""
    store, files = disturbance.store, JobFiles(disturbance.data, job_id)
    job, attempts = store.job(job_id), store.attempts(job_id)
    assert job.state is JobState.SUCCEEDED, (job, attempts)
    assert (job.retries_used, job.error, job.stop_reason) == (0, None, None)
    states = [attempt.state for attempt in attempts]
    assert states[-1] is AttemptState.SUCCEEDED
    assert set(states[:-1]) <= {AttemptState.INTERRUPTED}
    assert [attempt.number for attempt in attempts] == list(range(1, job.attempts + 1))
    ends = [event for event in store.events(job_id=job_id) if event.kind == "attempt_ended"]
    assert [event.data["number"] for event in ends] == list(range(1, job.attempts + 1))
    assert [event.data["state"] for event in ends].count("succeeded") == 1

    # What the attempts wrote says the same as the database.
    witnessed = [line.split() for line in _lines(disturbance.witness / f"{job_id}.log")]
    numbers = [int(number) for number, _, _ in witnessed]
    assert numbers == sorted(numbers)
    moments = [float(moment) for _, _, moment in witnessed]
    assert moments == sorted(moments)
    last = 0.0
    for attempt in attempts:
        started = read_record(files.started(attempt.number))
        end = read_record(files.end(attempt.number))
        assert end is not None
        assert attempt.exit_status == end["exit_status"]
        if started is not None:
            assert last <= started["started"]
            last = end["ended"] if attempt is attempts[-1] else started["started"]
    assert (read_record(files.end(job.attempts)) or {})["exit_status"] == 0

    run = RunDirectory(files.run)
    assert run.status() == "FINISHED"
    assert tiny_jobs.fingerprints(files.run) == wanted
    assert job.result["metrics"] == (read_record(run.summary) or {})["metrics"]
    assert job.progress["step"] == STEPS
    assert list(files.directory.glob("run.*")) == [], "no checkpoint was given up"


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()
