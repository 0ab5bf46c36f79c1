"""``minidl runs``: its arguments, exit statuses, and JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_runs import MakeRun
from typer.testing import CliRunner, Result

from minidl.cli import app

pytest_plugins = ["made_runs"]


@pytest.fixture
def place(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with runs a and b, where the command runs."""
    make_run("a", "optimizer.lr=1e-3", accuracy=0.5)
    root = make_run("b", accuracy=0.75).parent
    monkeypatch.chdir(root.parent)
    return root.parent


def _minidl(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["runs", *arguments])


def test_ls(place: Path) -> None:
    done = _minidl("ls", "--sort", "-test/accuracy", "--column", "optimizer.lr")
    assert (done.exit_code, done.stderr) == (0, "")
    heading, b, a = done.stdout.splitlines()
    assert "optimizer.lr" in heading
    assert b.startswith("b ")
    assert a.startswith("a ")
    assert "0.001" in a


def test_ls_for_machines(place: Path) -> None:
    done = _minidl("ls", "--json", "--filter", "optimizer.lr=0.001")
    (run,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (run["name"], run["state"], run["steps"]) == ("a", "finished", 6)
    assert run["metrics"]["test/accuracy"] == 0.5
    assert run["config"]["optimizer"]["lr"] == 0.001
    assert Path(run["directory"]) == Path("runs/a")


def test_ls_of_nothing(place: Path) -> None:
    assert _minidl("ls", "--filter", "state=failed").stdout == "runs: no run of 2 is so\n"
    (place / "other").mkdir()
    assert _minidl("ls", "other").stdout == "other: no run yet\n"
    assert _minidl("ls", "other", "--json").stdout == ""


def test_show_and_compare(place: Path) -> None:
    done = _minidl("show", "runs/a")
    assert done.exit_code == 0
    assert "optimizer  AdamW\n" in done.stdout
    assert json.loads(_minidl("show", "runs/a", "--json").stdout)["name"] == "a"
    done = _minidl("compare", "runs/a", "runs/b")
    assert done.exit_code == 0
    assert "optimizer.lr  0.001  0.01" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ls", "nothing"], "nothing: there is no such directory"),
        (["ls", "runs/a"], "this is one run"),
        (["ls", "--sort", "acuracy"], "no run has `acuracy`"),
        (["ls", "--filter", "lr"], "a condition is key=value"),
        (["ls", "--column", "optimizer.rl"], "no run has `optimizer.rl`"),
        (["show", "a"], "did you mean runs/a?"),
        (["show", "runs"], "not a run directory"),
        (["compare", "runs/a"], "two runs or more"),
        (["compare", "runs/a", "runs/c"], "runs/c: there is no such directory"),
    ],
    ids=" ".join,
)
def test_mistakes(place: Path, arguments: list[str], message: str) -> None:
    done = _minidl(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
