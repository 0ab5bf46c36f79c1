"""Reading many jobs: pages of a list, counts, and places in the queue.

Pages go by id, newest first: an index gives the next page at once, however far it is, and jobs that
come meanwhile do not shift it.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import ColumnElement, Select, exists, func, or_, select

from minidl.service import tables
from minidl.service.records import Job, JobFilter, Page
from minidl.service.states import JobState
from minidl.service.store.engine import Transaction
from minidl.service.store.rows import JOB_COLUMNS, job_of

jobs = tables.jobs

#: Which of the waiting jobs comes first.
QUEUE_ORDER = (jobs.c.priority.desc(), jobs.c.queued_at, jobs.c.id)


def page(
    transaction: Transaction, asked: JobFilter, *, limit: int, cursor: str | None
) -> Page[Job]:
    """Read a page of a list."""
    rows = transaction.connection.execute(page_query(asked, limit=limit, cursor=cursor)).all()
    items = [job_of(row._mapping) for row in rows[:limit]]
    return Page(items, items[-1].id if len(rows) > limit else None)


def page_query(asked: JobFilter, *, limit: int, cursor: str | None) -> Select[tuple[object, ...]]:
    """Return the query of a page: one row more than asked for tells whether there are more."""
    query = select(*JOB_COLUMNS).where(*_conditions(asked))
    if cursor is not None:
        query = query.where(jobs.c.id < cursor)
    return query.order_by(jobs.c.id.desc()).limit(limit + 1)


def _conditions(asked: JobFilter) -> Iterable[ColumnElement[bool]]:
    if len(asked.states) == 1:
        yield jobs.c.state == asked.states[0]
    elif asked.states:
        yield jobs.c.state.in_(asked.states)
    if asked.owner is not None:
        yield jobs.c.owner == asked.owner
    if asked.kind is not None:
        yield jobs.c.kind == asked.kind
    if asked.q:
        yield or_(
            jobs.c.id.startswith(asked.q.lower(), autoescape=True),
            jobs.c.name.icontains(asked.q, autoescape=True),
        )
    label = tables.labels.c
    for key, value in asked.labels.items():
        yield exists().where(label.key == key, label.value == value, label.job_id == jobs.c.id)


def counts(transaction: Transaction) -> dict[JobState, int]:
    """Count the jobs in each state, also those in which there are none."""
    found = transaction.connection.execute(
        select(jobs.c.state, func.count()).group_by(jobs.c.state)
    ).all()
    return dict.fromkeys(JobState, 0) | {JobState(state): count for state, count in found}


def queue_positions(transaction: Transaction, job_ids: Iterable[str]) -> dict[str, int]:
    """Return the places of waiting jobs in the queue, from 1; of others there is none."""
    place = func.row_number().over(order_by=QUEUE_ORDER).label("place")
    queue = select(jobs.c.id, place).where(jobs.c.state == JobState.QUEUED).subquery()
    query = select(queue.c.id, queue.c.place).where(queue.c.id.in_(list(job_ids)))
    return {row.id: row.place for row in transaction.connection.execute(query)}
