"""Jobs so small that a test can afford dozens: two small layers, a few steps on a few images.

(PYTEST_DONT_REWRITE: test modules import it, before pytest does.)
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from minidl.service.executors.executor import AttemptSpec, thread_environment
from minidl.service.records import NewJob
from minidl.service.states import JobKind
from minidl.train.config import config_from_data
from minidl.train.config.yaml_scalars import dump_yaml
from minidl.train.run_directory import RunDirectory

ROOT = Path(__file__).parents[2]
OWNER = "ada"


def config(*, steps: int = 4, seed: int = 7, **changes: Any) -> dict[str, Any]:
    """A training of a few steps, each with a checkpoint, as plain data.

    ``changes`` are sections, merged into those that are here; None leaves one out.
    """
    sections: dict[str, Any] = {
        "seed": seed,
        "data": {"type": "MNISTSample", "batch_size": 20, "val_fraction": 0.02},
        "model": {
            "type": "Sequential",
            "layers": [
                {"type": "Flatten"},
                {"type": "Linear", "out_features": 8},
                {"type": "ReLU"},
                {"type": "Dropout", "p": 0.1},
                {"type": "Linear", "out_features": 10},
            ],
        },
        "optimizer": {"type": "AdamW", "lr": 1e-2},
        "trainer": {
            "epochs": None,
            "max_steps": steps,
            "log_every": 1,
            "validate_every": [max(steps // 2, 1), "steps"],
            "checkpoint_every": [1, "steps"],
        },
    }
    for name, section in changes.items():
        sections[name] = {**sections.get(name, {}), **section} if section else section
    return sections


def resolved(**settings: Any) -> dict[str, Any]:
    """The same, checked and with all defaults."""
    return config_from_data(config(**settings)).resolved()


def long(**settings: Any) -> dict[str, Any]:
    """A training that goes on until it is stopped."""
    return resolved(**{"steps": 10_000_000, **settings})


def sweep(*, trials: int = 2, jobs: int = 1, steps: int = 2, **changes: Any) -> dict[str, Any]:
    """A sweep over learning rates, as the service keeps it: resolved, and with its section."""
    rates = [0.01 / 2**number for number in range(trials)]
    section = {"parameters": {"optimizer.lr": rates}, "jobs": jobs, "metric": "val/loss"}
    return {**resolved(steps=steps, **changes), "sweep": section}


def new_job(data: dict[str, Any] | None = None, **settings: Any) -> NewJob:
    """A submission, by default of a short training."""
    data = resolved() if data is None else data
    kind = JobKind.SWEEP if "sweep" in data else JobKind.TRAINING
    return NewJob(**{"kind": kind, "config_text": dump_yaml(data), "config": data, **settings})


def spec(directory: Path, data: dict[str, Any] | None = None, **settings: Any) -> AttemptSpec:
    """What an attempt is to do, in a directory of a job."""
    data = resolved() if data is None else data
    given = {
        "job_id": directory.name,
        "number": 1,
        "kind": "sweep" if "sweep" in data else "training",
        "name": "tiny",
        "directory": str(directory),
        "chain": 1,
        "config": data,
        **settings,
    }
    return AttemptSpec(**given)


def environment(folder: Path) -> dict[str, str]:
    """Variables for attempts that draw no plots, which would take most of their time.

    matplotlib is hidden from them: a run without it is as any other but for its pictures.
    """
    folder.mkdir(exist_ok=True)
    hide = "import sys\nsys.modules['matplotlib'] = None\n"
    (folder / "sitecustomize.py").write_text(hide)
    path = [str(folder), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    odd = ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "PYTHONWARNINGS", "FORCE_COLOR", "COLUMNS")
    kept = {name: text for name, text in os.environ.items() if name not in odd}
    return kept | {"PYTHONPATH": os.pathsep.join(path)}


def undisturbed(
    directory: Path, data: dict[str, Any], *, threads: int = 1, ranks: int = 1
) -> dict[str, str]:
    """Train a config in one go, in a process like an attempt's; return what `fingerprints` does."""
    directory.mkdir(parents=True)
    path = spec(directory, data, ranks=ranks, threads=ranks * threads).write()
    subprocess.run(
        [sys.executable, "-P", "-m", "minidl.service.attempt", str(path)],
        env=environment(directory / "hidden") | thread_environment(threads),
        check=True,
        timeout=300,
    )
    return fingerprints(directory / "run")


def fingerprints(run: Path) -> dict[str, str]:
    """SHA-256 of what two equal trainings have in common, byte for byte."""
    found = RunDirectory(run)
    files = {"weights": found.weights, "journal": found.journal}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
