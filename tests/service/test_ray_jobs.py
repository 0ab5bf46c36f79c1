"""What is made of Ray's answers, for those that a cluster gives rarely."""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import tiny_jobs

from minidl.service.executors.executor import (
    AttemptSpec,
    End,
    ExecutorUnavailableError,
    PlacingError,
    write_record,
)
from minidl.service.executors.places import SharedPlace, write_end
from minidl.service.executors.ray import RayExecutor, submission_id
from minidl.service.executors.ray_jobs import RayJobs, checked_address

JOB = {"entrypoint": "true", "message": "", "error_type": None, "driver_exit_code": None}
Answer = Callable[[httpx2.Request], httpx2.Response]


def answering(answer: Answer) -> RayJobs:
    return RayJobs("http://ray", token="t", transport=httpx2.MockTransport(answer))


def saying(**job: Any) -> RayJobs:
    """A cluster that says the same of every job; of none where nothing is said."""
    if not job:
        return answering(lambda request: httpx2.Response(404, text="Job does not exist"))

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/logs"):
            return httpx2.Response(200, json={"logs": "sh: python: not found\n"})
        return httpx2.Response(200, json={**JOB, **job})

    return answering(answer)


def failing(request: httpx2.Request) -> httpx2.Response:
    raise httpx2.ConnectError("connection refused")


@pytest.fixture
def spec(tmp_path: Path) -> AttemptSpec:
    directory = tmp_path / "j1"
    (directory / "attempts").mkdir(parents=True)
    return tiny_jobs.spec(directory, {}, grace=7.0)


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("head:8265", "http://head:8265"),
        ("https://ray.example/x/", "https://ray.example/x"),
    ],
)
def test_addresses(given: str, address: str) -> None:
    assert checked_address(given) == address


@pytest.mark.parametrize("given", ["ray://head:10001", "http://", "http://me:secret@head", "a b:c"])
def test_addresses_that_are_none(given: str) -> None:
    with pytest.raises(ValueError, match="Ray's address"):
        checked_address(given)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (failing, "Ray at http://ray does not answer: connection refused"),
        (lambda request: httpx2.Response(401, text="no"), r"refuses the token \(HTTP 401\)"),
        (lambda request: httpx2.Response(403, text="no"), r"refuses the token \(HTTP 403\)"),
        (lambda request: httpx2.Response(500, text="a\nGCS is away\n."), "500.*: GCS is away"),
        (lambda request: httpx2.Response(200, text="<html>"), "is not Ray: '<html>'"),
        (lambda request: httpx2.Response(200, json=[]), "is not Ray: "),
        (lambda request: httpx2.Response(200, json={"status": "DANCING"}), "it is 'DANCING'"),
    ],
)
def test_what_is_no_answer(answer: Answer, message: str, spec: AttemptSpec) -> None:
    executor = RayExecutor(answering(answer))
    with pytest.raises(ExecutorUnavailableError, match=message):
        executor.observe(spec, None)
    with pytest.raises(ExecutorUnavailableError, match=message):
        executor.start(spec)


def test_another_version_of_the_api_is_told() -> None:
    version = {"version": "5", "ray_version": "3.0.0"}
    with pytest.raises(ExecutorUnavailableError, match=r"version '5' .* this service version '4'"):
        answering(lambda request: httpx2.Response(200, json=version)).check()


def test_a_dead_cluster_is_asked_once_in_a_while() -> None:
    asked = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return failing(request)

    jobs = answering(answer)
    for _ in range(5):
        with pytest.raises(ExecutorUnavailableError, match="connection refused"):
            jobs.find("minidl-a-1")
    assert len(asked) == 1


def test_a_token_is_sent_and_none_where_there_is_none() -> None:
    seen = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers.get("authorization"))
        return httpx2.Response(404)

    answering(answer).find("a")
    RayJobs("http://ray", transport=httpx2.MockTransport(answer)).find("a")
    assert seen == ["Bearer t", None]


@pytest.mark.parametrize(
    ("status", "there", "error"),
    [
        (400, None, PlacingError),
        (500, None, ExecutorUnavailableError),
        (500, {**JOB, "status": "PENDING", "entrypoint": "rm -r /"}, PlacingError),
    ],
)
def test_a_job_that_ray_does_not_take(
    status: int, there: dict[str, Any] | None, error: type[Exception], spec: AttemptSpec
) -> None:
    finds = [None, there]  # before it is placed, and after Ray has refused

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            return httpx2.Response(status, text="Traceback\nValueError: no\n")
        found = finds.pop(0)
        return httpx2.Response(404) if found is None else httpx2.Response(200, json=found)

    with pytest.raises(error, match=r"ValueError: no|another job of the id"):
        RayExecutor(answering(answer)).start(spec)


def test_what_is_asked_of_ray(spec: AttemptSpec) -> None:
    asked = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append((request.method, request.url.path, request.content))
        return httpx2.Response(404 if request.method == "GET" else 200, json={})

    executor = RayExecutor(answering(answer), python="/opt/python")
    assert executor.start(spec) == "minidl-j1-1"
    assert [call[:2] for call in asked] == [
        ("GET", "/api/jobs/minidl-j1-1"),
        ("POST", "/api/jobs/"),
    ]
    body = json.loads(asked[1][2])
    command = f"exec /opt/python -P -m minidl.service.attempt {spec.files.spec}"
    assert body["entrypoint"] == command
    assert body["entrypoint_num_cpus"] == spec.threads
    environment = body["runtime_env"]["env_vars"]
    assert environment["RAY_JOB_STOP_WAIT_TIME_S"] == "7"
    assert environment["OPENBLAS_NUM_THREADS"] == str(spec.threads)
    assert AttemptSpec.read(spec.files.spec) == spec


