"""Listening at an address, until a signal says to stop.

The address is taken before anything is loaded, so that one in use is told at once. At SIGTERM or
Ctrl-C no more connections are accepted; what was accepted is answered, and the process ends with
status 0. A second Ctrl-C ends it at once.

A request's head (its address and headers) is held in memory before anyone looks at it, so its size
and the time that it takes to arrive have limits here.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import LOGGING_CONFIG
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Seconds that accepted requests have to end in, after the signal.
GRACE_SECONDS = 30
BACKLOG = 2048
#: Bytes of a request's address and headers.
MAX_HEAD = 64 * 1024
#: Seconds in which they must have arrived.
HEAD_SECONDS = 30


def listen(host: str, port: int) -> socket.socket:
    """Take an address; with port 0, a free one.

    Raises
    ------
    OSError
        It is in use, or no address of this machine; the message names it.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)  # at once: two that are bound but do not listen could coexist
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise OSError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the address that is listened at."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which by itself takes a head of any size, and waits for it forever."""

    _head = 0
    _in_head = True
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a first request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Count a new request's head."""
        super().on_message_begin()
        self._head, self._in_head = 0, True
        self._stop_waiting()
        self._wait()

    def on_headers_complete(self) -> None:
        """Count no more: what follows is a body."""
        self._in_head = False
        self._stop_waiting()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""
        super().data_received(data)
        if self._in_head:
            self._head += len(data)
            if self._head > MAX_HEAD:
                self._refuse(431, f"the head of a request has at most {MAX_HEAD} bytes")

    def _wait(self) -> None:
        self._late = self.loop.call_later(
            HEAD_SECONDS, self._refuse, 408, f"no request within {HEAD_SECONDS} seconds"
        )

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _refuse(self, status: int, message: str) -> None:
        if self.transport.is_closing():
            return
        body = f'{{"detail": "{message}"}}'.encode()
        if self._head:  # browsers open connections ahead, and use some of them never
            self.transport.write(
                b"HTTP/1.1 %d \r\ncontent-type: application/json\r\nconnection: close\r\n"
                b"content-length: %d\r\n\r\n%b" % (status, len(body), body)
            )
        self.transport.close()


def run(
    app: ASGIApp,
    listener: socket.socket,
    *,
    on_stop: Callable[[], object] = lambda: None,
    certificate: Path | None = None,
    key: Path | None = None,
    log_config: dict[str, Any] | None = LOGGING_CONFIG,
) -> None:
    """Answer requests until SIGTERM or Ctrl-C.

    Parameters
    ----------
    on_stop
        Called when the signal comes, in its handler, and perhaps again.
    certificate, key
        For TLS: PEM files.
    log_config
        For uvicorn's loggers, as `logging.config.dictConfig` takes it; None leaves them as they
        are.
    """
    # It warns of each damaged form, which is answered with 400: anyone could fill the log.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=LimitedProtocol,
            ws="none",
            lifespan="on",
            log_level="warning",
            log_config=log_config,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
    )

    def stop(*_: Any) -> None:
        server.should_exit = True
        on_stop()

    # uvicorn sets its own while it runs, and afterwards raises what it got once more: without
    # these, the process would then die of the signal.
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    exits = server.handle_exit

    def leave(number: int, frame: Any) -> None:
        on_stop()
        exits(number, frame)

    server.handle_exit = leave  # type: ignore[method-assign,assignment]
    try:
        server.run(sockets=[listener])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
