"""Submitting jobs, and what helps to write their configs."""

from __future__ import annotations

import functools
import itertools
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request, Response
from pydantic import ValidationError

from minidl.service.api.documents import (
    EXAMPLE_CONFIG,
    JobDocument,
    ShippedConfig,
    ShippedConfigs,
    SubmissionDocument,
    ValidDocument,
    strict,
)
from minidl.service.api.jobs import document_of, labels_of
from minidl.service.api.parts import Parts, PartsOf
from minidl.service.api.problems import first_of, told
from minidl.service.api.security import Reader, Submitter
from minidl.service.records import MAX_RANKS, NewJob
from minidl.service.states import JobKind
from minidl.service.submission import Kind, check_ranks, check_submission
from minidl.serving.bodies import media_type
from minidl.train.config import json_schema
from minidl.train.config.starters import shipped

router = APIRouter(prefix="/v1", tags=["submissions"])

YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": SubmissionDocument.model_json_schema()},
            "application/yaml": {
                "schema": {"type": "string", "maxLength": 1_000_000},
                "example": EXAMPLE_CONFIG,
            },
        },
    }
}

KeyHeader = Annotated[
    str | None,
    Header(
        pattern=r"^[\x21-\x7e]{1,200}$",
        description="Any text of your own; a submission that is repeated with it is made once.",
    ),
]


async def submitted(
    request: Request,
    name: Annotated[str | None, Query()] = None,
    label: Annotated[list[str] | None, Query(description="key=value", max_length=32)] = None,
    priority: Annotated[int | None, Query(ge=-100, le=100)] = None,
    timeout: Annotated[float | None, Query(gt=0, le=10**8)] = None,
    max_retries: Annotated[int | None, Query(ge=0, le=100)] = None,
    ranks: Annotated[int | None, Query(ge=1, le=MAX_RANKS)] = None,
) -> tuple[SubmissionDocument, str | bytes | dict[str, Any]]:
    """Return what is submitted, and its config as it was written.

    What a JSON body does not say, the address may; beside a YAML body it says all but the config.
    """
    given: dict[str, Any] = {
        "name": name,
        "priority": priority,
        "timeout": timeout,
        "max_retries": max_retries,
        "ranks": ranks,
        "labels": None if label is None else labels_of(label),
    }
    given = {key: value for key, value in given.items() if value is not None}
    kind, body = media_type(request), await request.body()
    try:
        if kind == "application/json":
            document = SubmissionDocument.model_validate_json(body)
            rest = document.model_dump(exclude_unset=True, exclude={"config"})
            document = SubmissionDocument.model_validate(given | rest | {"config": document.config})
            return document, document.config
        if kind in YAML_TYPES:
            return SubmissionDocument.model_validate(given | {"config": ""}), body
    except ValidationError as error:
        raise HTTPException(422, first_of(error.errors(include_url=False))) from error
    raise HTTPException(
        415, f"Content-Type must be application/json or application/yaml; got {kind or 'none'}"
    )


Submitted = Annotated[tuple[SubmissionDocument, str | bytes | dict[str, Any]], Depends(submitted)]


@router.post(
    "/jobs",
    status_code=201,
    summary="Submit a config: a training, or a sweep",
    response_model=JobDocument,
    responses=told(409, 415, 422, config=True)
    | {
        200: {
            "model": JobDocument,
            "description": "The job that the same Idempotency-Key has made before",
        }
    },
    openapi_extra=_BODY,
)
async def submit(
    response: Response,
    record: Submitter,
    parts: PartsOf,
    given: Submitted,
    idempotency_key: KeyHeader = None,
) -> JobDocument:
    """Put a job into the queue; when this answers, it is on disk."""
    document, config = given
    checked = await parts.check(check_submission, config, parts.rules)
    _check_ranks(document.ranks, checked.kind, parts)
    new = NewJob(
        kind=JobKind(checked.kind),
        config_text=checked.text,
        config=checked.config,
        name=document.name,
        labels=document.labels,
        priority=document.priority,
        timeout=document.timeout,
        max_retries=document.max_retries,
        ranks=document.ranks,
        idempotency_key=idempotency_key,
    )
    job, is_new = await parts.call(parts.store.submit, new, actor=record.user, quota=parts.quota)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    if is_new:
        parts.instruments.submitted.labels(job.kind).inc()
        parts.changed()
    else:
        response.status_code = 200
        response.headers["Idempotency-Replayed"] = "true"
    return await document_of(parts, job)


@router.post(
    "/validate",
    summary="Say whether a config would be taken, and what is wrong with it",
    responses=told(415, 422, config=True),
    openapi_extra=_BODY,
)
async def validate(record: Reader, parts: PartsOf, given: Submitted) -> ValidDocument:
    """Check a config as a submission does; nothing is kept."""
    document, config = given
    checked = await parts.check(check_submission, config, parts.rules)
    _check_ranks(document.ranks, checked.kind, parts)
    return ValidDocument(kind=JobKind(checked.kind), config=strict(checked.config))


def _check_ranks(ranks: int, kind: Kind, parts: Parts) -> None:
    try:
        check_ranks(ranks, kind, parts.rules)
    except ValueError as error:
        raise HTTPException(422, str(error)) from error


@router.get("/schema", summary="The JSON Schema of configs, for editors", responses=told())
async def schema(record: Reader, parts: PartsOf) -> dict[str, Any]:
    """Return what `minidl config schema` writes."""
    return await parts.check(json_schema)


@router.get("/configs", summary="Configs to begin with", responses=told())
async def configs(record: Reader, parts: PartsOf) -> ShippedConfigs:
    """Return the configs that come with minidl."""
    return await parts.call(_shipped)


@functools.cache
def _shipped() -> ShippedConfigs:
    found = [
        ShippedConfig(name=name, title=_title(path.read_text(encoding="utf-8")) or name)
        for name, path in shipped().items()
        if "\ninclude:" not in path.read_text(encoding="utf-8")  # that is not taken here
    ]
    return ShippedConfigs(configs=found)


def _title(text: str) -> str:
    """Return the first sentence of a config's first comment; that for editors is none."""
    comments = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    words = [line.lstrip("# ") for line in comments if "yaml-language-server" not in line]
    return " ".join(words).partition(". ")[0].rstrip(".")


@router.get(
    "/configs/{name}",
    summary="A config to begin with",
    response_class=Response,
    responses=told(404) | {200: {"content": {"application/yaml": {}}, "description": "The config"}},
)
async def config(name: str, record: Reader, parts: PartsOf) -> Response:
    """Return the text of a config that comes with minidl."""
    path = shipped().get(name)
    if path is None:
        raise HTTPException(404, f"no config that comes with minidl is called {name[:80]!r}")
    return Response(await parts.call(path.read_bytes), media_type="application/yaml")
