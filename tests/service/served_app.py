"""The service's app behind a real port, in a thread of this process, with no scheduler.

So a test decides what a job's files hold and when it ends, and reads streams as a client does.
(PYTEST_DONT_REWRITE: test modules import it, before pytest does.)
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from service_app import ServiceApp

from minidl.serving.server import LimitedProtocol, listen

SECONDS = 120.0


@contextmanager
def served(app: ServiceApp) -> Iterator[int]:
    """Serve an app; yields the port."""
    with listen("127.0.0.1", 0) as listener:
        config = uvicorn.Config(
            app.app,
            http=LimitedProtocol,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            end = time.monotonic() + SECONDS
            while not server.started:
                assert time.monotonic() < end
                time.sleep(0.01)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(SECONDS)
            assert not thread.is_alive()


class EventStream:
    """A stream as a client reads it. An event is (id, kind, data)."""

    def __init__(self, port: int, path: str, token: str, last: str | None = None) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        headers = {"Authorization": f"Bearer {token}"}
        if last is not None:
            headers["Last-Event-ID"] = last
        self.connection.request("GET", path, headers=headers)
        self.answer = self.connection.getresponse()
        self.status = self.answer.status

    def __iter__(self) -> Iterator[tuple[str, str, str]]:
        found: dict[str, Any] = {"data": []}
        while line := self.answer.readline():
            text = line.decode().removesuffix("\n").removesuffix("\r")
            if not text:
                if found["data"]:
                    yield found["id"], found["event"], "\n".join(found["data"])
                found = {"data": []}
                continue
            name, _, value = text.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                found["data"].append(value)
            elif name:
                found[name] = value

    def next(self) -> tuple[str, str, str]:
        """Return the next event."""
        return next(iter(self))

    def close(self) -> None:
        """Hang up."""
        self.answer.close()
        self.connection.close()

    def __enter__(self) -> EventStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
