"""The sweep: where it stops, what it suggests, what it leaves alone, and its picture."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from tiny_runs import Load

from minidl import nn, optim
from minidl.data import ArrayDataset, DataLoader
from minidl.tensor import Tensor
from minidl.train.build import Experiment, build
from minidl.train.data_parts import Data
from minidl.train.lr_finder import LRFinding, LRFindingError, find_learning_rate
from minidl.train.reports.lr_plot import plot_finding
from minidl.train.tasks import Outcome, Task

pytest_plugins = ["tiny_runs"]


class Bowl(Task):
    """Minimizes curvature / 2 · w²; gradient descent diverges beyond a rate of 2 / curvature."""

    curvature: ClassVar[float] = 4.0

    def compute(self, experiment: Experiment, inputs: Any, targets: Any) -> tuple[Any, Any]:
        weight = experiment.model.weight  # type: ignore[attr-defined]
        return (weight * weight).sum() * (self.curvature / 2), None

    def told(
        self, experiment: Experiment, loss: Any, output: Any, inputs: Any, targets: Any
    ) -> Outcome:
        return Outcome(loss.item(), 1.0, 1)


class Point(nn.Module):
    def __init__(self) -> None:
        self.weight = nn.Parameter(np.full(3, 2.0))


def bowl(optimizer: Any = optim.SGD, model: nn.Module | None = None, **settings: Any) -> Experiment:
    data = DataLoader(ArrayDataset(np.zeros((2, 1), np.float32), np.zeros(2, np.int64)), 1)
    model = model or Point()
    return Experiment(
        Data("bowl", data, None, data, (1,), (), None, None),
        model,
        nn.MSELoss(),
        optimizer(model.parameters(), **{"lr": 0.1, **settings}),
        None,
        np.random.default_rng(0),
        10,
        Bowl(),
    )


# ---- a loss whose threshold is known ---------------------------------------------------------


@pytest.mark.parametrize("curvature", [0.5, 4.0, 60.0])
@pytest.mark.parametrize("steps", [60, 100, 200])
def test_a_quadratic_diverges_at_its_threshold(
    curvature: float, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bowl, "curvature", curvature)
    found = find_learning_rate(bowl(), lowest=1e-5, highest=1e3, steps=steps, smoothing=0.0)
    threshold = 2.0 / curvature
    factor = (1e3 / 1e-5) ** (1 / (steps - 1))
    assert found.diverged
    # The loss falls up to the threshold, and a few steps beyond it are seen before it has grown
    # four times. A loss is told a step after the rate that made it.
    assert threshold < found.rates[-1] < threshold * factor**8
    assert threshold / factor < found.rates[found.minimum] < threshold * factor**2
    assert found.suggestion is not None
    assert found.suggestion < threshold


def test_losses_are_what_gradient_descent_gives() -> None:
    found = find_learning_rate(bowl(), lowest=1e-4, highest=0.1, steps=20, smoothing=0.5)
    weight, average, losses, smoothed = 2.0, 0.0, [], []
    for k, rate in enumerate(np.geomspace(1e-4, 0.1, 20), 1):
        losses.append(3 * 2.0 * weight**2)
        average = 0.5 * average + 0.5 * losses[-1]
        smoothed.append(average / (1 - 0.5**k))
        weight -= rate * 4.0 * weight
    np.testing.assert_allclose(found.losses, losses)
    np.testing.assert_allclose(found.smoothed, smoothed)
    assert found.smoothed[0] == found.losses[0]
    assert not found.diverged
    assert len(found.rates) == 20


def test_groups_keep_their_ratio() -> None:
    model = nn.Sequential(Point(), Point())
    one, two = model.parameters()
    groups = [{"params": [one], "lr": 0.2}, {"params": [two], "lr": 0.02}]
    seen: list[list[float]] = []

    class Watched(optim.SGD):
        def step(self, closure: Any = None) -> Any:
            seen.append([group["lr"] for group in self.param_groups])
            return super().step(closure)

    class First(Bowl):
        def compute(self, experiment: Experiment, inputs: Any, targets: Any) -> Any:
            part = dataclasses.replace(experiment, model=experiment.model.get_submodule("0"))
            return super().compute(part, inputs, targets)

    experiment = bowl(model=model)
    experiment.optimizer, experiment.task = Watched(groups), First()
    find_learning_rate(experiment, lowest=1e-3, highest=1e-1, steps=20)
    np.testing.assert_allclose([a / b for a, b in seen], 10.0)
    np.testing.assert_allclose([a for a, _ in seen], np.geomspace(1e-3, 1e-1, 20))


def test_a_loss_that_is_no_number_ends_the_sweep() -> None:
    class Broken(Bowl):
        def told(self, experiment: Experiment, *given: Any) -> Outcome:
            outcome = super().told(experiment, *given)
            moved = outcome.loss < 20.0
            return dataclasses.replace(outcome, loss=np.nan if moved else outcome.loss)

    experiment = bowl()
    experiment.task = Broken()
    found = find_learning_rate(experiment, lowest=1e-5, highest=1.0, steps=100)
    assert found.diverged
    assert 10 < len(found.rates) < 100
    assert np.isfinite(found.losses).all()
    with pytest.raises(LRFindingError, match=r"left all bounds at step \d+ of 100, .*begin .* low"):
        find_learning_rate(experiment, lowest=0.02, highest=10.0, steps=100)


def test_a_loss_that_does_not_fall_suggests_nothing() -> None:
    class Flat(Bowl):
        curvature: ClassVar[float] = 0.0

    experiment = bowl()
    experiment.task = Flat()
    found = find_learning_rate(experiment)
    assert (found.suggestion, found.tenth_of_minimum) == (None, None)


# ---- on a real training ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        (),
        ("loss.weight=[1, 2, 1, 1, 1, 1, 1, 1, 1, 0.5]",),
        ("loss={type: MSELoss}", "trainer.clip_norm=0.5"),
        ("schedule={type: OneCycleLR, max_lr: 0.1}", "data.augment=[{type: CutMix}]"),
        ("trainer.accumulate=2", "trainer.ema={decay: 0.9}", "trainer.nan_guard=skip"),
    ],
)
def test_a_tiny_training(tiny: Load, more: tuple[str, ...]) -> None:
    config = tiny(*more)
    experiment = build(config)
    before = {name: t.numpy().copy() for name, t in experiment.model.state_dict().items()}
    rate, state = experiment.optimizer.param_groups[0]["lr"], experiment.rng.bit_generator.state
    first = find_learning_rate(experiment, settings=config.trainer, lowest=1e-5, steps=50)
    again = find_learning_rate(build(config), settings=config.trainer, lowest=1e-5, steps=50)
    assert first.suggestion is not None
    assert 1e-4 < first.suggestion < 1.0
    assert first.smoothed.min() < 0.9 * first.smoothed[0]
    np.testing.assert_array_equal(first.losses, again.losses)
    # what was given is as it was
    for name, tensor in experiment.model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), before[name])
    assert experiment.optimizer.param_groups[0]["lr"] == rate
    assert experiment.rng.bit_generator.state == state
    assert experiment.optimizer.state_dict()["state"] == {}
    third = find_learning_rate(experiment, settings=config.trainer, lowest=1e-5, steps=50)
    np.testing.assert_array_equal(first.losses, third.losses)
    assert not Path("runs").exists()


def test_a_task_without_one_loss_is_refused(tiny: Load) -> None:
    config = tiny(
        "data={type: MNISTSample, batch_size: 50, val_fraction: 0.95}",
        "task={type: Adversarial}",
        "model={type: DCGANSmall}",
        "loss={type: BCEWithLogitsLoss}",
        "trainer.monitor=train/loss",
    )
    with pytest.raises(LRFindingError, match="Adversarial sets two models against each other"):
        find_learning_rate(build(config))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lowest": 1.0, "highest": 0.1}, "below the highest, got 1.0 and 0.1"),
        ({"lowest": 0.0}, "lowest must be above 0"),
        ({"highest": np.inf}, "highest must be above 0 and below inf"),
        ({"steps": 19}, "steps must be at least 20, got 19"),
        ({"smoothing": 1.0}, "smoothing must be at least 0 and below 1"),
        ({"divergence": 1.0}, "divergence must be above 1"),
    ],
)
def test_bounds_are_held(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_learning_rate(bowl(), **wrong)


# ---- the picture -----------------------------------------------------------------------------


@pytest.mark.parametrize("steepest", [None, 4])
def test_the_picture(tmp_path: Path, steepest: int | None) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is wanted")
    rates = np.geomspace(1e-4, 1.0, 12)
    losses = np.concatenate([np.linspace(2.0, 0.5, 10), [30.0, 1e6]])
    finding = LRFinding(rates, losses, losses, True, steepest, 9)
    plot_finding(finding, tmp_path / "lr.png")
    assert (tmp_path / "lr.png").read_bytes().startswith(b"\x89PNG")
    assert Tensor(losses).numpy().max() == 1e6  # what is drawn is not changed
