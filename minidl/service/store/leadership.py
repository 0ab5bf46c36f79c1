"""One scheduler at a time: who leads, and a fence around everything that a leader writes.

A lock says who may begin to lead: on SQLite that of a file beside the database, on PostgreSQL an
advisory lock that a connection of its own holds. Both end with the process that holds them, however
it ends. But a leader that was frozen, or cut off from its server, does not know that it has lost
the lock. So each that takes it counts an *epoch* up, and each write of a leader looks in its own
transaction whether its epoch is still the one: a late write is refused, not done.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, insert, select, text, update
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from minidl.service import tables
from minidl.service.records import Attempt, Job
from minidl.service.states import AttemptState, JobState, Mode, StopReason
from minidl.service.store import attempts
from minidl.service.store.engine import LEADERS, Database, Transaction
from minidl.service.store.errors import LostLeadershipError

leadership = tables.leadership


class FileLock:
    """The lock of a file beside an SQLite database."""

    def __init__(self, database: Database) -> None:
        self._path = database.file.with_name(f"{database.file.name}.leader")
        self._descriptor = -1

    def take(self) -> bool:
        """Take the lock, or find it taken."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def is_held(self) -> bool:
        """Say whether it is held still: nobody can take it away."""
        return self._descriptor >= 0

    def release(self) -> None:
        """Let another lead."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class ServerLock:
    """An advisory lock of PostgreSQL, on a connection of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Connection | None = None

    def take(self) -> bool:
        """Take the lock, or find it taken."""
        connection = self._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            query = text("SELECT pg_try_advisory_lock(:key)")
            if connection.execute(query, {"key": LEADERS}).scalar_one():
                self._connection = connection
                return True
        except DBAPIError:
            connection.invalidate()
            raise
        finally:
            if self._connection is not connection:
                connection.close()
        return False

    def is_held(self) -> bool:
        """Ask over the connection that holds it; where that is lost, so is the lock."""
        if self._connection is None:
            return False
        try:
            if not self._connection.invalidated:
                self._connection.execute(text("SELECT 1"))
                return True
        except DBAPIError:
            pass
        self._drop()
        return False

    def release(self) -> None:
        """Let another lead: say so, as a server hears of a closed connection some time later."""
        if self._connection is not None:
            with suppress(SQLAlchemyError):
                self._connection.execute(text("SELECT pg_advisory_unlock_all()"))
            self._drop()

    def _drop(self) -> None:
        """Close the connection: it is not for others to use."""
        if self._connection is not None:
            with suppress(SQLAlchemyError):
                self._connection.invalidate()
            self._connection.close()
            self._connection = None


