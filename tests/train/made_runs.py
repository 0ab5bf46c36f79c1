"""Run directories as a training leaves them, made without a training.

A test module that uses these fixtures says ``pytest_plugins = ["made_runs"]``.
(PYTEST_DONT_REWRITE: they import it, before pytest does.)
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minidl.train.config import load_config
from minidl.train.journal import Journal
from minidl.train.run_directory import RunDirectory

CONFIG = """\
seed: 7
data: {type: MNISTSample, batch_size: 50, val_fraction: 0.95}
model:
  type: Sequential
  layers:
    - {type: Flatten}
    - {type: Linear, out_features: 16}
    - {type: ReLU}
    - {type: Linear, out_features: 10}
optimizer: {type: AdamW, lr: 1e-2}
trainer: {epochs: 3}
"""

BEGAN = 1_700_000_000.0
MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Make ``runs/NAME``: three epochs of two points and a validation each, and an end."""

    def make(name: str, *overrides: str, status: str | None = "FINISHED", **facts: Any) -> Path:
        source = tmp_path / "made.yaml"
        source.write_text(CONFIG)
        where = [f"trainer.run_root={tmp_path / 'runs'}", f"trainer.name={name}"]
        config = load_config(source, [*where, *overrides])
        run = RunDirectory.create(config, overrides)
        began = facts.get("began", BEGAN)
        about = json.loads(run.about.read_text())
        run.about.write_text(json.dumps(about | {"created": began}))
        with Journal(run.journal) as journal:
            for step in range(1, 7):
                epoch, now = (step + 1) // 2, began + 10 * step
                point = {"train/loss": 2.0 / step, "lr": 0.01, "throughput/samples_per_s": 100.0}
                journal.write(step, epoch, point, time=now)
                if step % 2 == 0:
                    # The second epoch is the best.
                    found = {"val/loss": 1.0, "val/accuracy": [0.5, 0.75, 0.625][epoch - 1]}
                    journal.write(step, epoch, found, time=now)
        if status is not None:
            metrics = {"test/loss": 0.5, "test/accuracy": facts.get("accuracy", 0.875)}
            summary = {
                "status": status,
                "seconds": 75.25,
                "epochs": 3,
                "steps": 6,
                "best_epoch": 2,
                "metrics": metrics if status == "FINISHED" else {},
                "mlflow_run_id": None,
            }
            run.summary.write_text(json.dumps(summary))
        return run.root

    return make
