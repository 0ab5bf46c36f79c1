"""A followed stream shows everything once, through broken connections and restarts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scripted import Answer, Scripted, events, json_answer, scripted_server

from minidl.service.client import following
from minidl.service.client.connection import Connection
from minidl.service.client.following import follow
from minidl.service.client.jobs import exit_status, follow_log
from minidl.service.client.refusals import UNAVAILABLE, WRONG, ServiceError
from minidl.service.client.settings import Address

END = ("end", "9", '{"state": "succeeded"}')


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def service(server: Scripted) -> Iterator[Connection]:
    with Connection(Address(server.url, "token")) as service:
        yield service


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(following, "_LONGEST_PAUSE", 0.01)


def test_a_log_is_read_to_its_end(server: Scripted, service: Connection) -> None:
    server.answers = [events(("log", "4", "one\n"), ("log", "12", "two\nthree"), END)]
    assert list(follow_log(service, "j")) == ["one\n", "two\nthree"]
    assert server.requests[0].path == "/v1/jobs/j/log/stream"
    assert "last-event-id" not in server.requests[0].headers


def test_a_broken_stream_goes_on_after_the_last_event(
    server: Scripted, service: Connection
) -> None:
    server.answers = [
        events(("log", "4", "one\n"), ("log", "8", "two\n"), whole=False),
        Answer(drop=0),
        json_answer({"detail": "starting"}, 503),
        events(("log", "14", "three\n")),  # closed without an end: the service stops
        events(("log", "19", "four\n"), END),
    ]
    read = [event.data for event in follow(service, "/stream")]
    assert read == ["one\n", "two\n", "three\n", "four\n"]
    asked = [request.headers.get("last-event-id") for request in server.requests]
    assert asked == [None, "8", "8", "8", "14"]


def test_it_can_begin_in_the_middle(server: Scripted, service: Connection) -> None:
    server.answers = [events(END)]
    assert list(follow(service, "/stream", after="7")) == []
    assert server.requests[0].headers["last-event-id"] == "7"


def test_streams_that_end_at_once_are_asked_for_less_and_less_often(
    server: Scripted, service: Connection
) -> None:
    pauses: list[float] = []
    server.answers = [*[events()] * 5, events(END)]
    assert list(follow(service, "/stream", sleep=pauses.append)) == []
    assert pauses == [0.001, 0.002, 0.004, 0.008, 0.01]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_ends_it(server: Scripted, service: Connection, status: int) -> None:
    server.answers = [
        events(("log", "4", "one\n"), whole=False),
        json_answer({"detail": "no more"}, status),
    ]
    stream = follow(service, "/stream")
    assert next(stream).data == "one\n"
    with pytest.raises(ServiceError, match="no more") as caught:
        next(stream)
    assert caught.value.exit_status == WRONG


def test_patience_ends(server: Scripted, service: Connection) -> None:
    server.answers = [events(("log", "4", "one\n"), whole=False)]
    stream = follow(service, "/stream", patience=0.3)
    assert next(stream).data == "one\n"
    server.stop()
    with pytest.raises(ServiceError, match="no service answers") as caught:
        next(stream)
    assert caught.value.exit_status == UNAVAILABLE


def test_what_is_no_stream_is_said_and_not_asked_for_again(
    server: Scripted, service: Connection
) -> None:
    server.answers = [json_answer({})]
    with pytest.raises(ServiceError, match=r"text/event-stream"):
        next(follow(service, "/stream"))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("state", "status", "expected"),
    [
        ("succeeded", 0, 0),
        ("failed", 2, 2),
        ("failed", 1, 1),
        ("failed", -11, 1),
        ("failed", None, 1),
        ("timed_out", 75, 124),
        ("cancelled", 75, 130),
    ],
)
def test_following_ends_as_the_job(state: str, status: int | None, expected: int) -> None:
    assert exit_status({"state": state}, [{"exit_status": 3}, {"exit_status": status}]) == expected
    assert exit_status({"state": "cancelled"}, []) == 130
