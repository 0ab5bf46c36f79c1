"""Real processes, really killed: what a sweep loses (nothing), and how it goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_process import command, environment, run_in
from sweep_configs import BASE
from tiny_runs import run_quietly

from minidl.train.config import load_config
from minidl.train.journal import read_journal
from minidl.train.reports import plots

optuna = pytest.importorskip("optuna", reason="optuna is not installed (extra sweep)")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes by /proc"),
]

SECONDS = 300
EPOCHS = 12
RATES = (0.001, 0.002, 0.003)
GRID = (f"optimizer.lr={','.join(map(str, RATES))}", f"trainer.epochs={EPOCHS}", "--jobs", "2")

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(BASE)
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Start a sweep; whatever is still there after the test is killed, its trainings too."""
    started = []

    def popen(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command("sweep", "tiny.yaml", *arguments),
            cwd=folder,
            env=environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield popen
    for process in started:
        if process.poll() is None:
            for child in children(process.pid):
                os.kill(child, signal.SIGKILL)
            process.kill()
        process.communicate()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            pytest.fail(f"it did not come to it: {process.communicate()}")
        time.sleep(0.02)


def epochs_of(folder: Path, number: int) -> int:
    journal = folder / f"runs/tiny/trial-{number:04d}/metrics.jsonl"
    if not journal.exists():
        return 0
    return sum("val/accuracy" in entry.metrics for entry in read_journal(journal))


def trials(folder: Path) -> list[Any]:
    study = optuna.load_study(study_name="tiny", storage=f"sqlite:///{folder}/runs/tiny/study.db")
    found = study.trials
    study._storage._backend.engine.dispose()
    return list(found)


def states(folder: Path) -> list[str]:
    return [trial.state.name for trial in trials(folder)]


def undisturbed(folder: Path, rate: float) -> float:
    """The value of a trial that nothing happens to."""
    config = load_config(
        folder / "tiny.yaml",
        [f"optimizer.lr={rate}", GRID[1], f"trainer.run_root={folder}/undisturbed"],
    )
    entries = run_quietly(config).entries
    return max(e.metrics["val/accuracy"] for e in entries if "val/accuracy" in e.metrics)


def test_sweep_and_training_killed_outright(
    start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start(*GRID)
    wait_for(lambda: min(epochs_of(folder, 0), epochs_of(folder, 1)) >= 2, process)
    trainings = children(process.pid)
    assert len(trainings) == 2
    process.kill()
    process.wait()
    assert states(folder) == ["RUNNING", "RUNNING"]
    # Nobody tells the trainings, and they end all the same.
    end = time.monotonic() + SECONDS
    while any(Path(f"/proc/{pid}/fd").exists() and is_alive(pid) for pid in trainings):
        assert time.monotonic() < end, "a training outlives its sweep"
        time.sleep(0.05)

    process = start(*GRID, "--json")
    wait_for(lambda: epochs_of(folder, 1) >= 1 and children(process.pid), process)
    os.kill(children(process.pid)[0], signal.SIGKILL)
    out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, err) == (0, "")
    events = [json.loads(line) for line in out.splitlines()]
    killed = [e["text"] for e in events if e["event"] == "message"]
    assert len(killed) == 1
    assert "killed by SIGKILL (out of memory?); it is taken up again" in killed[0]

    assert states(folder) == ["COMPLETE"] * len(RATES)
    assert [trial.params["optimizer.lr"] for trial in trials(folder)] == list(RATES)
    # Two were interrupted by the end of their sweep: they went on from their checkpoints.
    logs = [(folder / f"runs/tiny/logs/trial-000{n}.log").read_text() for n in range(2)]
    assert all("going on in epoch" in log for log in logs)
    monkeypatch.setattr(plots, "plots_available", lambda: False)
    values = [undisturbed(folder, rate) for rate in RATES]
    assert [trial.value for trial in trials(folder)] == values
    assert events[-1]["best"]["value"] == max(values)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_sweep_that_is_interrupted_goes_on(start: Start, folder: Path) -> None:
    grid = ("optimizer.lr=0.001,0.002", f"trainer.epochs={EPOCHS}")
    process = start(*grid)
    wait_for(lambda: epochs_of(folder, 0) >= 2, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, err) == (130, "")
    assert "interrupted by SIGINT: the same command goes on with the sweep" in out
    assert (folder / "runs/tiny/trial-0000/checkpoints/last.json").exists()
    assert states(folder) == ["RUNNING"]
    done = run_in(folder, "sweep", "tiny.yaml", *grid)
    assert (done.returncode, done.stderr) == (0, "")
    assert "trial 0 goes on: optimizer.lr=0.001" in done.stdout
    assert states(folder) == ["COMPLETE", "COMPLETE"]


def test_two_sweeps_at_once_work_on_one_study(start: Start, folder: Path) -> None:
    grid = (GRID[0], "trainer.epochs=3")
    processes = [start(*grid), start(*grid)]
    outputs = [process.communicate(timeout=SECONDS) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert states(folder) == ["COMPLETE"] * len(RATES)
    assert [trial.params["optimizer.lr"] for trial in trials(folder)] == list(RATES)
    begun = [line for out, _ in outputs for line in out.splitlines() if " begins: " in line]
    assert len(begun) == len(RATES)
    assert all("3 COMPLETE of 3" in out for out, _ in outputs)
    assert len({trial.user_attrs["worker"]["id"] for trial in trials(folder)}) == 2


def test_trials_that_fail_are_told_and_end_the_sweep_in_the_end(folder: Path) -> None:
    rates = "optimizer.lr=0.01,1e29,1e30,1e31"
    done = run_in(folder, "sweep", "tiny.yaml", rates, "sweep.stop_after_failures=2")
    assert done.returncode == 1
    assert "2 trials in a row have failed, the last one with: the loss became nan" in done.stderr
    assert states(folder) == ["COMPLETE", "FAIL", "FAIL"]
    assert "the loss became nan" in trials(folder)[1].user_attrs["reason"]
    assert (folder / "runs/tiny/best.yaml").exists()
