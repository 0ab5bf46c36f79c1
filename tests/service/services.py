"""A real `minidl service`: a process on a free port, with a data directory of its own.

A test module that uses these fixtures says ``pytest_plugins = ["services"]``.
(PYTEST_DONT_REWRITE: they import it, before pytest does.)
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cli_process import command, environment

SECONDS = 180.0


@dataclass
class Answer:
    """What a service has answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def data(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class RunningService:
    """A service that runs.

    ``token`` is the first admin's; None where the data directory had one before. ``said`` are the
    lines of its standard output, ``log`` those of its standard error.
    """

    data: Path
    process: subprocess.Popen[str]
    url: str = ""
    token: str | None = None
    said: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    _readers: list[threading.Thread] = field(default_factory=list)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Ask it once; a body that is no bytes is sent as JSON."""
        sent = {"Authorization": f"Bearer {token or self.token}"}
        if body is not None and not isinstance(body, bytes):
            sent["Content-Type"] = "application/json"
            body = json.dumps(body).encode()
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=SECONDS)
        try:
            connection.request(method, path, body, sent | (headers or {}))
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read())
        finally:
            connection.close()

    def submit(self, config: Any, **more: Any) -> dict[str, Any]:
        """Submit a config and return the job."""
        answer = self.ask("POST", "/v1/jobs", {"config": config, **more})
        assert answer.status == 201, answer.body
        job: dict[str, Any] = answer.data
        return job

    def wait_for(self, job_id: str, *states: str, seconds: float = SECONDS) -> dict[str, Any]:
        """Wait until a job is in one of these states; by default until it has ended."""
        wanted = states or ("succeeded", "failed", "timed_out", "cancelled")
        end = time.monotonic() + seconds
        while True:
            job: dict[str, Any] = self.ask("GET", f"/v1/jobs/{job_id}").data
            if job["state"] in wanted:
                return job
            assert time.monotonic() < end, f"job is {job}, log:\n{''.join(self.log[-50:])}"
            time.sleep(0.1)

    def kill(self) -> None:
        """End the process as the machine does; its attempts go on."""
        os.kill(self.process.pid, signal.SIGKILL)
        self._ended()

    def stop(self, *, seconds: float = SECONDS) -> int:
        """Tell it to end, as Ctrl-C and systemd do, and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
        return self._ended()

    def _ended(self) -> int:
        status = self.process.wait(SECONDS)
        for reader in self._readers:
            reader.join(SECONDS)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        return status


def start_service(data: Path, *options: str, **variables: str) -> RunningService:
    """Start a service with a data directory, and wait until it listens."""
    data.parent.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        command("service", "--data", str(data), "--port", "0", *options),
        cwd=data.parent,
        env=environment(**variables),
        text=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    service = RunningService(data, process)
    listens = threading.Event()

    def read(pipe: Any, lines: list[str]) -> None:
        for line in pipe:
            lines.append(line)
            if found := re.search(r"\bminidl_\w+_[\w-]{43}\b", line):
                service.token = found[0]
            if lines is service.said and (found := re.match(r"listening at (https?://\S+) ", line)):
                service.url = found[1]
                listens.set()
        listens.set()

    for pipe, lines in ((process.stdout, service.said), (process.stderr, service.log)):
        reader = threading.Thread(target=read, args=(pipe, lines), daemon=True)
        reader.start()
        service._readers.append(reader)
    listens.wait(SECONDS)
    if not service.url:
        service.stop()
        raise AssertionError(f"it does not listen: {''.join(service.said + service.log)}")
    if service.url.startswith("http://"):
        while service.ask("GET", "/healthz").status != 200:
            time.sleep(0.05)
    return service


StartService = Callable[..., RunningService]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartService]:
    """Start services, ``start("name", *options)``, each in a directory of that name."""
    started: list[RunningService] = []

    def begin(name: str = "service", *options: str, **variables: str) -> RunningService:
        service = start_service(tmp_path / name, *options, **variables)
        started.append(service)
        return service

    yield begin
    for service in started:
        service.stop()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """One service for a module's tests, which leave its other jobs alone."""
    running = start_service(tmp_path_factory.mktemp("service") / "data", "--concurrency", "2")
    yield running
    running.stop()
