"""``mpiexec -n 2 minidl train``: what is said, how it ends, and what a kill leaves behind."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from cli_process import TINY, command
from mlflow_stores import client, history, with_mlflow
from mpi_process import run_ranks, started
from typer.testing import CliRunner

from minidl.cli import app
from minidl.train.checkpoint import checkpoints_in, verify_checkpoint
from minidl.train.journal import read_journal

pytest_plugins = ["mlflow_stores"]

#: Libraries that MLflow brings warn of what is no matter of a run.
QUIET = {"PYTHONWARNINGS": "ignore"}
LONG = ["trainer.epochs=100000", "trainer.checkpoint_every=[5, steps]"]
PATIENCE = 240.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(TINY.replace("name: tiny", f"run_root: {tmp_path}"))
    return tmp_path


def test_a_mistake_in_a_config_is_told_once(folder: Path) -> None:
    done = run_ranks(2, *command("train", str(folder / "tiny.yaml"), "optimizer.lrr=3"))
    assert done.returncode == 2
    assert done.stdout == ""
    # Beside what a library of MPI may have to say of the machine.
    told = "command line: optimizer.lrr=3: AdamW has no key `lrr`\n  did you mean `lr`?\n"
    assert done.stderr.count(told) == 1
    assert done.stderr.count("lrr") == told.count("lrr")
    assert [path.name for path in folder.iterdir()] == ["tiny.yaml"]


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("verb", [["sweep", "tiny.yaml"], ["lr-find", "tiny.yaml"], ["runs", "ls"]])
def test_other_verbs_are_for_one_process(verb: list[str], rank: int) -> None:
    done = CliRunner().invoke(app, verb, env={"PMI_RANK": str(rank), "PMI_SIZE": "2"})
    assert done.exit_code == 2
    told = f"minidl {verb[0]} runs in one process, and was started as 2 ranks (PMI_RANK)"
    assert done.stderr.startswith(told) if rank == 0 else done.stderr == ""


def _until(met: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    """Return what ``met`` gives as soon as that is something."""
    end = time.monotonic() + PATIENCE
    while not (found := met()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)
    return found


def _saved(run: Path) -> int:
    """The step of the last checkpoint; 0 while there is none."""
    with contextlib.suppress(OSError, ValueError):
        progress = json.loads((run / "checkpoints" / "last.json").read_text())["progress"]
        return int(progress["step"])
    return 0


def _rank(process: subprocess.Popen[str], rank: int) -> psutil.Process | None:
    """The process of a rank, started by this launcher."""
    children: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        children = psutil.Process(process.pid).children(recursive=True)
    for child in children:
        with contextlib.suppress(psutil.Error):
            if child.environ().get("PMI_RANK") == str(rank):
                return child
    return None


def _step_of(manifest: Path) -> int:
    """The step of a checkpoint that is whole."""
    return int(verify_checkpoint(manifest)["step"])


@with_mlflow
def test_stopped_killed_and_resumed(folder: Path, mlflow_uri: str) -> None:
    run = folder / "run"
    track = f"tracking={{uri: '{mlflow_uri}', experiment: ranks, log_model: false}}"
    begin = ("train", str(folder / "tiny.yaml"), "trainer.name=run", track, *LONG)
    with started(2, *command(*begin), **QUIET) as process:
        _until(lambda: _saved(run), process)
        process.terminate()  # the launcher hands it on to all ranks
        out, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 75, errors
    assert "Traceback" not in errors
    assert out.count("interrupted by SIGTERM: checkpoint in") == 1
    assert json.loads((run / "summary.json").read_text())["status"] == "KILLED"

    before = max(_step_of(path) for path in checkpoints_in(run / "checkpoints"))
    with started(2, *command("resume", str(run)), **QUIET) as process:
        _until(lambda: _saved(run) > before, process)
        victim = _until(lambda: _rank(process, 1), process)
        victim.kill()
        out, _ = process.communicate(timeout=PATIENCE)  # the launcher ends the other rank
    assert process.returncode == 9
    assert "going on in epoch" in out
    assert not (run / "summary.json").exists()
    furthest = checkpoints_in(run / "checkpoints")[0]
    progress = verify_checkpoint(furthest)
    assert progress["step"] > before

    last = f"trainer.epochs={progress['epoch'] + 1}"
    done = run_ranks(2, *command("resume", str(run), last), **QUIET)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.count("run FINISHED") == 1

    # One run in MLflow, and every point of the journal in it once.
    store = client(mlflow_uri)
    experiment = store.get_experiment_by_name("ranks")
    (tracked,) = store.search_runs([experiment.experiment_id])
    assert tracked.info.status == "FINISHED"
    entries = read_journal(run / "metrics.jsonl")
    for name in ("train/loss", "val/accuracy", "test/loss"):
        wanted = [(e.step, e.metrics[name]) for e in entries if name in e.metrics]
        found = history(mlflow_uri, tracked.info.run_id, name)
        assert [(step, value) for step, value, _ in found] == wanted
