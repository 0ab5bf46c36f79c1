"""Tracking against real stores: what arrives, what a lost server costs, what stays behind."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import socket
import statistics
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from mlflow_stores import client, environment, free_port, history, with_mlflow

from minidl.train.tracking import (
    DatasetInfo,
    RunDescription,
    Tracker,
    TrackingSettings,
    require_mlflow,
)
from minidl.train.tracking.mlflow_uri import artifact_location, open_command, redacted, resolve_uri
from minidl.train.tracking.points import mlflow_name

pytest_plugins = ["mlflow_stores"]


# Without MLflow


def test_importing_it_imports_no_mlflow():
    program = "import sys, minidl.train.tracking; sys.exit('mlflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, env=environment())


def test_without_mlflow_the_user_learns_what_to_do(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "mlflow" else find(name)
    )
    with pytest.raises(ModuleNotFoundError) as error:
        require_mlflow()
    assert "pip install 'minidl[mlflow]'" in str(error.value)
    assert "remove the `tracking:` section" in str(error.value)
    assert "tracking=null" in str(error.value)


def test_a_client_alone_tracks_to_servers_only(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "alembic" else find(name)
    )
    require_mlflow("http://127.0.0.1:5000")
    require_mlflow("HTTPS://mlflow.example.org")
    with pytest.raises(ModuleNotFoundError) as error:
        require_mlflow("postgresql://me:secret@db/mlflow")
    assert "database as postgresql://me:***@db/mlflow (alembic not installed)" in str(error.value)
    assert "MLFLOW_TRACKING_URI" in str(error.value)


def test_relative_databases_mean_the_present_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve_uri("sqlite:///mlflow.db") == f"sqlite:///{tmp_path}/mlflow.db"
    assert resolve_uri(f"sqlite:///{tmp_path}/a b.db?x=1") == f"sqlite:///{tmp_path}/a b.db?x=1"
    assert resolve_uri("http://host:5000/") == "http://host:5000"
    assert resolve_uri("postgresql://u:p@host/db") == "postgresql://u:p@host/db"


@pytest.mark.parametrize("uri", ["mlruns", "./mlruns", "file:///tmp/mlruns", "", "C:\\mlruns"])
def test_directories_are_refused_with_what_would_do(uri):
    with pytest.raises(ValueError, match=r"plain directory.*sqlite:///mlflow\.db"):
        resolve_uri(uri)


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_database_needs_a_file(uri):
    with pytest.raises(ValueError, match="names no database file"):
        resolve_uri(uri)


def test_a_server_needs_a_host():
    with pytest.raises(ValueError, match="names no host"):
        resolve_uri("http://")


def test_a_bad_uri_is_refused_before_a_thread_is_started(track):
    before = threading.active_count()
    with pytest.raises(ValueError, match="plain directory"):
        track("mlruns")
    assert threading.active_count() == before


def test_what_opens_a_run():
    assert open_command("http://h:1", "3", "abc") == "http://h:1/#/experiments/3/runs/abc"
    assert (
        open_command("sqlite:////a b/m.db") == "mlflow ui --backend-store-uri 'sqlite:////a b/m.db'"
    )
    assert "secret" not in open_command("postgresql://me:secret@db/m")
    assert redacted("http://me:secret@host/") == "http://me:***@host/"


def test_artifacts_lie_beside_the_database():
    assert artifact_location("sqlite:////srv/m.db", "a/b c") == "file:///srv/mlartifacts/a_b_c"
    assert artifact_location("sqlite:////srv/m.db", "..") == "file:///srv/mlartifacts/experiment"
    assert artifact_location("http://host", "a") is None


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("model.layers.0.out_channels", "model.layers.0.out_channels"),
        ("train/loss", "train/loss"),
        ("a:b*c", "a_b_c"),
        ("/a//b/", "a/b"),
        ("../x", "x"),
        ("..", "_"),
        ("x" * 300, "x" * 250),
    ],
)
def test_names_are_made_acceptable(key, name):
    assert mlflow_name(key) == name


# Servers that are none


@contextlib.contextmanager
def silent_server():
    """Accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_closed_port_is_told_once_and_at_once(track, messages):
    uri = f"http://127.0.0.1:{free_port()}"
    begin = time.monotonic()
    tracker = track(uri)
    assert time.monotonic() - begin < 0.1
    for step in range(100):
        tracker.log({"train/loss": 1.0, "lr": 0.1}, step=step, time=step)
    tracker.artifact("nothing.png")
    report = tracker.finish("FINISHED")
    assert time.monotonic() - begin < 4
    assert (report.status, report.run_id) == ("unavailable", None)
    assert (report.points_sent, report.points_missing) == (0, 200)
    # Whether the outage is noticed before the run's end, and so told first, is a matter of chance.
    assert len(messages) <= 2
    assert messages[-1] == report.message
    assert report.message == (
        f"MLflow at {uri} has nothing of this run (Connection refused); "
        "`minidl sync RUN` sends it from the run directory, which has everything"
    )


