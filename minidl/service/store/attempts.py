"""What the scheduler does with jobs: it takes the next, and says what became of its attempts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import insert, or_, select, update

from minidl.service import tables
from minidl.service.records import Attempt, Job
from minidl.service.states import (
    ACTIVE,
    ATTEMPT_STEPS,
    JOB_AFTER,
    STOP_WEIGHT,
    TERMINAL,
    AttemptState,
    JobState,
    Mode,
    StopReason,
)
from minidl.service.store.engine import Transaction
from minidl.service.store.errors import NotFoundError, WrongStateError
from minidl.service.store.jobs import change, read, row_of
from minidl.service.store.lists import QUEUE_ORDER
from minidl.service.store.rows import JOB_COLUMNS, attempt_of, job_of, storable

jobs, attempts = tables.jobs, tables.attempts


def of_job(transaction: Transaction, job_id: str) -> list[Attempt]:
    """Read the attempts of a job, the first one first."""
    query = select(attempts).where(attempts.c.job_id == job_id).order_by(attempts.c.number)
    return [attempt_of(row._mapping) for row in transaction.connection.execute(query)]


def active(transaction: Transaction) -> list[tuple[Job, Attempt]]:
    """Read the living attempts with their jobs, configs included."""
    query = (
        select(*JOB_COLUMNS, *tables.configs.c, *attempts.c)
        .join(attempts, attempts.c.job_id == jobs.c.id)
        .join(tables.configs, tables.configs.c.job_id == jobs.c.id)
        .where(jobs.c.state.in_(ACTIVE), attempts.c.ended_at.is_(None))
        .order_by(jobs.c.id)
    )
    rows = [row._mapping for row in transaction.connection.execute(query)]
    return [(job_of(row, config=row), attempt_of(row)) for row in rows]


def next_job(transaction: Transaction, *, busy: Collection[str], now: float) -> Job | None:
    """Read the first waiting job whose owner is not busy and whose time has come."""
    query = (
        select(jobs.c.id)
        .where(jobs.c.state == JobState.QUEUED)
        .where(or_(jobs.c.not_before.is_(None), jobs.c.not_before <= now))
        .order_by(*QUEUE_ORDER)
        .limit(1)
    )
    if busy:
        query = query.where(jobs.c.owner.not_in(busy))
    found = transaction.connection.execute(query).scalar()
    return None if found is None else read(transaction, found)


def begin(transaction: Transaction, job_id: str, *, executor: str, host: str) -> Attempt:
    """Make the next attempt of a waiting job."""
    job = job_of(row_of(transaction, job_id))
    if job.state is not JobState.QUEUED:
        raise WrongStateError(f"job {job_id} is {job.state}: an attempt begins from the queue")
    number = job.attempts + 1
    transaction.connection.execute(
        insert(attempts).values(
            job_id=job_id,
            number=number,
            state=AttemptState.STARTING,
            executor=executor,
            host=host,
            mode=job.mode,
            created_at=transaction.now,
        )
    )
    change(
        transaction,
        job,
        state=JobState.STARTING,
        attempts=number,
        executor=executor,
        not_before=None,
    )
    _told(transaction, "attempt_started", job_id, number, JobState.STARTING, executor=executor)
    return _attempt(transaction, job_id, number)


def placed(transaction: Transaction, attempt: Attempt, handle: str, *, waiting: bool) -> Attempt:
    """Note an attempt's handle, and that it runs unless it waits for its place."""
    now = _attempt(transaction, attempt.job_id, attempt.number)
    job = job_of(row_of(transaction, attempt.job_id))
    _check_step(now, AttemptState.STARTING if waiting else AttemptState.RUNNING)
    values: dict[str, Any] = {"handle": handle}
    if not waiting and now.state is AttemptState.STARTING:
        values |= {"state": AttemptState.RUNNING, "started_at": transaction.now}
        # A job that is being cancelled stays so; its attempt runs all the same until it stops.
        state = job.state if job.state is JobState.CANCELLING else JobState.RUNNING
        change(transaction, job, state=state, started_at=job.started_at or transaction.now)
        _told(transaction, "attempt_running", job.id, attempt.number, state)
    _update(transaction, now, **values)
    return _attempt(transaction, attempt.job_id, attempt.number)


def note(transaction: Transaction, job_id: str, values: Mapping[str, Any]) -> None:
    """Write down how far a job is; no event, as it happens all the time."""
    job = job_of(row_of(transaction, job_id))
    change(transaction, job, **values)


