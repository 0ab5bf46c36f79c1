"""A training so small that a test can afford several: 300 images, a small perceptron.

A test module that uses these fixtures says ``pytest_plugins = ["tiny_runs"]``.
(PYTEST_DONT_REWRITE: they import it, before pytest does.)
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from minidl.train.callbacks import Callback
from minidl.train.config import Config, load_config
from minidl.train.journal import Entry, read_journal
from minidl.train.reporter import LineReporter
from minidl.train.reports import plots
from minidl.train.run_directory import RunDirectory
from minidl.train.trainer import Result, Trainer

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
    - {type: Dropout, p: 0.1}
    - {type: Linear, out_features: 10}
loss: {type: CrossEntropyLoss}
optimizer: {type: AdamW, lr: 1e-2}
trainer: {epochs: 2, monitor: val/accuracy, log_every: 2, name: tiny}
"""

Load = Callable[..., Config]


@dataclass(frozen=True)
class Done:
    """A run that has ended, and what it said."""

    result: Result
    output: str
    run: RunDirectory

    @property
    def entries(self) -> list[Entry]:
        return read_journal(self.run.journal)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load `TINY` (or the text given), with overrides, in a directory of the test's own."""
    monkeypatch.chdir(tmp_path)

    def load(*overrides: str, text: str = TINY) -> Config:
        Path("tiny.yaml").write_text(text)
        return load_config("tiny.yaml", overrides)

    return load


@pytest.fixture
def train(tiny: Load, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Train `TINY` with overrides; without plots, which would take most of the time."""
    monkeypatch.setattr(plots, "plots_available", lambda: False)

    def run(*overrides: str, text: str = TINY) -> Done:
        return run_quietly(tiny(*overrides, text=text), overrides)

    return run


def run_quietly(
    config: Config, overrides: tuple[str, ...] = (), *, callbacks: Sequence[Callback] = ()
) -> Done:
    """Train and keep what is printed."""
    said = io.StringIO()
    reporter = LineReporter(Console(file=said))
    result = Trainer(config, overrides=overrides, reporter=reporter, callbacks=callbacks).run()
    return Done(result, said.getvalue(), RunDirectory(result.directory))


def resume_quietly(directory: Path, *overrides: str) -> Done:
    """Go on with a run and keep what is printed."""
    said = io.StringIO()
    trainer = Trainer.resume(directory, overrides, reporter=LineReporter(Console(file=said)))
    result = trainer.run()
    return Done(result, said.getvalue(), RunDirectory(result.directory))
