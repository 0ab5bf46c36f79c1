"""`minidl serve` as a process: it starts, answers, and ends when it is told to."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_process import command, environment
from typer.testing import CliRunner

from minidl.cli import app

SECONDS = 60
Start = Callable[..., tuple[subprocess.Popen[str], int]]


@pytest.fixture
def start(runs: Callable[[str], Path], tmp_path: Path) -> Iterator[Start]:
    """Start the server on a free port and wait until it says where; returns it and the port."""
    started: list[subprocess.Popen[str]] = []

    def serve(name: str, *options: str) -> tuple[subprocess.Popen[str], int]:
        process = subprocess.Popen(
            command("serve", str(runs(name)), "--port", "0", *options),
            cwd=tmp_path,
            env=environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if "/docs" in line:
                (port,) = re.findall(r"listening at http://127\.0\.0\.1:(\d+) ", said)
                return process, int(port)
        pytest.fail(f"it ended: {said} {process.stderr and process.stderr.read()}")

    yield serve
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def ask(port: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        headers = {} if body is None else {"Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_from_start_to_signal(start: Start) -> None:
    process, port = start("digits")
    status, example = ask(port, "GET", "/example")
    assert status == 200
    status, answer = ask(port, "POST", "/predict", example)
    assert status == 200
    assert len(answer["predictions"][0]["probabilities"]) == 10
    assert ask(port, "POST", "/predict", {"inputs": [1]})[0] == 422
    process.send_signal(signal.SIGTERM)
    assert process.wait(SECONDS) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""


def test_what_was_accepted_is_answered(start: Start) -> None:
    # The request waits a second for others to join it; the signal comes meanwhile.
    process, port = start("kinds", "--max-wait-ms", "1000")
    found: list[tuple[int, Any]] = []
    asking = threading.Thread(
        target=lambda: found.append(ask(port, "POST", "/predict", {"inputs": [1, 2]}))
    )
    asking.start()
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        if "minidl_queue_samples 1.0" in text or found:
            break
    process.send_signal(signal.SIGINT)
    asking.join(SECONDS)
    assert found[0][0] == 200
    assert process.wait(SECONDS) == 0
    with pytest.raises(ConnectionRefusedError):
        ask(port, "GET", "/healthz")


def test_an_address_in_use(runs: Callable[[str], Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = CliRunner().invoke(app, ["serve", str(runs("digits")), "--port", port])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"cannot listen on 127.0.0.1 port {port}: Address already in use\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("nowhere", "--port", "0"), "nowhere: no such file or directory"),
        (("nowhere", "--host", "no such host"), "cannot listen on no such host port 8000"),
    ],
)
def test_what_cannot_be_served(options: tuple[str, ...], words: str) -> None:
    done = CliRunner().invoke(app, ["serve", *options])
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in done.stderr


def test_predict_says_what_serves_instead(runs: Callable[[str], Path]) -> None:
    done = CliRunner().invoke(app, ["predict", str(runs("kinds")), "x.png"])
    assert done.exit_code == 2
    assert "takes float32 [2]; ask it over HTTP: minidl serve" in done.stderr
