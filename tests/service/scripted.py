"""A server that answers what a test tells it to, for what a real service does only in bad moments.

A test gives it answers, which go to the requests in their order; the last one is repeated. It may
drop a connection before or in the middle of an answer, go away, and come back on the same port.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """``drop``: the connection is closed instead (None: at no time; 0: before a byte is sent)."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    drop: int | None = None


def json_answer(data: Any, status: int = 200, **headers: str) -> Answer:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    body = json.dumps(data).encode()
    return Answer(status, body, {"Content-Type": "application/json", **named})


def events(*sent: tuple[str, str, str], whole: bool = True) -> Answer:
    """Server-sent events (event, id, data); without ``whole`` the connection breaks after them."""
    text = ""
    for event, number, data in sent:
        lines = "".join(f"data: {line}\n" for line in data.split("\n"))
        text += f"event: {event}\nid: {number}\n{lines}\n"
    body = text.encode()
    headers = {"Content-Type": "text/event-stream"}
    return Answer(200, body if whole else body + b"event: lo", headers, None if whole else 10**9)


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Scripted:
    """The server, and what it was asked."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [Answer()]
        self.requests: list[Request] = []
        self.port = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                headers = {key.lower(): value for key, value in self.headers.items()}
                owner.requests.append(Request(self.command, self.path, headers, body))
                told = owner.answers.pop(0) if len(owner.answers) > 1 else owner.answers[0]
                self.close_connection = True
                if told.drop == 0:
                    return
                self.send_response(told.status)
                for key, value in told.headers.items():
                    self.send_header(key, value)
                missing = 0 if told.drop is None else 1  # promised, and not sent
                self.send_header("Content-Length", str(len(told.body) + missing))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(told.body[: told.drop])

            do_GET = do_POST = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = server.server_address[1]
        self._server = server
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@contextmanager
def scripted_server(*answers: Answer) -> Iterator[Scripted]:
    server = Scripted()
    server.answers = list(answers) or server.answers
    server.start()
    try:
        yield server
    finally:
        server.stop()
