"""What is sent again and what is not, where the token goes, and the words for each refusal."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from scripted import Answer, Scripted, json_answer, scripted_server

from minidl.service.client import connection as connection_module
from minidl.service.client.connection import Connection
from minidl.service.client.refusals import REFUSED, UNAVAILABLE, WRONG, ServiceError
from minidl.service.client.settings import Address

TOKEN = "minidl_abcdefgh_secret"
AWAY = json_answer({"detail": "the database is away"}, 503)
DROPPED = Answer(drop=0)
DONE = json_answer({"done": True})


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def service(server: Scripted, said: list[str]) -> Iterator[Connection]:
    address = Address(server.url, TOKEN)
    with Connection(address, patience=5, say=said.append) as service:
        yield service


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of a hundredth, so that tests of many tries take no time."""
    usual = connection_module._backoff
    monkeypatch.setattr(connection_module, "_backoff", lambda state: usual(state) / 100)


@pytest.mark.parametrize("trouble", [AWAY, DROPPED, json_answer({}, 502), json_answer({}, 429)])
def test_reading_is_repeated(
    server: Scripted, service: Connection, said: list[str], trouble: Answer
) -> None:
    server.answers = [trouble, trouble, DONE]
    assert service.get("/v1/jobs") == {"done": True}
    assert len(server.requests) == 3
    assert len(said) == 1
    assert "trying again" in said[0]


@pytest.mark.parametrize("trouble", [AWAY, DROPPED, Answer(body=b'{"id": 1}', drop=3)])
def test_a_submission_is_repeated_under_one_key(
    server: Scripted, service: Connection, trouble: Answer
) -> None:
    server.answers = [trouble, DONE]
    service.post("/v1/jobs", {"config": "a: 1"}, headers={"Idempotency-Key": "k1"})
    first, second = server.requests
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"] == "k1"
    assert first.body == second.body == b'{"config":"a: 1"}'


@pytest.mark.parametrize("trouble", [AWAY, DROPPED])
def test_what_may_have_been_done_is_not_repeated(
    server: Scripted, service: Connection, trouble: Answer
) -> None:
    server.answers = [trouble, DONE]
    with pytest.raises(ServiceError) as caught:
        service.post("/v1/jobs/1/cancel")
    assert caught.value.exit_status == UNAVAILABLE
    assert len(server.requests) == 1


