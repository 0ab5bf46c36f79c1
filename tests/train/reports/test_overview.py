"""Runs are chosen and ordered by what they are, by their metrics, and by their configs."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from made_runs import BEGAN, MakeRun

from minidl.train.reports.overview import (
    UnknownKeyError,
    as_data,
    columns,
    duration,
    in_order,
    row,
    select,
)
from minidl.train.reports.records import RunRecord, read_runs
from minidl.train.strict_json import strict_json

pytest_plugins = ["made_runs"]


@pytest.fixture
def runs(make_run: MakeRun) -> list[RunRecord]:
    """Three runs and an empty directory."""
    make_run("a", "optimizer.lr=1e-3", accuracy=0.5, began=BEGAN + 500)
    make_run("b", "optimizer.lr=2e-2", accuracy=0.75)
    root = make_run("c", "optimizer.lr=1e-2", "trainer.clip_norm=1", status="KILLED").parent
    (root / "d").mkdir()
    return read_runs(root)


@pytest.mark.parametrize(
    ("conditions", "wanted"),
    [
        ([], "abcd"),
        (["optimizer.lr=1e-3"], "a"),
        (["optimizer.lr=0.001"], "a"),
        (["optimizer.lr!=0.001"], "bcd"),
        (["optimizer.lr>1e-3"], "bc"),
        (["optimizer.lr <= 1e-2"], "ac"),
        (["test/accuracy>=0.5", "test/accuracy<0.75"], "a"),
        (["state=killed"], "c"),
        (["state=k*"], "c"),
        (["model.layers.1.type=Lin*"], "abc"),
        (["model.layers.1.type=lin*"], ""),
        (["trainer.clip_norm=null"], "ab"),
        (["name=[ab]"], "ab"),
        (["steps=6"], "abc"),
        (["state<1"], ""),
    ],
    ids=str,
)
def test_select(runs: list[RunRecord], conditions: list[str], wanted: str) -> None:
    assert "".join(run.name for run in select(runs, conditions)) == wanted


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("optimiser.lr=1", r"no run has `optimiser.lr`; did you mean `optimizer.lr`\?"),
        ("steps", "'steps': a condition is key=value"),
        ("=3", "'=3': a condition is key=value"),
        ("optimizer.lr>small", "> wants a number, got 'small'"),
    ],
)
def test_conditions_that_are_none(runs: list[RunRecord], condition: str, message: str) -> None:
    with pytest.raises(UnknownKeyError, match=message):
        select(runs, [condition])


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("name", "abcd"),
        ("-name", "dcba"),
        ("began", "bcad"),
        ("optimizer.lr", "acbd"),
        ("-optimizer.lr", "bcad"),
        ("-test/accuracy", "bacd"),
        ("test/accuracy", "abcd"),
        ("trainer.clip_norm", "cabd"),
    ],
)
def test_in_order(runs: list[RunRecord], key: str, wanted: str) -> None:
    assert "".join(run.name for run in in_order(runs, key)) == wanted


def test_an_order_by_nothing(runs: list[RunRecord]) -> None:
    with pytest.raises(UnknownKeyError, match=r"no run has `test/acuracy`; did you mean"):
        in_order(runs, "-test/acuracy")


def test_lines(runs: list[RunRecord]) -> None:
    headings = columns(runs, ["optimizer.lr"])
    assert headings == [
        *("run", "state", "epochs", "steps", "best val/accuracy"),
        *("test/accuracy", "test/loss", "optimizer.lr", "time", "began"),
    ]
    first = dict(zip(headings, row(runs[0], headings), strict=True))
    assert first["best val/accuracy"] == "75.00 %"
    assert (first["epochs"], first["steps"], first["time"]) == ("3/3", "6", "1 min 15 s")
    assert first["optimizer.lr"] == "0.001"
    assert row(runs[3], headings) == ["d", "empty", *[""] * 8]


def test_a_run_that_steps_end(make_run: MakeRun) -> None:
    root = make_run("a", "trainer.epochs=null", "trainer.max_steps=1000").parent
    runs = read_runs(root)
    assert row(runs[0], columns(runs))[2:4] == ["3", "6/1,000"]


def test_two_monitors_are_named_in_each_line(make_run: MakeRun) -> None:
    make_run("a")
    root = make_run("b", "trainer.monitor=val/loss").parent
    runs = read_runs(root)
    headings = columns(runs)
    assert "best" in headings
    assert [row(run, headings)[4] for run in runs] == ["val/accuracy 75.00 %", "val/loss 1.0000"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.04, "0.0 s"),
        (59.9, "59.9 s"),
        (61, "1 min 01 s"),
        (3599.6, "1 h 00 min"),
        (90061, "25 h 01 min"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_as_data_is_json_also_where_a_metric_is_no_number(runs: list[RunRecord]) -> None:
    for run in runs:
        assert json.loads(strict_json(as_data(run)))["name"] == run.name
    run = RunRecord(Path("x"), "x", "failed", summary={"metrics": {"test/loss": math.nan}})
    assert json.loads(strict_json(as_data(run)))["metrics"] == {"test/loss": "NaN"}
