"""Trying a model: that of a job, or one that is registered in MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import Response
from pydantic_core import to_json

from minidl.service.api.documents import JobId
from minidl.service.api.parts import Parts, PartsOf
from minidl.service.api.problems import told
from minidl.service.api.security import Reader
from minidl.service.records import Job
from minidl.service.states import JobKind
from minidl.serving.answering import Answerer
from minidl.serving.bodies import PICTURE_TYPES, media_type
from minidl.sweep.plan import trial_directory

router = APIRouter(prefix="/v1", tags=["models"])

_PICTURE = {"type": "string", "format": "binary"}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["inputs"],
                    "properties": {"inputs": {"type": "array", "items": {}}},
                    "additionalProperties": False,
                }
            },
            "image/png": {"schema": _PICTURE},
            "image/jpeg": {"schema": _PICTURE},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {"image": _PICTURE},
                }
            },
        },
    }
}
_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "For each sample the likeliest class and all probabilities, or numbers",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["predictions"],
                    "properties": {"predictions": {"type": "array", "items": {"type": "object"}}},
                },
                "example": {
                    "predictions": [{"class": "7", "probabilities": {"1": 0.02, "7": 0.98}}]
                },
            }
        },
    }
}
ModelName = Annotated[str, Query(min_length=1, max_length=200)]
Version = Annotated[str | None, Query(pattern=r"^[1-9][0-9]{0,8}$")]
Alias = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,255}$")]


@router.get(
    "/jobs/{job_id}/signature",
    summary="What a job's model takes and answers",
    responses=told(404, 409, 422),
)
async def signature(job_id: JobId, record: Reader, parts: PartsOf) -> dict[str, Any]:
    """Return shapes, classes, and which model it is."""
    answerer = await parts.models.of_job(job_id, await _best_run(parts, job_id))
    return answerer.served.signature()


@router.post(
    "/jobs/{job_id}/predict",
    summary="Ask the best model of a job so far, or of a sweep that has ended",
    response_class=Response,
    responses=told(404, 409, 415, 422) | _ANSWER,
    openapi_extra=_BODY,
)
async def predict(request: Request, job_id: JobId, record: Reader, parts: PartsOf) -> Response:
    """Return what it says of samples in JSON, or of a picture."""
    run = await _best_run(parts, job_id)
    return await _predictions(request, await parts.models.of_job(job_id, run))


async def _best_run(parts: Parts, job_id: str) -> Path:
    """Return the run directory of a job; of a sweep that has ended, that of its best trial."""
    job: Job = await parts.call(parts.store.job, job_id)
    run = parts.settings.files(job_id).run
    best = job.result.get("best")
    if job.kind is JobKind.SWEEP and isinstance(best, Mapping):
        return trial_directory(run, int(best["number"]))
    return run


@router.post(
    "/models/{name}/predict",
    summary="Ask a model that is registered in MLflow",
    response_class=Response,
    responses=told(404, 409, 415, 422) | _ANSWER,
    openapi_extra=_BODY,
)
async def predict_registered(
    request: Request,
    name: str,
    record: Reader,
    parts: PartsOf,
    version: Version = None,
    alias: Alias = None,
) -> Response:
    """Return what a version says, or the one that an alias names, or the newest."""
    if version is not None and alias is not None:
        raise HTTPException(422, "give a version or an alias, and not both")
    if not name.isprintable() or len(name) > 200 or set(name) & set("/:\\"):
        raise HTTPException(404, "there is no registered model of such a name")
    return await _predictions(
        request, await parts.models.registered(name, version=version, alias=alias)
    )


async def _predictions(request: Request, answerer: Answerer) -> Response:
    request.state.answerer = answerer  # who tells what is wrong with samples says what it takes
    kind = media_type(request)
    if kind in (*PICTURE_TYPES, "multipart/form-data"):
        if not answerer.served.takes_pictures:
            raise HTTPException(
                415,
                f"the model takes no pictures: it wants {answerer.spec.wanted} as application/json",
            )
        answers = await answerer.of_picture(request)
    else:
        answers = await answerer.of_json(request, "inputs")
    document = {"predictions": answerer.served.predictions(answers)}
    return Response(to_json(document), media_type="application/json")
