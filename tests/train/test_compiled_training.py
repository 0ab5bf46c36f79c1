"""`trainer.compile`: the same training, bit for bit, with steps that are replayed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from tiny_runs import Done, run_quietly

from minidl import nn
from minidl.compiling import Compiled
from minidl.train.build import build
from minidl.train.callbacks import Callback
from minidl.train.checkpoint import read_arrays
from minidl.train.config import Config
from minidl.train.metrics import evaluate
from minidl.train.optimization import Stepper
from minidl.train.reports import plots
from minidl.train.session import Session, TrainingError

pytest_plugins = ["tiny_runs"]


@pytest.fixture(autouse=True)
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "plots_available", lambda: False)


Load = Callable[..., Config]
Train = Callable[..., Done]

IMAGES = "{type: Conv2d, out_channels: 4, kernel_size: 3}, {type: BatchNorm2d}, {type: ReLU}"
NETWORK = f"model.layers=[{IMAGES}, {{type: Flatten}}, {{type: Linear, out_features: 10}}]"

SETTINGS: dict[str, Sequence[str]] = {
    "plain": [],
    "convolution": [NETWORK],
    "accumulated": ["trainer.accumulate=4"],
    "accumulated, weighted": [
        "trainer.accumulate=2",
        "loss={type: CrossEntropyLoss, weight: [1, 2, 1, 3, 1, 1, 4, 1, 1, 5]}",
    ],
    "a smaller last batch": ["data.batch_size=80"],
    "clipped": ["trainer.clip_norm=0.1", "trainer.clip_value=0.01"],
    "averaged, guarded": ["trainer.ema={decay: 0.5}", "trainer.nan_guard=skip", NETWORK],
    "smoothed, summed": ["loss={type: CrossEntropyLoss, label_smoothing: 0.1, reduction: sum}"],
    "squares": ["loss={type: MSELoss}", "optimizer={type: SGD, lr: 0.1, momentum: 0.9}"],
    "reconstruction": ["task={type: Reconstruction}", "model={type: VAE}",
                       "loss={type: BCEWithLogitsLoss}", "trainer.monitor=val/loss"],
    "adversaries": ["task={type: Adversarial}", "model={type: DCGANSmall, latent: 8}",
                    "trainer.monitor=val/loss"],
}  # fmt: skip


def stepped(config: Config, epochs: int) -> tuple[Stepper, list[Any]]:
    """Train without a session; return the stepper and what is to be the same."""
    experiment = build(config)
    said: list[str] = []
    stepper = Stepper(experiment, config.trainer, tell=said.append)
    outcomes: list[Any] = []
    every = config.trainer.accumulate
    for epoch in range(epochs):
        experiment.data.train.set_epoch(epoch + 1)
        batches = list(experiment.data.train)
        for start in range(0, len(batches), every):
            outcomes += stepper.step(batches[start : start + every])
    assert not said
    average = [] if stepper.average is None else list(stepper.average.averages.values())
    state = [t.numpy().tobytes() for t in experiment.model.state_dict().values()]
    told = [(o.loss, o.weight, o.count, _bytes(o.guess), _bytes(o.outputs)) for o in outcomes]
    generator = experiment.rng.bit_generator.state
    return stepper, [state, told, [a.tobytes() for a in average], generator]


def _bytes(array: Any) -> bytes | None:
    return None if array is None else np.asarray(array).tobytes()


@pytest.mark.parametrize("overrides", SETTINGS.values(), ids=list(SETTINGS))
def test_steps_have_the_bits_of_eager_ones(tiny: Load, overrides: Sequence[str]) -> None:
    _, eager = stepped(tiny(*overrides, "trainer.compile=false"), 3)
    stepper, replayed = stepped(tiny(*overrides), 3)
    assert eager == replayed
    used = stepper._gather if stepper.settings.accumulate > 1 else stepper._single
    assert isinstance(used, Compiled)
    assert used.programs
    assert not used.fallbacks


def test_evaluation_is_replayed(tiny: Load) -> None:
    config = tiny("data.val_fraction=0.9")
    stepper, _ = stepped(config, 1)
    experiment = stepper.experiment
    assert isinstance(stepper.compute, Compiled)
    for _ in range(2):
        found = evaluate(
            experiment, experiment.data.val, part="val", compute=stepper.compute, worst=5
        )
        eager = evaluate(experiment, experiment.data.val, part="val", worst=5)
        assert found.metrics == eager.metrics
        assert found.mistakes == eager.mistakes
    assert stepper.compute.programs


def test_a_run_is_the_same_run(train: Train) -> None:
    weights = []
    for number, compiled in enumerate(("false", "auto", "true")):
        done = train(f"trainer.compile={compiled}", f"trainer.name=run{number}")
        arrays, _ = read_arrays(done.run.weights)
        figures = [
            {k: v for k, v in entry.metrics.items() if not k.startswith("throughput")}
            for entry in done.entries
        ]
        weights.append((figures, {name: a.tobytes() for name, a in arrays.items()}))
        assert "replayed" not in done.output
    assert weights[0] == weights[1] == weights[2]


class Looking(Callback):
    """Looks at a layer's output, as a hook does."""

    def on_train_begin(self, session: Session) -> None:
        layer = next(m for m in session.experiment.model.modules() if isinstance(m, nn.Linear))
        layer.register_forward_hook(lambda module, args, output: None)


def test_a_step_that_cannot_be_replayed_runs_eagerly_and_says_so_once(tiny: Load) -> None:
    done = run_quietly(tiny(), callbacks=[Looking()])
    lines = [line for line in done.output.splitlines() if "cannot be replayed" in line]
    assert len(lines) == 1
    assert "a hook of Linear" in " ".join(done.output.split())


def test_a_step_that_must_be_replayed_and_cannot_ends_the_run(tiny: Load) -> None:
    with pytest.raises(TrainingError, match=r"a hook of Linear.*compile: auto"):
        run_quietly(tiny("trainer.compile=true"), callbacks=[Looking()])


def test_an_experiment_with_programs_can_be_copied(tiny: Load) -> None:
    stepper, _ = stepped(tiny(), 1)
    twin = copy.deepcopy(stepper.experiment)
    again = Stepper(twin, stepper.settings)
    batch = next(iter(stepper.experiment.data.train))
    for _ in range(4):
        one, two = stepper.step([batch]), again.step([batch])
        assert one[0].loss == two[0].loss
