"""The verbs that ask a service, against a real one."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_jobs
from cli_process import command, environment
from click.testing import Result
from services import RunningService, start_service
from typer.testing import CliRunner

from minidl.cli import app

SHORT = """\
seed: 7
data: {type: MNISTSample, batch_size: 50, val_fraction: 0.95}
model:
  type: Sequential
  layers:
    - {type: Flatten}
    - {type: Linear, out_features: 10}
optimizer: {type: AdamW, lr: 1e-2}
trainer: {epochs: 2}
"""
LONG = SHORT.replace("epochs: 2", "epochs: 100000")

Minidl = Callable[..., Result]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service whose jobs draw no plots."""
    folder = tmp_path_factory.mktemp("service")
    path = tiny_jobs.environment(folder / "hidden")["PYTHONPATH"]
    running = start_service(folder / "data", "--concurrency", "2", PYTHONPATH=path)
    yield running
    running.stop()


@pytest.fixture
def minidl(
    service: RunningService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Minidl]:
    """A verb in this process, in a directory with configs, with the administrator's token."""
    monkeypatch.chdir(tmp_path)
    Path("short.yaml").write_text(SHORT)
    Path("long.yaml").write_text(LONG)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MINIDL_SERVICE_URL", service.url)
    monkeypatch.setenv("MINIDL_SERVICE_TOKEN", str(service.token))
    begun: list[str] = []

    def run(*arguments: str, **how: Any) -> Result:
        result = CliRunner().invoke(app, list(arguments), catch_exceptions=False, **how)
        begun.extend(re.findall(r"^([0-9a-z]{16})\b", result.stdout, re.MULTILINE))
        return result

    yield run
    for job in begun:  # nothing of this test takes a place from the next one
        service.ask("POST", f"/v1/jobs/{job}/cancel")


@pytest.fixture(scope="module")
def done(service: RunningService) -> str:
    """A training that has succeeded. Tests must leave it as it is."""
    job = service.submit(SHORT, name="done", labels={"team": "vision"})["id"]
    assert service.wait_for(job)["state"] == "succeeded"
    return str(job)


def test_submit_and_follow(minidl: Minidl) -> None:
    said = minidl("submit", "short.yaml", "--name", "followed", "--follow")
    assert said.exit_code == 0, said.output
    first, *log, last = said.stdout.splitlines()
    job = first.split()[0]
    assert re.fullmatch(r"[0-9a-z]{16} queued( \(place \d+ in the queue\))?", first)
    assert any("epoch 2/2" in line for line in log), said.stdout
    assert re.fullmatch(rf"{job}  succeeded  test/accuracy [\d.]+ %", last)


def test_what_is_wrong_is_told_at_its_line_and_nothing_is_queued(
    minidl: Minidl, service: RunningService
) -> None:
    Path("typo.yaml").write_text(SHORT.replace("lr: 1e-2", "learning_rate: 1e-2"))
    said = minidl("submit", "typo.yaml", "--name", "typo")
    assert said.exit_code == 2
    assert said.stderr.splitlines() == [
        "typo.yaml:8:26: AdamW has no key `learning_rate`",
        "    optimizer: {type: AdamW, learning_rate: 1e-2}",
        " " * 29 + "^",
        "  did you mean `lr`?",
    ]
    Path("above.yaml").write_text("include: typo.yaml\ntrainer: {epochs: many}\n")
    said = minidl("submit", "above.yaml", "seed=-1", "--name", "typo")
    assert said.exit_code == 2
    told = [line.split(": ")[0] for line in said.stderr.splitlines() if line[0] != " "]
    assert told == ["above.yaml:2:19", "typo.yaml:8:26", "command line"]
    assert service.ask("GET", "/v1/jobs?q=typo").data["jobs"] == []


def test_check_queues_nothing(minidl: Minidl, service: RunningService) -> None:
    said = minidl("submit", "short.yaml", "--check", "--name", "checked")
    assert (said.exit_code, said.stdout) == (
        0,
        "short.yaml: the service would take it, as a training\n",
    )
    assert minidl("submit", "short.yaml", "--check", "--json").stdout == "[]\n"
    said = minidl("submit", "short.yaml", "seed=-1", "--check", "--json")
    assert said.exit_code == 2
    (problem,) = json.loads(said.stdout)
    assert problem["file"] == "command line: seed=-1"
    assert service.ask("GET", "/v1/jobs?q=checked").data["jobs"] == []


def test_a_key_gives_one_job(minidl: Minidl) -> None:
    first = minidl("submit", "long.yaml", "-q", "--idempotency-key", "once")
    again = minidl("submit", "long.yaml", "--idempotency-key", "once")
    assert again.stdout.split()[0] == first.stdout.strip()
    assert again.stdout.endswith("; submitted before under this key\n")
    other = minidl("submit", "short.yaml", "--idempotency-key", "once")
    assert other.exit_code == 1
    assert "once" in other.stderr or "Idempotency-Key" in other.stderr


