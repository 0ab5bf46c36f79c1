"""`minidl service` as a process: what it says, what it refuses, how it ends and goes on."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from served_app import EventStream
from service_app import CONFIG
from services import SECONDS, RunningService, StartService
from typer.testing import CliRunner

from minidl.cli import app as cli
from minidl.service.running import checked
from minidl.service.settings import ServiceSettings
from minidl.serving.server import MAX_HEAD

pytest_plugins = ["services"]

LONG = CONFIG.replace("epochs: 2", "epochs: 2000, log_every: 10")


def port_of(service: RunningService) -> int:
    return int(urlsplit(service.url).port or 0)


# ---- a request's head ----------------------------------------------------------------------------


def raw(service: RunningService, *pieces: bytes) -> bytes:
    """Send bytes as they are, and return all that comes back until the connection ends."""
    with socket.create_connection(("127.0.0.1", port_of(service)), timeout=30) as connection:
        received = b""
        try:
            for piece in pieces:
                connection.sendall(piece)
            while chunk := connection.recv(65536):
                received += chunk
        except (ConnectionResetError, BrokenPipeError):
            pass  # it has hung up while we were still sending
        return received


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 400_000 + b"\r\n\r\n", 431),
        (b"GET /healthz HTTP/1.1\r\n" + b"X-Y: 1\r\n" * 60_000 + b"\r\n", 431),
        (b"GET /" + b"a" * 400_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX:\x00\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n X: folded\r\n\r\n", 400),
        (b"GET /healthz\r\x00X: 1 HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", 400),
        (b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
        (
            b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            b"GET /v1/jobs/x/artifacts/../../../../etc/passwd HTTP/1.1\r\nHost: x\r\n"
            b"Authorization: Bearer TOKEN\r\nConnection: close\r\n\r\n",
            422,
        ),
        (b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
        (b"TRACE /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405),
    ],
    ids=lambda value: repr(value[:30]) if isinstance(value, bytes) else str(value),
)
def test_heads(service: RunningService, head: bytes, status: int) -> None:
    answer = raw(service, head.replace(b"TOKEN", str(service.token).encode()))
    # What has been refused for its size may be cut off before the answer is read.
    assert answer.startswith(b"HTTP/1.1 %d" % status) or (status == 431 and not answer)
    assert service.ask("GET", "/healthz").status == 200


def test_a_head_that_grows_slowly_has_an_end(service: RunningService) -> None:
    pieces = [b"GET /healthz HTTP/1.1\r\nHost: x\r\n"] + [b"X: " + b"a" * 1000 + b"\r\n"] * 80
    assert len(b"".join(pieces)) > MAX_HEAD
    answer = raw(service, *pieces)
    assert answer.startswith(b"HTTP/1.1 431") or not answer


# ---- what it says --------------------------------------------------------------------------------


def test_the_first_token_is_told_once_and_one_service_leads(start: StartService) -> None:
    first = start("data")
    assert first.token is not None
    assert len([line for line in first.said if "shown this once" in line]) == 1
    assert (first.data.stat().st_mode & 0o777) == 0o700
    assert first.ask("GET", "/v1/me").data["role"] == "admin"
    assert "warning" not in "".join(first.log)
    second = start("data")  # on the same directory and database
    assert second.token is None
    assert second.ask("GET", "/v1/me", token=first.token).status == 200
    state = second.ask("GET", "/readyz").data
    assert state == {"status": "ready", "database": "ok", "scheduler": "stands by"}
    first.kill()
    end = time.monotonic() + SECONDS
    while second.ask("GET", "/readyz").data["scheduler"] != "leads":
        assert time.monotonic() < end
        time.sleep(0.2)
    assert second.stop() == 0


OPENSSL = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 "
    "-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
)


def test_tls(start: StartService, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = f"{OPENSSL} -keyout {key} -out {certificate}"
    subprocess.run(made.split(), check=True, capture_output=True)
    service = start("data", "--tls-cert", str(certificate), "--tls-key", str(key))
    assert service.url.startswith("https://")
    trusted = ssl.create_default_context(cafile=str(certificate))
    request = urllib.request.Request(
        f"{service.url}/session",
        data=json.dumps({"token": service.token}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, context=trusted, timeout=30) as answer:
        assert "Secure" in answer.headers["set-cookie"]
    assert not any("warning" in line for line in service.log)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--db", "mysql://x/y"], "a database's address is sqlite:///FILE or postgresql://"),
        (["--executor", "ray"], "--executor ray needs --ray-address"),
        (["--tls-key", "x.pem"], "--tls-key"),
        (["--mlflow-uri", "http://me:secret@host"], "--mlflow-uri holds a password"),
        (["--mlflow-page", "mlflow:5000"], "--mlflow-page is the address of a page"),
        (["--data-root", "."], "lie in each other"),
        (["--data-root", "nowhere"], "nowhere"),
        (["--host", "203.0.113.7"], "cannot listen on 203.0.113.7"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(
        cli, ["service", "--data", "made/data", "--port", "0", *options], env={"COLUMNS": "200"}
    )
    assert done.exit_code == 2
    assert message in done.stderr.replace("\n", " ")
    assert "secret" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_data_roots_and_the_services_own_directory_are_apart(tmp_path: Path) -> None:
    for root, data in (("a", "a/b"), ("a/b", "a"), ("a", "a")):
        settings = ServiceSettings(data=tmp_path / data, data_roots=((tmp_path / root).resolve(),))
        with pytest.raises(ValueError, match="lie in each other"):
            checked(settings)
    settings = ServiceSettings(data=tmp_path / "a", data_roots=((tmp_path / "b").resolve(),))
    assert checked(settings) == settings


# ---- how it ends, and goes on --------------------------------------------------------------------


def follow(service: RunningService, job: str, token: str, last: str | None) -> EventStream:
    return EventStream(port_of(service), f"/v1/jobs/{job}/log/stream", token, last)


def test_a_log_is_followed_through_a_kill_and_a_stop(start: StartService) -> None:
    """The service is killed and stopped under a follower, who comes again and misses nothing."""
    service = start("data")
    token = str(service.token)
    job = service.submit(LONG)["id"]
    service.wait_for(job, "running")
    text, last = "", None
    with follow(service, job, token, last) as stream:
        while text.count("\n") < 3:
            last, _, data = stream.next()
            text += data
        service.kill()
        with suppress(OSError, http.client.HTTPException):
            for at, _, data in stream:  # what was sent before
                last, text = at, text + data
    service = start("data")
    with follow(service, job, token, last) as stream:
        wanted = text.count("\n") + 3
        while text.count("\n") < wanted:
            last, _, data = stream.next()
            text += data
        service.process.send_signal(signal.SIGTERM)
        for at, _, data in stream:  # the stream ends, and properly
            last, text = at, text + data
        assert service.stop() == 0
    service = start("data")
    assert service.ask("POST", f"/v1/jobs/{job}/cancel", token=token).status == 200
    with follow(service, job, token, last) as stream:
        for at, kind, data in stream:
            if kind == "end":
                assert json.loads(data) == {"state": "cancelled"}
                break
            last, text = at, text + data
    log = (service.data / "jobs" / job / "log.txt").read_bytes()
    assert text == log.decode()
    assert int(str(last)) == len(log)
    assert text.count("attempt 1 of job") == 1
    assert not re.search("Traceback|ERROR", "".join(service.log))


def test_beyond_this_machine_it_warns_and_metrics_tell_what_waits(start: StartService) -> None:
    service = start("data", "--host", "0.0.0.0")
    assert any("tokens go over the network as they are" in line for line in service.log)
    first, second = (service.submit(LONG, name=name)["id"] for name in ("one", "two"))
    service.wait_for(first, "running")
    assert service.ask("GET", f"/v1/jobs/{second}").data["queue_position"] == 1
    wanted = {
        'minidl_jobs{state="running"} 1.0',
        'minidl_jobs{state="queued"} 1.0',
        'minidl_submissions_total{kind="training"} 2.0',
        "minidl_job_wait_seconds_count 1.0",
        "minidl_scheduler_leads 1.0",
    }
    end = time.monotonic() + SECONDS
    # Figures of waiting follow the store.
    while missing := wanted - set(service.ask("GET", "/metrics").body.decode().splitlines()):
        assert time.monotonic() < end, missing
        time.sleep(0.1)
    for job in (second, first):
        service.ask("POST", f"/v1/jobs/{job}/cancel")
    service.wait_for(first, "cancelled")
