"""Figures for Prometheus: what was asked, how long it took, how well requests are joined."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
SAMPLES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Instruments:
    """The counters of one app, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "minidl_requests",
            "Requests answered.",
            ["route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "minidl_request_seconds",
            "Time from a request's arrival to the end of its answer.",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.batch = Histogram(
            "minidl_batch_samples",
            "Samples that the model was given at once.",
            buckets=SAMPLES,
            registry=self.registry,
        )
        self.model = Histogram(
            "minidl_model_seconds",
            "Time the model took for a batch.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.queue = Gauge(
            "minidl_queue_samples", "Samples that wait for the model.", registry=self.registry
        )

    def watch(self, waiting: Callable[[], int]) -> None:
        """Take the length of the queue from ``waiting`` whenever it is asked for."""
        self.queue.set_function(waiting)

    def batch_done(self, samples: int, seconds: float) -> None:
        """Note a batch that the model has answered."""
        self.batch.observe(samples)
        self.model.observe(seconds)

    def text(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self.registry)


class Counted:
    """Middleware that counts and times requests by route and status."""

    def __init__(self, app: ASGIApp, instruments: Instruments) -> None:
        self.app = app
        self.instruments = instruments

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and note how it was answered."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin = time.perf_counter()
        status = 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            # The route's own path, never the client's: anyone could make labels without end.
            route = getattr(scope.get("route"), "path", "other")
            self.instruments.requests.labels(route, str(status)).inc()
            self.instruments.seconds.labels(route).observe(time.perf_counter() - begin)
