"""Every layer, loss and optimizer of the tables: a replay has the bits of an eager step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from layers_table import LAYERS as OF_IMAGES
from layertable import Layer, Loss
from losses_table import LOSSES
from models_table import MODELS
from optimtable import SCHEDULES, SETTINGS, Scheduled, Setting
from sequence_layers_table import LAYERS as OF_SEQUENCES
from twins import Twins, descend

import minidl
from minidl import nn, optim
from minidl.compiling import CompileError, plan

STEPS = 6


@pytest.fixture(autouse=True)
def everything_is_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables' arrays are small: plan memory for the smallest too."""
    monkeypatch.setattr(plan, "SMALLEST", 1)


#: Targets that come as lengths decide the shapes of what is computed.
LOOKS_AT_TARGETS = {"CTCLoss", "CTCLoss, sum"}


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("layer", OF_IMAGES + OF_SEQUENCES + MODELS, ids=lambda layer: layer.name)
def test_layer(layer: Layer, training: bool) -> None:
    twins = Twins(layer.make().train(training), descend)
    inputs = [minidl.Tensor(x) for x in layer.inputs(np.float32)]
    for _ in range(STEPS):
        twins.step(*inputs)
    assert len(twins.compiled.programs) == 1


class OfParameters(nn.Module):
    """A loss whose floats are parameters, so that all of its derivatives are taken."""

    def __init__(self, loss: nn.Module, given: tuple[np.ndarray, ...]) -> None:
        self.loss = loss
        self.given = nn.ParameterList(x.astype("f4") for x in given if x.dtype.kind == "f")
        self.whole = [x for x in given if x.dtype.kind != "f"]
        self.floats = [x.dtype.kind == "f" for x in given]

    def forward(self, *whole: Any) -> Any:
        floats, rest = iter(self.given), iter(whole)
        return self.loss(*(next(floats) if is_float else next(rest) for is_float in self.floats))


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_loss(loss: Loss) -> None:
    model = OfParameters(loss.make(), loss.inputs())
    rate: Callable[[Any], Any] = lambda p: optim.SGD(p, lr=1e-3)
    twins = Twins(model, descend, rate)
    if loss.name in LOOKS_AT_TARGETS:
        with pytest.raises(CompileError, match="lengths"):
            twins.step(*model.whole)
        return
    for _ in range(STEPS):
        twins.step(*model.whole)
    assert len(twins.compiled.programs) == 1


def small(dtype: Any = np.float32) -> nn.Module:
    rng = np.random.default_rng(2)
    return nn.Sequential(
        nn.Linear(6, 5, rng=rng), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3, rng=rng)
    ).to(dtype)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_optimizer(setting: Setting) -> None:
    twins = Twins(small(), descend, lambda p: setting.build(optim, p))
    rng = np.random.default_rng(3)
    for _ in range(STEPS):
        twins.step(rng.standard_normal((4, 6), np.float32))
    assert len(twins.compiled.programs) == 1


@pytest.mark.parametrize("scheduled", SCHEDULES, ids=lambda scheduled: scheduled.name)
def test_schedule_within_the_step(scheduled: Scheduled) -> None:
    def make_step(model: nn.Module, optimizer: Any) -> Callable[..., Any]:
        schedule = scheduled.build(optim, optimizer)
        step = descend(model, optimizer)

        def scheduled_step(x: Any) -> Any:
            found = step(x)
            schedule.step()
            return found

        return scheduled_step

    twins = Twins(small(), make_step, lambda p: scheduled.optimizer(optim, p))
    rng = np.random.default_rng(3)
    for _ in range(STEPS):
        twins.step(rng.standard_normal((4, 6), np.float32))
    assert len(twins.compiled.programs) == 1
