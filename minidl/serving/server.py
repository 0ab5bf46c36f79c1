"""Listening at an address, until a signal says to stop.

The address is taken before anything is loaded, so that one in use is told at once. At SIGTERM or
Ctrl-C no more connections are accepted; what was accepted is answered, and the process ends with
status 0. A second Ctrl-C ends it at once.
"""

from __future__ import annotations

import logging
import signal
import socket
from typing import Any

import uvicorn
from fastapi import FastAPI

#: Seconds that accepted requests have to end in, after the signal.
GRACE_SECONDS = 30
BACKLOG = 2048


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


def run(app: FastAPI, listener: socket.socket) -> None:
    """Answer requests until SIGTERM or Ctrl-C."""
    # It warns of each damaged form, which is answered with 400: anyone could fill the log.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            lifespan="on",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )

    def stop(*_: Any) -> None:
        server.should_exit = True

    # uvicorn sets its own while it runs, and afterwards raises what it got once more: without
    # these, the process would then die of the signal.
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.run(sockets=[listener])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
