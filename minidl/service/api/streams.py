"""Server-sent events: logs, curves and what happens to jobs, as it comes.

Each event's ``id`` says how far one has come: bytes of a log or journal, or the event's number. Who
connects again with it (``Last-Event-ID``) goes on from there, and misses nothing. A stream about
one job ends with the event ``end`` when the job has ended and everything was sent.

A log is cut at whole characters, and at lines where they are not too long. Line ends are those of
server-sent events: a lone carriage return reaches the reader as a line feed.
"""

from __future__ import annotations

import asyncio
import codecs
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Query
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse, SendTimeoutError
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from minidl.service.api.containment import NoSuchFileError, open_beneath
from minidl.service.api.documents import EventDocument, JobDocument, JobId, rfc3339
from minidl.service.api.parts import Parts, PartsOf
from minidl.service.api.points import Reading
from minidl.service.api.problems import told
from minidl.service.api.security import Reader
from minidl.service.api.watching import Happening
from minidl.service.records import Job, TokenRecord
from minidl.service.store import NotFoundError, StoreError

router = APIRouter(prefix="/v1", tags=["streams"])

#: Bytes of a log, and points of a curve, that are sent at once.
PIECE, POINTS = 32 * 1024, 200
#: Seconds that a client may take to receive a piece.
SLOWEST = 30.0
SEPARATOR = "\n"

Body = AsyncIterator[bytes]
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "Server-sent events", "content": {"text/event-stream": {}}}
}


class Stream(EventSourceResponse):
    """A stream that counts among those of its user until it ends, however it does."""

    def __init__(self, body: Body, parts: Parts, record: TokenRecord) -> None:
        super().__init__(
            body,
            ping=parts.limits.heartbeat,
            sep=SEPARATOR,
            send_timeout=SLOWEST,
            headers={"Cache-Control": "no-store"},
        )
        self.parts, self.record = parts, record

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream."""
        more = False

        async def noted(message: Message) -> None:
            nonlocal more
            more = message["type"] == "http.response.start" or message.get("more_body", False)
            await send(message)

        # Where the client stops to read, it is left; it can come again.
        with self.parts.streams.held(self.record), suppress(SendTimeoutError):
            await super().__call__(scope, receive, noted)
        if more:  # the service, or the token, has come to its end: so does the answer, properly
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def event(kind: str, data: str, *, at: int) -> bytes:
    """Return one event as it is sent."""
    return ServerSentEvent(data, event=kind, id=str(at), sep=SEPARATOR).encode()


def place(header: str | None, query: int | None, otherwise: int = 0) -> int:
    """Return how far a client says that it has come: by its header, or else by its address.

    Raises
    ------
    HTTPException
        422: the header is no number.
    """
    if header:
        if header.isascii() and header.isdigit() and len(header) < 19:
            return int(header)
        raise HTTPException(422, f"Last-Event-ID is a number here, got {header[:40]!r}")
    return otherwise if query is None else query


LastEventId = Annotated[str | None, Header(description="How far one has come.")]
Place = Annotated[
    int | None, Query(ge=0, lt=2**53, description="The same, for who cannot set headers.")
]


# ---- what happens to jobs ------------------------------------------------------------------------


@router.get(
    "/events/stream", summary="What happens to all jobs, as it comes", responses=_STREAM | told(422)
)
async def all_events(
    record: Reader,
    parts: PartsOf,
    last_event_id: LastEventId = None,
    last: Annotated[Place, Query(alias="last_event_id")] = None,
) -> Response:
    """Each event is ``job``, with ``{"event": …, "job": … or null}``; without a place, from now."""
    at = place(last_event_id, last, otherwise=-1)
    parts.streams.take(record.user)
    return Stream(_events(parts, at, None), parts, record)


@router.get(
    "/jobs/{job_id}/events/stream",
    summary="What happens to a job, as it comes",
    responses=_STREAM | told(404, 422),
)
async def job_events(
    job_id: JobId,
    record: Reader,
    parts: PartsOf,
    last_event_id: LastEventId = None,
    last: Annotated[Place, Query(alias="last_event_id")] = None,
) -> Response:
    """Return the events of one job, from its first on; ``end`` follows when it has ended."""
    await parts.call(parts.store.job, job_id)
    at = place(last_event_id, last)
    parts.streams.take(record.user)
    return Stream(_events(parts, at, job_id), parts, record)


async def _events(parts: Parts, at: int, job_id: str | None) -> Body:
    await parts.events.follow()
    try:
        at = await parts.call(parts.store.last_event) if at < 0 else at
        yield SEPARATOR.encode()  # the answer begins at once, and so does `open` in a browser
        checked = at  # beyond what was sent, where others' events lie between
        while True:
            bell, seen = parts.events.bell.next, parts.events.seen
            happenings = await parts.events.after(checked, job_id=job_id)
            for happening in happenings:
                at = checked = happening.event.id
                yield event("job", _told(happening), at=at)
            if happenings:
                continue
            checked = max(checked, seen)
            if job_id is not None and (end := await _end(parts, job_id)):
                yield event("end", end, at=at)
                return
            await bell.wait()
    except StoreError:
        return  # the client comes again, and goes on from where it was
    finally:
        parts.events.leave()


def _told(happening: Happening) -> str:
    job = None if happening.job is None else JobDocument.of(happening.job).model_dump(mode="json")
    return json.dumps(
        {"event": EventDocument.of(happening.event).model_dump(mode="json"), "job": job}
    )


async def _end(parts: Parts, job_id: str) -> str | None:
    """Return what is told at a stream's end; None while the job has not ended."""
    try:
        job: Job = await parts.call(parts.store.job, job_id)
    except NotFoundError:
        return json.dumps({"state": "deleted"})
    return json.dumps({"state": job.state}) if job.state.is_terminal else None


