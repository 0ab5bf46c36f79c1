"""A run that is taken up goes on in MLflow: one run, one set of params, one clean curve."""

from __future__ import annotations

import json
import math
import random
import time

import pytest
from mlflow_stores import MLFLOW_MARKS, client, history

from minidl.train.journal import Entry
from minidl.train.tracking import DatasetInfo, RunRecord
from minidl.train.tracking.points import KnownPoints, Point

pytest_plugins = ["mlflow_stores"]
pytestmark = MLFLOW_MARKS


def journal(steps, *, start=1_700_000_000.0):
    """Entries as a training writes them: numbers that are no round decimals, and odd ones."""
    rng = random.Random(steps)
    return [
        Entry(start + step * 0.1234567, 1, step, {"train/loss": rng.random() / 3, "lr": 0.1})
        for step in range(steps)
    ] + [Entry(start + 1e6, 1, steps, {"val/loss": math.nan, "val/accuracy": math.inf})]


def log_all(tracker, entries):
    for entry in entries:
        tracker.log(entry.metrics, step=entry.step, time=entry.time)


def curve(entries, name):
    return sorted(
        (entry.step, entry.metrics[name], round(entry.time * 1000))
        for entry in entries
        if name in entry.metrics
    )


def test_a_resumed_run_is_one_run_with_one_curve(store, track, messages, tmp_path):
    entries = journal(1500)
    record, uid = tmp_path / "tracking.json", f"uid{random.random()}"
    data = [DatasetInfo("MNIST", "d" * 64, "data", "training")]
    begin = {"uid": uid, "record": record, "datasets": data, "params": {"epochs": "2"}}
    first = track(store, **begin, tags={"git.commit": "a"})
    log_all(first, entries[:900])
    killed = first.finish("KILLED")
    assert (killed.status, messages) == ("complete", [])
    assert RunRecord.read(record).run_id == killed.run_id
    ended = client(store).get_run(killed.run_id).info.end_time

    changed = {**begin, "params": {"epochs": "4", "new": "1"}, "tags": {"git.commit": "b"}}
    second = track(store, **changed, entries=entries[:1000])
    _wait_until(lambda: second.run_id and history(store, second.run_id, "lr"))
    assert client(store).get_run(second.run_id).info.status == "RUNNING"
    log_all(second, entries[950:])  # the training repeats what came after its checkpoint
    report = second.finish("FINISHED")
    assert (report.status, report.run_id, messages) == ("complete", killed.run_id, [])

    run = client(store).get_run(report.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.end_time > ended
    assert run.data.params == {"epochs": "2", "new": "1"}
    assert run.data.tags["git.commit"] == "b"
    assert len(run.inputs.dataset_inputs) == 1
    for name in ("train/loss", "lr"):
        assert history(store, report.run_id, name) == curve(entries, name)
    assert len(history(store, report.run_id, "val/loss")) == 1
    assert len(history(store, report.run_id, "val/accuracy")) == 1
    runs = client(store).search_runs([report.experiment_id], f"tags.`minidl.run.uid` = '{uid}'")
    assert len(runs) == 1


def test_points_sent_twice_are_there_once(store, track, mlflow_template):
    """What all else rests on: MLflow itself takes a point that it has without a word."""
    from mlflow.entities import Metric

    report = track(store).finish("FINISHED")
    stamp = 1_700_000_000_123
    values = [1 / 3, 1e-300, math.nan, math.inf, -0.1]
    points = [Metric(f"m{i % 3}", values[i % 5], stamp + i, i) for i in range(1000)]
    for _ in range(3):
        client(store).log_batch(report.run_id, metrics=points)
    more = [Metric("m0", 0.5, stamp, 5000), *points[:500]]
    client(store).log_batch(report.run_id, metrics=more)
    assert sum(len(history(store, report.run_id, f"m{i}")) for i in range(3)) == 1001


@pytest.mark.parametrize("damage", ["removed", "torn", "of another store"])
def test_a_run_whose_record_was_lost_is_found_by_its_tag(mlflow_uri, track, tmp_path, damage):
    record = tmp_path / "tracking.json"
    first = track(mlflow_uri, uid="abc", record=record).finish("KILLED")
    if damage == "removed":
        record.unlink()
    elif damage == "torn":
        record.write_text(record.read_text()[:20])
    else:
        content = json.loads(record.read_text())
        record.write_text(json.dumps(content | {"uri": "http://gone", "run_id": "0" * 32}))
    second = track(mlflow_uri, uid="abc", record=record).finish("FINISHED")
    assert second.run_id == first.run_id
    assert RunRecord.read(record).run_id == first.run_id
    other = track(mlflow_uri, uid="xyz").finish("FINISHED")
    assert other.run_id != first.run_id


def test_a_run_that_the_store_has_lost_is_made_again(mlflow_uri, track, tmp_path):
    record = tmp_path / "tracking.json"
    track(mlflow_uri, uid="abc", record=record).finish("KILLED")
    content = json.loads(record.read_text())
    RunRecord(**content | {"run_id": "f" * 32}).write(record)
    report = track(mlflow_uri, uid="xyz", record=record).finish("FINISHED")
    assert report.status == "complete"
    assert report.run_id not in ("f" * 32, content["run_id"])


def test_a_deleted_run_is_not_replaced_behind_the_users_back(mlflow_uri, track, messages, tmp_path):
    record = tmp_path / "tracking.json"
    first = track(mlflow_uri, uid="abc", record=record).finish("KILLED")
    client(mlflow_uri).delete_run(first.run_id)
    second = track(mlflow_uri, uid="abc", record=record).finish("FINISHED")
    assert second.status == "unavailable"
    assert f"mlflow runs restore --run-id {first.run_id}" in messages[0]


def test_the_password_is_not_recorded(tmp_path, mlflow_server, track):
    record = tmp_path / "tracking.json"
    uri = mlflow_server.uri.replace("//", "//me:secret@")
    report = track(uri, record=record).finish("FINISHED")
    assert report.status == "complete"
    assert "secret" not in record.read_text()
    assert RunRecord.read(record).uri == mlflow_server.uri.replace("//", "//me:***@")


def test_a_run_made_by_mlflow_is_used_once(mlflow_uri, track):
    store = client(mlflow_uri)
    made = store.create_run(store.create_experiment("made"), run_name="theirs").info.run_id
    first = track(mlflow_uri, uid="abc", adopt=made, params={"a": "1"}).finish("FINISHED")
    assert first.run_id == made
    assert store.get_run(made).data.params == {"a": "1"}
    assert track(mlflow_uri, uid="xyz", adopt=made).finish("FINISHED").run_id != made
    assert track(mlflow_uri, uid="uvw", adopt="0" * 32).finish("FINISHED").status == "complete"


def test_a_trial_is_shown_under_its_sweep(mlflow_uri, track):
    parent = track(mlflow_uri, uid="sweep")
    _wait_until(lambda: parent.run_id)
    settings = {"parent_run_id": parent.run_id}
    child = track(mlflow_uri, uid="trial", settings=settings).finish("FINISHED")
    parent.finish("FINISHED")
    tags = client(mlflow_uri).get_run(child.run_id).data.tags
    assert tags["mlflow.parentRunId"] == parent.run_id


def test_points_that_the_journal_lost_are_not_doubled():
    """The machine lost power: MLflow has steps 1 to 4, the journal 1 and 2, then 3 and 4 anew."""
    theirs = [Point("loss", 0.5, step, 1000 + step) for step in range(1, 5)]
    known = KnownPoints(theirs, journal=theirs[:2])
    again = [Point("loss", 0.5, step, 2000 + step) for step in range(3, 7)]
    assert [point.step for point in theirs[:2] if known.lack(point)] == []
    assert [point.step for point in again if known.lack(point)] == [5, 6]
    assert known.lack(Point("accuracy", 0.5, 3, 2003))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_no_numbers_are_known_again(value):
    stored = {math.inf: 1.7976931348623157e308, -math.inf: -1.7976931348623157e308}
    known = KnownPoints([Point("a", stored.get(value, value), 1, 1)])
    assert not known.lack(Point("a", value, 1, 1))
    assert known.lack(Point("a", value, 2, 1))


def _wait_until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
