"""``device:`` in a config: whole runs on the stand-in, and refusals where there is no device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from stand_in import NAME, DeviceArray, stand_in
from tiny_runs import resume_quietly

from minidl.train.build import build
from minidl.train.checkpoint import read_arrays
from minidl.train.config import ConfigError
from minidl.train.evaluation import evaluate_run
from minidl.train.inference import Predictor, find_model
from minidl.train.lr_finder import find_learning_rate

pytest_plugins = ["tiny_runs"]

CONVOLUTIONS = """\
seed: 3
data: {type: MNISTSample, batch_size: 50, val_fraction: 0.95}
model:
  type: Sequential
  layers:
    - {type: Conv2d, out_channels: 4, kernel_size: 3, padding: 1}
    - {type: ReLU}
    - {type: MaxPool2d, kernel_size: 2}
    - {type: Flatten}
    - {type: Linear, out_features: 10}
loss: {type: CrossEntropyLoss, label_smoothing: 0.1}
optimizer: {type: SGD, lr: 1e-2, momentum: 0.9}
trainer: {max_steps: 3, monitor: val/accuracy, log_every: 1}
"""
TOLD = ("train/loss", "train/accuracy", "val/loss", "val/accuracy", "test/loss", "test/accuracy")


def figures(done: Any) -> list[dict[str, float]]:
    return [{k: v for k, v in entry.metrics.items() if k in TOLD} for entry in done.entries]


def assert_same_weights(one: Any, two: Any, **tolerance: float) -> None:
    wanted, found = read_arrays(one.run.weights)[0], read_arrays(two.run.weights)[0]
    assert wanted.keys() == found.keys()
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, **{"rtol": 0.0, "atol": 0.0, **tolerance})


def test_a_run_is_the_hosts_to_rounding(train: Any) -> None:
    settings = ["trainer.clip_norm=1.0", "trainer.ema={decay: 0.9}", "trainer.nan_guard=skip"]
    here = train(*settings, "trainer.name=here")
    with stand_in():
        there = train(*settings, f"device={NAME}", "trainer.name=there")
        again, experiment = evaluate_run(there.run.root)
        assert {type(p.value) for p in experiment.model.parameters()} == {DeviceArray}
    # Products of few rows are taken the other way round on the host.
    for one, two in zip(figures(here), figures(there), strict=True):
        assert two == pytest.approx(one, rel=1e-5)
    assert again.metrics["test/loss"] == figures(there)[-1]["test/loss"]
    assert_same_weights(here, there, rtol=1e-4, atol=1e-6)
    # A model that was trained on a device is loaded, and asked, without one.
    answers = Predictor.load(find_model(there.run.root)).answers(np.zeros((2, 1, 28, 28), np.uint8))
    assert type(answers) is np.ndarray


def test_convolutions_agree_to_rounding(train: Any) -> None:
    here = train("trainer.name=here", text=CONVOLUTIONS)
    with stand_in():
        there = train(f"device={NAME}", "trainer.name=there", text=CONVOLUTIONS)
    # Their biases' gradients are summed in another order: kernels of the host sum by blocks.
    assert_same_weights(here, there, rtol=1e-5, atol=1e-7)


def test_a_run_is_taken_up_on_the_device(train: Any) -> None:
    ema = "trainer.ema={decay: 0.9}"
    with stand_in():
        whole = train(ema, f"device={NAME}", "trainer.name=whole")
        part = train(ema, f"device={NAME}", "trainer.max_steps=4", "trainer.name=part")
        resumed = resume_quietly(part.run.root, "trainer.max_steps=null")
    assert_same_weights(whole, resumed)


def test_the_learning_rate_finder_moves_its_batches(tiny: Any) -> None:
    with stand_in():
        found = find_learning_rate(build(tiny(f"device={NAME}")), steps=20)
    assert np.isfinite(found.losses).all()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("device=gpu", r"device=gpu.*one of cpu, cuda, stand-in is wanted.*got 'gpu'"),
        ("device=cuda:x", r"got 'cuda:x'"),
        (f"device={NAME}:3", rf"{NAME}:3, but there is one"),
    ],
)
def test_a_device_that_is_not_there_is_refused_at_its_place(
    tiny: Any, override: str, message: str
) -> None:
    with (
        stand_in(),
        pytest.raises(ConfigError, match=message),
    ):
        build(tiny(override))


def test_recording_is_refused_on_a_device(tiny: Any) -> None:
    with stand_in(), pytest.raises(ConfigError, match="steps on stand-in cannot be recorded"):
        build(tiny(f"device={NAME}", "trainer.compile=true"))