def test_everything_that_is_said_of_a_job_arrives(minidl: Minidl) -> None:
    said = minidl(
        *("submit", "long.yaml", "--json", "--name", "told", "--label", "team=a", "--label", "n=1"),
        *("--priority", "-5", "--timeout", "1.5h", "--max-retries", "3"),
    )
    job = json.loads(said.stdout)
    kept = {key: job[key] for key in ("name", "labels", "priority", "timeout", "max_retries")}
    assert kept == {
        "name": "told",
        "labels": {"team": "a", "n": "1"},
        "priority": -5,
        "timeout": 5400.0,
        "max_retries": 3,
    }
    minidl("cancel", job["id"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--label", "team"), "--label team: a label is key=value"),
        (("--timeout", "soon"), "--timeout: 'soon' is no length of time"),
        (("--idempotency-key", "two words"), "a key is up to 200 ASCII characters"),
        (("--quiet", "--json"), "exclude each other"),
        (("--url", "ftp://x"), "'ftp://x' is no address"),
        (("--token-file", "nowhere"), "--token-file nowhere cannot be read: No such file"),
    ],
)
def test_wrong_options(minidl: Minidl, arguments: tuple[str, ...], message: str) -> None:
    said = minidl("submit", "short.yaml", *arguments)
    assert said.exit_code == 2
    assert message in said.stderr


def test_following_ends_as_the_job_does(minidl: Minidl) -> None:
    said = minidl("submit", "long.yaml", "--timeout", "1s", "--follow", "--quiet")
    assert said.exit_code == 124
    assert re.search(r"[0-9a-z]{16} timed_out: it ran longer than its timeout", said.stderr)


def test_ctrl_c_ends_the_watching_and_not_the_job(
    minidl: Minidl, service: RunningService, tmp_path: Path
) -> None:
    variables = {"MINIDL_SERVICE_URL": service.url, "MINIDL_SERVICE_TOKEN": str(service.token)}
    process = subprocess.Popen(
        command("submit", "long.yaml", "--follow"),
        env=environment(**variables),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # xdist ignores it
    )
    assert process.stdout is not None
    job = process.stdout.readline().split()[0]
    while "epoch" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 130
    assert f"the job goes on; `minidl logs -f {job}` shows it" in said
    assert service.ask("GET", f"/v1/jobs/{job}").data["state"] in ("starting", "running")
    assert minidl("cancel", job).exit_code == 0


def test_jobs_are_listed_and_found(minidl: Minidl, done: str) -> None:
    listed = minidl("jobs", "--label", "team=vision", "--state", "succeeded", "--search", "don")
    heading, line = listed.stdout.splitlines()
    assert heading.split()[:3] == ["job", "name", "state"]
    assert line.startswith(f"{done}  done  succeeded  admin  2/2 epochs")
    (job,) = [
        json.loads(text)
        for text in minidl("jobs", "--label", "team=vision", "--json").stdout.splitlines()
    ]
    assert job["id"] == done
    assert minidl("jobs", "--owner", "nobody").stdout == "no job is so\n"
    assert "--limit N or --all shows more" in minidl("jobs", "--limit", "1").stderr
    wrong = minidl("jobs", "--state", "done")
    assert wrong.exit_code == 2
    assert "succeeded" in wrong.stderr
    assert "draws on a terminal" in minidl("jobs", "--watch").stderr


def test_an_id_may_be_cut_short(minidl: Minidl, done: str) -> None:
    assert json.loads(minidl("job", "show", done[:-1], "--json").stdout)["id"] == done
    many = minidl("logs", done[:1])
    assert many.exit_code == 2
    assert f"several jobs' ids begin with {done[:1]}: " in many.stderr
    for text, message in [("zzzz", "no job's id begins with zzzz"), ("A/B", "'A/B' is no job")]:
        said = minidl("logs", text)
        assert said.exit_code == 2
        assert message in said.stderr
    assert "z" * 16 in minidl("logs", "z" * 16).stderr


def test_a_job_is_shown(minidl: Minidl, done: str) -> None:
    text = minidl("job", "show", done).stdout
    for shown in ("state      succeeded", "labels     team=vision", "attempts\n", "test/accuracy"):
        assert shown in text, text
    source = minidl("job", "config", done, "--format", "source").stdout
    assert source == SHORT
    assert "label_smoothing: 0.0" in minidl("job", "config", done).stdout
    assert json.loads(minidl("job", "config", done, "--format", "flat").stdout)["trainer.epochs"]
    kinds = [
        json.loads(line)["kind"]
        for line in minidl("job", "events", done, "--json").stdout.splitlines()
    ]
    assert kinds[0] == "submitted"
    assert "attempt_ended" in kinds
    assert "submitted" in minidl("job", "events", done).stdout


def test_logs_are_the_same_followed_or_not(minidl: Minidl, done: str) -> None:
    once = minidl("logs", done).stdout
    assert "epoch 2/2" in once
    assert minidl("logs", "-f", done).stdout == once


