"""How the service is: for whoever watches it, without a token."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import anyio
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from minidl import __version__
from minidl.service.api.parts import PartsOf
from minidl.service.store import StoreError
from minidl.serving import page

router = APIRouter(tags=["about"])

#: Seconds in which the database must answer to be called ready.
PATIENCE = 5.0


@router.get("/healthz", summary="Whether the process answers")
async def healthz() -> dict[str, str]:
    """Answer; nothing else is looked at."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    summary="Whether the database answers and the scheduler runs",
    response_class=JSONResponse,
    responses={503: {"description": "One of them does not"}},
)
async def readyz(parts: PartsOf) -> JSONResponse:
    """Say how each of them is."""
    scheduler = parts.scheduler
    found = {"database": await _database(parts), "scheduler": "none"}
    if scheduler is not None:
        working = "leads" if scheduler.leads else "stands by"
        found["scheduler"] = working if scheduler.alive else "stopped"
    ready = found["database"] == "ok" and found["scheduler"] != "stopped"
    return JSONResponse(
        {"status": "ready" if ready else "not ready"} | found, 200 if ready else 503
    )


async def _database(parts: PartsOf) -> str:
    with anyio.move_on_after(PATIENCE):
        try:
            # A thread of its own: while the database is away, all others may wait for it.
            await anyio.to_thread.run_sync(parts.store.ping, limiter=_pings, abandon_on_cancel=True)
        except StoreError:
            return "does not answer"
        return "ok"
    return "does not answer"


_pings = anyio.CapacityLimiter(2)


@router.get("/version", summary="The version of minidl")
async def version() -> dict[str, str]:
    """Return it."""
    return {"minidl": __version__}


@router.get("/metrics", summary="Figures for Prometheus", response_class=Response)
async def metrics(parts: PartsOf) -> Response:
    """Return figures of jobs, requests, streams and models."""
    instruments = parts.instruments
    try:
        counts = await parts.call(parts.store.counts)
        instruments.set_jobs(counts)
    except StoreError:
        instruments.jobs.clear()  # not known now
    instruments.streams.set(parts.streams.open)
    instruments.scheduler.set(bool(parts.scheduler is not None and parts.scheduler.leads))
    return Response(instruments.text(), media_type=CONTENT_TYPE_LATEST)


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """Return a page about all routes, with a command for each."""
    description: dict[str, Any] = request.app.openapi()
    text = page.page(
        description, str(request.base_url).rstrip("/"), header="Authorization: Bearer $MINIDL_TOKEN"
    )
    return HTMLResponse(
        text, headers={"Content-Security-Policy": f"default-src 'none'; style-src '{_STYLE}'"}
    )


_STYLE = "sha256-" + base64.b64encode(hashlib.sha256(page.STYLE.encode()).digest()).decode()