def test_what_was_never_received_is_repeated_through_a_restart(
    server: Scripted, service: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.stop()
    server.answers = [DONE]
    tries = []

    def start_at_the_third(state: object) -> float:
        tries.append(state)
        if len(tries) == 3:
            server.start()
        return 0.01

    monkeypatch.setattr(connection_module, "_backoff", start_at_the_third)
    assert service.post("/v1/jobs/1/cancel").json() == {"done": True}
    assert len(server.requests) == 1


def test_the_service_says_how_long_to_wait(server: Scripted, service: Connection) -> None:
    server.answers = [json_answer({"detail": "full"}, 429, Retry_After="60"), DONE]
    with pytest.raises(ServiceError, match="full; try again in 60 s"):
        service.get("/v1/jobs")
    assert len(server.requests) == 1  # a minute is beyond the patience of 5 s


def test_patience_ends(server: Scripted) -> None:
    server.answers = [AWAY]
    with (
        Connection(Address(server.url), patience=0.2) as service,
        pytest.raises(ServiceError, match="not ready: the database is away") as caught,
    ):
        service.get("/v1/jobs")
    assert caught.value.exit_status == UNAVAILABLE
    assert len(server.requests) > 2


@pytest.mark.parametrize(
    ("answer", "exit_status", "message"),
    [
        (json_answer({"detail": "no such token"}, 401), WRONG, "does not accept the token"),
        (json_answer({"detail": "read only"}, 403), WRONG, "not allowed: read only"),
        (json_answer({"detail": "there is no job x"}, 404), WRONG, "there is no job x"),
        (Answer(404, b"<html>"), WRONG, "is it a minidl service?"),
        (json_answer({"detail": "it has ended"}, 409), REFUSED, "it has ended"),
        (json_answer({"detail": "1 MB at most"}, 413), WRONG, "too large for the service: 1 MB"),
        (
            json_answer({"detail": [{"loc": ["body", "ttl"], "msg": "must be a number"}]}, 422),
            WRONG,
            "body.ttl: must be a number",
        ),
        (json_answer({"detail": "50 jobs wait"}, 429), REFUSED, "50 jobs wait"),
        (Answer(500, b"oops"), UNAVAILABLE, "made a mistake .500 Internal Server Error."),
        (Answer(307, b"", {"Location": "http://other/"}), WRONG, "points to http://other/"),
    ],
)
def test_each_refusal_has_its_words(
    server: Scripted, answer: Answer, exit_status: int, message: str
) -> None:
    server.answers = [answer]
    with (
        Connection(Address(server.url, TOKEN), patience=0) as service,
        pytest.raises(ServiceError, match=message) as caught,
    ):
        service.get("/v1/jobs")
    assert caught.value.exit_status == exit_status
    assert TOKEN not in str(caught.value)
    assert len(server.requests) == 1


def test_who_has_no_token_is_told_how_to_give_one(server: Scripted) -> None:
    server.answers = [json_answer({"detail": "a token is needed"}, 401)]
    with (
        Connection(Address(server.url), patience=0) as service,
        pytest.raises(ServiceError, match=f"wants a token .*minidl login {server.url}"),
    ):
        service.get("/v1/jobs")
    assert "authorization" not in server.requests[0].headers


def test_the_token_follows_no_redirect(server: Scripted) -> None:
    with scripted_server() as other:
        server.answers = [Answer(302, b"", {"Location": f"{other.url}/v1/jobs"})]
        with (
            Connection(Address(server.url, TOKEN)) as service,
            pytest.raises(ServiceError, match="points to"),
        ):
            service.get("/v1/jobs")
        assert other.requests == []
    assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_no_proxy_leads_to_this_machine(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted_server() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        server.answers = [DONE]
        with Connection(Address(server.url, TOKEN)) as service:
            assert service.get("/v1/jobs") == {"done": True}
        assert proxy.requests == []
        # Elsewhere the environment's proxy is asked.
        proxy.answers = [DONE]
        with Connection(Address("http://train.example")) as service:
            assert service.get("/v1/jobs") == {"done": True}
        assert proxy.requests[0].path == "http://train.example/v1/jobs"


def test_nobody_listens() -> None:
    with socket.socket() as taken:  # bound, and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with (
            Connection(Address(url), patience=0) as service,
            pytest.raises(
                ServiceError, match=f"no service answers at {url} .connection refused."
            ) as caught,
        ):
            service.get("/v1/jobs")
    assert "minidl service" in str(caught.value)
    assert caught.value.exit_status == UNAVAILABLE


def test_it_does_not_answer_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "TIMEOUT", httpx2.Timeout(0.1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            Connection(Address(url), patience=0) as service,
            pytest.raises(ServiceError, match="did not answer in time"),
        ):
            service.get("/v1/jobs")


def test_a_download_is_whole_or_not_there(
    server: Scripted, service: Connection, tmp_path: Path
) -> None:
    content = bytes(range(256)) * 100
    server.answers = [Answer(body=content, drop=1000), Answer(body=content)]
    target = tmp_path / "model" / "weights"
    assert service.download("/v1/jobs/1/artifacts/model/weights", target) == len(content)
    assert target.read_bytes() == content
    assert [path.name for path in target.parent.iterdir()] == ["weights"]
    server.answers = [json_answer({"detail": "gone"}, 404)]
    with pytest.raises(ServiceError, match="gone"):
        service.download("/v1/jobs/1/artifacts/x", tmp_path / "x")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
