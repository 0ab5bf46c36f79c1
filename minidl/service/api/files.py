"""What a job has written: its log, its curves, and the files of its run."""

from __future__ import annotations

import json
import mimetypes
import os
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import FileResponse, Response
from starlette.types import Message, Receive, Scope, Send

from minidl.service.api.containment import (
    NoSuchFileError,
    list_beneath,
    open_beneath,
    read_beneath,
)
from minidl.service.api.documents import (
    ConfusionDocument,
    FileDocument,
    FilesDocument,
    JobId,
    Point,
    PointsDocument,
)
from minidl.service.api.parts import Parts, PartsOf
from minidl.service.api.points import Reading
from minidl.service.api.problems import told
from minidl.service.api.security import Reader

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["files"])

#: What a browser may show by itself; all else it saves.
SHOWN = frozenset({"image/png", "image/jpeg", "text/plain"})
#: Texts, by the end of their names.
TEXTS = (".txt", ".yaml", ".yml", ".json", ".jsonl", ".csv", ".log", ".md")
CONFUSION, CONFUSION_BYTES = "confusion.json", 16 * 2**20
_BYTES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The content", "content": {"application/octet-stream": {}}},
    206: {"description": "The range of it that was asked for"},
    416: {"description": "There is no such range"},
}


async def run_of(parts: Parts, job_id: str) -> Path:
    """Return the run directory of a job that there is.

    Raises
    ------
    NotFoundError
        There is no such job.
    """
    await parts.call(parts.store.job, job_id)
    return parts.settings.files(job_id).run


@router.get(
    "/log",
    summary="A job's log",
    response_class=Response,
    responses=told(404, 422)
    | {
        200: {
            "description": "Text; `X-Next-Offset` asks for what follows",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    },
)
async def log(
    job_id: JobId,
    record: Reader,
    parts: PartsOf,
    offset: Annotated[
        int, Query(gt=-(2**53), lt=2**53, description="Bytes; negative: from the end.")
    ] = 0,
    limit: Annotated[int, Query(ge=1, le=4 * 2**20, description="Bytes.")] = 2**20,
) -> Response:
    """Return what its attempts have written to their outputs, one after the other."""
    await parts.call(parts.store.job, job_id)
    path = parts.settings.files(job_id).log
    text, begin, size = await parts.call(_piece, path, offset, limit)
    headers = {"X-Next-Offset": str(begin + len(text)), "X-Log-Size": str(size)}
    return Response(text, media_type="text/plain; charset=utf-8", headers=headers)


def _piece(path: Path, offset: int, limit: int) -> tuple[bytes, int, int]:
    try:
        descriptor = open_beneath(path.parent, path.name)
    except NoSuchFileError:
        return b"", 0, 0
    with os.fdopen(descriptor, "rb") as file:
        size = os.fstat(descriptor).st_size
        begin = min(offset, size) if offset >= 0 else max(0, size + offset)
        file.seek(begin)
        return file.read(min(limit, size - begin)), begin, size


@router.get("/metrics", summary="Points of a run's curves", responses=told(404, 422))
async def metrics(
    job_id: JobId,
    record: Reader,
    parts: PartsOf,
    after: Annotated[int, Query(ge=0, lt=2**53, description="The `next` of an answer.")] = 0,
    limit: Annotated[int, Query(ge=1, le=5000)] = 5000,
) -> PointsDocument:
    """Return what was measured, in the order in which it was."""
    run = await run_of(parts, job_id)
    most = min(limit, parts.limits.points)
    reading: Reading = await parts.call(parts.journals.read, run, after=after, most=most)
    return PointsDocument(
        points=[Point.model_validate(point) for _, point in reading.points],
        next=reading.next,
        complete=reading.complete,
        reset=reading.reset,
    )


@router.get(
    "/confusion", summary="The confusion matrix of the test samples", responses=told(404, 422)
)
async def confusion(job_id: JobId, record: Reader, parts: PartsOf) -> ConfusionDocument:
    """Return rows of true classes, columns of those that were predicted."""
    run = await run_of(parts, job_id)
    try:
        content = await parts.call(read_beneath, run, CONFUSION, most=CONFUSION_BYTES)
        return ConfusionDocument.model_validate(json.loads(content))
    except (NoSuchFileError, ValueError):
        raise HTTPException(
            404, "the run has no confusion matrix (yet): one of classes has, when it has ended"
        ) from None


@router.get("/artifacts", summary="The files of a run", responses=told(404, 422))
async def artifacts(job_id: JobId, record: Reader, parts: PartsOf) -> FilesDocument:
    """Return its plain files by name."""
    run = await run_of(parts, job_id)
    found, complete = await parts.call(list_beneath, run, most=parts.limits.files)
    files = [FileDocument(path=f.path, size=f.size, modified=f.modified) for f in found]
    return FilesDocument(files=files, complete=complete)


@router.get(
    "/artifacts/{path:path}",
    summary="A file of a run",
    response_class=Response,
    responses=told(404, 422) | _BYTES,
)
async def artifact(job_id: JobId, path: str, record: Reader, parts: PartsOf) -> Response:
    """Return a file, or ranges of it; a file that grows is sent as it was when this began."""
    run = await run_of(parts, job_id)
    try:
        descriptor = await parts.call(open_beneath, run, path)
    except NoSuchFileError:
        raise HTTPException(404, f"the run has no file {path[:200]!r}") from None
    return OpenFile(descriptor, path)


class OpenFile(FileResponse):
    """Sends a file that is open already: no other can have taken its name meanwhile."""

    def __init__(self, descriptor: int, name: str) -> None:
        self.descriptor = descriptor
        kind = media_type_of(name)
        super().__init__(
            f"/dev/fd/{descriptor}",
            media_type=kind,
            filename=name.rpartition("/")[2],
            stat_result=os.fstat(descriptor),
            content_disposition_type="inline" if kind in SHOWN else "attachment",
            headers={"Content-Security-Policy": "default-src 'none'; sandbox"},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send as many bytes as were announced, also where the file has grown since."""
        left = 0

        async def bounded(message: Message) -> None:
            nonlocal left
            if message["type"] == "http.response.start":
                lengths = [v for k, v in message["headers"] if k.lower() == b"content-length"]
                left = int(lengths[0])
            elif message["type"] == "http.response.body":
                message = {**message, "body": message.get("body", b"")[:left]}
                left -= len(message["body"])
            await send(message)

        try:
            await super().__call__(scope, receive, bounded)
        finally:
            os.close(self.descriptor)


def media_type_of(name: str) -> str:
    """Return what a browser is told that a file is; pages and pictures with scripts are nothing.

    Examples
    --------
    >>> [media_type_of(name) for name in ("config.yaml", "plots/curves.png", "report.html")]
    ['text/plain', 'image/png', 'application/octet-stream']
    """
    if name.endswith(TEXTS):
        return "text/plain"
    guessed = mimetypes.guess_type(name)[0]
    return guessed if guessed in SHOWN else "application/octet-stream"
