"""The process that talks to MLflow: it ends with the training, and the training outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow_stores import MLFLOW_MARKS, client, environment, history

from minidl.train.tracking.sync import sync_run
from minidl.train.tracking.tracker import Tracker, packed, unpacked

pytest_plugins = ["mlflow_stores", "tiny_runs"]
pytestmark = MLFLOW_MARKS

#: Begins to track, tells the process's id, and goes on until it is killed.
PROGRAM = (
    "import sys, time; from minidl.train.tracking import *\n"
    "tracker = Tracker(TrackingSettings(sys.argv[1], 'e'), RunDescription('uid', 'r'),"
    " on_message=print)\n"
    "while not tracker.sent: tracker.log({'a': 1.0}, step=1, time=1.0); time.sleep(0.05)\n"
    "print(tracker._process.pid, flush=True)\n"
    "while True: time.sleep(1)\n"
)


def wait_until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def alive(pid):
    """A child whose parent was killed has nobody here to be waited for by."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_it_ends_with_a_training_that_is_killed(mlflow_uri):
    command = [sys.executable, "-c", PROGRAM, mlflow_uri]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE) as training:
        child = int(training.stdout.readline())
        assert alive(child)
        training.kill()
    wait_until(lambda: not alive(child))


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_signals_to_all_processes_are_the_training_s(track, messages, mlflow_uri, signum):
    tracker = track(mlflow_uri)
    tracker.log({"a": 1.0}, step=1, time=1.0)
    wait_until(lambda: tracker.sent)  # it listens by now
    os.kill(tracker._process.pid, signum)
    tracker.log({"a": 2.0}, step=2, time=2.0)
    report = tracker.finish("KILLED")
    assert (report.status, report.points_sent, messages) == ("complete", 2, [])
    assert client(mlflow_uri).get_run(report.run_id).info.status == "KILLED"


def test_a_training_outlives_it(train, mlflow_uri, monkeypatch):
    upload = Tracker.artifact  # called when the training has ended and the files are sent

    def kill_first(self, *arguments):
        wait_until(lambda: self.sent > 0)
        self._process.kill()
        self._process.wait()
        upload(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Tracker, "artifact", kill_first)
        done = train(f"tracking={{uri: {mlflow_uri!r}, experiment: sea}}")
    report = done.result.tracking
    assert (done.result.status, report.status) == ("FINISHED", "partial")
    assert "its process ended with status -9" in report.message
    assert " ".join(done.output.split()).count("the process that tracks this run") == 1
    assert client(mlflow_uri).get_run(report.run_id).info.status == "RUNNING"
    sent = sync_run(done.run.root)
    assert (sent.run_id, sent.status) == (report.run_id, "FINISHED")
    found = [step for step, _, _ in history(mlflow_uri, report.run_id, "train/loss")]
    assert found == [entry.step for entry in done.entries if "train/loss" in entry.metrics]


def test_one_that_cannot_be_started_costs_only_the_tracking(
    track, messages, mlflow_uri, monkeypatch
):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    tracker = track(mlflow_uri)
    tracker.log({"a": 1.0}, step=1, time=1.0)
    report = tracker.finish("FINISHED")
    assert (report.status, report.points_missing) == ("unavailable", 1)
    assert messages == [report.message]
    assert "its process cannot be started: No such file or directory" in report.message


@pytest.mark.parametrize("dtype", ["u1", "f4", "f8", "i8"])
def test_an_example_arrives_as_it_is(dtype):
    import numpy as np

    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    found = unpacked(packed(array))
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
