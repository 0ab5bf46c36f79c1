"""Real trainings, killed at random moments and taken up again, end as if they had not been.

Dropout, augmentation, accumulation, an average of the weights, batch norm's running statistics,
prefetching, early stopping and a schedule are on: whatever has a state has to come back.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
from cli_process import command, environment, run_in
from mlflow_stores import MLFLOW_MARKS

pytest_plugins = ["mlflow_stores"]

CONFIG = """\
seed: 3
data:
  type: MNISTSample
  batch_size: 24
  val_fraction: 0.05
  augment: [{type: RandomShift, pixels: 2}, {type: GaussianNoise, std: 0.1}]
model:
  type: Sequential
  layers:
    - {type: Flatten}
    - {type: Linear, out_features: 24}
    - {type: BatchNorm1d}
    - {type: ReLU}
    - {type: Dropout, p: 0.2}
    - {type: Linear, out_features: 10}
optimizer: {type: AdamW, lr: 3e-3}
schedule: {type: CosineAnnealingLR, warmup_steps: 20}
trainer:
  epochs: 3
  accumulate: 2
  ema: {decay: 0.95}
  clip_norm: 1.0
  log_every: 5
  validate_every: [40, steps]
  checkpoint_every: [7, steps]
  early_stop: {patience: 50}
  nan_guard: rollback
"""
KILLS = 50
SECONDS = 120


def _last_state(run: Path) -> str:
    digest: str = json.loads((run / "checkpoints/last.json").read_text())["sha256"]
    return digest


def _life(folder: Path, dice: random.Random, *arguments: str, longest: float = 0.7) -> bool:
    """Let a process train until it is killed; return whether it had ended before."""
    process = subprocess.Popen(
        command(*arguments), cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout as out:
        if dice.random() < 0.8:  # most of its life is the loading of code: skip that mostly
            out.readline()
        time.sleep(dice.uniform(0.0, longest))
        ended = process.poll() is not None
        process.kill()
        rest = out.read()
    process.wait(timeout=SECONDS)
    if ended:
        assert process.returncode == 0, rest
    return ended


@pytest.mark.slow
def test_killed_at_fifty_random_moments(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    done = run_in(tmp_path, "train", "c.yaml", "trainer.name=whole")
    assert done.returncode == 0, done.stderr
    whole = tmp_path / "runs/whole"
    dice = random.Random(0)
    kills = chains = 0
    while kills < KILLS:
        name = f"killed{chains}"
        chains += 1
        run = tmp_path / "runs" / name
        for _ in range(12):
            first = not (run / "config.yaml").exists()
            if first and run.exists():
                break  # killed while the directory was made: there is nothing to resume
            arguments = ["train", "c.yaml", f"trainer.name={name}"]
            if _life(tmp_path, dice, *(arguments if first else ["resume", str(run)])):
                break
            kills += 1
        else:
            done = run_in(tmp_path, "resume", str(run))
            assert done.returncode == 0, done.stderr
            assert "bit for bit" not in done.stdout
        if not (run / "summary.json").exists():
            continue
        for file in ("metrics.jsonl", "model/model.safetensors"):
            assert (run / file).read_bytes() == (whole / file).read_bytes(), (name, file)
        assert _last_state(run) == _last_state(whole)
        summary = json.loads((run / "summary.json").read_text())
        assert summary["status"] == "FINISHED"
        assert summary["metrics"] == json.loads((whole / "summary.json").read_text())["metrics"]
    assert chains > 3


def _series(database: Path, run_name: str) -> list[tuple[str, int, float]]:
    """All points of a run in a store; of speed only their steps, as no two trainings share it."""
    query = (
        "SELECT key, step, value FROM metrics JOIN runs USING (run_uuid) WHERE runs.name = ? "
        "ORDER BY key, step, value"
    )
    with contextlib.closing(sqlite3.connect(database)) as store:
        rows = store.execute(query, (run_name,)).fetchall()
    return [
        (key, step, 0.0 if key.startswith("throughput/") else value) for key, step, value in rows
    ]


@pytest.mark.slow
class TestTracked:
    pytestmark = MLFLOW_MARKS

    def test_the_series_in_mlflow_are_those_of_an_undisturbed_run(
        self, tmp_path: Path, mlflow_template: Path
    ) -> None:
        (tmp_path / "c.yaml").write_text(CONFIG)
        shutil.copyfile(mlflow_template, tmp_path / "mlflow.db")
        tracked = ("tracking={experiment: e, log_model: false}", "trainer.epochs=12")
        done = run_in(tmp_path, "train", "c.yaml", "trainer.name=whole", *tracked)
        assert done.returncode == 0, done.stderr
        dice = random.Random(1)
        arguments = ["train", "c.yaml", "trainer.name=killed", *tracked]
        lives = 0
        while not _life(tmp_path, dice, *arguments, longest=6.0):
            lives += 1
            arguments = ["resume", "runs/killed"]
            if lives == 5:
                assert run_in(tmp_path, "resume", "runs/killed").returncode == 0
                break
        assert lives > 1
        whole = _series(tmp_path / "mlflow.db", "whole")
        assert len(whole) > 400
        assert _series(tmp_path / "mlflow.db", "killed") == whole
        assert (tmp_path / "runs/killed/metrics.jsonl").read_bytes() == (
            tmp_path / "runs/whole/metrics.jsonl"
        ).read_bytes()
