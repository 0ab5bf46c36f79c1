"""What the verbs make of a service's answers, also of one that means no good."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted import Answer, Scripted, json_answer, scripted_server

from minidl.service.client import jobs
from minidl.service.client.connection import Connection
from minidl.service.client.refusals import ServiceError
from minidl.service.client.settings import Address


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def service(server: Scripted) -> Iterator[Connection]:
    with Connection(Address(server.url, "token"), patience=0) as service:
        yield service


@pytest.mark.parametrize(
    "path",
    ["../x", "a/../../x", "/etc/x", "a\\..\\x", "C:x", "..", "link/x", ".", "", "a/../x"],
)
def test_no_file_is_written_outside(
    server: Scripted, service: Connection, tmp_path: Path, path: str
) -> None:
    target, elsewhere = tmp_path / "to", tmp_path / "elsewhere"
    target.mkdir()
    elsewhere.mkdir()
    (target / "link").symlink_to(elsewhere)
    with pytest.raises(ServiceError, match="which is not fetched"):
        jobs.fetch(service, "j", path, target)
    assert server.requests == []
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["elsewhere", "link", "to"]


def test_a_name_with_odd_characters_is_asked_for_as_it_is(
    server: Scripted, service: Connection, tmp_path: Path
) -> None:
    server.answers = [Answer(body=b"x")]
    assert jobs.fetch(service, "j", "a b/ü?#%.txt", tmp_path) == (tmp_path / "a b/ü?#%.txt", 1)
    assert server.requests[0].path == "/v1/jobs/j/artifacts/a%20b/%C3%BC%3F%23%25.txt"


def test_a_character_that_two_pieces_share(server: Scripted, service: Connection) -> None:
    text = "5 µs\n".encode()

    def piece(part: bytes, after: int) -> Answer:
        return Answer(body=part, headers={"X-Next-Offset": str(after)})

    server.answers = [piece(text[:3], 3), piece(text[3:], 6), piece(b"", 6)]
    assert "".join(jobs.log(service, "j")) == "5 µs\n"
    assert [request.path.partition("=")[2] for request in server.requests] == ["0", "3", "6"]


def test_pages_are_put_together(server: Scripted, service: Connection) -> None:
    server.answers = [
        json_answer({"jobs": [{"id": str(n)} for n in range(200)], "next_cursor": "c"}),
        json_answer({"jobs": [{"id": str(n)} for n in range(200, 250)], "next_cursor": "d"}),
    ]
    found, more = jobs.jobs(service, limit=250, state=["queued"], owner=None)
    assert ([job["id"] for job in found], more) == ([str(n) for n in range(250)], True)
    assert [request.path for request in server.requests] == [
        "/v1/jobs?state=queued&limit=200",
        "/v1/jobs?state=queued&limit=50&cursor=c",
    ]


def test_an_id_is_found_behind_names_that_look_like_it(
    server: Scripted, service: Connection
) -> None:
    server.answers = [
        json_answer({"jobs": [{"id": "zz0", "name": "01m"}], "next_cursor": "c"}),
        json_answer({"jobs": [{"id": "01m7", "name": "x"}], "next_cursor": None}),
    ]
    assert jobs.find_job(service, "01m")["id"] == "01m7"


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ([], ["a", "b/c", "b/d/e", "bc"]),
        (["b"], ["b/c", "b/d/e"]),
        (["b/", "a", "b/c"], ["b/c", "b/d/e", "a"]),
    ],
)
def test_which_files_are_meant(wanted: list[str], found: list[str]) -> None:
    there = [{"path": path} for path in ("a", "b/c", "b/d/e", "bc")]
    assert [one["path"] for one in jobs.chosen(there, wanted)] == found


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ServiceError, match="has no file c; `minidl job artifacts`"):
        jobs.chosen([{"path": "a"}], ["a", "c"])