def ask_to_stop(transaction: Transaction, job_id: str, reason: StopReason) -> Job:
    """Note why the attempt is going to be stopped, unless it is for a weightier reason."""
    job = job_of(row_of(transaction, job_id))
    if not job.state.is_active:
        raise WrongStateError(f"job {job_id} is {job.state}: no attempt of it can be stopped")
    if job.stop_reason is not None and STOP_WEIGHT[job.stop_reason] >= STOP_WEIGHT[reason]:
        return read(transaction, job_id)
    values: dict[str, Any] = {"stop_reason": reason}
    if reason is StopReason.CANCEL:
        values["state"] = JobState.CANCELLING
    state = values.get("state", job.state)
    transaction.event(
        "stop_asked", {"state": state, "reason": reason}, actor="service", job_id=job_id
    )
    return change(transaction, job, **values)


def end(
    transaction: Transaction,
    attempt: Attempt,
    *,
    attempt_values: Mapping[str, Any],
    job_values: Mapping[str, Any],
    count_retry: bool,
    run_seconds: float,
) -> Job:
    """End an attempt, and say in the same transaction what becomes of its job."""
    now = _attempt(transaction, attempt.job_id, attempt.number)
    job = job_of(row_of(transaction, attempt.job_id))
    state, after = AttemptState(attempt_values["state"]), JobState(job_values["state"])
    if after not in JOB_AFTER.get(state, ()):
        raise WrongStateError(
            f"attempt {attempt.number} of job {job.id} cannot end {state} and leave it {after}"
        )
    if now.state is state and now.exit_status == attempt_values["exit_status"]:
        return read(transaction, job.id)  # said before; the answer was lost
    _check_step(now, state)
    error = storable(attempt_values["error"])
    _update(transaction, now, **{**attempt_values, "error": error})
    changed: dict[str, Any] = {
        "error": error,
        "run_seconds": job.run_seconds + run_seconds,
        "retries_used": job.retries_used + count_retry,
        **job_values,
    }
    if after in TERMINAL:
        changed |= {"ended_at": attempt_values["ended_at"], "not_before": None}
    else:
        changed |= {"stop_reason": None}
    _told(
        transaction,
        "attempt_ended",
        job.id,
        attempt.number,
        after,
        attempt_state=state,
        **{name: attempt_values[name] for name in ("exit_status", "cause")},
        error=error,
    )
    return change(transaction, job, **changed)


def expired(transaction: Transaction, *, ended_before: float | None, limit: int) -> list[Job]:
    """Read jobs that have ended and whose files are still there, the longest ended first."""
    query = (
        select(*JOB_COLUMNS)
        .where(jobs.c.state.in_(TERMINAL), jobs.c.files_removed_at.is_(None))
        .order_by(jobs.c.ended_at, jobs.c.id)
        .limit(limit)
    )
    if ended_before is not None:
        query = query.where(jobs.c.ended_at < ended_before)
    return [job_of(row._mapping) for row in transaction.connection.execute(query)]


def retire(transaction: Transaction, job_id: str) -> bool:
    """Note that a job's files are going to be removed; False where it has not ended (any more)."""
    try:
        job = job_of(row_of(transaction, job_id))
    except NotFoundError:
        return False
    if not job.state.is_terminal or job.files_removed_at is not None:
        return False
    transaction.event("files_removed", {"state": job.state}, actor="service", job_id=job_id)
    change(transaction, job, files_removed_at=transaction.now)
    return True


def _attempt(transaction: Transaction, job_id: str, number: int) -> Attempt:
    query = select(attempts).where(attempts.c.job_id == job_id, attempts.c.number == number)
    row = transaction.connection.execute(query).first()
    if row is None:
        raise NotFoundError(f"job {job_id!r} has no attempt {number}")
    return attempt_of(row._mapping)


def _update(transaction: Transaction, attempt: Attempt, **values: Any) -> None:
    row = (attempts.c.job_id == attempt.job_id) & (attempts.c.number == attempt.number)
    transaction.connection.execute(update(attempts).where(row).values(**values))


def _check_step(attempt: Attempt, state: AttemptState) -> None:
    if state is not attempt.state and state not in ATTEMPT_STEPS[attempt.state]:
        raise WrongStateError(
            f"attempt {attempt.number} of job {attempt.job_id} is {attempt.state} and cannot "
            f"become {state}"
        )
    if attempt.state.has_ended:
        raise WrongStateError(
            f"attempt {attempt.number} of job {attempt.job_id} has ended: it is {attempt.state}"
        )


def _told(
    transaction: Transaction, kind: str, job_id: str, number: int, state: JobState, **data: Any
) -> None:
    data = {"number": number, "state": state, **data}
    transaction.event(kind, data, actor="service", job_id=job_id)


def mode_values(mode: Mode) -> dict[str, Any]:
    """Return what a job that goes back to the queue keeps of its past."""
    values: dict[str, Any] = {"mode": mode}
    if mode is Mode.AFRESH:
        values |= {"progress": {}, "mlflow": None}
    return values
