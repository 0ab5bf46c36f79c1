"""Reading what happened, in the order in which it was committed."""

from __future__ import annotations

from sqlalchemy import func, select

from minidl.service import tables
from minidl.service.records import Event
from minidl.service.store.engine import Transaction
from minidl.service.store.rows import event_of

events = tables.events


def after(transaction: Transaction, *, job_id: str | None, last: int, limit: int) -> list[Event]:
    """Read the events after one, the oldest first."""
    query = select(events).where(events.c.id > last).order_by(events.c.id).limit(limit)
    if job_id is not None:
        query = query.where(events.c.job_id == job_id)
    return [event_of(row._mapping) for row in transaction.connection.execute(query)]


def last_id(transaction: Transaction) -> int:
    """Return the id of the newest event, 0 where there is none."""
    return transaction.connection.execute(select(func.max(events.c.id))).scalar() or 0
