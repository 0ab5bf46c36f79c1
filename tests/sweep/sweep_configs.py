"""A training that is over in a second, to be swept over.

A test module that uses these fixtures says ``pytest_plugins = ["sweep_configs"]``.
(PYTEST_DONT_REWRITE: they import it, before pytest does.)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from minidl.sweep.plan import Plan, make_plan

# Of the 6,000 training images 5,700 are held out: 300 are trained on, in 6 steps an epoch.
BASE = """\
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
trainer: {epochs: 2, log_every: 2}
"""

MakePlan = Callable[..., Plan]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of the test's own, where it works."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def plan(folder: Path) -> MakePlan:
    """Make a plan of `BASE`, with a ``sweep`` section and changes; all values are checked."""

    def make(sweep: str = "", *overrides: str, text: str = BASE, **more: object) -> Plan:
        section = f"sweep:\n{sweep}" if sweep else ""
        (folder / "tiny.yaml").write_text(text + section)
        return make_plan("tiny.yaml", overrides, **more)  # type: ignore[arg-type]

    return make
