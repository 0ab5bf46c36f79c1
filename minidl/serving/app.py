"""The model's HTTP side: routes, and how an error is told.

Every error is JSON with ``detail``, what was wrong. What is wrong with the samples themselves is
told with 422, beside ``expected`` (what the model takes), ``given`` (the shape that was sent) and
``sample`` (the first that is wrong).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic_core import to_json
from starlette.requests import ClientDisconnect

from minidl import __version__
from minidl.autograd.primitive import Array
from minidl.serving.batching import Batcher, QueueFullError
from minidl.serving.bodies import BodyLimit, json_body, picture_body, read_picture
from minidl.serving.descriptions import Descriptions
from minidl.serving.inputs import InputError, InputSpec, read_samples
from minidl.serving.instruments import Counted, Instruments
from minidl.serving.page import page
from minidl.serving.served_model import ServedModel, check_finite

#: Larger bodies are parsed in a thread: parsing would hold up everyone else for milliseconds.
PARSED_AT_ONCE = 256 * 1024
#: Pictures decoded at the same time: each may take a few times ``max_pixels`` bytes.
DECODERS = 2
#: Seconds after which it is looked whether who asked is still there.
PATIENCE = 0.1


@dataclass(frozen=True)
class Settings:
    """Limits of a served model."""

    max_batch: int = 64
    """Samples that the model is given at once."""
    max_wait: float = 0.0
    """Seconds that a request may wait for others to join it."""
    max_queue: int = 1024
    """Samples that may wait, and that one request may have."""
    max_body: int = 16 * 2**20
    """Bytes of a request."""
    max_pixels: int = 16_000_000
    """Pixels of a picture."""


class Answerer:
    """From a request's content to its answer, by the model's queue."""

    def __init__(self, served: ServedModel, settings: Settings, instruments: Instruments) -> None:
        self.served = served
        self.settings = settings
        self.spec = InputSpec(
            served.predictor.sample_shape, served.predictor.dtype, settings.max_queue
        )
        self.instruments = instruments
        self.batcher: Batcher | None = None
        self._decoders = CapacityLimiter(DECODERS)

    def start(self) -> None:
        """Begin to take requests, from the event loop that runs now."""
        self.batcher = Batcher(
            self.served.answers,
            max_batch=self.settings.max_batch,
            max_wait=self.settings.max_wait,
            max_queue=self.settings.max_queue,
            observe=self.instruments.batch_done,
            deliver=asyncio.get_running_loop().call_soon_threadsafe,
        )
        self.instruments.watch(lambda: self.batcher.waiting if self.batcher else 0)

    @property
    def ready(self) -> bool:
        """Whether a request would be taken now."""
        batcher = self.batcher
        return batcher is not None and batcher.alive and batcher.waiting < batcher.max_queue

    async def answers(self, samples: Array, request: Request) -> Array:
        """Return the model's answers to samples, which wait for their turn.

        Raises
        ------
        ClientDisconnect
            Whoever asked has gone; the model is not asked.
        """
        assert self.batcher is not None
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Array] = loop.create_future()
        self.batcher.submit(samples, future)
        watching: list[asyncio.Task[None]] = []
        # A task for each request would cost more than most of them wait.
        timer = loop.call_later(
            PATIENCE, lambda: watching.append(loop.create_task(_cancel_if_gone(request, future)))
        )
        try:
            answers = await future
        except asyncio.CancelledError:
            if watching and watching[0].done():
                raise ClientDisconnect from None
            raise
        finally:
            timer.cancel()
            for task in watching:
                task.cancel()
        check_finite(answers)
        return answers

    async def of_json(self, request: Request, *keys: str) -> Array:
        """Return the answers to the samples in a JSON body."""
        body = await json_body(request)
        read: Callable[[], Array] = lambda: read_samples(body, self.spec, keys=keys)
        samples = read() if len(body) <= PARSED_AT_ONCE else await anyio.to_thread.run_sync(read)
        return await self.answers(samples, request)

    async def of_picture(self, request: Request) -> Array:
        """Return the answer to a picture."""
        content = await picture_body(request)
        channels, height, width = self.spec.shape
        sample = await anyio.to_thread.run_sync(
            read_picture,
            content,
            (channels, height, width),
            self.settings.max_pixels,
            limiter=self._decoders,
        )
        return await self.answers(sample, request)

    def refusal(self, error: InputError) -> JSONResponse:
        """Return what a client is told whose samples are wrong."""
        told: dict[str, Any] = {
            "detail": str(error),
            "expected": {"shape": [None, *self.spec.shape], "dtype": str(self.spec.dtype)},
        }
        told |= {} if error.given is None else {"given": {"shape": error.given}}
        told |= {} if error.sample is None else {"sample": error.sample}
        return JSONResponse(told, 422)


async def _cancel_if_gone(request: Request, future: asyncio.Future[Array]) -> None:
    """Give up what a client waits for once it has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    future.cancel()


def create_app(served: ServedModel, settings: Settings | None = None) -> FastAPI:
    """Return an app that answers for a model; its queue runs while the app's lifespan does."""
    settings = settings or Settings()
    instruments = Instruments()
    answerer = Answerer(served, settings, instruments)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        answerer.start()
        assert answerer.batcher is not None
        try:
            yield
        finally:
            await anyio.to_thread.run_sync(answerer.batcher.close)

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
    app.add_middleware(BodyLimit, limit=settings.max_body)
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
