"""One step: accumulated, clipped, averaged, and what the guard does where it is no number."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_runs import Done

from minidl import optim
from minidl.train import optimization
from minidl.train.build import build
from minidl.train.checkpoint import read_arrays
from minidl.train.config import Config, ConfigError
from minidl.train.optimization import Stepper
from minidl.train.session import Session, TrainingError
from minidl.train.shared_step import NonFiniteError

pytest_plugins = ["tiny_runs"]

Load = Callable[..., Config]
Train = Callable[..., Done]

NO_DROPOUT = "~model.layers.3"
WEIGHTED = "loss={type: CrossEntropyLoss, weight: [1, 2, 1, 3, 1, 1, 4, 1, 1, 5]}"


def _weights(config: Config, group: Callable[[list[Any]], list[list[Any]]], steps: int) -> Any:
    """Train without a session, batches grouped into steps; return the weights."""
    experiment = build(config)
    stepper = Stepper(experiment, config.trainer)
    batches = list(experiment.data.train)
    for step in group(batches)[:steps]:
        stepper.step(step)
    return {name: t.numpy().copy() for name, t in experiment.model.state_dict().items()}


@pytest.mark.parametrize("loss", ["loss={type: CrossEntropyLoss}", WEIGHTED,
                                  "loss={type: CrossEntropyLoss, reduction: sum}"])  # fmt: skip
@pytest.mark.parametrize("clip", ["trainer.clip_norm=0.1", "trainer.clip_value=0.01"])
def test_accumulated_batches_count_as_one(tiny: Load, loss: str, clip: str) -> None:
    # 300 samples: of 90 at a time the last step is a smaller one, with two batches and not three.
    common = (NO_DROPOUT, loss, clip, "optimizer={type: SGD, lr: 0.1}")
    whole = _weights(tiny(*common, "data.batch_size=90"), lambda b: [[x] for x in b], 4)
    parts = _weights(
        tiny(*common, "data.batch_size=30", "trainer.accumulate=3"),
        lambda b: [b[i : i + 3] for i in range(0, len(b), 3)],
        4,
    )
    for name, array in whole.items():
        np.testing.assert_allclose(parts[name], array, rtol=2e-4, atol=2e-6)


def test_adversaries_do_not_accumulate(tiny: Load) -> None:
    config = tiny(
        "model={type: DCGANSmall, latent: 8}",
        "task={type: Adversarial}",
        "trainer.monitor=val/loss",
        "trainer.accumulate=2",
    )
    with pytest.raises(ConfigError, match="cannot accumulate"):
        build(config)


def test_steps_an_epoch_with_accumulation(train: Train) -> None:
    done = train("trainer.accumulate=4", "trainer.epochs=2")  # 6 batches: 4 and 2
    assert json.loads(done.run.summary.read_text())["steps"] == 4


def test_the_average_is_validated_and_kept(train: Train) -> None:
    done = train(
        "trainer.ema={decay: 0.5}", "trainer.validate_every=[1, steps]", "trainer.epochs=1"
    )
    arrays, _ = read_arrays(done.run.checkpoints / _manifest(done)["file"])
    kept, _ = read_arrays(done.run.weights)
    assert done.result.best_epoch == 1
    # The best was found in the last step or in one before; its average is not the last weights.
    assert (kept["1.weight"] != arrays["model.1.weight"]).any()
    assert _manifest(done)["averaged"] == 6


def _manifest(done: Done) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((done.run.checkpoints / "last.json").read_text())
    return found


def test_the_average_is_what_the_formula_says(tiny: Load) -> None:
    config = tiny("trainer.ema={decay: 0.75}")
    experiment = build(config)
    stepper = Stepper(experiment, config.trainer)
    assert stepper.average is not None
    expected: Any = None
    for batch in list(experiment.data.train)[:4]:
        stepper.step([batch])
        now = next(experiment.model.parameters()).detach().numpy().astype(np.float64)
        expected = now.copy() if expected is None else 0.75 * expected + 0.25 * now
    name = next(iter(stepper.average.averages))
    np.testing.assert_allclose(stepper.average.averages[name], expected, rtol=1e-5, atol=1e-7)


# ---- steps that go wrong -------------------------------------------------------------------------


def _poison(monkeypatch: pytest.MonkeyPatch, steps: set[int], what: str = "loss") -> None:
    """Make loss or gradients of these steps NaN."""
    real = Session.step

    def poisoned(self: Session, batches: Any) -> Any:
        if self.progress.step + 1 not in steps:
            return real(self, batches)
        if what == "loss":
            (first, targets), *others = batches
            batches = [(first * float("nan"), targets), *others]
            return real(self, batches)
        weight = next(self.experiment.model.parameters())
        handle = weight.register_hook(lambda gradient: gradient * float("nan"))
        try:
            return real(self, batches)
        finally:
            handle.remove()

    monkeypatch.setattr(Session, "step", poisoned)


NORMED = "+model.layers={type: BatchNorm1d}"


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_step_that_is_no_number_is_left_out(
    train: Train, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    _poison(monkeypatch, {3, 4, 9}, what)
    done = train("trainer.nan_guard=skip", NORMED, "trainer.log_every=1")
    assert done.result.status == "FINISHED"
    assert done.output.count("the step is left out") == 3
    assert "step 9 (epoch 2)" in done.output
    arrays, _ = read_arrays(done.run.weights)
    assert all(np.isfinite(array).all() for array in arrays.values())  # running statistics too
    progress = _manifest(done)["progress"]
    assert (progress["step"], progress["nonfinite"], progress["nonfinite_in_a_row"]) == (12, 3, 0)
    told = [entry.step for entry in done.entries if "train/loss" in entry.metrics]
    assert told == [step for step in range(1, 13) if step not in (3, 4, 9)]


def _first(self: Session) -> Any:
    return next(self.experiment.model.parameters()).detach()


def test_the_weights_of_the_last_checkpoint_come_back(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[int, bytes] = {}
    _poison(monkeypatch, {9})
    real = Session.settle

    def watched(self: Session) -> None:
        seen[self.progress.step] = _first(self).numpy().tobytes()
        real(self)

    monkeypatch.setattr(Session, "settle", watched)
    done = train("trainer.nan_guard=rollback", NORMED)
    assert done.result.status == "FINISHED"
    assert "weights and optimizer of runs/tiny/checkpoints/last.json" in done.output
    assert seen[9] == seen[6] != seen[8]
    assert seen[10] not in (seen[9], seen[7])  # the same weights, and the next batch


def test_rolling_back_before_the_first_epoch_has_ended(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    _poison(monkeypatch, {2})
    assert train("trainer.nan_guard=rollback").result.status == "FINISHED"


@pytest.mark.parametrize("guard", ["skip", "rollback"])
def test_what_never_gets_better_is_given_up(
    train: Train, monkeypatch: pytest.MonkeyPatch, guard: str
) -> None:
    monkeypatch.setattr(optimization, "MOST_IN_A_ROW", 4)
    monkeypatch.setattr("minidl.train.session.MOST_IN_A_ROW", 4)
    _poison(monkeypatch, set(range(5, 100)))
    with pytest.raises(TrainingError, match=r"the loss became nan at step 8 \(epoch 2\)"):
        train(f"trainer.nan_guard={guard}")
    assert json.loads(Path("runs/tiny/summary.json").read_text())["status"] == "FAILED"


def test_without_a_guard_gradients_are_not_looked_at(tiny: Load) -> None:
    config = tiny()
    experiment = build(config)
    next(experiment.model.parameters()).register_hook(lambda g: g * float("nan"))
    batch = next(iter(experiment.data.train))
    Stepper(experiment, config.trainer).step([batch])
    guarded = tiny("trainer.nan_guard=skip")
    experiment = build(guarded)
    next(experiment.model.parameters()).register_hook(lambda g: g * float("nan"))
    with pytest.raises(NonFiniteError, match="a gradient is no finite number"):
        Stepper(experiment, guarded.trainer).step([batch])


def test_gradients_that_only_add_up_to_infinity_are_finite() -> None:
    large = np.full(4, 3e38, np.float32)
    assert optimization._finite([large])
    assert not optimization._finite([np.array([1, np.inf], np.float32)])
    assert not optimization._finite([large, np.array([np.nan], np.float32)])
    assert not optimization._finite([np.array([np.inf, -np.inf], np.float32)])


def test_scaled_gradients() -> None:
    from minidl import nn

    layer = nn.Linear(2, 2)
    layer(np.ones((1, 2), np.float32)).sum().backward()
    before = layer.weight.grad.numpy().copy()  # type: ignore[union-attr]
    optim.scale_grad_(layer.parameters(), 0.5)
    np.testing.assert_array_equal(layer.weight.grad.numpy(), before / 2)  # type: ignore[union-attr]
