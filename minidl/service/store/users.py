"""``Store``: what the API and the command line do with the database, one transaction a call."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from minidl.service.records import (
    Attempt,
    Event,
    Job,
    JobFilter,
    NewJob,
    Page,
    Quota,
    TokenRecord,
    check_text,
)
from minidl.service.settings import make_durable_directory
from minidl.service.states import JobState, Mode, Role
from minidl.service.store import attempts, events, jobs, lists, tokens
from minidl.service.store.engine import PATIENCE, Database
from minidl.service.store.errors import StoreUnavailableError
from minidl.service.store.leadership import Leadership


class Store:
    """The users' side of the store. Any thread may call it.

    All methods raise ``StoreUnavailableError`` while the database cannot be used, and those that
    take a job's id ``NotFoundError`` where there is no such job.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        #: When this process tried last to note the use of a token.
        self._noted: dict[str, float] = {}
        self._noting = threading.Lock()

    @classmethod
    def open(
        cls,
        url: str,
        *,
        data: Path,
        clock: Callable[[], float] = time.time,
        patience: float = PATIENCE,
    ) -> Store:
        """Open a database, and bring its tables up to date.

        Parameters
        ----------
        url
            ``sqlite:///FILE`` or ``postgresql://user@host/database``.
        data
            The data directory; made where there is none.
        clock
            Tells the time that is written down.
        patience
            Seconds to wait for others before the database counts as unavailable.

        Raises
        ------
        ValueError
            The address is none, or of another kind of database, or the database was made by a
            newer minidl.
        """
        from minidl.service.migrations import upgrade

        database = Database(url, clock=clock, patience=patience)
        with database.telling_outages():
            make_durable_directory(data)
        try:
            with database.write() as transaction:
                upgrade(transaction.connection)
        except BaseException:
            database.close()
            raise
        return cls(database)

    def close(self) -> None:
        """Close all connections."""
        self.database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ping(self) -> None:
        """Raise where the database does not answer."""
        with self.database.read() as transaction:
            events.last_id(transaction)

    # jobs

    def submit(self, new: NewJob, *, actor: str, quota: Quota | None = None) -> tuple[Job, bool]:
        """Put a job into the queue; it is on disk when this returns.

        Returns
        -------
        tuple of Job and bool
            The job, and False where the same Idempotency-Key gave it before.

        Raises
        ------
        KeyReusedError
            The key was used before with another submission.
        QuotaError
            As many jobs are waiting as may wait.
        """
        with self.database.write() as transaction:
            return jobs.submit(transaction, new, actor=actor, quota=quota)

    def job(self, job_id: str) -> Job:
        """Return a job with its config."""
        with self.database.read() as transaction:
            return jobs.read(transaction, job_id)

    def jobs(
        self, asked: JobFilter | None = None, *, limit: int = 50, cursor: str | None = None
    ) -> Page[Job]:
        """Return a page of jobs, the newest first, without their configs."""
        with self.database.read() as transaction:
            return lists.page(transaction, asked or JobFilter(), limit=limit, cursor=cursor)

    def counts(self) -> dict[JobState, int]:
        """Return how many jobs are in each state."""
        with self.database.read() as transaction:
            return lists.counts(transaction)

    def queue_position(self, job_id: str) -> int | None:
        """Return a waiting job's place in the queue, from 1; None where it does not wait."""
        return self.queue_positions([job_id]).get(job_id)

    def queue_positions(self, job_ids: Iterable[str]) -> dict[str, int]:
        """Return the places of those jobs that wait."""
        with self.database.read() as transaction:
            return lists.queue_positions(transaction, job_ids)

    def attempts(self, job_id: str) -> list[Attempt]:
        """Return the attempts of a job, the first one first."""
        with self.database.read() as transaction:
            jobs.row_of(transaction, job_id)
            return attempts.of_job(transaction, job_id)

    def cancel(self, job_id: str, *, actor: str) -> Job:
        """Cancel a job: at once where it waits, else its attempt is asked to stop.

        Raises
        ------
        WrongStateError
            It has ended.
        """
        with self.database.write() as transaction:
            return jobs.cancel(transaction, job_id, actor=actor)

    def requeue(
        self,
        job_id: str,
        *,
        actor: str,
        mode: Mode,
        overrides: Sequence[str] = (),
        quota: Quota | None = None,
    ) -> Job:
        """Put a job that has ended back into the queue: from the start, or from its checkpoint.

        Raises
        ------
        WrongStateError
            It has not ended, or is to be resumed and its files were removed.
        QuotaError
            As many jobs of its owner are waiting as may wait.
        """
        with self.database.write() as transaction:
            return jobs.requeue(
                transaction, job_id, actor=actor, mode=mode, overrides=overrides, quota=quota
            )

    def delete(self, job_id: str, *, actor: str) -> None:
        """Remove the rows of a job that has ended; the caller removes its files afterwards.

        Raises
        ------
        WrongStateError
            It has not ended.
        """
        with self.database.write() as transaction:
            jobs.remove(transaction, job_id, actor=actor)

    # events

    def events(
        self, *, job_id: str | None = None, after: int = 0, limit: int = 1000
    ) -> list[Event]:
        """Return what happened after an event, to a job or at all, the oldest first."""
        with self.database.read() as transaction:
            return events.after(transaction, job_id=job_id, last=after, limit=limit)

    def last_event(self) -> int:
        """Return the id of the newest event, 0 where there is none."""
        with self.database.read() as transaction:
            return events.last_id(transaction)

    def audit(
        self,
        kind: str,
        *,
        actor: str,
        job_id: str | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Note that someone did something that changed no job."""
        with self.database.write() as transaction:
            transaction.event(kind, data or {}, actor=actor, job_id=job_id)

    # tokens

    def create_token(
        self,
        *,
        user: str,
        role: Role,
        actor: str,
        label: str | None = None,
        ttl: float | None = None,
    ) -> tuple[TokenRecord, str]:
        """Make a token, which holds for ``ttl`` seconds; the text is told this once.

        Raises
        ------
        ValueError
            The name of the user or the label cannot be kept, or the time is over already.
        """
        check_text("the user", user)
        check_text("the label", label or "-")
        if not user.strip():
            raise ValueError("a token belongs to a user: the name is empty")
        if user == "service":
            raise ValueError("'service' is what events call the service itself: no user's name")
        if ttl is not None and not 0 < ttl < math.inf:
            raise ValueError(f"a token holds for a positive number of seconds, got {ttl}")
        with self.database.write() as transaction:
            return tokens.create(
                transaction, user=user, role=role, label=label, ttl=ttl, actor=actor
            )

    def authenticate(self, text: str) -> TokenRecord | None:
        """Return the token of this text; None where there is none, or it holds no more."""
        with self.database.read() as transaction:
            found = tokens.authenticate(transaction, text)
            now = transaction.now
        if found is not None and self._is_time_to_note(found, now):
            with suppress(StoreUnavailableError), self.database.write() as transaction:
                tokens.note_use(transaction, found.id)  # a full disk locks nobody out
        return found

    def _is_time_to_note(self, token: TokenRecord, now: float) -> bool:
        with self._noting:
            last = max(token.last_used_at or 0.0, self._noted.get(token.id, 0.0))
            if now - last < tokens.USE_NOTED_EVERY:
                return False
            self._noted[token.id] = now
            return True

    def revoke_token(self, token_id: str, *, actor: str) -> TokenRecord:
        """Let a token hold no more."""
        with self.database.write() as transaction:
            return tokens.revoke(transaction, token_id, actor=actor)

    def tokens(self) -> list[TokenRecord]:
        """Return all tokens, the oldest first."""
        with self.database.read() as transaction:
            return tokens.all_of(transaction)

    def ensure_admin(self) -> str | None:
        """Make the first token, of ``admin``; None where there were tokens before."""
        with self.database.write() as transaction:
            if tokens.count(transaction):
                return None
            made = tokens.create(
                transaction,
                user="admin",
                role=Role.ADMIN,
                label="made at the first start",
                ttl=None,
                actor="service",
            )
            return made[1]

    # the scheduler

    def lead(self, holder: str) -> Leadership | None:
        """Become the one scheduler of this database; None where another is."""
        return Leadership.take(self.database, holder)
