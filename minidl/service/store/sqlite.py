"""SQLite, told to keep what it acknowledged and to let readers and one writer work side by side."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL

from minidl.service.settings import make_durable_directory
from minidl.train.strict_json import strict_json


def sqlite_engine(url: URL, *, patience: float) -> Engine:
    """Return connections to an SQLite file, which is made, for its owner only, where there is none.

    Raises
    ------
    OSError
        The file cannot be made.
    """
    _make_file(Path(str(url.database)))
    engine = create_engine(
        url,
        # Transactions begin where we say so (below), not where Python's module sees fit.
        connect_args={"timeout": patience, "isolation_level": None},
        pool_size=8,
        max_overflow=32,
        pool_timeout=patience,
        json_serializer=strict_json,
    )

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        _turn_wal_on(connection, end=time.monotonic() + patience)
        connection.execute("PRAGMA synchronous=FULL")  # each commit is on disk when it returns
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("minidl_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _make_file(path: Path) -> None:
    make_durable_directory(path.parent)
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return


def _turn_wal_on(connection: sqlite3.Connection, *, end: float) -> None:
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").fetchone()
            return
        except sqlite3.OperationalError as error:
            # While another connection turns it on, SQLite does not wait for it by itself.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.02)
