"""The service's app: its routes, and what every request goes through."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware

from minidl import __version__
from minidl.service.api import (
    about,
    accounts,
    files,
    jobs,
    predictions,
    problems,
    streams,
    submissions,
)
from minidl.service.api.documents import EXAMPLE_CONFIG
from minidl.service.api.instruments import ServiceInstruments
from minidl.service.api.limits import Limits, OpenStreams
from minidl.service.api.models import Models
from minidl.service.api.parts import CALLS, Parts, SchedulerStatus
from minidl.service.api.points import Journals
from minidl.service.api.security import SecurityHeaders, Throttle
from minidl.service.api.watching import EventFeed, FileWatch, Happening
from minidl.service.page import add_page
from minidl.service.placing import cores_of
from minidl.service.ranks import why_no_ranks
from minidl.service.settings import ServiceSettings
from minidl.service.store import Store, StoreError
from minidl.service.submission import SubmissionRules, check_submission
from minidl.serving.bodies import BodyLimit
from minidl.serving.instruments import Counted

log = logging.getLogger("minidl.service")

ABOUT = """\
Trainings as jobs: submit a config, follow it, compare, try its model.

Every route but those under *about* wants a token: `Authorization: Bearer minidl_…`. Times are
RFC 3339 in UTC. Errors are JSON with `detail`; where waiting helps, `Retry-After` says how long.
"""


def rules_of(settings: ServiceSettings) -> SubmissionRules:
    """Return what submitted configs may do in a service."""
    return SubmissionRules(
        data_roots=settings.data_roots,
        forbidden=(settings.data,),
        mlflow_uri=settings.mlflow_uri,
        concurrency=settings.concurrency,
        most_ranks=settings.max_ranks or cores_of(settings),
        cores=cores_of(settings),
        # A cluster's Python is not this one.
        no_ranks=why_no_ranks() if settings.executor == "local" else None,
    )


def create_app(
    store: Store,
    settings: ServiceSettings,
    *,
    scheduler: SchedulerStatus | None = None,
    limits: Limits | None = None,
    allowed_hosts: Sequence[str] = (),
) -> FastAPI:
    """Return the app of a service.

    Parameters
    ----------
    scheduler
        The one of this process, which `/readyz` tells of; None where there is none.
    allowed_hosts
        What requests may call this service; empty: anything.
    """
    limits = limits or Limits()
    instruments = ServiceInstruments()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        parts = app.state.parts = _parts(store, settings, scheduler, limits, instruments)
        tasks = [
            asyncio.create_task(_follow(parts)),
            asyncio.create_task(parts.files.run()),
            asyncio.create_task(parts.check(check_submission, EXAMPLE_CONFIG, parts.rules)),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
            await parts.models.close()

    app = FastAPI(
        title="minidl service",
        description=ABOUT,
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's pages load their scripts from elsewhere: see `about`
        redoc_url=None,
    )
    for module in (submissions, jobs, files, streams, predictions, accounts, about):
        app.include_router(module.router)
    problems.add_answers(app)
    add_page(app)
    app.add_middleware(BodyLimit, limit=limits.of_body)
    if allowed_hosts:
        app.add_middleware(
            TrustedHostMiddleware, allowed_hosts=[*allowed_hosts], www_redirect=False
        )
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Counted, instruments=instruments)  # added last: it sees all answers
    return app


def _parts(
    store: Store,
    settings: ServiceSettings,
    scheduler: SchedulerStatus | None,
    limits: Limits,
    instruments: ServiceInstruments,
) -> Parts:
    calls = CapacityLimiter(CALLS)

    async def call(function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        return await anyio.to_thread.run_sync(partial(function, *args, **named), limiter=calls)

    def observe(happening: Happening) -> None:
        watch.job_changed(happening)
        instruments.observe(happening)
        if happening.event.kind == "token_revoked":
            streams.end_those_of(str(happening.event.data.get("token_id")))

    watch, streams = FileWatch(call), OpenStreams(limits)
    return Parts(
        store=store,
        settings=settings,
        rules=rules_of(settings),
        limits=limits,
        instruments=instruments,
        throttle=Throttle(limits.failures),
        streams=streams,
        events=EventFeed(store, call, observe),
        files=watch,
        journals=Journals(),
        models=Models(
            instruments,
            call,
            max_body=limits.picture_bytes,
            max_pixels=limits.pixels,
            mlflow_uri=settings.mlflow_uri,
        ),
        scheduler=scheduler,
        calls=calls,
    )


async def _follow(parts: Parts) -> None:
    """Read events for as long as the app runs: figures are made of them, and streams fed."""
    while True:
        try:
            await parts.events.follow()
            break
        except StoreError:
            await asyncio.sleep(1.0)
    await parts.events.run()
