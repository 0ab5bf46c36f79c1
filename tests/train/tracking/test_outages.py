"""Servers that are down, slow, frozen, full or killed: the training goes on and nothing is lost."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest
from mlflow_stores import MLFLOW_MARKS, client, history

from minidl.train.tracking import tracker as tracking
from minidl.train.tracking.sync import sync_run

pytest_plugins = ["mlflow_stores", "tiny_runs"]
pytestmark = MLFLOW_MARKS


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Short waits between tries, and two seconds for an answer."""
    monkeypatch.setattr(tracking.Tracker, "waits", (0.1, 0.4))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")


def log(tracker, steps):
    for step in steps:
        tracker.log({"loss": 1 / (step + 1)}, step=step, time=1000.0 + step)


def steps_of(uri, report):
    return [step for step, _, _ in history(uri, report.run_id, "loss")]


def wait_until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def assert_caught_up(uri, report, messages, steps):
    assert (report.status, report.message) == ("complete", "")
    assert (report.points_sent, report.points_missing) == (steps, 0)
    assert steps_of(uri, report) == list(range(steps))
    assert client(uri).get_run(report.run_id).info.status == "FINISHED"
    outage, recovery = messages  # each told once, however many tries there were
    assert outage.startswith(f"MLflow at {uri} is not available (")
    assert "the training goes on" in outage
    assert recovery == f"MLflow at {uri} is available again and has caught up"


def test_down_at_the_start_then_killed_and_back(track, messages, mortal_server):
    mortal_server.kill()
    tracker = track(mortal_server.uri)
    log(tracker, range(50))
    wait_until(lambda: messages)
    assert "(Connection refused)" in messages[0]
    mortal_server.start()
    wait_until(lambda: len(messages) == 2)
    mortal_server.kill()
    log(tracker, range(50, 80))
    wait_until(lambda: tracker.trouble)
    mortal_server.start()
    log(tracker, range(80, 100))
    wait_until(lambda: tracker.sent == 100)
    assert_caught_up(mortal_server.uri, tracker.finish("FINISHED"), messages, 100)


def test_killed_for_good_in_mid_run_and_repaired(track, train, mortal_server, tmp_path):
    mortal_server.start()
    section = f"tracking={{uri: {mortal_server.uri!r}, experiment: sea}}"
    kill = tracking.Tracker.artifact  # called when the training has ended and the files are sent

    def kill_first(self, *arguments):
        wait_until(lambda: self.sent > 0)
        mortal_server.kill()
        kill(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracking.Tracker, "artifact", kill_first)
        done = train(section)
    report = done.result.tracking
    assert (done.result.status, report.status) == ("FINISHED", "partial")
    assert report.points_sent > 0
    assert f"`minidl sync {done.run.root.absolute()}`" in report.message
    # Nobody could tell MLflow that the run has ended; sync tells it the truth.
    mortal_server.start()
    assert client(mortal_server.uri).get_run(report.run_id).info.status == "RUNNING"
    sent = sync_run(done.run.root)
    assert (sent.run_id, sent.status, sent.new_status) == (report.run_id, "FINISHED", True)
    assert sent.files > 0
    assert sent.models == 1
    for name in ("train/loss", "val/accuracy", "test/accuracy"):
        assert [step for step, _, _ in history(mortal_server.uri, report.run_id, name)] == [
            entry.step for entry in done.entries if name in entry.metrics
        ]
    assert not sync_run(done.run.root).changed


def test_frozen_and_thawed(track, messages, postgresql_server):
    server = postgresql_server
    tracker = track(server.uri)
    log(tracker, range(50))
    wait_until(lambda: tracker.sent == 50)
    server.freeze()
    try:
        log(tracker, range(50, 100))
        wait_until(lambda: messages)
    finally:
        server.thaw()
    wait_until(lambda: len(messages) == 2)
    assert_caught_up(server.uri, tracker.finish("FINISHED"), messages, 100)


def test_frozen_at_the_end(track, messages, mlflow_server, tmp_path):
    tracker = track(mlflow_server.uri, record=tmp_path / "tracking.json")
    log(tracker, range(1))
    wait_until(lambda: tracker.sent == 1)
    mlflow_server.freeze()
    try:
        log(tracker, range(1, 3))
        begin = time.monotonic()
        report = tracker.finish("FINISHED")
        assert time.monotonic() - begin < 8
    finally:
        mlflow_server.thaw()
    assert (report.status, report.points_sent, report.points_missing) == ("partial", 1, 2)
    assert messages == [report.message]
    assert report.message == (
        f"MLflow at {mlflow_server.uri} lacks 2 points of this run (no answer within 2 s); "
        f"`minidl sync {tmp_path}` sends it from the run directory, which has everything"
    )


def test_a_full_disk(track, messages, mlflow_server):
    tracker = track(mlflow_server.uri)
    log(tracker, range(50))
    wait_until(lambda: tracker.sent == 50)
    mlflow_server.fill_disk()
    try:
        log(tracker, range(50, 2000))
        wait_until(lambda: messages)
        assert tracker.sent < 2000
    finally:
        mlflow_server.free_disk()
    wait_until(lambda: len(messages) == 2)
    assert_caught_up(mlflow_server.uri, tracker.finish("FINISHED"), messages, 2000)


def test_the_servers_database_goes_and_comes_back(
    track, messages, postgresql_server, postgresql_database
):
    tracker = track(postgresql_server.uri)
    log(tracker, range(50))
    wait_until(lambda: tracker.sent == 50)
    postgresql_database.stop()
    try:
        log(tracker, range(50, 100))
        wait_until(lambda: messages)
    finally:
        postgresql_database.start()
    wait_until(lambda: len(messages) == 2)
    assert_caught_up(postgresql_server.uri, tracker.finish("FINISHED"), messages, 100)


@contextlib.contextmanager
def slow_road(target, delay):
    """Pass connections on to ``target``, and everything on them a while later."""
    host, port = target.removeprefix("http://").split(":")

    def pump(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                time.sleep(delay)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def carry(one):
        with one, socket.create_connection((host, int(port))) as other:
            back = threading.Thread(target=pump, args=(other, one))
            back.start()
            pump(one, other)
            back.join()

    def accept():
        with contextlib.suppress(OSError):
            while True:
                threads.append(threading.Thread(target=carry, args=(listener.accept()[0],)))
                threads[-1].start()

    threads = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept)
        accepting.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join(30)


def test_slow(track, messages, mlflow_server, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    with slow_road(mlflow_server.uri, 0.1) as uri:
        tracker = track(uri)
        begin = time.perf_counter()
        log(tracker, range(3000))
        assert time.perf_counter() - begin < 0.5
        report = tracker.finish("FINISHED")
        assert (report.status, messages) == ("complete", [])
    assert steps_of(mlflow_server.uri, report) == list(range(3000))
