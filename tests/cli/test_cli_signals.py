"""Real processes, really interrupted: what they leave behind, and how they end."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_process import command, environment, run_in

from minidl.train.build import build
from minidl.train.checkpoint import checkpoints_in, load_checkpoint
from minidl.train.config import load_config
from minidl.train.inference import Predictor

pytest_plugins = ["cli_process"]

needs_mlflow = [
    pytest.mark.mlflow,
    pytest.mark.skipif(
        importlib.util.find_spec("mlflow") is None, reason="mlflow is not installed (extra mlflow)"
    ),
]
LONG = ("trainer.epochs=100000", "trainer.log_every=3")
SECONDS = 60

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Start the command; whatever is still there after the test is killed."""
    started = []

    def popen(*arguments: str, **more: Any) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        # pytest-xdist's workers ignore Ctrl-C, and their children would from birth.
        how = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)} | pipes
        process = subprocess.Popen(
            command(*arguments), cwd=folder, env=environment(), text=True, **how
        )
        started.append(process)
        return process

    yield popen
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def _wait_for_epoch(process: subprocess.Popen[str], number: int = 1) -> str:
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if line.startswith("epoch ") and line.split()[1].startswith(f"{number}/"):
            return said
    pytest.fail(f"it ended early:\n{said}\n{process.stderr and process.stderr.read()}")


