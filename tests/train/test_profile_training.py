"""Steps of a config, profiled: what the tables and files hold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_runs import Load

from minidl.train.build import build
from minidl.train.profile import TrainingProfile, profile_training
from minidl.train.steps import Steps

pytest_plugins = ["tiny_runs"]


@pytest.fixture
def found(tiny: Load) -> TrainingProfile:
    """Eight steps: more than the six of an epoch."""
    return profile_training(tiny("trainer.clip_norm=1.0"), steps=8, warm_up=2)


def test_each_step_has_its_phases(found: TrainingProfile) -> None:
    rows = {row.name: row for row in found.profile.by_phase(per=8).rows}
    names = {"step", "data", "Sequential", "CrossEntropyLoss", "backward", "clip", "optimizer"}
    assert set(rows) == names | {"[other]"}
    assert {rows[name].calls for name in names} == {1}
    layers = [row.name for row in found.profile.by_layer().rows]
    assert layers[:6] == [
        *("Sequential", "0 Flatten", "1 Linear", "2 ReLU", "3 Dropout", "4 Linear")
    ]
    assert found.samples == 8 * 50
    assert found.steps_per_epoch == 6


def test_the_text_and_the_files(found: TrainingProfile, tmp_path: Path) -> None:
    text = found.text()
    assert text.startswith("8 steps of 50 samples: ")
    assert "1 Linear" in text
    assert "cross_entropy" in text
    assert text.splitlines()[-1].startswith("an epoch of 6 steps, estimated: ")
    assert "validation" in text.splitlines()[-1]
    tables, trace = found.write(tmp_path / "some" / "where")
    assert tables.read_text() == text + "\n"
    steps = [e for e in json.loads(trace.read_text())["traceEvents"] if e["name"] == "step"]
    assert len(steps) == 8
    assert not Path("runs").exists()


def test_without_validation_samples(tiny: Load) -> None:
    config = tiny("data.val_fraction=0", "trainer.monitor=train/loss", "data.batch_size=1000")
    found = profile_training(config, steps=1, warm_up=0)
    assert found.validation is None
    assert "validation" not in found.text().splitlines()[-1]
    assert found.checkpoint > 0


def test_a_validation_that_is_cut_short_is_scaled(tiny: Load) -> None:
    found = profile_training(tiny(), steps=2, warm_up=0)  # 2 of 23 batches
    whole = found.profile.seconds + 3600
    assert found.validation is not None
    assert 0 < found.validation < whole


def test_two_models_against_each_other(tiny: Load) -> None:
    config = tiny(
        "data={type: MNISTSample, batch_size: 10, val_fraction: 0.95}",
        "task={type: Adversarial}",
        "model={type: DCGANSmall}",
        "loss={type: BCEWithLogitsLoss}",
        "trainer.monitor=train/loss",
    )
    found = profile_training(config, steps=1, warm_up=0)
    names = {row.name.split()[0].split(".")[0] for row in found.profile.by_layer().rows}
    assert {"generator", "discriminator"} <= names


def test_a_loss_that_is_no_number(tiny: Load) -> None:
    config = tiny("optimizer={type: SGD, lr: 1e38}")
    with np.errstate(all="ignore"), pytest.raises(ArithmeticError, match="the loss became"):
        profile_training(config, steps=20)


def test_a_step_of_several_batches(tiny: Load) -> None:
    found = profile_training(tiny("trainer.accumulate=4"), steps=2, warm_up=0)
    rows = {row.name: row.calls for row in found.profile.by_phase(per=2).rows}
    assert (rows["step"], rows["data"], rows["optimizer"]) == (1, 1, 1)
    assert (rows["Sequential"], rows["backward"]) == (3, 3)  # six batches: four, and two
    assert found.samples == 6 * 50
    assert found.steps_per_epoch == 2


def test_steps_go_on_behind_an_epochs_end(tiny: Load) -> None:
    config = tiny()
    runner = Steps(build(config), config.trainer)
    batches = runner.batches()
    first = [len(inputs) for group in (next(batches) for _ in range(7)) for inputs, _ in group]
    assert first == [50] * 7
    batches.close()
    assert 1.0 < runner.take([next(iter(runner.experiment.data.train))]) < 4.0
