"""A power cut at any moment: what was acknowledged is on disk, and SQLite reads what is there."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from power_cut import moments, trace

from minidl.service.states import JobState
from minidl.service.store import Store

#: Says what is acknowledged, and only then; checkpoints come often, in the middle of it.
PROGRAM = """
import sys
from pathlib import Path
from sqlalchemy import event
from databases import new_job
from minidl.service.states import AttemptState, JobState
from minidl.service.store import Store

PRAGMA = "PRAGMA wal_autocheckpoint=9"
data = Path(sys.argv[1]) / "new" / "data"
store = Store.open(f"sqlite:///{data / 'service.db'}", data=data)
store.database.engine.dispose()
event.listen(store.database.engine, "connect", lambda connection, _: connection.execute(PRAGMA))
say = lambda *words: print(*words, flush=True)
say("token", store.ensure_admin())
leader = store.lead("me")
for number in range(6):
    job, _ = store.submit(new_job(config_text="#" * 3000 * number), actor="ada")
    say("queued", job.id)
    if number % 2 == 0:
        attempt = leader.begin_attempt(job.id, executor="local", host="here")
        say("starting", job.id)
        leader.end_attempt(attempt, state=AttemptState.SUCCEEDED, job_state=JobState.SUCCEEDED)
        say("succeeded", job.id)
"""
UNSAFE = PROGRAM.replace("wal_autocheckpoint=9", "synchronous=OFF")
pytestmark = pytest.mark.slow
ORDER = [JobState.QUEUED, JobState.STARTING, JobState.SUCCEEDED]


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The trace of the program above, and the directory that it wrote into."""
    folder = tmp_path_factory.mktemp("traced") / "folder"
    folder.mkdir()
    return trace(PROGRAM, [str(folder)], folder), folder


def acknowledged(said: str) -> dict[str, JobState]:
    words = [line.split() for line in said.splitlines()]
    return {job_id: JobState(state) for state, job_id in words if state != "token"}


def found(file: Path) -> dict[str, JobState]:
    """The jobs of a database, which is sound."""
    if not file.exists():
        return {}
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        if not connection.execute("SELECT * FROM sqlite_master WHERE name='jobs'").fetchall():
            return {}
        rows = connection.execute("SELECT id, state FROM jobs").fetchall()
    return {job_id: JobState(state) for job_id, state in rows}


@pytest.mark.parametrize("seed", [None, 1])
def test_what_was_acknowledged_is_on_disk(
    traced: tuple[Path, Path], tmp_path: Path, seed: int | None
) -> None:
    """Where nothing of what was not synced is left, and where any part of it is."""
    chance = None if seed is None else random.Random(seed)
    count = said = 0
    for disk in moments(*traced):
        file = disk.restore(tmp_path / "left", chance=chance) / "new" / "data" / "service.db"
        told, left = acknowledged(disk.said), found(file)
        for job_id, state in told.items():  # what was not acknowledged may be there all the same
            assert ORDER.index(left[job_id]) >= ORDER.index(state)
        assert len(left) <= len(told) + 1
        count, said = count + 1, disk.said.count("\n")
    assert said == 1 + 6 + 2 * 3
    assert count > 2 * said  # each of them was a sync at least


def test_the_service_goes_on_with_what_is_left(traced: tuple[Path, Path], tmp_path: Path) -> None:
    disk = list(moments(*traced))[-1]
    file = disk.restore(tmp_path / "left") / "new" / "data" / "service.db"
    with Store.open(f"sqlite:///{file}", data=file.parent) as store:
        told = acknowledged(disk.said)
        assert {job.id: job.state for job in store.jobs().items} == told
        assert [len(store.job(job_id).config_text) for job_id in told] == [
            3000 * number for number in range(6)
        ]
        assert store.authenticate(disk.said.split()[1]) is not None
        with store.lead("me") as leader:
            assert leader.epoch == 2


def test_the_disk_of_these_tests_forgets(tmp_path: Path) -> None:
    """Were commits not synced, the tests above would see it."""
    folder = tmp_path / "folder"
    folder.mkdir()
    lost = 0
    for disk in moments(trace(UNSAFE, [str(folder)], folder), folder):
        file = disk.restore(tmp_path / "left") / "new" / "data" / "service.db"
        lost += len(found(file)) < len(acknowledged(disk.said))
    assert lost > 6
