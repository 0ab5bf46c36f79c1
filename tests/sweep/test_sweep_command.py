"""``minidl sweep`` as its users meet it: real processes, real trials, real files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from cli_process import run_in
from mlflow_stores import MLFLOW_MARKS, client
from sweep_configs import BASE

from minidl.train.config import load_config

optuna = pytest.importorskip("optuna", reason="optuna is not installed (extra sweep)")

pytest_plugins = ["mlflow_stores"]

GRID = ("optimizer.lr=1e-3,1e-2", "model.layers.1.out_features=8,16")


def study_of(folder: Path, name: str = "tiny") -> Any:
    return optuna.load_study(study_name=name, storage=f"sqlite:///{folder}/runs/{name}/study.db")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(BASE)
    return tmp_path


def test_a_dry_run_lists_the_grid_and_makes_nothing(folder: Path) -> None:
    done = run_in(folder, "sweep", "tiny.yaml", *GRID, "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-4:] == [
        "trial 0: optimizer.lr=0.001  model.layers.1.out_features=8",
        "trial 1: optimizer.lr=0.001  model.layers.1.out_features=16",
        "trial 2: optimizer.lr=0.01  model.layers.1.out_features=8",
        "trial 3: optimizer.lr=0.01  model.layers.1.out_features=16",
    ]
    assert [path.name for path in folder.iterdir()] == ["tiny.yaml"]


def test_a_mistake_is_told_before_anything_is_made(folder: Path) -> None:
    done = run_in(folder, "sweep", "tiny.yaml", "optimizer.lr=0.1,fast")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        'command line: optimizer.lr=0.1,fast: `lr` must be a number, got text "fast"\n'
    )
    assert [path.name for path in folder.iterdir()] == ["tiny.yaml"]


@pytest.mark.slow
def test_a_grid_from_beginning_to_end(folder: Path) -> None:
    done = run_in(folder, "sweep", "tiny.yaml", *GRID, "--jobs", "2", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [e["event"] for e in events].count("trial_ends") == 4
    last = events[-1]
    assert last["event"] == "sweep_ends"
    assert last["outcome"] == "4 COMPLETE of 4"

    root = folder / "runs/tiny"
    with (root / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["COMPLETE"] * 4
    best = max(rows, key=lambda row: float(row["val/accuracy"]))
    assert last["best"]["number"] == int(best["number"])
    assert last["best"]["value"] == float(best["val/accuracy"])
    assert sorted(path.name for path in (root / "plots").iterdir()) == [
        "history.png",
        "importance.png",
        "slice.png",
        "values.png",
    ]
    # The best config is the best trial's, but for where that was written.
    found = load_config(root / "best.yaml")
    trained = load_config(root / f"trial-000{best['number']}" / "config.yaml")
    assert found.flat() == trained.flat() | {"trainer.run_root": "runs", "trainer.name": "null"}
    assert found.flat()["optimizer.lr"] == best["optimizer.lr"]
    overrides = (root / f"trial-000{best['number']}" / "overrides.txt").read_text()
    assert f"optimizer.lr={best['optimizer.lr']}" in overrides
    # What each trial was given is the whole of the grid, once, and its value the journal's best.
    trials = study_of(folder).trials
    given = sorted(tuple(trial.params.values()) for trial in trials)
    assert given == [(1e-3, 8), (1e-3, 16), (1e-2, 8), (1e-2, 16)]
    assert all(t.value == max(t.intermediate_values.values()) for t in trials)
    assert all(sorted(t.intermediate_values) == [1, 2] for t in trials)

    again = run_in(folder, "sweep", "tiny.yaml", *GRID)
    assert again.returncode == 0
    assert "4 trials, 4 of them done" in again.stdout
    assert len(study_of(folder).trials) == 4
    other = run_in(folder, "sweep", "tiny.yaml", *GRID, "trainer.epochs=3")
    assert other.returncode == 2
    assert "was begun with another config: `trainer.epochs` was 2, is 3" in other.stderr
    assert "--study NAME begins another one" in other.stderr


@pytest.mark.slow
class TestTracked:
    pytestmark = MLFLOW_MARKS

    def test_trials_lie_under_the_sweep_in_mlflow(self, folder: Path, mlflow_uri: str) -> None:
        tracking = (f"tracking.uri={mlflow_uri}", "tracking.experiment=rates", "trainer.epochs=1")
        more = (*tracking, "tracking.log_model=false", "--jobs", "2")
        done = run_in(folder, "sweep", "tiny.yaml", "optimizer.lr=1e-3,1e-2", *more)
        assert (done.returncode, done.stderr) == (0, "")
        store = client(mlflow_uri)
        experiment = store.get_experiment_by_name("rates")
        runs = store.search_runs([experiment.experiment_id])
        (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
        children = [run for run in runs if run is not parent]
        assert parent.info.run_name == "tiny"
        assert f"MLflow run   {parent.info.run_id}" in done.stdout
        assert [run.info.status for run in runs] == ["FINISHED"] * 3
        assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
        assert {(r.info.run_name, r.data.tags["sweep.trial"]) for r in children} == {
            ("tiny/trial-0000", "0"),
            ("tiny/trial-0001", "1"),
        }
        best = max(children, key=lambda run: run.data.metrics["val/accuracy"])
        assert parent.data.tags["best.trial"] == best.data.tags["sweep.trial"]
        assert parent.data.tags["best.optimizer.lr"] == best.data.params["optimizer.lr"]
        assert parent.data.metrics["best/val/accuracy"] == best.data.metrics["val/accuracy"]
        assert parent.data.params["sweep.optimizer.lr"] == "0.001, 0.01"
        listed = store.list_artifacts(parent.info.run_id, "sweep")
        assert [file.path for file in listed] == ["sweep/best.yaml", "sweep/trials.csv"]
        plots = store.list_artifacts(parent.info.run_id, "plots")
        assert "plots/slice.png" in [file.path for file in plots]

        again = run_in(folder, "sweep", "tiny.yaml", "optimizer.lr=1e-3,1e-2", *more)
        assert (again.returncode, again.stderr) == (0, "")
        assert len(store.search_runs([experiment.experiment_id])) == 3
