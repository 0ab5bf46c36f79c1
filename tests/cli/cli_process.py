"""The command as its users meet it: a process of its own, in a directory of its own.

A test module that uses these fixtures says ``pytest_plugins = ["cli_process"]``.
(PYTEST_DONT_REWRITE: they import it, before pytest does.)
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Of the 6,000 training images 5,700 are held out: 300 are trained on, in 6 steps an epoch.
TINY = """\
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
trainer: {epochs: 2, name: tiny}
"""

Minidl = Callable[..., subprocess.CompletedProcess[str]]


def command(*arguments: str) -> list[str]:
    """The installed command where there is one, else the function that it calls."""
    installed = Path(sys.executable).with_name("minidl")
    if installed.exists():
        return [str(installed), *arguments]
    program = "import sys; sys.argv[0] = 'minidl'; from minidl.cli import main; main()"
    return [sys.executable, "-c", program, *arguments]


def environment(**more: str) -> dict[str, str]:
    """What the child sees: this minidl, no colours or addresses of the user's, one BLAS thread."""
    odd = ("FORCE_COLOR", "NO_COLOR", "MLFLOW_TRACKING_URI", "COLUMNS", "PYTHONWARNINGS")
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    kept = {name: value for name, value in os.environ.items() if name not in odd}
    return kept | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", **more}


def run_in(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        env=environment(**more),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory that holds ``tiny.yaml`` and nothing else; where `minidl` runs."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path


@pytest.fixture
def minidl(folder: Path) -> Minidl:
    """Run the command to its end."""
    return lambda *arguments, **more: run_in(folder, *arguments, **more)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A directory with a run, and what was said while it ran. Tests must leave it as it is."""
    place = tmp_path_factory.mktemp("trained")
    (place / "tiny.yaml").write_text(TINY)
    done = run_in(place, "train", "tiny.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    return place, done.stdout
