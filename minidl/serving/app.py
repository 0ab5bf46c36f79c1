"""The model's HTTP side: routes, and how an error is told.

Every error is JSON with ``detail``, what was wrong. What is wrong with the samples themselves is
told with 422, beside ``expected`` (what the model takes), ``given`` (the shape that was sent) and
``sample`` (the first that is wrong).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic_core import to_json
from starlette.requests import ClientDisconnect

from minidl import __version__
from minidl.serving.answering import Answerer, Settings
from minidl.serving.batching import QueueFullError
from minidl.serving.bodies import BodyLimit
from minidl.serving.descriptions import Descriptions
from minidl.serving.inputs import InputError
from minidl.serving.instruments import Counted, Instruments
from minidl.serving.page import page
from minidl.serving.served_model import ServedModel


def create_app(served: ServedModel, settings: Settings | None = None) -> FastAPI:
    """Return an app that answers for a model; its queue runs while the app's lifespan does."""
    settings = settings or Settings()
    instruments = Instruments()
    answerer = Answerer(served, settings, instruments)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        answerer.start()
        try:
            yield
        finally:
            await anyio.to_thread.run_sync(answerer.close)

    app = FastAPI(
        title=f"minidl serve: {served.name}",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's pages load their scripts from elsewhere: see `page`
        redoc_url=None,
    )
    _add_predictions(app, answerer)
    _add_descriptions(app, answerer)
    _add_errors(app, answerer)
    app.add_middleware(BodyLimit, limit=lambda scope: settings.max_body)
    app.add_middleware(Counted, instruments=instruments)  # added last: it sees all answers
    return app


def _json(document: Any) -> Response:
    return Response(to_json(document), media_type="application/json")


def _add_predictions(app: FastAPI, answerer: Answerer) -> None:
    """Add the routes that ask the model."""
    served = answerer.served
    told = Descriptions(served, answerer.spec)

    @app.post("/predict", **told.predict)
    async def predict(request: Request) -> Response:
        answers = await answerer.of_json(request, "inputs")
        return _json({"predictions": served.predictions(answers)})

    @app.post("/invocations", **told.invocations)
    async def invocations(request: Request) -> Response:
        answers = await answerer.of_json(request, "inputs", "instances")
        return _json({"predictions": answers.tolist()})

    if not served.takes_pictures:
        return

    @app.post("/predict/image", **told.picture)
    async def predict_image(request: Request) -> Response:
        answers = await answerer.of_picture(request)
        return _json({"predictions": served.predictions(answers)})


def _add_descriptions(app: FastAPI, answerer: Answerer) -> None:
    """Add the routes that tell of the model and of how the server does."""
    served = answerer.served
    signature, example = served.signature(), served.example()

    @app.get("/signature", summary="What the model takes and answers")
    async def describe() -> dict[str, Any]:
        return signature

    @app.get("/example", summary="A body for /predict, with a blank or an average sample")
    async def show_example() -> dict[str, Any]:
        return example

    @app.get("/healthz", summary="Whether the server runs")
    @app.get("/ping", include_in_schema=False)  # as MLflow's scoring server calls it
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get(
        "/readyz",
        summary="Whether a request would be taken now",
        responses={503: {"description": "The queue is full, or the server begins or ends"}},
    )
    async def readyz() -> JSONResponse:
        ready = answerer.ready
        return JSONResponse({"status": "ready" if ready else "busy"}, 200 if ready else 503)

    @app.get("/version", summary="The version of minidl")
    async def version() -> dict[str, str]:
        return {"minidl": __version__}

    @app.get("/metrics", summary="Figures for Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(answerer.instruments.text(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/docs", include_in_schema=False)
    @app.get("/", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        return HTMLResponse(page(app.openapi(), str(request.base_url).rstrip("/")))


def _add_errors(app: FastAPI, answerer: Answerer) -> None:
    """Say how an error becomes an answer."""

    @app.exception_handler(InputError)
    async def wrong_input(request: Request, error: InputError) -> Response:
        return answerer.refusal(error)

    @app.exception_handler(QueueFullError)
    async def no_room(request: Request, error: QueueFullError) -> Response:
        return JSONResponse({"detail": str(error)}, 503, {"Retry-After": "1"})

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=499)  # nobody reads it; it is counted

    @app.exception_handler(500)
    async def failed(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": "the model failed; the server's log says why"}, 500)