def test_files_are_fetched_as_a_run(minidl: Minidl, done: str) -> None:
    listed = minidl("job", "artifacts", done).stdout
    assert "model/model.safetensors" in listed
    said = minidl("job", "download", done)
    assert said.stdout.startswith(f"{done}: ")
    shown = json.loads(minidl("runs", "show", done, "--json").stdout)
    assert shown["state"] == "finished"
    minidl("job", "download", done, "model", "metrics.jsonl", "--to", "part")
    assert {path.name for path in Path("part").iterdir()} == {"model", "metrics.jsonl"}
    assert Path("part/metrics.jsonl").read_bytes() == Path(done, "metrics.jsonl").read_bytes()
    missing = minidl("job", "download", done, "nothing")
    assert (missing.exit_code, "has no file nothing" in missing.stderr) == (2, True)


def test_cancel_retry_resume_delete(minidl: Minidl, service: RunningService) -> None:
    job = minidl("submit", "short.yaml", "-q", "--name", "again").stdout.strip()
    service.wait_for(job)
    refused = minidl("cancel", job)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "succeeded" in refused.stderr
    wrong = minidl("job", "resume", job, "optimizer.lr=5", "trainer.epochs=x")
    assert wrong.exit_code == 2
    assert "trainer.epochs" in wrong.stderr
    assert minidl("job", "resume", job, "trainer.epochs=3").exit_code == 0
    assert service.wait_for(job)["progress"]["epoch"] == 3
    assert minidl("retry", job, "z" * 16).exit_code == 2  # of two, one is none
    assert service.wait_for(job)["progress"]["epoch"] == 2
    asked = minidl("job", "delete", job)
    assert (asked.exit_code, "say --yes" in asked.stderr) == (2, True)
    assert minidl("job", "delete", job, "--yes").stdout == f"{job} deleted\n"
    assert minidl("job", "show", job).exit_code == 2


def test_tokens(minidl: Minidl, service: RunningService, monkeypatch: pytest.MonkeyPatch) -> None:
    made = minidl("token", "create", "--user", "ada", "--role", "read", "--ttl", "1h")
    token = made.stdout.strip()
    assert re.fullmatch(r"minidl_\w+_[\w-]{43}", token)
    assert token not in made.stderr
    monkeypatch.delenv("MINIDL_SERVICE_TOKEN")
    nobody = minidl("jobs")
    assert (nobody.exit_code, "wants a token" in nobody.stderr) == (2, True)
    said = minidl("login", service.url, input=f"{token}\n")
    assert said.stdout.startswith(f"{service.url}: you are ada (read); kept in ")
    assert minidl("jobs").exit_code == 0
    refused = minidl("submit", "short.yaml")
    assert (refused.exit_code, "not allowed: " in refused.stderr) == (2, True)
    wrong = minidl("login", service.url, input="minidl_nobody_" + 43 * "x")
    assert (wrong.exit_code, "does not accept the token" in wrong.stderr) == (2, True)
    assert minidl("jobs").exit_code == 0  # what was kept is kept
    monkeypatch.setenv("MINIDL_SERVICE_TOKEN", str(service.token))
    (record,) = [
        one
        for one in map(json.loads, minidl("token", "list", "--json").stdout.splitlines())
        if one["user"] == "ada"
    ]
    assert minidl("token", "revoke", record["id"]).stdout == f"{record['id']} revoked\n"
    monkeypatch.delenv("MINIDL_SERVICE_TOKEN")
    assert minidl("jobs").exit_code == 2


def test_tokens_straight_in_the_database(minidl: Minidl, service: RunningService) -> None:
    data = ("--data", str(service.data))
    token = minidl("token", "create", "--user", "bob", "--role", "admin", *data).stdout.strip()
    assert service.ask("GET", "/v1/me", token=token).data["role"] == "admin"
    records = map(json.loads, minidl("token", "list", "--json", *data).stdout.splitlines())
    (record,) = [one for one in records if one["user"] == "bob"]
    assert record["created_by"].endswith("on the service's machine")
    assert record["created_at"].endswith("Z")
    assert "bob" in minidl("token", "list", *data).stdout
    said = minidl("token", "revoke", token, *data)
    assert (said.exit_code, token in said.stderr) == (2, False)
    assert minidl("token", "revoke", record["id"], *data).exit_code == 0
    assert service.ask("GET", "/v1/me", token=token).status == 401
    missing = minidl("token", "list", "--data", "elsewhere")
    assert (missing.exit_code, "there is no service.db" in missing.stderr) == (2, True)
    assert not Path("elsewhere").exists()
    absent = minidl("token", "create", "--user", "x", "--db", "sqlite:///typo.db")
    assert (absent.exit_code, "there is no such file" in absent.stderr) == (2, True)
    assert not Path("typo.db").exists()
    odd = minidl("token", "list", "--db", "mysql://x/y")
    assert (odd.exit_code, odd.stderr.startswith("--db: ")) == (2, True)


def test_no_service(minidl: Minidl, monkeypatch: pytest.MonkeyPatch) -> None:
    from minidl.service.client import connection

    monkeypatch.setattr(connection, "PATIENCE", 0.0)
    said = minidl("jobs", "--url", "http://127.0.0.1:9")
    assert said.exit_code == 69
    assert "no service answers at http://127.0.0.1:9 (connection refused)" in said.stderr
