"""Streams: nothing lost and nothing twice, however often one is cut and taken up."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served_app import EventStream, served
from service_app import ServiceApp

from minidl.service.api.limits import Limits
from minidl.service.api.streams import PIECE, whole_characters
from minidl.service.states import Role

pytest_plugins = ["service_app"]

LIMITS = Limits(streams_per_user=12, streams=15, heartbeat=0.2)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServiceApp, int]]:
    """An app behind a port."""
    app = ServiceApp(tmp_path_factory.mktemp("live") / "data", limits=LIMITS)
    with served(app) as port:
        app.client = None  # type: ignore[assignment]  # it would start the app a second time
        yield app, port
    app.store.close()


def new_job(app: ServiceApp, port: int) -> str:
    from minidl.service.records import NewJob
    from minidl.service.states import JobKind

    job, _ = app.store.submit(
        NewJob(kind=JobKind.TRAINING, config_text="data: {}", config={}), actor="ada"
    )
    app.files(job.id)
    return job.id


def test_a_log_in_pieces_is_the_log(live: tuple[ServiceApp, int]) -> None:
    """Cut at random, taken up by the last id: what has come together is the file."""
    app, port = live
    job = new_job(app, port)
    log = app.files(job).log
    generator = random.Random(7)
    words = ["loss 0.5", "µs é 漢字 🦙", "x" * 3000, "", "\ttab", "data: id: event:"]
    whole = "\n".join(generator.choice(words) for _ in range(800)) + "\nno end"
    content = whole.encode()

    def write() -> None:
        at = 0
        with log.open("ab", buffering=0) as file:
            while at < len(content):
                at += file.write(content[at : at + generator.randrange(1, 20_000)])
                time.sleep(0.02)
        app.end(job)

    writer = threading.Thread(target=write)
    writer.start()
    received, last, ended, streams = b"", None, False, 0
    while not ended:
        streams += 1
        most = generator.randrange(1, 4)
        with EventStream(port, f"/v1/jobs/{job}/log/stream", app.tokens["eve"], last) as stream:
            for count, (at, kind, data) in enumerate(stream):
                last = at
                if kind == "end":
                    ended = True
                    assert json.loads(data) == {"state": "succeeded"}
                    break
                assert kind == "log"
                received += data.encode()
                assert int(at) == len(received)
                if count == most:
                    break
    writer.join()
    assert received == content
    assert streams > 3


def test_a_log_from_a_place(live: tuple[ServiceApp, int]) -> None:
    app, port = live
    job = new_job(app, port)
    app.files(job).log.write_bytes(b"first\nsecond\nthird\n")
    app.end(job)
    token = app.tokens["ada"]

    def events(query: str, last: str | None = None) -> list[tuple[str, str, str]]:
        with EventStream(port, f"/v1/jobs/{job}/log/stream{query}", token, last) as stream:
            return list(stream)

    end = ("19", "end", '{"state": "succeeded"}')
    assert events("") == [("19", "log", "first\nsecond\nthird\n"), end]
    assert events("?offset=6") == [("19", "log", "second\nthird\n"), end]
    assert events("?offset=-6") == [("19", "log", "third\n"), end]
    assert events("?last_event_id=13") == [("19", "log", "third\n"), end]
    assert events("?offset=0", last="13") == [("19", "log", "third\n"), end]
    assert events("", last="19") == [end]
    assert events("", last="999") == [end]
    for bad in ("x", "-1", "1" * 40):
        with EventStream(port, f"/v1/jobs/{job}/log/stream", token, bad) as stream:
            assert stream.status == 422
    with EventStream(port, "/v1/jobs/0000000000000000/log/stream", token) as stream:
        assert stream.status == 404


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"abc", "abc"),
        (b"abc\r", "abc"),
        (b"a\xf0\x9f\xa6", "a"),
        (b"a\xff\xfeb", "a\ufffd\ufffdb"),
        (b"x" * PIECE, "x" * PIECE),
        (b"x" * (PIECE - 2) + b"\ny", "x" * (PIECE - 2) + "\n"),
    ],
)
def test_pieces_are_whole_characters(data: bytes, text: str) -> None:
    found, used = whole_characters(data)
    assert found == text
    assert whole_characters(data, final=True)[1] == len(data) or len(data) == PIECE
    assert used <= len(data)


# ---- curves --------------------------------------------------------------------------------------


def entry(step: int) -> tuple[bytes, bytes]:
    told = {"epoch": 1, "step": step, "metrics": {"train/loss": 1 / (step + 1)}}
    clock = {"time": 1000.0 + step, "metrics": {"throughput/samples_per_s": 10.0}}
    return json.dumps(told).encode() + b"\n", json.dumps(clock).encode() + b"\n"


def write_entries(run: Path, steps: range) -> None:
    for step in steps:
        line, clock = entry(step)
        with (run / "clock.jsonl").open("ab") as file:
            file.write(clock)
        with (run / "metrics.jsonl").open("ab") as file:
            file.write(line)


def test_points_as_they_come(live: tuple[ServiceApp, int]) -> None:
    app, port = live
    job = new_job(app, port)
    run = app.files(job).run
    write_entries(run, range(3))
    path = f"/v1/jobs/{job}/metrics/stream"
    with EventStream(port, path, app.tokens["ada"]) as stream:
        first = [stream.next() for _ in range(3)]
        points = [json.loads(data) for _, _, data in first]
        assert [point["step"] for point in points] == [0, 1, 2]
        assert points[1] == {
            "step": 1,
            "epoch": 1,
            "time": "1970-01-01T00:16:41.000Z",
            "metrics": {"train/loss": 0.5, "throughput/samples_per_s": 10.0},
        }
        write_entries(run, range(3, 5))
        with (run / "metrics.jsonl").open("ab") as file:
            file.write(b'{"epoch": 1, "st')  # a line that is being written
        assert [json.loads(stream.next()[2])["step"] for _ in range(2)] == [3, 4]
    with EventStream(port, path, app.tokens["ada"], first[1][0]) as stream:
        assert [json.loads(stream.next()[2])["step"] for _ in range(3)] == [2, 3, 4]
    app.end(job)


def test_a_run_that_begins_anew(live: tuple[ServiceApp, int]) -> None:
    """A retry sets the run aside: whoever follows is told, and gets the new points."""
    app, port = live
    job = new_job(app, port)
    run = app.files(job).run
    write_entries(run, range(3))
    with EventStream(port, f"/v1/jobs/{job}/metrics/stream", app.tokens["ada"]) as stream:
        for _ in range(3):
            last, _, _ = stream.next()
        run.rename(run.with_name("run.1"))
        run.mkdir()
        write_entries(run, range(10, 12))
        events = [stream.next() for _ in range(3)]
        assert [kind for _, kind, _ in events] == ["reset", "point", "point"]
        assert [json.loads(data).get("step") for _, _, data in events] == [None, 10, 11]
    with EventStream(port, f"/v1/jobs/{job}/metrics/stream", app.tokens["ada"], last) as stream:
        assert stream.next()[1] == "reset"
    app.end(job)


# ---- what happens to jobs ------------------------------------------------------------------------


def test_what_happens_to_all_jobs(live: tuple[ServiceApp, int]) -> None:
    app, port = live
    token = app.tokens["eve"]
    before = new_job(app, port)
    with EventStream(port, "/v1/events/stream", token) as stream:
        stream.answer.readline()  # it has found its place
        job = new_job(app, port)
        at, kind, data = stream.next()
        told = json.loads(data)
        assert (kind, told["event"]["kind"], told["event"]["id"]) == ("job", "submitted", int(at))
        assert (told["job"]["id"], told["job"]["state"]) == (job, "queued")
    app.end(job)
    with EventStream(port, "/v1/events/stream", token, at) as stream:  # missed meanwhile
        kinds = [json.loads(stream.next()[2])["event"]["kind"] for _ in range(4)]
        assert kinds == ["leads", "attempt_started", "attempt_running", "attempt_ended"]
    with EventStream(port, f"/v1/jobs/{job}/events/stream", token) as stream:
        found = list(stream)
    assert [json.loads(data)["event"]["kind"] for _, kind, data in found if kind == "job"] == [
        "submitted",
        "attempt_started",
        "attempt_running",
        "attempt_ended",
    ]
    assert found[-1][1:] == ("end", '{"state": "succeeded"}')
    app.store.cancel(before, actor="ada")
    app.store.delete(before, actor="ada")
    with EventStream(port, f"/v1/jobs/{before}/events/stream", token) as stream:
        assert stream.status == 404


def test_hundreds_of_events_while_nobody_reads(live: tuple[ServiceApp, int]) -> None:
    app, port = live
    start = app.store.last_event()
    for number in range(700):
        app.store.audit("note", actor="test", data={"number": number})
    with EventStream(port, "/v1/events/stream", app.tokens["eve"], str(start)) as stream:
        numbers = [json.loads(stream.next()[2])["event"]["data"]["number"] for _ in range(700)]
    assert numbers == list(range(700))


# ---- limits --------------------------------------------------------------------------------------


def test_a_silent_stream_says_that_it_lives(live: tuple[ServiceApp, int]) -> None:
    app, port = live
    job = new_job(app, port)
    with EventStream(port, f"/v1/jobs/{job}/log/stream", app.tokens["ada"]) as stream:
        lines = [stream.answer.readline() for _ in range(6)]
    assert sum(line.startswith(b": ping") for line in lines) >= 2
    app.end(job)


def test_there_is_a_most_of_open_streams(live: tuple[ServiceApp, int]) -> None:
    app, port = live
    job = new_job(app, port)
    path = f"/v1/jobs/{job}/log/stream"
    streams: list[Any] = []
    wait_until(lambda: open_streams(port) == 0)
    try:
        for _ in range(12):
            streams.append(EventStream(port, path, app.tokens["ada"]))
        assert {stream.status for stream in streams} == {200}
        with EventStream(port, path, app.tokens["ada"]) as refused:
            assert refused.status == 429
            assert refused.answer.headers["retry-after"] == "10"
            assert b"12 streams of ada are open already" in refused.answer.read()
        for _ in range(3):
            streams.append(EventStream(port, path, app.tokens["bob"]))
        with EventStream(port, path, app.tokens["eve"]) as refused:
            assert refused.status == 429
            assert b"15 streams of all users" in refused.answer.read()
        assert open_streams(port) == 15
    finally:
        for stream in streams:
            stream.close()
    # Hanging up gives the places back.
    wait_until(lambda: open_streams(port) == 0)
    app.end(job)
    with EventStream(port, path, app.tokens["ada"]) as stream:
        assert stream.next()[1] == "end"


def test_a_stream_ends_with_its_token(live: tuple[ServiceApp, int]) -> None:
    app, port = live
    job = new_job(app, port)
    path = f"/v1/jobs/{job}/log/stream"
    short = app.token("short", Role.READ, ttl=2)
    text = app.token("gone", Role.READ)
    with EventStream(port, path, short) as expires, EventStream(port, path, text) as revoked:
        app.store.revoke_token(text.split("_")[1], actor="root")
        assert list(revoked) == []
        assert list(expires) == []
    with EventStream(port, path, text) as stream:
        assert stream.status == 401
    app.end(job)


def open_streams(port: int) -> int:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    (line,) = [line for line in text.splitlines() if line.startswith("minidl_open_streams ")]
    return int(float(line.split()[1]))


def wait_until(true: Any) -> None:
    end = time.monotonic() + 120
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)
