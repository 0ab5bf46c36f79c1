"""The database: connections, transactions that read or write, and what an outage looks like.

Writing transactions come one after the other on both databases. SQLite has only one writer anyway
(and ``BEGIN IMMEDIATE`` asks for its place at the start, as a transaction that begins by reading
cannot wait for it later); on PostgreSQL an advisory lock does the same. So quotas are exact, no
two transactions can deadlock, and ids of events grow in the order of commits: who has read up to
an id has missed nothing before it. A commit is on disk when it returns: WAL with synchronous=FULL.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, text
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
from minidl.service.settings import make_durable_directory
from minidl.service.store.errors import StoreUnavailableError
from minidl.train.strict_json import strict_json

#: Seconds that a transaction waits for another to end, or for a server to answer.
PATIENCE = 15.0
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

    Raises
    ------
    ValueError
        The address names another kind of database, or none.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time) -> None:
        self.url = parse(url)
        self.clock = clock
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        #: Only threads of this process wait here, in turn; SQLite's own waiting is sleep and retry.
        self._turn = threading.Lock()
        if self.is_sqlite:
            self.file = Path(str(self.url.database))
            make_durable_directory(self.file.parent)
        self.engine = _sqlite_engine(self.url) if self.is_sqlite else _postgresql_engine(self.url)

    @property
    def shown(self) -> str:
        """The address without its password."""
        return self.url.render_as_string(hide_password=True)

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Run a transaction that only reads, on one state of the database."""
        with self.telling_outages(), self.engine.connect() as connection:
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
        if not self._turn.acquire(timeout=PATIENCE):
            raise StoreUnavailableError(
                f"the database at {self.shown} does not answer: others have been writing for "
                f"{PATIENCE:g} s"
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


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(
        url,
        connect_args={"timeout": PATIENCE, "isolation_level": None},
        pool_size=8,
        max_overflow=32,
        pool_timeout=PATIENCE,
        json_serializer=strict_json,
    )

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            try:  # while another process turns WAL on, SQLite does not wait for it by itself
                connection.execute("PRAGMA journal_mode=WAL").fetchone()
                break
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(0.02)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("minidl_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql_engine(url: URL) -> Engine:
    settings = {
        "lock_timeout": f"{PATIENCE:g}s",
        "statement_timeout": f"{2 * PATIENCE:g}s",
        # A service that is frozen in mid-transaction does not keep the others from writing.
        "idle_in_transaction_session_timeout": f"{2 * PATIENCE:g}s",
        "synchronous_commit": "on",
    }
    return create_engine(
        url,
        connect_args={
            "connect_timeout": int(PATIENCE),
            "application_name": "minidl service",
            "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        },
        pool_size=8,
        max_overflow=32,
        pool_timeout=PATIENCE,
        pool_pre_ping=True,
        json_serializer=strict_json,
    )