def _summary(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((folder / "runs/tiny/summary.json").read_text())
    return summary


@pytest.mark.parametrize(
    ("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)], ids=["SIGINT", "SIGTERM"]
)
def test_a_training_that_is_interrupted(
    start: Start, folder: Path, signum: signal.Signals, status: int
) -> None:
    process = start("train", "tiny.yaml", *LONG)
    _wait_for_epoch(process)
    process.send_signal(signum)
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == status
    assert err == ""
    assert f"interrupted by {signum.name}: checkpoint in runs/tiny/checkpoints" in out
    assert "run KILLED" in out
    summary = _summary(folder)
    assert summary["status"] == "KILLED"
    experiment = build(load_config(folder / "tiny.yaml"))
    progress = load_checkpoint(
        checkpoints_in(folder / "runs/tiny/checkpoints")[0],
        model=experiment.model,
        optimizer=experiment.optimizer,
        rng=experiment.rng,
    )
    assert progress["step"] == summary["steps"] >= 6
    found = Predictor.load(folder / "runs/tiny/model").probabilities(
        np.zeros((1, 1, 28, 28), np.uint8)
    )
    assert found.shape == (1, 10)
    assert run_in(folder, "eval", "runs/tiny").returncode == 0


def test_interrupted_before_anything_was_begun(start: Start, folder: Path) -> None:
    # A pipe in the place of the config: its reader is in the middle of loading it, and waits.
    os.mkfifo(folder / "slow.yaml")
    process = start("train", "slow.yaml")
    with (folder / "slow.yaml").open("w"):
        time.sleep(0.5)  # a signal between its opening the pipe and its reading would not wake it
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert out == ""
    assert not (folder / "runs").exists()


def test_a_reader_that_goes_away(start: Start, folder: Path) -> None:
    process = start("train", "tiny.yaml", *LONG)
    _wait_for_epoch(process)
    assert process.stdout is not None
    process.stdout.close()
    process.wait(timeout=SECONDS)
    assert process.returncode == 1
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    assert _summary(folder)["status"] == "FAILED"


def test_killed_outright_the_last_checkpoint_is_whole(start: Start, folder: Path) -> None:
    process = start("train", "tiny.yaml", *LONG)
    _wait_for_epoch(process, 2)
    process.kill()
    process.wait()
    assert not (folder / "runs/tiny/summary.json").exists()
    experiment = build(load_config(folder / "tiny.yaml"))
    progress = load_checkpoint(
        checkpoints_in(folder / "runs/tiny/checkpoints")[0],
        model=experiment.model,
        optimizer=experiment.optimizer,
        rng=experiment.rng,
    )
    assert progress["epoch"] >= 2


# ---- on a terminal ------------------------------------------------------------------------------


class Terminal:
    """A pseudo-terminal, and a process that has it as its controlling terminal."""

    def __init__(self, start: Start, *arguments: str) -> None:
        self.master, slave = os.openpty()
        termios.tcsetwinsize(slave, (40, 120))
        self.process = start(
            *arguments,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            preexec_fn=lambda: os.login_tty(os.dup(slave)),
        )
        os.close(slave)
        self.text = ""

    def read_until(self, word: str | None) -> None:
        """Read until a word appears; with None, to the end."""
        end = time.monotonic() + SECONDS
        while word is None or word not in self.text:
            assert time.monotonic() < end, self.text[-2000:]
            if select.select([self.master], [], [], 0.5)[0]:
                try:
                    data = os.read(self.master, 65536)
                except OSError:  # how Linux says that nobody holds the other end any more
                    data = b""
                if not data:
                    assert word is None, self.text[-2000:]
                    return
                self.text += data.decode(errors="replace")

    def write(self, keys: bytes) -> None:
        os.write(self.master, keys)


@pytest.fixture
def terminal(start: Start, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Terminal]]:
    monkeypatch.setenv("TERM", "xterm-256color")
    with contextlib.ExitStack() as stack:

        def opened(*arguments: str) -> Terminal:
            terminal = Terminal(start, *arguments)
            stack.callback(os.close, terminal.master)
            return terminal

        yield opened


def test_a_bar_and_ctrl_c_on_a_terminal(terminal: Callable[..., Terminal], folder: Path) -> None:
    screen = terminal("train", "tiny.yaml", *LONG)
    screen.read_until("epoch      2/100000  ")  # the line that stays of an epoch
    assert "━" in screen.text
    assert "/6" in screen.text
    assert "\x1b[?25l" in screen.text  # the cursor is hidden
    screen.write(b"\x03")
    screen.read_until(None)
    assert screen.process.wait(timeout=SECONDS) == 130
    assert "\x1b[?25h" in screen.text  # and is shown again
    assert "interrupted by SIGINT: checkpoint in" in screen.text
    assert "run KILLED" in screen.text
    assert "Traceback" not in screen.text
    assert _summary(folder)["status"] == "KILLED"


def test_a_table_on_a_terminal(terminal: Callable[..., Terminal]) -> None:
    screen = terminal("train", "tiny.yaml", "trainer.epochs=1")
    screen.read_until(None)
    assert screen.process.wait(timeout=SECONDS) == 0
    assert "run FINISHED" in screen.text
    assert "┌" in screen.text


# ---- with MLflow --------------------------------------------------------------------------------


def runs_in(folder: Path, uri: str = "sqlite:///mlflow.db") -> list[dict[str, Any]]:
    """What MLflow knows, asked by a process of its own."""
    program = f"""
import json
from mlflow import MlflowClient

pytest_plugins = ["cli_process"]
client = MlflowClient(tracking_uri={uri!r})
experiments = [e.experiment_id for e in client.search_experiments() if e.name != "Default"]
print(json.dumps([
    {{
        "id": run.info.run_id,
        "status": run.info.status,
        "metrics": run.data.metrics,
        "params": run.data.params,
        "tags": run.data.tags,
        "plots": [file.path for file in client.list_artifacts(run.info.run_id, "plots")],
        "models": [m.name for m in client.search_logged_models(experiments)],
    }}
    for run in client.search_runs(experiments)
]))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=folder,
        env=environment(MLFLOW_DISABLE_TELEMETRY="true", MLFLOW_LOGGING_LEVEL="ERROR"),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    runs: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return runs


@pytest.mark.slow
class TestTracked:
    pytestmark = needs_mlflow

    def test_ctrl_c_ends_the_run_in_mlflow_too(self, start: Start, folder: Path) -> None:
        process = start(
            "train",
            "tiny.yaml",
            "tracking.experiment=interrupted",
            "tracking.log_model=false",
            *LONG,
        )
        _wait_for_epoch(process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (130, "")
        (run,) = runs_in(folder)
        assert run["status"] == "KILLED"
        assert run["id"] == _summary(folder)["mlflow_run_id"]
        assert run["id"] in out
        assert "val/accuracy" in run["metrics"]

    def test_the_quickstart(self, tmp_path: Path) -> None:
        config = Path(__file__).parents[2] / "configs/quickstart.yaml"
        done = run_in(tmp_path, "train", str(config), "trainer.name=quick")
        # Where numba is installed, the first run on a machine says that it compiles.
        told = [
            s for s in done.stderr.splitlines() if not s.startswith("minidl: compiling kernels")
        ]
        assert (done.returncode, told) == (0, [])
        assert "mlflow ui --backend-store-uri sqlite:///" in done.stdout
        directory = tmp_path / "runs/quick"
        summary = json.loads((directory / "summary.json").read_text())
        assert summary["status"] == "FINISHED"
        assert summary["metrics"]["test/accuracy"] >= 0.97
        (run,) = runs_in(tmp_path)
        assert run["status"] == "FINISHED"
        assert run["id"] == summary["mlflow_run_id"]
        assert run["metrics"]["test/accuracy"] == summary["metrics"]["test/accuracy"]
        assert run["params"]["optimizer.lr"] == "0.004"
        assert run["params"]["model.layers.0.out_channels"] == "8"
        assert run["tags"]["run.directory"] == str(directory)
        assert run["tags"]["minidl.version"]
        assert sorted(run["plots"]) == ["plots/confusion.png", "plots/curves.png"]
        assert len(run["models"]) == 1
