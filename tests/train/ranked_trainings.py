"""Trainings that several ranks take together in tests, and one process by itself.

What is compared is said by a table of configs, `TRAININGS`; all of them run in one launch, since a
rank takes a second to start.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minidl.distributed import World
from minidl.train.callbacks import Callback
from minidl.train.config import load_config
from minidl.train.reporter import QuietReporter, Reporter
from minidl.train.reports import plots
from minidl.train.together import FailedElsewhere, together
from minidl.train.trainer import Result, Trainer, TrainingError

# 300 images are trained on: of 47 at a time the last batch has 18, and no number of ranks but one
# divides 47. `RandomCrop` draws for each sample, `Mixup` mixes samples that lie on several ranks.
CONVOLUTION = """\
seed: 7
dtype: float64
data:
  type: MNISTSample
  batch_size: 47
  val_fraction: 0.95
  augment: [{type: RandomCrop, padding: 2}, {type: Mixup, alpha: 0.4}]
model:
  type: Sequential
  layers:
    - {type: Conv2d, out_channels: 3, kernel_size: 5, stride: 3}
    - {type: Tanh}
    - {type: Flatten}
    - {type: Linear, out_features: 10}
loss: {type: CrossEntropyLoss, label_smoothing: 0.1}
optimizer: {type: AdamW, lr: 1e-2}
schedule: {type: CosineAnnealingLR, warmup_steps: 20}
metrics: [{type: AUROC}, {type: F1}, {type: CalibrationError}, {type: LogLoss}]
trainer:
  max_steps: 100
  clip_norm: 0.5
  ema: {decay: 0.9}
  monitor: val/auroc
  log_every: 10
  validate_every: [50, steps]
  checkpoint_every: [50, steps]
"""

# Means over classes' weights, labels that are ignored, several batches a step, a schedule and an
# early stop that follow the validation.
WEIGHTED = """\
seed: 8
dtype: float64
data: {type: MNISTSample, batch_size: 25, val_fraction: 0.95}
model:
  type: Sequential
  layers:
    - {type: Flatten}
    - {type: Linear, out_features: 8}
    - {type: Tanh}
    - {type: Linear, out_features: 10}
loss: {type: CrossEntropyLoss, weight: [1, 2, 1, 3, 1, 1, 4, 1, 1, 5], ignore_index: 2}
optimizer: {type: SGD, lr: 0.05, momentum: 0.9, weight_decay: 1e-4}
schedule: {type: ReduceLROnPlateau, patience: 0}
trainer:
  epochs: 6
  accumulate: 2
  clip_value: 0.05
  monitor: val/loss
  early_stop: {patience: 2, min_delta: 0.5}
  log_every: 5
"""

# Batches of 3: on four ranks one of them has never a sample, and the last batch has a single one.
RECONSTRUCTION = """\
seed: 9
dtype: float64
data: {type: MNISTSample, batch_size: 3, val_fraction: 0.9917}
task: {type: Reconstruction}
model:
  type: Sequential
  layers:
    - {type: Flatten}
    - {type: Linear, out_features: 4}
    - {type: Linear, out_features: 784}
    - {type: Unflatten, dim: 1, unflattened_size: [1, 28, 28]}
loss: {type: BCEWithLogitsLoss, reduction: sum}
optimizer: {type: SGD, lr: 1e-4}
trainer: {epochs: 1, monitor: val/loss, log_every: 4}
"""

# Statistics of the whole batch, of which ranks have shares of other sizes, and of its gradients.
NORMALIZED = """\
seed: 11
dtype: float64
data: {type: MNISTSample, batch_size: 30, val_fraction: 0.95}
model:
  type: Sequential
  layers:
    - {type: Conv2d, out_channels: 3, kernel_size: 5, stride: 3}
    - {type: BatchNorm2d}
    - {type: Tanh}
    - {type: Flatten}
    - {type: Linear, out_features: 12}
    - {type: BatchNorm1d}
    - {type: Linear, out_features: 10}
optimizer: {type: SGD, lr: 0.05, momentum: 0.9}
trainer: {epochs: 2, sync_batch_norm: true, log_every: 5}
"""

# All that has a state which must come back: each rank's dropout masks, the first one's running
# statistics, their average, batches made ahead.
STATEFUL = """\
seed: 10
data:
  type: MNISTSample
  batch_size: 24
  val_fraction: 0.95
  prefetch: 2
  augment: [{type: RandomShift, pixels: 2}, {type: GaussianNoise, std: 0.1}]
model:
  type: Sequential
  layers:
    - {type: Flatten}
    - {type: Linear, out_features: 12}
    - {type: BatchNorm1d}
    - {type: ReLU}
    - {type: Dropout, p: 0.2}
    - {type: Linear, out_features: 10}
