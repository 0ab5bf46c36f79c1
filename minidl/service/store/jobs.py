"""What users do with jobs: submit, cancel, retry, resume, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import RowMapping, delete, func, insert, select, update

from minidl.service import tables
from minidl.service.records import Job, NewJob, Quota
from minidl.service.states import JOB_STEPS, JobState, Mode, StopReason
from minidl.service.store.engine import Transaction
from minidl.service.store.errors import (
    KeyReusedError,
    NotFoundError,
    QuotaError,
    WrongStateError,
)
from minidl.service.store.rows import JOB_COLUMNS, job_of, new_id, submission_digest

jobs = tables.jobs


def row_of(transaction: Transaction, job_id: str) -> RowMapping:
    """Read a job's row.

    Raises
    ------
    NotFoundError
        There is none.
    """
    row = transaction.connection.execute(select(*JOB_COLUMNS).where(jobs.c.id == job_id)).first()
    if row is None:
        raise NotFoundError(f"there is no job {job_id!r}")
    return row._mapping


def read(transaction: Transaction, job_id: str) -> Job:
    """Read a job with its config."""
    row = row_of(transaction, job_id)
    config = transaction.connection.execute(
        select(tables.configs).where(tables.configs.c.job_id == job_id)
    ).one()
    return job_of(row, config=config._mapping)


def change(transaction: Transaction, job: Job, **values: Any) -> Job:
    """Change a job's row; ``state`` only as the table of states allows.

    Raises
    ------
    WrongStateError
        The step is not in the table.
    """
    state = values.get("state", job.state)
    if state != job.state and state not in JOB_STEPS[job.state]:
        raise WrongStateError(f"job {job.id} is {job.state} and cannot become {state}")
    transaction.connection.execute(update(jobs).where(jobs.c.id == job.id).values(**values))
    return read(transaction, job.id)


def submit(
    transaction: Transaction, new: NewJob, *, actor: str, quota: Quota | None
) -> tuple[Job, bool]:
    """Write a submission down, once a key."""
    digest = submission_digest(new)
    if new.idempotency_key is not None:
        key = (jobs.c.owner == actor) & (jobs.c.idempotency_key == new.idempotency_key)
        before = transaction.connection.execute(
            select(jobs.c.id, jobs.c.submission_digest).where(key)
        ).first()
        if before is not None:
            if before.submission_digest != digest:
                raise KeyReusedError(
                    f"the Idempotency-Key {new.idempotency_key!r} was used before, for job "
                    f"{before.id}, with another submission; a new one needs a new key"
                )
            return read(transaction, before.id), False
    if quota is not None:
        _check_quota(transaction, quota, owner=actor)
    last = transaction.connection.execute(select(func.max(jobs.c.id))).scalar()
    job_id = new_id(transaction.now, after=last)
    transaction.connection.execute(
        insert(jobs).values(
            id=job_id,
            kind=new.kind,
            name=new.name,
            owner=actor,
            state=JobState.QUEUED,
            labels=dict(new.labels),
            priority=new.priority,
            timeout=new.timeout,
            max_retries=new.max_retries,
            ranks=new.ranks,
            created_at=transaction.now,
            queued_at=transaction.now,
            progress={},
            result={},
            mode=Mode.AFRESH,
            overrides=[],
            idempotency_key=new.idempotency_key,
            submission_digest=digest,
        )
    )
    config = {"job_id": job_id, "text": new.config_text, "resolved": dict(new.config)}
    transaction.connection.execute(insert(tables.configs).values(config))
    if new.labels:
        rows = [{"job_id": job_id, "key": k, "value": v} for k, v in new.labels.items()]
        transaction.connection.execute(insert(tables.labels), rows)
    transaction.event(
        "submitted",
        {"state": JobState.QUEUED, "name": new.name, "kind": new.kind},
        actor=actor,
        job_id=job_id,
    )
    return read(transaction, job_id), True


def _check_quota(transaction: Transaction, quota: Quota, *, owner: str) -> None:
    waiting = select(func.count()).where(jobs.c.state == JobState.QUEUED)
    if quota.per_owner is not None:
        own = transaction.connection.execute(waiting.where(jobs.c.owner == owner)).scalar_one()
        if own >= quota.per_owner:
            raise QuotaError(
                f"{own} jobs of {owner!r} are waiting, and {quota.per_owner} may: submit again "
                "when one has started, or cancel one"
            )
    if quota.total is not None:
        total = transaction.connection.execute(waiting).scalar_one()
        if total >= quota.total:
            raise QuotaError(f"{total} jobs are waiting, and {quota.total} may: submit again later")


def cancel(transaction: Transaction, job_id: str, *, actor: str) -> Job:
    """Cancel a waiting job; ask the attempt of another to stop. Asking twice changes nothing."""
    job = job_of(row_of(transaction, job_id))
    if job.state.is_terminal:
        raise WrongStateError(f"job {job_id} is {job.state}: there is nothing to cancel")
    if job.state is JobState.CANCELLING:
        return read(transaction, job_id)
    values: dict[str, Any] = {"stop_reason": StopReason.CANCEL, "state": JobState.CANCELLING}
    if job.state is JobState.QUEUED:
        values |= {"state": JobState.CANCELLED, "ended_at": transaction.now, "not_before": None}
    transaction.event("cancel_asked", {"state": values["state"]}, actor=actor, job_id=job_id)
    return change(transaction, job, **values)


def requeue(
    transaction: Transaction,
    job_id: str,
    *,
    actor: str,
    mode: Mode,
    overrides: Sequence[str],
    quota: Quota | None,
) -> Job:
    """Put a job that has ended back into the queue, with its budget of retries and time renewed."""
    job = job_of(row_of(transaction, job_id))
    verb = "retry" if mode is Mode.AFRESH else "resume"
    if not job.state.is_terminal:
        raise WrongStateError(
            f"job {job_id} is {job.state}: only a job that has ended can be "
            f"{'retried' if mode is Mode.AFRESH else 'resumed'}"
        )
    if mode is Mode.RESUME and job.files_removed_at is not None:
        raise WrongStateError(
            f"job {job_id} cannot be resumed: its files were removed by retention; retry it"
        )
    if quota is not None:
        _check_quota(transaction, quota, owner=job.owner)
    values: dict[str, Any] = {
        "state": JobState.QUEUED,
        "mode": mode if job.attempts else Mode.AFRESH,
        "overrides": list(overrides),
        "queued_at": transaction.now,
        "retries_used": 0,
        "idle_interruptions": 0,
        "run_seconds": 0.0,
        "result": {},
    }
    values |= dict.fromkeys(("ended_at", "error", "stop_reason", "not_before", "files_removed_at"))
    if mode is Mode.AFRESH:
        values |= {"progress": {}, "mlflow": None, "started_at": None}
    transaction.event(
        verb,
        {"state": JobState.QUEUED, "overrides": list(overrides)},
        actor=actor,
        job_id=job_id,
    )
    return change(transaction, job, **values)


def remove(transaction: Transaction, job_id: str, *, actor: str) -> None:
    """Remove the rows of a job that has ended; its events stay."""
    job = job_of(row_of(transaction, job_id))
    if not job.state.is_terminal:
        raise WrongStateError(f"job {job_id} is {job.state}: cancel it before deleting it")
    transaction.connection.execute(delete(jobs).where(jobs.c.id == job_id))
    transaction.event(
        "deleted",
        {"state": job.state, "name": job.name, "owner": job.owner},
        actor=actor,
        job_id=job_id,
    )
