"""One worker at a time: locks that end with the process that holds them, however it ends.

Two kinds are needed. A *turn* is held for the moment in which a worker looks at a study and takes
a trial: Optuna's own hand-out is not atomic on SQLite, which has no ``FOR UPDATE``, so that two
workers could be given one trial. And each trial has a lock file that its worker and its training
hold together: where the lock is free, both are gone, and the trial can be taken up by another.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


def sqlite_file(storage: str) -> Path | None:
    """Return the file of a SQLite address, None for another storage.

    >>> sqlite_file("sqlite:///sweep.db?timeout=5")
    PosixPath('sweep.db')
    """
    scheme, _, rest = storage.partition("://")
    if scheme.partition("+")[0] != "sqlite":
        return None
    return Path(rest.partition("?")[0].removeprefix("/"))


def address(storage: str) -> str:
    """Return the storage's address with PostgreSQL's driver named: psycopg, as MLflow's is here.

    Which one SQLAlchemy takes for itself depends on its version.
    """
    return storage.replace("postgresql://", "postgresql+psycopg://", 1)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait for the lock of a file, and hold it for the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Turns:
    """Lets one worker at a time look at a storage: all on one machine, or all on one server.

    Parameters
    ----------
    storage
        SQLite's lock lies in a file beside the database, PostgreSQL's in the server.
    """

    def __init__(self, storage: str) -> None:
        self._file: Path | None = None
        self._engine: Any = None
        if database := sqlite_file(storage):
            self._file = database.with_name(f"{database.name}.lock")
        else:
            from sqlalchemy import create_engine

            self._engine = create_engine(address(storage), pool_pre_ping=True, pool_size=1)
        self._key = zlib.crc32(b"minidl sweep")

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn, and have it until the block is left."""
        if self._file is not None:
            with alone(self._file):
                yield
            return
        from sqlalchemy import text

        with self._engine.begin() as connection:  # ends with the transaction, or the connection
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": self._key})
            yield

    def close(self) -> None:
        """Give the server its connection back."""
        if self._engine is not None:
            self._engine.dispose()


class TrialLock:
    """The lock file of one trial, held; what inherits ``descriptor`` holds it too."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    @classmethod
    def take(cls, path: Path) -> TrialLock | None:
        """Take the lock; None where another has it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return cls(path, descriptor)

    def release(self, *, remove: bool = False) -> None:
        """Let go; remove the file where nobody will ask for it again."""
        if remove:
            with suppress(OSError):
                self.path.unlink()
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
