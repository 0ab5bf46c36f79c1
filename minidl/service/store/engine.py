"""The database: connections, transactions that read or write, and what an outage looks like.

Writing transactions come one after the other on both databases. SQLite has only one writer anyway
(and ``BEGIN IMMEDIATE`` asks for its place at the start, as a transaction that begins by reading
cannot wait for it later); on PostgreSQL an advisory lock does the same. So quotas are exact, no
two transactions can deadlock, and ids of events grow in the order of commits: who has read up to
an id has missed nothing before it. A commit is on disk when it returns: WAL with synchronous=FULL.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, insert, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from minidl.service import tables
from minidl.service.store.errors import StoreUnavailableError
from minidl.service.store.turn import Turn

#: Seconds that a transaction waits for another to end; for a server that is silent, twice as long.
PATIENCE = 10.0
#: Names the lock of writers among PostgreSQL's advisory locks; leadership's is the next.
WRITERS = 0x6D696E69646C01
LEADERS = WRITERS + 1
#: The programmer's mistakes, not the database's.
MISTAKES = (IntegrityError, ProgrammingError, DataError, NotSupportedError)


@dataclass
class Transaction:
    """One transaction: its connection, the time it happens at, and the events it will leave."""

    connection: Connection
    now: float
    _events: list[dict[str, Any]] = field(default_factory=list)

    def event(
        self, kind: str, data: Mapping[str, Any], *, actor: str, job_id: str | None = None
    ) -> None:
        """Note what happened; it is written with the transaction, or not at all."""
        row = {"at": self.now, "kind": kind, "actor": actor, "job_id": job_id, "data": dict(data)}
        self._events.append(row)

    def write_events(self) -> None:
        """Write what was noted."""
        if self._events:
            self.connection.execute(insert(tables.events), self._events)
            self._events.clear()


class Database:
    """Connections to one database.

    Parameters
    ----------
    url
        ``sqlite:///FILE`` or ``postgresql://user@host/database``.
    clock
        Tells the time that is written down.
    patience
        Seconds to wait for others.

    Raises
    ------
    ValueError
        The address names another kind of database, or none.
    StoreUnavailableError
        The file cannot be made.
    """

    def __init__(
        self, url: str, *, clock: Callable[[], float] = time.time, patience: float = PATIENCE
    ) -> None:
        self.url = parse(url)
        self.clock, self.patience = clock, patience
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        #: The threads of this process wait here, in line; SQLite's own waiting is sleep and retry.
        self._turn = Turn()
        with self.telling_outages():
            self.engine = self._make_engine()

    def _make_engine(self) -> Engine:
        if self.is_sqlite:
            from minidl.service.store.sqlite import sqlite_engine

            return sqlite_engine(self.url, patience=self.patience)
        from minidl.service.store.postgresql import postgresql_engine

        return postgresql_engine(self.url, patience=self.patience)

    @property
    def file(self) -> Path:
        """SQLite's file, whatever name it was given by: its lock lies beside it."""
        return Path(str(self.url.database)).resolve()

    @property
    def shown(self) -> str:
        """The address without its password."""
        return self.url.render_as_string(hide_password=True)

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Run a transaction that only reads, on one state of the database."""
        with self.telling_outages(), self.engine.connect() as connection:
            if not self.is_sqlite:  # where a transaction always sees one state
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            yield Transaction(connection, self.clock())

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """Run a transaction that writes; an exception rolls it back."""
        with self.telling_outages(), self.waiting_for_turn(), self.engine.connect() as bare:
            connection = bare.execution_options(minidl_writes=True)
            with connection.begin():
                if not self.is_sqlite:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": WRITERS})
                transaction = Transaction(connection, self.clock())
                yield transaction
                transaction.write_events()

    @contextmanager
    def waiting_for_turn(self) -> Iterator[None]:
        """Let the threads of this process write one after the other."""
        if not self._turn.acquire(timeout=self.patience):
            raise StoreUnavailableError(
                f"the database at {self.shown} does not answer: others have been writing for "
                f"{self.patience:g} s"
            )
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def telling_outages(self) -> Iterator[None]:
        """Turn whatever a database says that cannot be used into one error."""
        try:
            yield
        except MISTAKES:
            raise
        except DBAPIError as error:
            said = str(error.orig).strip() or type(error.orig).__name__
            raise StoreUnavailableError(
                f"the database at {self.shown} cannot be used: {said.splitlines()[0]}"
            ) from error
        except OSError as error:
            raise StoreUnavailableError(
                f"the database at {self.shown} cannot be used: {error.strerror or error}"
            ) from error
        except PoolTimeoutError as error:
            raise StoreUnavailableError(
                f"the database at {self.shown} does not answer: all connections are busy"
            ) from error

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def parse(url: str) -> URL:
    """Read a database's address.

    Examples
    --------
    >>> parse("postgresql://me@db/jobs").drivername
    'postgresql+psycopg'
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ValueError(_wrong(url)) from error
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise ValueError(_wrong(parsed.render_as_string(hide_password=True)))
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ValueError(f"{url!r} names no file: the service keeps its jobs in sqlite:///FILE")
    return parsed.set(drivername={"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}[backend])


def _wrong(url: str) -> str:
    return f"a database's address is sqlite:///FILE or postgresql://user@host/database, got {url!r}"