# ---- a log ---------------------------------------------------------------------------------------


@router.get(
    "/jobs/{job_id}/log/stream",
    summary="A job's log, as it is written",
    responses=_STREAM | told(404, 422),
)
async def log_stream(
    job_id: JobId,
    record: Reader,
    parts: PartsOf,
    last_event_id: LastEventId = None,
    last: Annotated[Place, Query(alias="last_event_id")] = None,
    offset: Annotated[
        int | None, Query(gt=-(2**53), lt=2**53, description="Negative: from the end.")
    ] = None,
) -> Response:
    """Return events ``log`` with text, from the beginning or a place on; then ``end``."""
    job: Job = await parts.call(parts.store.job, job_id)
    at = place(last_event_id, last, otherwise=offset or 0)
    files = parts.settings.files(job.id)
    parts.streams.take(record.user)
    return Stream(_followed(parts, job_id, files.log, at, _log_piece), parts, record)


async def _log_piece(parts: Parts, path: Path, at: int, final: bool) -> tuple[bytes, int]:
    data, at = await parts.call(_read, path, at)
    text, used = whole_characters(data, final=final)
    return (event("log", text, at=at + used) if used else b""), at + used


def _read(path: Path, at: int) -> tuple[bytes, int]:
    """Return bytes of a file from an offset on, and the offset; negative ones count from the end.

    An offset behind the end is the end.
    """
    try:
        descriptor = open_beneath(path.parent, path.name)
    except NoSuchFileError:
        return b"", max(at, 0)
    with os.fdopen(descriptor, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        at = min(at, size) if at >= 0 else max(0, size + at)
        file.seek(at)
        return file.read(PIECE), at


def whole_characters(data: bytes, *, final: bool = False) -> tuple[str, int]:
    r"""Return as much of a text as can be told now, and how many bytes that is.

    A character that has come in part waits for its rest, and so does a carriage return, which a
    line feed may follow. What is no UTF-8 becomes U+FFFD. A piece ends with a line where it is
    full and has one.

    Examples
    --------
    >>> whole_characters("5 µs".encode()[:3])
    ('5 ', 2)
    >>> whole_characters(b"a\r"), whole_characters(b"a\r", final=True)
    (('a', 1), ('a\r', 2))
    """
    if len(data) == PIECE and (end := data.rfind(b"\n") + 1):
        data = data[:end]
    if final:
        return data.decode("utf-8", "replace"), len(data)
    if data.endswith(b"\r"):
        data = data[:-1]
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data)
    return text, len(data) - len(decoder.getstate()[0])


# ---- curves --------------------------------------------------------------------------------------


@router.get(
    "/jobs/{job_id}/metrics/stream",
    summary="Points of a run's curves, as they are measured",
    responses=_STREAM | told(404, 422),
)
async def metrics_stream(
    job_id: JobId,
    record: Reader,
    parts: PartsOf,
    last_event_id: LastEventId = None,
    last: Annotated[Place, Query(alias="last_event_id")] = None,
    after: Annotated[int | None, Query(ge=0, lt=2**53)] = None,
) -> Response:
    """Events ``point``; ``reset`` where the run has begun anew; then ``end``."""
    job: Job = await parts.call(parts.store.job, job_id)
    at = place(last_event_id, last, otherwise=after or 0)
    journal = parts.settings.files(job.id).run / "metrics.jsonl"
    parts.streams.take(record.user)
    body = _followed(parts, job_id, journal, at, _points_piece, resets=True)
    return Stream(body, parts, record)


async def _points_piece(parts: Parts, path: Path, at: int, final: bool) -> tuple[bytes, int]:
    reading: Reading = await parts.call(parts.journals.read, path.parent, after=at, most=POINTS)
    events = [event("reset", "{}", at=0)] if reading.reset else []
    for offset, point in reading.points:
        data = json.dumps(point | {"time": rfc3339(point["time"])})
        events.append(event("point", data, at=offset))
    return b"".join(events), reading.next


# ---- any file ------------------------------------------------------------------------------------

Piece = Callable[[Parts, Path, int, bool], Awaitable[tuple[bytes, int]]]
#: No file is that long: a journal is read from its beginning.
ANEW = 2**62


async def _followed(
    parts: Parts, job_id: str, path: Path, at: int, piece: Piece, *, resets: bool = False
) -> Body:
    """Yield what `piece` makes of a file that grows, from an offset on, until its job has ended."""
    await parts.events.follow()
    file = parts.files.follow(path, job_id=job_id)
    try:
        yield SEPARATOR.encode()  # the answer begins at once, and so does `open` in a browser
        begun = file.begun
        while True:
            bell = file.bell.next
            end = await file.shared("end", lambda: _end(parts, job_id))
            if resets and begun != file.begun:
                begun, at = file.begun, ANEW
            while True:
                before = at
                sent, at = await file.shared((at, end), partial(piece, parts, path, at, bool(end)))
                if sent:
                    yield sent
                if at == before:
                    break
                await asyncio.sleep(0)  # all of this may be at hand: others have their turn
            if end:
                yield event("end", end, at=max(at, 0))
                return
            await bell.wait()
    except StoreError:
        return  # the client comes again, and goes on from where it was
    finally:
        parts.files.leave(path)
        parts.events.leave()