DIED = "JOB_SUPERVISOR_ACTOR_DIED"


def exited(status: int) -> dict[str, Any]:
    """What Ray says of a command that has failed."""
    error = "JOB_ENTRYPOINT_COMMAND_ERROR"
    return {"status": "FAILED", "driver_exit_code": status, "error_type": error}


@pytest.mark.parametrize(
    ("job", "started", "state", "status", "error"),
    [
        ({"status": "PENDING"}, False, "waiting", None, None),
        ({"status": "RUNNING"}, False, "waiting", None, None),
        ({"status": "RUNNING"}, True, "running", None, None),
        # Over for Ray, and the attempt has not said how it ended: or its record is late.
        ({"status": "SUCCEEDED", "driver_exit_code": 0}, True, "ended", 0, None),
        ({"status": "SUCCEEDED", "driver_exit_code": 0}, False, "ended", 0, None),
        (exited(-9), True, "ended", -9, None),
        (exited(75), False, "ended", 75, None),
        (exited(3), False, "ended", 3, None),
        ({"status": "STOPPED"}, True, "ended", -9, "within 7 s of being told to"),
        ({"status": "STOPPED"}, False, "ended", -15, "before it began"),
        (
            {
                **exited(127),
                "message": "Job failed with exit code 127, last logs:\nsh: python: not found\n",
            },
            *(False, "ended", 1, "could not begin on the cluster: sh: python: not found"),
        ),
        # A machine is gone, and with it whatever knew.
        (
            {"status": "FAILED", "error_type": DIED, "message": "node died\nmore"},
            *(True, "lost", None, "Ray has lost it: node died$"),
        ),
        (
            {"status": "FAILED", "error_type": "RUNTIME_ENV_SETUP_FAILURE", "message": "no disk"},
            *(False, "lost", None, "Ray could not begin it: no disk"),
        ),
        ({}, True, "lost", None, "Ray does not know it"),
        ({}, False, "lost", None, "Ray does not know it"),
    ],
)
def test_what_is_made_of_what_ray_says(
    job: dict[str, Any],
    started: bool,
    state: str,
    status: int | None,
    error: str | None,
    spec: AttemptSpec,
) -> None:
    if started:
        write_record(spec.files.started, {"pid": 1})
    seen = RayExecutor(saying(**job)).observe(spec, submission_id(spec))
    assert seen.state == state
    if seen.end is None:
        assert status is None
        assert not spec.files.end.exists()
        return
    assert seen.end.exit_status == status
    assert re.search(error or "^$", seen.end.error or "")
    # It is on record: an attempt that Ray starts late finds that it has been written off, and
    # Ray may forget what it has said.
    assert spec.files.read_end() is not None
    again = RayExecutor(saying()).observe(spec, None)
    assert (again.state, again.end.exit_status) == (state, status)  # type: ignore[union-attr]


def test_the_attempts_own_word_counts_before_rays(spec: AttemptSpec) -> None:
    write_end(spec.files, End(0, None, 5.0))
    for jobs in (saying(), saying(status="FAILED"), answering(failing)):
        assert RayExecutor(jobs).observe(spec, None).end == End(0, None, 5.0)


def test_what_ray_believes_gone_runs_while_its_lock_is_held(spec: AttemptSpec) -> None:
    place = SharedPlace()
    write_record(spec.files.started, {"pid": 1})
    with open(spec.files.lock, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for jobs in (saying(), saying(status="FAILED", error_type=DIED)):
            assert RayExecutor(jobs).observe(spec, None).state == "running"
        assert not place.write_off(spec, End(None, "gone"))
        write_end(spec.files, End(0))
        assert RayExecutor(saying()).observe(spec, None).state == "running"
    assert RayExecutor(saying()).observe(spec, None).state == "ended"


def test_a_busy_cluster_is_asked_again(spec: AttemptSpec) -> None:
    jobs = {"minidl-j1-1": {**JOB, "status": "FAILED"}}
    jobs["minidl-j1-1"]["error_type"] = "JOB_SUPERVISOR_ACTOR_START_TIMEOUT"

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            body = json.loads(request.content)
            jobs[body["submission_id"]] = {**JOB, "status": "PENDING"}
        elif request.method == "DELETE":
            return httpx2.Response(200, json={"deleted": bool(jobs.pop("minidl-j1-1"))})
        found = jobs.get("minidl-j1-1")
        return httpx2.Response(404) if found is None else httpx2.Response(200, json=found)

    executor = RayExecutor(answering(answer), poll_seconds=0)
    assert executor.observe(spec, None).state == "waiting"
    assert jobs["minidl-j1-1"]["status"] == "PENDING"
    assert "no machine with enough free cores" in spec.files.log.read_text()


def test_a_stop_that_reaches_nobody_is_said_again(spec: AttemptSpec) -> None:
    stopped = iter([False, True])
    asked = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            asked.append(request.url.path)
            return httpx2.Response(200, json={"stopped": next(stopped)})
        return httpx2.Response(200, json={**JOB, "status": "RUNNING"})

    write_record(spec.files.started, {"pid": 1})
    executor = RayExecutor(answering(answer))
    for _ in range(4):
        executor.stop(spec, None, kill=False)
    assert asked == ["/api/jobs/minidl-j1-1/stop"] * 2