class Leadership:
    """The scheduler's side of the store, for as long as it leads.

    All methods raise ``StoreUnavailableError`` while the database does not answer, and those that
    write ``LostLeadershipError`` when another leads. A context manager: it lets go at the end.
    """

    def __init__(self, database: Database, lock: FileLock | ServerLock, *, holder: str) -> None:
        self.holder = holder
        self._database, self._lock = database, lock
        self._guard = threading.Lock()
        with database.write() as transaction:
            self.epoch = _next_epoch(transaction, holder)

    @classmethod
    def take(cls, database: Database, holder: str) -> Leadership | None:
        """Begin to lead, or None where another does."""
        lock = FileLock(database) if database.is_sqlite else ServerLock(database)
        with database.telling_outages():
            if not lock.take():
                return None
        try:
            return cls(database, lock, holder=holder)
        except BaseException:
            lock.release()
            raise

    def __enter__(self) -> Leadership:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let another lead."""
        with self._guard:
            self._lock.release()

    def check(self) -> None:
        """Look whether this one still leads.

        Where the connection that held the lock was lost, the lock is taken again; that nobody led
        in between is seen by the epoch.

        Raises
        ------
        LostLeadershipError
            Another leads.
        """
        with self._guard, self._database.telling_outages():
            if not self._lock.is_held() and not self._lock.take():
                raise LostLeadershipError("another scheduler holds the database now")
        with self._database.read() as transaction:
            self._check_epoch(transaction)

    def _check_epoch(self, transaction: Transaction) -> None:
        row = transaction.connection.execute(select(leadership)).one()
        if row.epoch != self.epoch:
            raise LostLeadershipError(
                f"another scheduler ({row.holder}) holds the database now, as its epoch {row.epoch}"
                f"; this one was {self.epoch}"
            )

    @contextmanager
    def _write(self) -> Iterator[Transaction]:
        with self._database.write() as transaction:
            self._check_epoch(transaction)
            yield transaction

    def active(self) -> list[tuple[Job, Attempt]]:
        """Return the attempts that have not ended, with their jobs."""
        with self._database.read() as transaction:
            return attempts.active(transaction)

    def next_job(
        self, *, running_by_user: Mapping[str, int], per_user: int | None, now: float
    ) -> Job | None:
        """Return the job that is to start next: by priority, then by its time in the queue."""
        busy = [user for user, count in running_by_user.items() if per_user and count >= per_user]
        with self._database.read() as transaction:
            return attempts.next_job(transaction, busy=busy, now=now)

    def begin_attempt(self, job_id: str, *, executor: str, host: str) -> Attempt:
        """Make the next attempt of a queued job, which is then starting.

        Raises
        ------
        WrongStateError
            The job is not queued (any more).
        """
        with self._write() as transaction:
            return attempts.begin(transaction, job_id, executor=executor, host=host)

    def placed(self, attempt: Attempt, handle: str, *, waiting: bool = False) -> Attempt:
        """Note where an attempt runs; with ``waiting``, that it will once there is room for it."""
        with self._write() as transaction:
            return attempts.placed(transaction, attempt, handle, waiting=waiting)

    def note(
        self,
        job_id: str,
        *,
        progress: Mapping[str, Any] | None = None,
        result: Mapping[str, Any] | None = None,
        mlflow: Mapping[str, Any] | None = None,
    ) -> None:
        """Write down how far a job is; what is None stays as it was."""
        given = {"progress": progress, "result": result, "mlflow": mlflow}
        values = {name: dict(value) for name, value in given.items() if value is not None}
        if values:
            with self._write() as transaction:
                attempts.note(transaction, job_id, values)

    def ask_to_stop(self, job_id: str, reason: StopReason) -> Job:
        """Write down why the attempt is going to be stopped: before it is told."""
        with self._write() as transaction:
            return attempts.ask_to_stop(transaction, job_id, reason)

    def end_attempt(
        self,
        attempt: Attempt,
        *,
        state: AttemptState,
        job_state: JobState,
        exit_status: int | None = None,
        cause: str | None = None,
        error: str | None = None,
        count_retry: bool = False,
        idle_interruptions: int = 0,
        not_before: float | None = None,
        mode: Mode = Mode.RESUME,
        run_seconds: float = 0.0,
        first_step: int | None = None,
        last_step: int | None = None,
        ended_at: float | None = None,
    ) -> Job:
        """End an attempt and move its job on, in one transaction. Saying it twice is harmless.

        Parameters
        ----------
        state, job_state
            How the attempt ended, and what becomes of its job: ``queued`` for another attempt.
        count_retry
            The next attempt costs one of the job's retries.
        idle_interruptions
            The job's new count of interruptions in a row without a step.
        not_before, mode
            Of the next attempt: when, and from where.
        run_seconds
            How long this attempt ran; added to the job's.
        ended_at
            When it ended; None: now.

        Raises
        ------
        WrongStateError
            The attempt has ended otherwise, or these states do not go together.
        """
        with self._write() as transaction:
            after: dict[str, Any] = {"state": job_state, "idle_interruptions": idle_interruptions}
            if job_state is JobState.QUEUED:
                after |= {"not_before": not_before, **attempts.mode_values(mode)}
            ended: dict[str, Any] = {
                "state": state,
                "exit_status": exit_status,
                "cause": cause,
                "error": error,
                "first_step": first_step,
                "last_step": last_step,
                "ended_at": transaction.now if ended_at is None else ended_at,
            }
            return attempts.end(
                transaction,
                attempt,
                attempt_values=ended,
                job_values=after,
                count_retry=count_retry,
                run_seconds=run_seconds,
            )

    def expired(self, *, ended_before: float | None = None, limit: int = 100) -> list[Job]:
        """Return jobs that have ended and still have files, the longest ended first."""
        with self._database.read() as transaction:
            return attempts.expired(transaction, ended_before=ended_before, limit=limit)

    def retire(self, job_id: str) -> bool:
        """Write down that a job's files are going: before they go. It cannot be resumed then.

        Returns
        -------
        bool
            False where the job has not ended or is in the queue again: its files must stay.
        """
        with self._write() as transaction:
            return attempts.retire(transaction, job_id)


def _next_epoch(transaction: Transaction, holder: str) -> int:
    before = transaction.connection.execute(select(leadership.c.epoch)).scalar()
    epoch = 1 if before is None else int(before) + 1
    values = {"id": 1, "epoch": epoch, "holder": holder, "since": transaction.now}
    statement = insert(leadership) if before is None else update(leadership)
    transaction.connection.execute(statement.values(values))
    transaction.event("leads", {"holder": holder, "epoch": epoch}, actor="service")
    return epoch
