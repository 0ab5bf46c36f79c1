"""``minidl train --json`` and ``--quiet``, as a program that reads them meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_process import Minidl

pytest_plugins = ["cli_process"]


def test_json_is_all_there_is_on_standard_output(minidl: Minidl) -> None:
    done = minidl("train", "tiny.yaml", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    names = [event["event"] for event in events]
    assert names.count("epoch_ends") == 2
    assert "point" in names
    (begin,) = (event for event in events if event["event"] == "run_begins")
    assert (begin["total_steps"], begin["epochs"]) == (12, 2)
    last = [event for event in events if event["event"] == "epoch_ends"][-1]
    assert (last["step"], last["epoch"]) == (12, 2)
    assert 0 <= last["metrics"]["val/accuracy"] <= 1
    end = events[-1]
    assert (end["event"], end["status"], end["exit_status"]) == ("run_ends", "FINISHED", 0)
    assert (end["directory"], end["steps"], end["epochs"]) == ("runs/tiny", 12, 2)
    assert end["metrics"].keys() == {"test/loss", "test/accuracy"}


def test_quiet_says_nothing_of_the_training(minidl: Minidl, folder: Path) -> None:
    done = minidl("train", "tiny.yaml", "--quiet", "trainer.epochs=1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "runs/tiny\n"
    assert (folder / "runs/tiny/summary.json").exists()


def test_a_run_that_fails_says_so_to_machines(minidl: Minidl) -> None:
    done = minidl("train", "tiny.yaml", "--json", "optimizer={type: SGD, lr: 1e30}")
    assert done.returncode == 1
    end = json.loads(done.stdout.splitlines()[-1])
    assert (end["event"], end["status"]) == ("run_ends", "FAILED")
    assert end["error"]
    assert end["error"] in done.stderr


@pytest.mark.parametrize("options", [("--json", "--quiet"), ("-q", "--json")])
def test_json_and_quiet_at_once(minidl: Minidl, folder: Path, options: tuple[str, str]) -> None:
    done = minidl("train", "tiny.yaml", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "--json and --quiet exclude each other: choose one\n"
    assert not (folder / "runs").exists()
