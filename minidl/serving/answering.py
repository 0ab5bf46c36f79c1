"""From what a request carries to a model's answer: read within limits, and queued.

`minidl serve` has one of these; the training service has one for each model that is asked now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from minidl.autograd.primitive import Array
from minidl.serving.batching import Batcher
from minidl.serving.bodies import json_body, picture_body, read_picture
from minidl.serving.inputs import InputError, InputSpec, read_samples
from minidl.serving.instruments import Instruments
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
        self.instruments.watch(lambda: self.waiting)

    def close(self) -> None:
        """Take no more requests, and answer those that were taken."""
        if self.batcher is not None:
            self.batcher.close()

    @property
    def waiting(self) -> int:
        """Samples that wait."""
        return self.batcher.waiting if self.batcher is not None else 0

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
