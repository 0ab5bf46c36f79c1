"""Jobs of several ranks: what is taken, what is refused, and what becomes of an end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_jobs
from service_app import CONFIG, MakeApp, ServiceApp

from minidl.service import ranks
from minidl.service.api import app as app_module
from minidl.service.executors.executor import AttemptSpec, write_record
from minidl.service.policy import is_interruption
from minidl.service.submission import SubmissionRules, check_ranks

pytest_plugins = ["service_app"]

SWEEP = f"{CONFIG}sweep: {{parameters: {{optimizer.lr: [1e-3, 1e-2]}}}}\n"


# ---- what is taken ------------------------------------------------------------------------------


@pytest.fixture
def app(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> ServiceApp:
    """An app whose jobs have four cores, and can be of several ranks."""
    monkeypatch.setattr(app_module, "why_no_ranks", lambda: None)
    return make_app(concurrency=2, threads=2)


def test_ranks_are_kept_and_told(app: ServiceApp) -> None:
    job = app.submit(CONFIG, ranks=4)
    assert job["ranks"] == 4
    assert app.ask("GET", f"/v1/jobs/{job['id']}").json()["ranks"] == 4
    assert app.submit(CONFIG)["ranks"] == 1
    plain = {"Content-Type": "application/yaml"}
    answer = app.ask("POST", "/v1/jobs?ranks=3", content=CONFIG.encode(), headers=plain)
    assert answer.json()["ranks"] == 3
    key = {"Idempotency-Key": "k"}
    body = {"config": CONFIG, "ranks": 2}
    assert app.ask("POST", "/v1/jobs", json=body, headers=key).status_code == 201
    assert app.ask("POST", "/v1/jobs", json=body, headers=key).status_code == 200
    other = app.ask("POST", "/v1/jobs", json=body | {"ranks": 3}, headers=key)
    assert other.status_code == 409
    schema = app.ask("GET", "/openapi.json").json()["components"]["schemas"]
    assert schema["JobDocument"]["properties"]["ranks"]["type"] == "integer"


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/validate"])
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"ranks": 5}, "ranks: 5 would wait for ever: all jobs of this service together have 4"),
        ({"ranks": 2, "config": SWEEP}, "the trials of a sweep have one rank each"),
        ({"ranks": 0}, "ranks"),
        ({"ranks": 4096}, "ranks"),
        ({"ranks": "two"}, "ranks"),
    ],
)
def test_what_can_never_run_is_refused(
    app: ServiceApp, path: str, body: dict[str, Any], message: str
) -> None:
    answer = app.ask("POST", path, json={"config": CONFIG, **body})
    assert answer.status_code == 422
    assert message in answer.json()["detail"]
    assert app.ask("GET", "/v1/jobs").json()["jobs"] == []


def test_an_option_lets_ranks_share_cores(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "why_no_ranks", lambda: None)
    app = make_app(concurrency=1, threads=2, max_ranks=8)
    assert app.submit(CONFIG, ranks=8)["ranks"] == 8
    answer = app.ask("POST", "/v1/jobs", json={"config": CONFIG, "ranks": 9})
    assert "its option --max-ranks lets a job have 8 ranks" in answer.json()["detail"]


def test_without_mpi_it_is_said_where_it_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ranks.importlib.util, "find_spec", lambda name: None)
    reason = ranks.why_no_ranks()
    assert reason == "mpi4py is missing there (pip install 'minidl[mpi]')"
    with pytest.raises(ValueError, match="ranks: 2, but the service can start one only: mpi4py"):
        check_ranks(2, "training", SubmissionRules(most_ranks=2, cores=2, no_ranks=reason))
    check_ranks(1, "sweep", SubmissionRules(no_ranks=reason))
    monkeypatch.setattr(ranks.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(ranks.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "there is no mpiexec" in (ranks.why_no_ranks() or "")
    (tmp_path / "mpiexec").touch()
    assert ranks.mpiexec() == str(tmp_path / "mpiexec")


# ---- what becomes of an end ----------------------------------------------------------------------


DONE = {"exit_status": 0, "error": None, "tracking": "complete"}
FAILED = {"exit_status": 1, "error": "out of memory", "tracking": None}
WRONG = {"exit_status": 2, "error": "no such class", "tracking": None}
TOLD = {"exit_status": 75, "error": None, "tracking": "complete"}


@pytest.mark.parametrize(
    ("said", "status", "told", "exit_status", "error"),
    [
        ({0: DONE, 1: DONE}, 0, False, 0, None),
        ({0: TOLD, 1: TOLD}, 75, True, 75, None),
        ({0: WRONG, 1: WRONG}, 2, False, 2, "no such class"),
        ({1: FAILED}, 1, False, 1, "out of memory"),
        ({}, 9, False, -9, "one of 2 ranks was killed by SIGKILL (out of memory?)"),
        ({}, 137, False, -9, "one of 2 ranks was killed by SIGKILL (out of memory?)"),
        ({}, -9, False, -9, "one of 2 ranks was killed by SIGKILL (out of memory?)"),
        ({}, 11, False, -11, "one of 2 ranks was killed by SIGSEGV"),
        ({}, 15, True, 75, None),  # told before they listened
        ({0: FAILED}, 9, False, -9, "one of 2 ranks was killed by SIGKILL (out of memory?)"),
        ({0: DONE}, 9, False, 0, None),  # the other one was about to end too
        ({}, 1, False, 1, "the ranks ended with exit status 1; the log may say why"),
        ({}, 0, False, 1, "the ranks ended with exit status 0; the log may say why"),
    ],
)
def test_how_ranks_ended_is_how_the_attempt_did(
    tmp_path: Path,
    said: dict[int, dict[str, Any]],
    status: int,
    told: bool,
    exit_status: int,
    error: str | None,
) -> None:
    spec = replace(tiny_jobs.spec(tmp_path), ranks=2)
    spec.write()
    for rank, record in said.items():
        write_record(spec.files.rank(rank), record)
    end = ranks._end(spec, status, told=told)
    assert (end.exit_status, end.error) == (exit_status, error)
    if exit_status == -9:
        assert is_interruption(end.exit_status)


def test_a_spec_from_before_there_were_ranks_is_of_one(tmp_path: Path) -> None:
    spec = tiny_jobs.spec(tmp_path)
    path = spec.write()
    data = json.loads(path.read_bytes())
    del data["ranks"]
    path.write_text(json.dumps(data))
    assert AttemptSpec.read(path) == spec
