"""`minidl sync`: MLflow is given what it lacks, and nothing twice."""

from __future__ import annotations

import fcntl
import json
import shutil
from pathlib import Path

import pytest
from mlflow_stores import MLFLOW_MARKS, client, free_port, history
from typer.testing import CliRunner

from minidl.cli import app
from minidl.train.tracking import RunRecord
from minidl.train.tracking.sync import SyncError, sync_run

pytest_plugins = ["mlflow_stores", "tiny_runs"]
pytestmark = MLFLOW_MARKS


def contents(uri, run_id):
    """All that MLflow has of a run, to be compared with what another has."""
    store = client(uri)
    run = store.get_run(run_id)
    tags = {key: text for key, text in run.data.tags.items() if not key.startswith("mlflow.")}
    files = {
        (item.path, item.file_size)
        for folder in store.list_artifacts(run_id)
        for item in store.list_artifacts(run_id, folder.path)
    }
    models = [
        (model.name, str(model.status), model.tags, {m.key: m.value for m in model.metrics})
        for model in store.search_logged_models([run.info.experiment_id])
        if model.source_run_id == run_id
    ]
    inputs = {(i.dataset.name, i.dataset.digest) for i in run.inputs.dataset_inputs}
    points = {name: history(uri, run_id, name) for name in run.data.metrics}
    linked = len(run.outputs.model_outputs)
    how = (run.info.status, run.info.run_name)
    return how, run.data.params, tags, files, models, inputs, points, linked


@pytest.fixture
def offline(train):
    """A run whose server never answered."""
    return train(f"tracking={{uri: 'http://127.0.0.1:{free_port()}', experiment: sea}}")


def test_a_run_that_mlflow_never_heard_of_arrives_whole(train, offline, store, tmp_path):
    assert offline.result.tracking.status == "unavailable"
    root = offline.run.root
    assert f"`minidl sync {root.absolute()}`" in offline.output.replace("\n", "")

    report = sync_run(root, uri=store)
    points = sum(len(entry.metrics) for entry in offline.entries)
    assert (report.new_run, report.points, report.models) == (True, points, 1)
    assert (report.status, report.refused) == ("FINISHED", ())
    found = contents(store, report.run_id)

    # As a run that had the store from the beginning, but for what is each run's own.
    tracked = train(f"tracking={{uri: {store!r}, experiment: sea}}", "trainer.name=tracked")
    other = contents(store, tracked.result.tracking.run_id)
    assert found[0] == ("FINISHED", "tiny")
    assert found[1].keys() == other[1].keys()
    assert found[2].keys() == other[2].keys()
    assert {path for path, _ in found[3]} == {path for path, _ in other[3]}
    assert found[4] == other[4]
    assert found[5] == other[5]
    assert found[6].keys() == other[6].keys()
    assert found[7] == 1

    again = sync_run(root, uri=store)
    assert not again.changed
    assert again.run_id == report.run_id
    assert contents(store, report.run_id) == found


def test_what_was_lost_on_the_way_is_sent(train, mlflow_uri, tmp_path):
    done = train(f"tracking={{uri: {mlflow_uri!r}, experiment: sea}}")
    run_id = done.result.tracking.run_id
    whole = contents(mlflow_uri, run_id)
    assert not sync_run(done.run.root).changed
    # The store as it would be, had the outage come in the middle.
    from sqlalchemy import create_engine, text

    engine = create_engine(mlflow_uri)
    with engine.begin() as connection:
        for statement in (
            "delete from metrics where step > 6",
            "delete from params where key like 'model%'",
            "update runs set status = 'RUNNING'",
            "delete from logged_model_tags",
            "delete from logged_model_metrics",
            "delete from logged_models",
            "delete from inputs where source_type = 'RUN_OUTPUT'",
        ):
            connection.execute(text(statement))
    engine.dispose()
    shutil.rmtree(tmp_path / "mlartifacts")
    report = sync_run(done.run.root)
    assert (report.run_id, report.new_run, report.new_status) == (run_id, False, True)
    assert report.points > 0
    assert report.models == 1
    assert contents(mlflow_uri, run_id) == whole


def test_a_run_without_a_summary_was_killed(train, mlflow_uri):
    done = train(f"tracking={{uri: {mlflow_uri!r}, experiment: sea}}")
    done.run.summary.unlink()
    report = sync_run(done.run.root)
    assert report.status == "KILLED"
    info = client(mlflow_uri).get_run(report.run_id).info
    assert info.status == "KILLED"
    assert info.end_time == round(done.entries[-1].time * 1000)


def test_a_run_that_is_being_trained_is_refused(train, mlflow_uri):
    done = train("tracking=null")
    with (done.run.root / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SyncError, match="is being trained now"):
            sync_run(done.run.root, uri=mlflow_uri)
    assert sync_run(done.run.root, uri=mlflow_uri).new_run


def test_where_a_run_is_sent(train, mlflow_uri, tmp_path, monkeypatch):
    done = train("tracking={uri: 'sqlite:///mlflow.db', experiment: sea}")
    root = done.run.root.absolute()
    first = done.result.tracking.run_id
    # A relative path means the directory that the run was begun in.
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert sync_run(root).run_id == first
    assert not Path("mlflow.db").exists()
    # Another store is no new home.
    other = sync_run(root, uri="sqlite:///copy.db")
    assert other.new_run
    assert RunRecord.read(root / "tracking.json").run_id == first
    assert not sync_run(root, uri="sqlite:///copy.db").changed


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        (None, "has no `tracking` section. Say where to send it: --uri sqlite:///mlflow.db"),
        ("mlruns", "is a plain directory"),
        ("http://127.0.0.1:9", "MLflow at http://127.0.0.1:9 is not available"),
    ],
)
def test_what_cannot_be_done_is_said(train, uri, message):
    done = train("tracking=null")
    with pytest.raises(SyncError) as error:
        sync_run(done.run.root, uri=uri)
    assert message in str(error.value)


def test_the_verb(train, mlflow_uri, tmp_path):
    good = train("tracking=null")
    (tmp_path / "empty").mkdir()
    runs = [str(good.run.root), str(tmp_path / "empty")]
    done = CliRunner().invoke(app, ["sync", *runs, "--uri", mlflow_uri])
    assert done.exit_code == 1
    assert f"made run {client(mlflow_uri).search_runs(['1'])[0].info.run_id}" in done.output
    assert "empty is no run directory" in done.output or "cannot be sent" in done.output
    assert "1 of 2 could not be sent" in done.output
    done = CliRunner().invoke(app, ["sync", runs[0], "--uri", mlflow_uri])
    assert done.exit_code == 0
    assert "nothing was missing" in done.output
    assert json.loads(good.run.summary.read_text())["mlflow_run_id"] is None
