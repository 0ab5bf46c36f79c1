"""Lists of many jobs: pages, filters, and the indices that answer them; on both databases."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from databases import new_job
from sqlalchemy import Connection, event, insert, text

from minidl.service import tables
from minidl.service.records import Job, JobFilter
from minidl.service.states import JobKind, JobState, Mode
from minidl.service.store import Store
from minidl.service.store.lists import page_query
from minidl.service.store.rows import new_id

pytest_plugins = ["databases"]

MANY = 10_000
OWNERS = [f"user{n}" for n in range(20)]


def fill(store: Store, count: int) -> None:
    """Put jobs into the table as years of use would have left them: most have ended."""
    chance = random.Random(0)
    states = [JobState.SUCCEEDED] * 90 + [JobState.FAILED] * 8 + [JobState.QUEUED] * 2
    rows: list[dict[str, Any]] = []
    for number in range(count):
        rows.append(
            {
                "id": new_id(1e6 + number, after=None),
                "kind": JobKind.SWEEP if number % 50 == 0 else JobKind.TRAINING,
                "name": f"Trial {number}" if number % 2 else None,
                "owner": chance.choice(OWNERS),
                "state": chance.choice(states),
                "labels": {"team": f"t{number % 7}"},
                "priority": chance.randrange(-2, 3),
                "max_retries": 0,
                "created_at": 1e6 + number,
                "queued_at": 1e6 + number,
                "progress": {},
                "result": {},
                "mode": Mode.AFRESH,
                "overrides": [],
            }
        )
    with store.database.write() as transaction:
        transaction.connection.execute(insert(tables.jobs), rows)
        configs = [{"job_id": row["id"], "text": "x" * 200, "resolved": {}} for row in rows]
        transaction.connection.execute(insert(tables.configs), configs)
        labels = [{"job_id": r["id"], "key": "team", "value": r["labels"]["team"]} for r in rows]
        transaction.connection.execute(insert(tables.labels), labels)
        transaction.connection.execute(text("ANALYZE"))


@contextmanager
def statements(store: Store) -> Iterator[list[str]]:
    """The statements that are run in the block."""
    seen: list[str] = []

    def note(_connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(store.database.engine, "before_cursor_execute", note)
    yield seen
    event.remove(store.database.engine, "before_cursor_execute", note)


def plan(store: Store, asked: JobFilter) -> str:
    """How the database is going to find a page."""
    query = page_query(asked, limit=50, cursor="z" * 16)
    compiled = query.compile(store.database.engine, compile_kwargs={"literal_binds": True})
    explain = "EXPLAIN QUERY PLAN" if store.database.is_sqlite else "EXPLAIN"
    with store.database.read() as transaction:
        rows = transaction.connection.exec_driver_sql(
            f"{explain} {compiled}".replace("%", "%%")
        ).all()
    return "\n".join(str(row[-1]) for row in rows)


@pytest.fixture(scope="module")
def filters() -> dict[str, JobFilter]:
    return {
        "all": JobFilter(),
        "rare state": JobFilter(states=[JobState.QUEUED]),
        "two states": JobFilter(states=[JobState.QUEUED, JobState.FAILED]),
        "owner": JobFilter(owner="user3"),
        "kind": JobFilter(kind=JobKind.SWEEP),
        "label": JobFilter(labels={"team": "t3"}),
        "no such label": JobFilter(labels={"team": "t3", "x": "y"}),
        "name": JobFilter(q="trial 77"),
        "everything": JobFilter(
            states=list(JobState),
            owner="user3",
            kind=JobKind.TRAINING,
            labels={"team": "t1"},
            q="1",
        ),
    }


def matches(job: Job, asked: JobFilter) -> bool:
    return (
        (not asked.states or job.state in asked.states)
        and asked.owner in (None, job.owner)
        and asked.kind in (None, job.kind)
        and all(job.labels.get(key) == value for key, value in asked.labels.items())
        and (not asked.q or job.id.startswith(asked.q) or asked.q in (job.name or "").lower())
    )


def test_ten_thousand_jobs(job_store: Store, filters: dict[str, JobFilter]) -> None:
    fill(job_store, MANY)
    everything: list[Job] = []
    cursor = None
    while True:
        page = job_store.jobs(limit=3000, cursor=cursor)
        everything += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert len({job.id for job in everything}) == len(everything) == MANY
    assert [job.id for job in everything] == sorted((job.id for job in everything), reverse=True)
    for name, asked in filters.items():
        wanted = [job for job in everything if matches(job, asked)]
        with statements(job_store) as seen:
            page = job_store.jobs(asked, limit=50)
        assert page.items == wanted[:50], name
        assert (page.next_cursor is None) == (len(wanted) <= 50), name
        selects = [statement for statement in seen if "SELECT" in statement]
        assert len(selects) == 1, name
        assert "configs" not in selects[0], name
        found = plan(job_store, asked)
        if job_store.database.is_sqlite:
            assert "SCAN jobs" not in found, (name, found)
        else:
            # Part of a name is looked for in all of them, where nothing else narrows it down.
            assert "Seq Scan on jobs" not in found or asked.q or "x" in asked.labels, (name, found)
    if job_store.database.is_sqlite:
        assert "USING INDEX sqlite_autoindex_jobs_1 (id<?)" in plan(job_store, filters["all"])
        assert "ix_jobs_state_id (state=?" in plan(job_store, filters["rare state"])
        assert "ix_jobs_owner_id (owner=?" in plan(job_store, filters["owner"])
        assert "TEMP B-TREE" not in plan(job_store, filters["owner"])
    queued = [job for job in everything if job.state is JobState.QUEUED]
    order = sorted(queued, key=lambda job: (-job.priority, job.queued_at, job.id))
    places = job_store.queue_positions(job.id for job in order)
    assert places == {job.id: place for place, job in enumerate(order, 1)}
    counts = job_store.counts()
    assert set(counts) == set(JobState)
    assert counts[JobState.QUEUED] == len(queued)
    assert sum(counts.values()) == MANY


def test_a_page_does_not_shift_when_jobs_come_and_go(job_store: Store) -> None:
    jobs = [job_store.submit(new_job(), actor="ada")[0] for _ in range(7)]
    first = job_store.jobs(limit=3)
    job_store.submit(new_job(), actor="ada")
    job_store.cancel(jobs[4].id, actor="ada")
    job_store.delete(jobs[4].id, actor="ada")  # the one that the cursor names
    second = job_store.jobs(limit=3, cursor=first.next_cursor)
    third = job_store.jobs(limit=3, cursor=second.next_cursor)
    found = [[job.id for job in page.items] for page in (first, second, third)]
    ids = [job.id for job in jobs]
    assert found == [ids[6:3:-1], ids[3:0:-1], ids[0:1]]
    assert third.next_cursor is None


NAMES = ["Größe 1", "100% sure", "under_score", None, "back\\slash", "MNIST", "mnist-2"]
SEARCHES = [
    ("größe", ["Größe 1"]),
    ("%", ["100% sure"]),
    ("_", ["under_score"]),
    ("\\", ["back\\slash"]),
    ("mnist", ["MNIST", "mnist-2"]),
    ("' OR 1=1 --", []),
    ("", NAMES),
]


def test_search_takes_signs_as_they_are(job_store: Store) -> None:
    for name in NAMES:
        job_store.submit(new_job(name=name), actor="ada")
    for asked, names in SEARCHES:
        found = job_store.jobs(JobFilter(q=asked)).items
        assert [job.name for job in reversed(found)] == names, asked
    job = job_store.jobs().items[0]
    assert job_store.jobs(JobFilter(q=job.id[:12].upper())).items
    assert job in job_store.jobs(JobFilter(q=job.id)).items
    assert job_store.jobs(JobFilter(q=job.id[1:])).items == []


def test_labels_all_of_them_and_by_their_whole_value(job_store: Store) -> None:
    made = [
        job_store.submit(new_job(labels=labels), actor="ada")[0].id
        for labels in ({"a": "1"}, {"a": "1", "b": "2"}, {"a": "12"}, {"b": "1"}, {})
    ]
    for labels, numbers in (({"a": "1"}, [0, 1]), ({"a": "1", "b": "2"}, [1]), ({"c": ""}, [])):
        found = job_store.jobs(JobFilter(labels=labels)).items
        assert [job.id for job in reversed(found)] == [made[number] for number in numbers]
        assert all(job.config == {} and job.config_text == "" for job in found)