def test_a_server_that_says_nothing_is_given_up_after_5_s(track, messages):
    with silent_server() as uri:
        begin = time.monotonic()
        tracker = track(uri)
        tracker.log({"train/loss": 1.0}, step=0, time=0)
        report = tracker.finish("FINISHED")
        assert 4.5 < time.monotonic() - begin < 8
    assert report.status == "unavailable"
    assert messages == [report.message]
    assert "no answer within 5 s" in report.message


def test_the_deadline_holds_whatever_the_thread_does(track, messages, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    with silent_server() as uri:
        tracker = track(uri)
        begin = time.monotonic()
        report = tracker.finish("KILLED", deadline=0.3)
        assert time.monotonic() - begin < 1.5
        assert tracker.finish("FINISHED") is report
    assert "not done 0.3 s after" in report.message
    assert len(messages) == 1


def test_an_interpreter_that_ends_without_finish_does_not_hang():
    program = (
        "import sys; from minidl.train.tracking import *\n"
        "tracker = Tracker(TrackingSettings(sys.argv[1], 'e'), RunDescription(sys.argv[2], 'r'),"
        " on_message=print)\n"
        "tracker.log({'a': 1.0}, step=1, time=1.0)\n"
        "import time; time.sleep(0.2)"
    )
    with silent_server() as uri:
        begin = time.monotonic()
        command = [sys.executable, "-c", program, uri, "uid"]
        done = subprocess.run(command, env=environment(), capture_output=True, timeout=30)
    assert time.monotonic() - begin < 4.5
    assert (done.returncode, done.stderr) == (0, b"")


def test_log_costs_the_training_next_to_nothing(track):
    with silent_server() as uri:
        tracker = track(uri)
        costs = []
        for step in range(2000):
            begin = time.perf_counter()
            tracker.log({"train/loss": 1.0, "train/accuracy": 0.5}, step=step, time=1.0)
            costs.append(time.perf_counter() - begin)
        tracker.finish("FINISHED", deadline=0)
    assert statistics.median(costs) < 50e-6


def test_a_message_nobody_can_print_harms_nobody():
    def broken(message):
        raise OSError("no terminal")

    settings = TrackingSettings(f"http://127.0.0.1:{free_port()}", "e")
    tracker = Tracker(settings, RunDescription("uid", "r"), on_message=broken)
    assert tracker.finish("FINISHED").status == "unavailable"


# A SQLite store


@with_mlflow
def test_everything_arrives(track, messages, mlflow_uri, tmp_path):
    params = {f"model.layers.{index}.size": str(index) for index in range(150)}
    params["empty"] = ""
    datasets = [
        DatasetInfo("MNIST", "d" * 64, "data/mnist", "training", {"num_rows": 60000}),
        DatasetInfo("MNIST", "e" * 64, "data/mnist", "test", {"num_rows": 10000}),
    ]
    tracker = track(mlflow_uri, params=params, tags={"minidl.version": "0.1"}, datasets=datasets)
    for step in range(1200):
        tracker.log({"train/loss": 1 / (step + 1), "lr": 0.1}, step=step, time=100.0 + step)
    tracker.log({"odd": math.nan}, step=1, time=1.5)
    tracker.log({"odd": math.inf}, step=2, time=1.5)
    (tmp_path / "curves.png").write_bytes(b"png")
    tracker.artifact(tmp_path / "curves.png", "plots")
    report = tracker.finish("FINISHED")

    assert (report.status, report.message, messages) == ("complete", "", [])
    assert (report.points_sent, report.points_missing) == (2402, 0)
    assert report.run_id == tracker.run_id
    assert report.open_command == f"mlflow ui --backend-store-uri {mlflow_uri}"
    run = client(mlflow_uri).get_run(report.run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "first")
    assert run.info.end_time >= run.info.start_time
    assert run.data.params == params
    assert run.data.tags["minidl.version"] == "0.1"
    assert {"mlflow.user", "mlflow.source.name", "mlflow.source.type"} <= run.data.tags.keys()
    assert history(mlflow_uri, report.run_id, "train/loss") == [
        (step, 1 / (step + 1), 100_000 + 1000 * step) for step in range(1200)
    ]
    odd = history(mlflow_uri, report.run_id, "odd")
    assert math.isnan(odd[0][1])
    assert odd[1][1] > 1e308
    inputs = {given.tags[0].value: given for given in run.inputs.dataset_inputs}
    assert inputs.keys() == {"training", "test"}
    assert inputs["training"].tags[0].key == "mlflow.data.context"
    assert inputs["test"].dataset.digest == "e" * 36
    assert json.loads(inputs["test"].dataset.profile) == {"num_rows": 10000}
    folder = tmp_path / "mlartifacts" / "trial" / report.run_id / "artifacts"
    assert (folder / "plots" / "curves.png").read_bytes() == b"png"


@with_mlflow
def test_points_are_sent_while_the_training_runs(track, mlflow_uri):
    tracker = track(mlflow_uri)
    tracker.log({"a": 1.0}, step=1, time=1.0)
    end = time.monotonic() + 30
    while not (tracker.run_id and history(mlflow_uri, tracker.run_id, "a")):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert client(mlflow_uri).get_run(tracker.run_id).info.status == "RUNNING"


@with_mlflow
@pytest.mark.parametrize("status", ["KILLED", "FAILED"])
def test_a_run_ends_as_it_ended(track, mlflow_uri, status):
    report = track(mlflow_uri).finish(status)
    assert client(mlflow_uri).get_run(report.run_id).info.status == status


@with_mlflow
def test_no_global_state_is_left(track, mlflow_uri):
    import mlflow

    before = mlflow.get_tracking_uri()
    report = track(mlflow_uri).finish("FINISHED")
    assert report.status == "complete"
    assert mlflow.get_tracking_uri() == before
    assert mlflow.active_run() is None


@with_mlflow
def test_what_is_too_long_is_cut_and_told_once(track, messages, mlflow_uri):
    params = {"short": "1", "long": "v" * 7000, "n" * 300: "2"}
    report = track(mlflow_uri, params=params, tags={"t": "x" * 9000}).finish("FINISHED")
    data = client(mlflow_uri).get_run(report.run_id).data
    assert data.params == {"short": "1", "long": "v" * 6000, "n" * 250: "2"}
    assert data.tags["t"] == "x" * 8000
    assert len(messages) == 1
    assert "long" in messages[0]
    assert report.status == "complete"


@with_mlflow
def test_a_missing_file_is_told_and_the_rest_arrives(track, messages, mlflow_uri, tmp_path):
    tracker = track(mlflow_uri)
    tracker.artifact(tmp_path / "none.png")
    tracker.log({"a": 1.0}, step=1, time=1.0)
    report = tracker.finish("FINISHED")
    assert (report.status, report.points_sent) == ("partial", 1)
    assert messages == [f"MLflow: there is no file {tmp_path / 'none.png'} to upload"]
    assert client(mlflow_uri).get_run(report.run_id).info.status == "FINISHED"


@with_mlflow
def test_an_experiment_is_shared_and_a_deleted_one_refused(track, messages, mlflow_uri):
    first, second = (track(mlflow_uri).finish("FINISHED") for _ in range(2))
    assert first.experiment_id == second.experiment_id
    client(mlflow_uri).delete_experiment(first.experiment_id)
    third = track(mlflow_uri).finish("FINISHED")
    assert third.status == "unavailable"
    assert f"mlflow experiments restore --experiment-id {first.experiment_id}" in messages[0]


@with_mlflow
def test_system_metrics(track, mlflow_uri, monkeypatch):
    pytest.importorskip("psutil")
    monkeypatch.setattr(Tracker, "sample_every", 0.0)
    report = track(mlflow_uri, settings={"system_metrics": True}).finish("FINISHED")
    found = client(mlflow_uri).get_run(report.run_id).data.metrics
    assert found["system/process_memory_usage_megabytes"] > 10
    assert 0 < found["system/system_memory_usage_percentage"] <= 100
    assert (report.status, report.points_sent) == ("complete", 0)


@with_mlflow
def test_a_new_database_is_made_whole_or_not_at_all(tmp_path):
    database = tmp_path / "new" / "mlflow.db"
    program = (
        "import sys; from minidl.train.tracking import *\n"
        "tracker = Tracker(TrackingSettings(sys.argv[1], 'e'), RunDescription(sys.argv[2], 'r'),"
        " on_message=print)\n"
        "print(tracker.finish('FINISHED').status)"
    )
    command = [sys.executable, "-c", program, f"sqlite:///{database}"]
    with subprocess.Popen(
        [*command, "first"], env=environment(), stdout=subprocess.DEVNULL
    ) as killed:
        end = time.monotonic() + 30
        while not (files := list(database.parent.glob("*") if database.parent.exists() else [])):
            assert time.monotonic() < end
            time.sleep(0.01)
        killed.kill()
    assert database not in files
    # Two at once, from nothing: one makes the file, both use it, and neither says a word more.
    runs = [
        subprocess.Popen(
            [*command, uid], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for uid in ("second", "third")
    ]
    assert [run.communicate(timeout=60) for run in runs] == [(b"complete\n", b"")] * 2
    assert len(client(f"sqlite:///{database}").search_runs(["1"])) == 2


# The model


@with_mlflow
def test_a_model_that_cannot_be_made_costs_only_itself(track, messages, mlflow_uri, tmp_path):
    tracker = track(mlflow_uri)
    tracker.model(tmp_path, example=np.zeros((1, 2, 2), np.uint8))
    tracker.log({"a": 1.0}, step=1, time=1.0)
    report = tracker.finish("FINISHED")
    assert (report.status, report.model_id, report.points_sent) == ("partial", None, 1)
    assert messages == [
        "MLflow: the model was not logged: CheckpointError: "
        f"{tmp_path}: neither a run, nor its folder `model`, nor a model logged to MLflow: "
        "there is no model.safetensors beside a config.yaml"
    ]
    (model,) = client(mlflow_uri).search_logged_models([report.experiment_id])
    assert str(model.status) == "FAILED"


@with_mlflow
def test_no_model_where_none_is_wanted(track, mlflow_uri, tmp_path):
    tracker = track(mlflow_uri, settings={"log_model": False})
    tracker.model(tmp_path, example=None)
    report = tracker.finish("FINISHED")
    assert (report.status, report.model_id) == ("complete", None)
