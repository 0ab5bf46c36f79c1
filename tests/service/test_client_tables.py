"""Jobs as tables: what is known is shown, what is not known leaves its place empty."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from minidl.service.client import tables
from minidl.train.reports.terminal import Page

JOB: dict[str, Any] = {
    "id": "01jdk3v8m2q4xyzt",
    "kind": "training",
    "name": "first",
    "owner": "ada",
    "state": "succeeded",
    "labels": {"team": "vision", "size": "small"},
    "priority": 5,
    "timeout": 7200.0,
    "max_retries": 2,
    "retries_used": 1,
    "error": None,
    "created_at": "2026-11-26T01:30:33.123Z",
    "started_at": "2026-11-26T01:30:34.000Z",
    "ended_at": "2026-11-26T01:31:46.000Z",
    "run_seconds": 72.0,
    "queue_position": None,
    "progress": {"epoch": 8, "epochs": 8, "metrics": {"train/loss": 0.5, "val/accuracy": 0.9}},
    "result": {"metrics": {"test/accuracy": 0.98}, "monitor": "val/accuracy", "best": 0.9867},
    "mlflow": {"run_id": "r1", "url": "http://mlflow/run"},
}
ATTEMPTS: list[dict[str, Any]] = [
    {
        "number": 1,
        "state": "interrupted",
        "started_at": "2026-11-26T01:30:34.000Z",
        "ended_at": "2026-11-26T01:31:04.000Z",
        "exit_status": -9,
        "cause": "SIGKILL",
        "error": None,
        "first_step": 0,
        "last_step": 1200,
    },
    {"number": 2, "state": "running", "exit_status": None, "last_step": None},
]


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def page() -> Page:
    return Page(Console(file=io.StringIO(), width=80))


def text_of(page: Page) -> str:
    file = page.console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_ranks_are_shown_where_there_are_several(page: Page) -> None:
    tables.print_jobs([{**JOB, "ranks": 4}, {**JOB, "ranks": 1}, JOB], page)
    lines = text_of(page).splitlines()
    assert lines[0].split()[-2:] == ["submitted", "ranks"]
    assert [re.split("  +", line)[7] for line in lines[1:]] == ["4", "1", "1"]
    assert tables.facts({**JOB, "ranks": 4})["ranks"] == "4"
    assert "ranks" not in tables.facts({**JOB, "ranks": 1})


def test_a_list(page: Page) -> None:
    waiting = {**JOB, "state": "queued", "queue_position": 3, "progress": {}, "run_seconds": 0}
    failed = {**JOB, "state": "failed", "error": "the loss is NaN\nin step 3"}
    tables.print_jobs([JOB, waiting, failed], page)
    lines = text_of(page).splitlines()
    assert lines[0].split() == ["job", "name", "state", "owner", "done", "time", "submitted"]
    assert re.split("  +", lines[1]) == [
        *("01jdk3v8m2q4xyzt", "first", "succeeded", "ada", "8/8 epochs", "1 min 12 s"),
        *("2026-11-26 01:30", "test/accuracy 98.00 %"),
    ]
    assert lines[2].endswith("  place 3 in the queue")
    assert lines[3].endswith("  the loss is NaN")


def test_a_job(page: Page) -> None:
    points = [
        {"step": step, "metrics": {"train/loss": loss}}
        for step, loss in [(1, 2.0), (2, "NaN"), (3, 0.5)]
    ]
    tables.print_job({**JOB, "error": "all\nof it"}, ATTEMPTS, points, page)
    text = text_of(page)
    for shown in [
        "owner      ada",
        "labels     team=vision, size=small",
        "submitted  2026-11-26 01:30:33",
        "timeout    2 h 00 min",
        "retries    1 of 2 used",
        "best       val/accuracy 98.67 %",
        "MLflow     http://mlflow/run",
        "all\nof it\n",
        "1        interrupted  2026-11-26 01:30:34  30.0 s  0 to 1,200  -9      SIGKILL",
        "test/accuracy  98.00 %",
    ]:
        assert shown in text, text
    (curve,) = [line for line in text.splitlines() if "train/loss " in line]
    assert curve.split()[-4:] == ["2.0000", "0.5000", "0.5000", "2.0000"]


def test_a_sweep() -> None:
    best = {"number": 3, "value": 0.9712345678, "parameters": {"optimizer.lr": 0.01}}
    job = {"state": "succeeded", "result": {"best": best}, "progress": {}}
    assert tables.outcome(job) == "best 0.971235 in trial 3: optimizer.lr=0.01"
    assert tables.facts(job)["best"] == "0.971235 in trial 3: optimizer.lr=0.01"


@pytest.mark.parametrize(
    ("progress", "shown"),
    [
        ({"begun": 4, "finished": 2, "trials": 16}, "2/16 trials"),
        ({"begun": 1, "finished": 0}, "0 trials"),
        ({"epoch": 3, "step": 90, "epochs": 8, "total_steps": 240}, "3/8 epochs"),
        ({"epoch": 3, "step": 1200, "total_steps": 5000}, "1,200/5,000 steps"),
        ({"epoch": 3, "step": 90}, "3 epochs"),
        ({}, ""),
        (None, ""),
    ],
)
def test_how_far_a_job_is(progress: dict[str, int] | None, shown: str) -> None:
    assert tables.done({"progress": progress}) == shown


def test_how_long_a_job_has_run() -> None:
    began = {"state": "running", "attempts": 1, "started_at": time.time() - 90, "run_seconds": 0}
    assert tables.facts(began)["time"].startswith("1 min 3")
    assert tables.facts({**began, "attempts": 2, "run_seconds": 5.0})["time"] == "5.0 s"


def test_what_is_not_known_is_not_shown(page: Page) -> None:
    tables.print_jobs([{"id": "0123456789abcdef", "state": "queued"}], page)
    tables.print_job({"id": "0123456789abcdef", "state": "queued"}, [], [], page)
    assert text_of(page).splitlines()[-2:] == ["0123456789abcdef", "  state  queued"]


@pytest.mark.parametrize(
    ("when", "shown"),
    [
        ("2026-11-26T01:30:33.123Z", "2026-11-26 01:30"),
        ("2026-11-26T03:30:33+02:00", "2026-11-26 01:30"),
        (1795656633.1, "2026-11-26 01:30"),
        (None, ""),
        ("soon", ""),
    ],
)
def test_moments(when: Any, shown: str) -> None:
    assert tables.moment(when) == shown


def test_files_events_and_tokens(page: Page) -> None:
    tables.print_files(
        [{"path": "model/model.safetensors", "size": 415000, "modified": None}], page
    )
    tables.print_events(
        [{"at": "2026-11-26T01:30:33Z", "kind": "submitted", "actor": "ada", "data": {"a": 1}}],
        page,
    )
    tables.print_tokens([{"id": "t1", "user": "ada", "role": "read", "revoked_at": None}], page)
    text = text_of(page)
    assert "model/model.safetensors  415 kB" in text
    assert "2026-11-26 01:30:33  submitted  ada  a=1" in text
    assert "t1     ada   read" in text
