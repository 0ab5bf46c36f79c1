"""Jobs: finding them, and what one can do with them."""

from __future__ import annotations

import shutil
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query, Request, Response

from minidl.service.api.documents import (
    AttemptDocument,
    AttemptsDocument,
    EventDocument,
    EventsDocument,
    JobDocument,
    JobId,
    JobsDocument,
    ResumeDocument,
    Text,
    strict,
)
from minidl.service.api.parts import Parts, PartsOf
from minidl.service.api.problems import told
from minidl.service.api.security import Reader, Submitter, own_job, without_secrets
from minidl.service.records import Job, JobFilter
from minidl.service.states import JobKind, JobState, Mode
from minidl.service.store import WrongStateError
from minidl.service.submission import check_overrides
from minidl.train.config.sections import flatten
from minidl.train.config.yaml_scalars import dump_yaml

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


async def document_of(parts: Parts, job: Job) -> JobDocument:
    """Return a job's document, with its place in the queue."""
    position = None
    if job.state is JobState.QUEUED:
        position = await parts.call(parts.store.queue_position, job.id)
    return JobDocument.of(job, position)


@router.get("", summary="Jobs, the newest first", responses=told(422))
async def list_jobs(
    record: Reader,
    parts: PartsOf,
    state: Annotated[list[JobState] | None, Query(description="Any of these.")] = None,
    owner: Annotated[Text | None, Query(max_length=200)] = None,
    kind: JobKind | None = None,
    label: Annotated[
        list[Text] | None, Query(max_length=32, description="key=value; all of these.")
    ] = None,
    q: Annotated[
        Text | None, Query(max_length=200, description="The id begins with it, or the name has it.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[JobId | None, Query(description="The `next_cursor` of a page.")] = None,
) -> JobsDocument:
    """Return a page of jobs."""
    asked = JobFilter(
        states=state or (),
        owner=owner,
        kind=kind,
        labels=labels_of(label or []),
        q=q,
    )
    page = await parts.call(parts.store.jobs, asked, limit=limit, cursor=cursor)
    waiting = [job.id for job in page.items if job.state is JobState.QUEUED]
    places = await parts.call(parts.store.queue_positions, waiting) if waiting else {}
    jobs = [JobDocument.of(job, places.get(job.id)) for job in page.items]
    return JobsDocument(jobs=jobs, next_cursor=page.next_cursor)


def labels_of(texts: list[str]) -> dict[str, str]:
    """Return labels that are written as key=value.

    Raises
    ------
    HTTPException
        422: one is not.
    """
    labels = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise HTTPException(422, f"a label is key=value, got {text[:80]!r}")
        labels[key] = value
    return labels


@router.get("/{job_id}", summary="A job", responses=told(404, 422))
async def show(job_id: JobId, record: Reader, parts: PartsOf) -> JobDocument:
    """Return a job."""
    return await document_of(parts, await parts.call(parts.store.job, job_id))


@router.post("/{job_id}/cancel", summary="Cancel a job", responses=told(404, 409, 422))
async def cancel(request: Request, job_id: JobId, record: Submitter, parts: PartsOf) -> JobDocument:
    """Cancel a job that waits at once; one that runs writes a checkpoint and ends."""
    await own_job(parts, request, record, job_id)
    job = await parts.call(parts.store.cancel, job_id, actor=record.user)
    parts.changed()
    return await document_of(parts, job)


@router.post(
    "/{job_id}/retry", summary="Run a job that has ended once more", responses=told(404, 409, 422)
)
async def retry(request: Request, job_id: JobId, record: Submitter, parts: PartsOf) -> JobDocument:
    """Begin from the start, with all of its retries and time."""
    await own_job(parts, request, record, job_id)
    return await _requeued(parts, job_id, actor=record.user, mode=Mode.AFRESH)


@router.post(
    "/{job_id}/resume",
    summary="Go on with a job that has ended",
    responses=told(404, 409, 422, config=True),
)
async def resume(
    request: Request,
    job_id: JobId,
    record: Submitter,
    parts: PartsOf,
    asked: ResumeDocument | None = None,
) -> JobDocument:
    """Go on from the newest checkpoint, with changes such as ``trainer.epochs=20``."""
    job = await own_job(parts, request, record, job_id)
    overrides = asked.overrides if asked else []
    if overrides:
        if job.kind is JobKind.SWEEP:
            raise WrongStateError("a sweep is gone on with as it is: it takes no overrides")
        await parts.check(check_overrides, job.config_text, overrides, parts.rules)
    return await _requeued(parts, job_id, actor=record.user, mode=Mode.RESUME, overrides=overrides)


async def _requeued(parts: Parts, job_id: str, **how: Any) -> JobDocument:
    job = await parts.call(parts.store.requeue, job_id, quota=parts.quota, **how)
    parts.changed()
    return await document_of(parts, job)


@router.delete(
    "/{job_id}",
    status_code=204,
    response_class=Response,
    summary="Delete a job that has ended, with its files",
    responses=told(404, 409, 422),
)
async def delete(request: Request, job_id: JobId, record: Submitter, parts: PartsOf) -> Response:
    """Delete it; its events stay."""
    await own_job(parts, request, record, job_id)
    await parts.call(parts.store.delete, job_id, actor=record.user)
    parts.models.forget(job_id)
    # What a killed service leaves behind here belongs to no job: retention removes it.
    directory = parts.settings.files(job_id).directory
    await parts.call(shutil.rmtree, directory, ignore_errors=True)
    parts.changed()
    return Response(status_code=204)


@router.get("/{job_id}/attempts", summary="The attempts of a job", responses=told(404, 422))
async def attempts(job_id: JobId, record: Reader, parts: PartsOf) -> AttemptsDocument:
    """Return all tries, the first one first."""
    found = await parts.call(parts.store.attempts, job_id)
    return AttemptsDocument(attempts=[AttemptDocument.model_validate(a) for a in found])


@router.get("/{job_id}/events", summary="What happened to a job", responses=told(404, 422))
async def events(
    job_id: JobId,
    record: Reader,
    parts: PartsOf,
    after: Annotated[int, Query(ge=0, lt=2**53)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
) -> EventsDocument:
    """Return events after one, the oldest first; those of a deleted job too."""
    found = await parts.call(parts.store.events, job_id=job_id, after=after, limit=limit)
    if not found and not after:
        await parts.call(parts.store.job, job_id)
    return EventsDocument(events=[EventDocument.of(event) for event in found])


Form = Literal["yaml", "json", "flat", "source"]


@router.get(
    "/{job_id}/config",
    summary="A job's config",
    response_model=None,
    responses=told(404, 422)
    | {
        200: {
            "description": "YAML; JSON; or JSON with one dotted path a value, for comparing",
            "content": {
                "application/json": {"schema": {"type": "object"}},
                "application/yaml": {"schema": {}},
            },
        }
    },
)
async def config(
    job_id: JobId,
    record: Reader,
    parts: PartsOf,
    format: Annotated[
        Form, Query(description="`source`: as it was submitted; others: defaults filled in.")
    ] = "yaml",
) -> Response | dict[str, Any]:
    """Return the config, as it was submitted or as it was understood."""
    job: Job = await parts.call(parts.store.job, job_id)
    if format == "json":
        return dict(strict(job.config))
    if format == "flat":
        return flatten(dict(job.config))
    text = job.config_text if format == "source" else dump_yaml(dict(job.config))
    return Response(without_secrets(text), media_type="application/yaml; charset=utf-8")
