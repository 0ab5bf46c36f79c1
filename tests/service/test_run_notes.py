"""What a job's directory tells of its run, also half written, damaged, or not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from minidl.service import run_notes
from minidl.service.executors.executor import AttemptFiles, write_record
from minidl.service.states import JobKind
from minidl.train.journal import Journal
from minidl.train.tracking.description import RunRecord

TRAINING, SWEEP = JobKind.TRAINING, JobKind.SWEEP


@pytest.fixture
def job(tmp_path: Path) -> Path:
    (tmp_path / "attempts").mkdir()
    (tmp_path / "run").mkdir()
    return tmp_path


def write(run: Path, *entries: tuple[int, dict[str, float]]) -> None:
    with Journal(run / "metrics.jsonl") as journal:
        for step, metrics in entries:
            journal.write(step, 1, metrics)


def test_of_nothing_nothing_is_told(tmp_path: Path) -> None:
    for kind in JobKind:
        assert run_notes.progress(tmp_path, kind, 1) == {}
        assert run_notes.result(tmp_path, kind, {}) == {}
        assert run_notes.steps(tmp_path, kind) == 0
    assert run_notes.mlflow(tmp_path) is None


def test_progress_is_the_newest_of_each_metric(job: Path) -> None:
    write(job / "run", (1, {"train/loss": 3.0}), (2, {"train/loss": 2.0}), (2, {"val/loss": 2.5}))
    begun = {"how": "new", "step": 0, "total_steps": 40, "epochs": None}
    write_record(AttemptFiles(job, 3).begun, begun)
    assert run_notes.progress(job, TRAINING, 3) == {
        **{"epoch": 1, "step": 2, "total_steps": 40, "attempt": 3},
        "metrics": {"train/loss": 2.0, "val/loss": 2.5},
    }
    assert run_notes.steps(job, TRAINING) == 2


def test_numbers_that_json_has_not_stay_words(job: Path) -> None:
    write(job / "run", (1, {"train/loss": float("nan")}))
    found = run_notes.progress(job, TRAINING, 1)
    assert found["metrics"] == {"train/loss": "NaN"}
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("torn", [b'{"epoch": 1, "st', b"\xff\n", b"[]\n", b'{"step": 9}\n'])
def test_a_torn_end_is_left_out(job: Path, torn: bytes) -> None:
    write(job / "run", (5, {"train/loss": 1.0}))
    with (job / "run/metrics.jsonl").open("ab") as file:
        file.write(torn)
    assert run_notes.progress(job, TRAINING, 1)["step"] == 5


def test_a_long_journal_is_read_from_its_end(job: Path) -> None:
    write(job / "run", *((step, {"train/loss": step / 7}) for step in range(3000)))
    assert (job / "run/metrics.jsonl").stat().st_size > 2 * run_notes.TAIL_BYTES
    found = run_notes.progress(job, TRAINING, 1)
    assert (found["step"], found["metrics"]) == (2999, {"train/loss": 2999 / 7})
    assert len(list(run_notes._newest(job / "run/metrics.jsonl"))) < 2000


def test_no_more_metrics_than_fit(job: Path) -> None:
    write(job / "run", (1, {f"val/f1/{number}": 0.5 for number in range(500)}))
    assert len(run_notes.progress(job, TRAINING, 1)["metrics"]) == run_notes.MOST_METRICS


def test_the_result_is_the_summary_with_the_best_value(job: Path) -> None:
    write(job / "run", (2, {"val/loss": 2.0}), (4, {"val/loss": 1.5}), (6, {"val/loss": 1.7}))
    summary = {"status": "FINISHED", "best_step": 4, "metrics": {"test/loss": 1.6}, "odd": 1}
    (job / "run/summary.json").write_text(json.dumps(summary))
    assert run_notes.result(job, TRAINING, {"trainer": {"monitor": "val/loss"}}) == {
        **{"status": "FINISHED", "best_step": 4, "metrics": {"test/loss": 1.6}},
        **{"monitor": "val/loss", "best": 1.5},
    }


def test_of_a_sweep_the_trials_are_counted(job: Path) -> None:
    for number, steps in enumerate((4, 2, 0)):
        trial = job / f"run/trial-{number:04d}"
        trial.mkdir()
        if steps:
            write(trial, (steps, {"train/loss": 1.0}))
    (job / "run/trial-0000/summary.json").write_text("{}")
    write_record(AttemptFiles(job, 1).begun, {"how": "new", "step": None, "trials": 9})
    assert run_notes.progress(job, SWEEP, 1) == {
        **{"begun": 3, "finished": 1, "trials": 9, "attempt": 1},
    }
    assert run_notes.steps(job, SWEEP) == 6
    facts = {"study": "s", "best": {"number": 1, "value": 0.5, "parameters": {}}, "plots": "x"}
    (job / "run/sweep.json").write_text(json.dumps(facts))
    found = run_notes.result(job, SWEEP, {})
    assert found == {"study": "s", "best": facts["best"]}


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("http://ml:5000", "http://ml:5000/#/experiments/7/runs/r1"),
        ("http://ada:***@ml:5000", "http://ada:***@ml:5000/#/experiments/7/runs/r1"),
        ("sqlite:////srv/mlflow.db", None),
    ],
)
def test_where_mlflow_has_it(job: Path, uri: str, url: str | None) -> None:
    RunRecord(uri, "7", "r1", "u").write(job / "run/tracking.json")
    found: dict[str, Any] | None = run_notes.mlflow(job)
    assert found is not None
    assert (found["run_id"], found["experiment_id"], found["url"]) == ("r1", "7", url)
    assert uri in found["command"]


@pytest.mark.parametrize(
    ("uri", "page", "url"),
    [
        ("http://mlflow:5000", "https://ml.example", "https://ml.example/#/experiments/7/runs/r1"),
        ("http://mlflow:5000", "http://me:1/x/", "http://me:1/x/#/experiments/7/runs/r1"),
        ("sqlite:////srv/mlflow.db", "http://127.0.0.1:5000", None),
    ],
)
def test_people_open_mlflow_elsewhere(job: Path, uri: str, page: str, url: str | None) -> None:
    RunRecord(uri, "7", "r1", "u").write(job / "run/tracking.json")
    found: dict[str, Any] | None = run_notes.mlflow(job, page=page)
    assert found is not None
    assert found["url"] == url
    assert uri in found["command"]
