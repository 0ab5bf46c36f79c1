"""Real trainings for the report's tests: digits, classes with evil names, pictures given back.

A test module that uses these fixtures says ``pytest_plugins = ["reported_runs"]``.
(PYTEST_DONT_REWRITE: they import it, before pytest does.)
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from minidl.train.config import load_config
from minidl.train.reporter import LineReporter
from minidl.train.reports import plots
from minidl.train.trainer import Trainer

DIGITS = """\
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
trainer: {epochs: 2, log_every: 1}
"""

#: Names that would run, close a tag or a string, or be no text, were they not escaped.
EVIL = [
    "<script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "</script></title>'\"&{{ 7 * 6 }}{% for %}",
]

EVIL_CLASSES = """\
data: {{type: NPZ, path: {path}, classes: {classes}, val_fraction: 0.2, batch_size: 8}}
model:
  type: Sequential
  layers: [{{type: Flatten}}, {{type: Linear, out_features: 3}}]
optimizer: {{type: SGD, lr: 1e-3}}
trainer: {{epochs: 2, log_every: 1}}
"""

GIVEN_BACK = """\
data: {type: MNISTSample, batch_size: 50, val_fraction: 0.95}
task: {type: Reconstruction}
model: {type: Autoencoder, latent: 4}
loss: {type: BCEWithLogitsLoss}
optimizer: {type: AdamW, lr: 1e-2}
trainer: {epochs: 1, monitor: val/loss}
"""


def train(root: Path, name: str, text: str, *overrides: str, drawn: bool = False) -> Path:
    """Train in ``root/runs/name``, without a word, and without plots where none are wanted."""
    source = root / f"{name}.yaml"
    source.write_text(text)
    where = [f"trainer.run_root={root / 'runs'}", f"trainer.name={name}"]
    with pytest.MonkeyPatch.context() as patch:
        if not drawn:
            patch.setattr(plots, "plots_available", lambda: False)
        config = load_config(source, [*where, *overrides])
        reporter = LineReporter(Console(file=io.StringIO()))
        return Trainer(config, overrides=overrides, reporter=reporter).run().directory


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on digits. Tests must leave it as it is."""
    return train(tmp_path_factory.mktemp("digits"), "digits", DIGITS)


@pytest.fixture(scope="session")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose classes have names that a page must not take for its own."""
    root = tmp_path_factory.mktemp("evil")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 3, 8, 8), np.uint8)
    np.savez(root / "evil.npz", x=images, y=rng.integers(0, 3, 60))
    return train(root, "evil", EVIL_CLASSES.format(path=root / "evil.npz", classes=repr_yaml(EVIL)))


def repr_yaml(texts: list[str]) -> str:
    """Write texts as YAML in one line."""
    quoted = [text.replace("'", "''") for text in texts]
    return "[" + ", ".join(f"'{text}'" for text in quoted) + "]"
