"""``minidl resume``, and what ``minidl train`` says of a run that has not finished."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
from cli_process import Minidl, command, environment

from minidl.train.checkpoint import checkpoints_in, verify_checkpoint

pytest_plugins = ["cli_process"]


@pytest.fixture
def killed(folder: Path) -> Path:
    """A run that was killed outright in its third epoch or later."""
    process = subprocess.Popen(
        command("train", "tiny.yaml", "trainer.epochs=5000"),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout as out:
        while out.readline().split()[1:2] != ["3/5000"]:
            assert process.poll() is None
        process.kill()
        out.read()
    assert process.wait(timeout=60) == -signal.SIGKILL
    return folder / "runs/tiny"


def test_what_is_said_of_a_run_that_was_killed(minidl: Minidl, killed: Path) -> None:
    taken = minidl("train", "tiny.yaml")
    assert taken.returncode == 2
    assert "the run directory runs/tiny exists already, with a run that has not finished" in (
        taken.stderr
    )
    assert "go on with it by `minidl resume runs/tiny`" in taken.stderr
    epoch = verify_checkpoint(checkpoints_in(killed / "checkpoints")[0])["epoch"]
    done = minidl("resume", "runs/tiny", f"trainer.epochs={epoch + 1}")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"going on in epoch {epoch}, after step {6 * epoch}" in done.stdout
    assert "run FINISHED" in done.stdout
    again = minidl("resume", "runs/tiny")
    assert again.returncode == 0
    assert "runs/tiny has finished already; trainer.epochs=N makes it longer" in again.stdout
    assert "exists already\n" in minidl("train", "tiny.yaml").stderr
    # As events for machines.
    told = minidl("resume", "runs/tiny", f"trainer.epochs={epoch + 2}", "--json")
    events = [json.loads(line) for line in told.stdout.splitlines()]
    assert events[-1]["event"] == "run_ends"
    assert next(e for e in events if e["event"] == "run_begins")["first_step"] == 6 * (epoch + 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resume", "nowhere"), "nowhere: not a run directory (there is no config.yaml)"),
        (("resume", "."), ".: not a run directory"),
        (("train", "tiny.yaml", "--json", "--quiet"), "exclude each other"),
    ],
)
def test_what_cannot_be_done(minidl: Minidl, arguments: tuple[str, ...], message: str) -> None:
    done = minidl(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_trying_out_leaves_nothing(minidl: Minidl, folder: Path) -> None:
    planned = minidl("train", "tiny.yaml", "--dry-run")
    assert planned.returncode == 0
    assert "12 steps in 2 epochs" in planned.stdout
    fast = minidl("train", "tiny.yaml", "--fast-dev-run")
    assert (fast.returncode, fast.stderr) == (0, "")
    assert "150 training, 150 validation, 150 test samples" in fast.stdout
    assert "run FINISHED" in fast.stdout
    assert [path.name for path in folder.iterdir()] == ["tiny.yaml"]


def test_a_few_batches_by_heart(minidl: Minidl, folder: Path) -> None:
    done = minidl("train", "tiny.yaml", "--overfit-batches", "1", "trainer.epochs=60")
    assert (done.returncode, done.stderr) == (0, "")
    assert "50 training, 50 validation, 50 test samples" in done.stdout
    summary = json.loads((folder / "runs/tiny/summary.json").read_text())
    assert summary["metrics"]["test/accuracy"] > 0.98  # the test is what was learnt