optimizer: {type: AdamW, lr: 3e-3}
schedule: {type: CosineAnnealingLR, warmup_steps: 5}
trainer:
  epochs: 2
  ema: {decay: 0.95}
  clip_norm: 1.0
  nan_guard: rollback
  log_every: 5
"""

TRAININGS = {
    "convolution": CONVOLUTION,
    "weighted": WEIGHTED,
    "reconstruction": RECONSTRUCTION,
    "normalized": NORMALIZED,
}
OTHERS = {"stateful": STATEFUL}


class Interrupts(Callback):
    """Sends the signal to one rank, in some step."""

    def __init__(self, world: World, *, rank: int, step: int) -> None:
        self.here, self.step = world.rank == rank, step

    def on_step_end(self, session: Any, outcomes: Sequence[Any]) -> None:
        """Send it, if it is time and this is the rank."""
        if self.here and session.progress.step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


class Poisons(Callback):
    """Makes a weight of one rank no number, after some step."""

    def __init__(self, world: World, *, rank: int, step: int) -> None:
        self.here, self.step = world.rank == rank, step

    def on_step_end(self, session: Any, outcomes: Sequence[Any]) -> None:
        """Do it, if it is time and this is the rank: once."""
        if self.here and session.progress.step == self.step:
            next(iter(session.experiment.model.parameters())).value[...] = float("nan")


def train(
    world: World, folder: Path, name: str, *overrides: str, callbacks: Sequence[Callback] = ()
) -> Result:
    """Train one of the configs into ``folder / name``, without plots: they take the most time."""
    path = folder / f"{name}.yaml"
    if world.rank == 0:
        folder.mkdir(exist_ok=True)
        path.write_text((TRAININGS | OTHERS)[name])
    world.barrier()
    where = (f"trainer.run_root={folder}", f"trainer.name={name}")
    config = load_config(path, (*where, *overrides))
    trainer = Trainer(config, reporter=Reporter(), callbacks=callbacks, world=world)
    result: Result = without_plots(trainer.run)
    return result


def trainings(world: World, folder: str) -> list[str]:
    """Run all of `TRAININGS`."""
    return [train(world, Path(folder), name).status for name in TRAININGS]


def without_plots(function: Callable[[], Any]) -> Any:
    """Call a function while matplotlib seems not to be there."""
    before, plots.plots_available = plots.plots_available, lambda: False
    try:
        return function()
    finally:
        plots.plots_available = before


def resumed(world: World, run: str, *overrides: str) -> str:
    """Go on with a run."""
    trainer = Trainer.resume(Path(run), overrides, reporter=QuietReporter(None), world=world)
    status: str = without_plots(trainer.run).status
    return status


def read(run: Path) -> list[dict[str, Any]]:
    """Return a journal's lines as they are."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def interrupted_and_resumed(world: World, folder: str) -> dict[str, Any]:
    """Train to the end; and anew, one rank hearing a signal in step 8, and go on from there."""
    train(world, Path(folder) / "whole", "stateful")
    signalled = [Interrupts(world, rank=world.size - 1, step=8)]
    stopped = train(world, Path(folder) / "again", "stateful", callbacks=signalled)
    kept = json.loads((stopped.directory / "checkpoints" / "interrupted.json").read_text())
    trainer = Trainer.resume(
        stopped.directory, reporter=Reporter(), callbacks=[Callback()], world=world
    )
    without_plots(trainer.run)
    return {
        "exit_status": stopped.exit_status,
        "step": kept["progress"]["step"],
        "generator": json.dumps(trainer.experiment.rng.bit_generator.state),
    }


def troubles(world: World, folder: str) -> dict[str, Any]:
    """What becomes of trouble on one rank: a loss that is no number, and an error."""
    found: dict[str, Any] = {}
    poison = [Poisons(world, rank=world.size - 1, step=7)]
    with np.errstate(all="ignore"):
        rolled_back = train(world, Path(folder) / "back", "stateful", callbacks=poison)
        found["rolled back"] = [rolled_back.status, rolled_back.best_epoch]
        try:
            train(
                *(world, Path(folder) / "stop", "stateful", "trainer.nan_guard=stop"),
                callbacks=poison,
            )
        except (TrainingError, FailedElsewhere) as error:
            found["stopped"] = f"{type(error).__name__}: {error}"
    for failing, error in ((0, ValueError("a")), (world.size - 1, OSError("b"))):
        try:
            with together(world):
                if world.rank == failing:
                    raise error
        except FailedElsewhere as elsewhere:
            found[str(error)] = elsewhere.status
        except (ValueError, OSError) as own:
            found[str(error)] = str(own)
    return found


def stopped_in_ways(world: World, folder: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both, in one launch."""
    return interrupted_and_resumed(world, folder), troubles(world, folder)
