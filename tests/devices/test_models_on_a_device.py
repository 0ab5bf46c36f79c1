"""Layers, losses and optimizers on an array type like CuPy's: all stays there, values are equal."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_in import NAME, DeviceArray, copies, stand_in

from minidl import Tensor, nn, optim

for place in ("nn", "optim"):  # the tables of other rooms
    sys.path.append(str(Path(__file__).parent.parent / place))
from layers_table import LAYERS as OF_IMAGES  # noqa: E402
from layertable import Layer, Loss  # noqa: E402
from losses_table import LOSSES  # noqa: E402
from optimtable import SETTINGS, Setting  # noqa: E402
from sequence_layers_table import LAYERS as OF_SEQUENCES  # noqa: E402

#: Losses of which a part is computed on the host; no layer's is.
ON_THE_HOST = {"CTCLoss": "lengths and labels are taken apart in Python"}


@pytest.fixture(autouse=True)
def on_device() -> Iterator[Any]:
    with stand_in() as put:
        yield put


def flat(value: Any) -> list[Any]:
    if isinstance(value, (tuple, list)):
        return [leaf for part in value for leaf in flat(part)]
    return [] if value is None else [value]


def check(found: Any, wanted: Any) -> None:
    found, wanted = flat(found), flat(wanted)
    assert len(found) == len(wanted)
    for one, two in zip(found, wanted, strict=True):
        assert type(one.value) is DeviceArray
        assert one.dtype == two.dtype
        np.testing.assert_allclose(one.value.inner, two.value, rtol=1e-9, atol=1e-11)


def seeded(module: nn.Module) -> nn.Module:
    for part in module.modules():
        if hasattr(part, "rng"):
            part.rng = np.random.default_rng(1)
    return module


@pytest.mark.parametrize("layer", OF_IMAGES + OF_SEQUENCES, ids=lambda layer: layer.name)
def test_layers_stay_there(layer: Layer) -> None:
    here = seeded(layer.make().double())
    there = seeded(copy.deepcopy(here)).to(NAME)
    assert all(type(t.value) is DeviceArray for t in there.state_dict().values())
    given = [Tensor(x, requires_grad=not layer.ints) for x in layer.inputs()]
    wanted_out = here(*given)
    inputs = [Tensor(x.value).to(NAME).requires_grad_(x.requires_grad) for x in given]
    before = copies["get"]
    out = there(*inputs)
    sum((o * o).sum() for o in flat(out)).backward()
    assert copies["get"] == before
    sum((o * o).sum() for o in flat(wanted_out)).backward()
    check(out, wanted_out)
    for name, parameter in here.named_parameters():
        twin = there.get_parameter(name)
        if parameter.grad is not None:
            check(twin.grad, parameter.grad)
    for name, tensor in here.state_dict().items():
        check(there.state_dict()[name], tensor)
    assert all(type(t.value) is np.ndarray for t in there.cpu().state_dict().values())


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_losses_stay_there(loss: Loss) -> None:
    module = loss.make().double()
    there = copy.deepcopy(module).to(NAME)
    given = [Tensor(x) for x in loss.inputs()]
    given[0].requires_grad_()
    moved = [Tensor(x.value).to(NAME).requires_grad_(x.requires_grad) for x in given]
    before = copies["get"]
    value = there(*moved)
    value.sum().backward()
    assert (copies["get"] > before) == (type(module).__name__ in ON_THE_HOST)
    wanted = module(*given)
    wanted.sum().backward()
    check(value, wanted)
    check(moved[0].grad, given[0].grad)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_optimizers_stay_there(setting: Setting) -> None:
    """Three steps, state away to a file's arrays and back, and two more: the same bits."""

    def run(device: str) -> list[Any]:
        rng = np.random.default_rng(4)
        parameters = [
            nn.Parameter(Tensor(rng.standard_normal(shape)).to(device))
            for shape in [(3, 2), (2,), (4, 3)]
        ]
        optimizer = setting.build(optim, parameters)

        def closure() -> Any:
            optimizer.zero_grad()
            loss = sum((p * p * p.abs()).sum() for p in parameters)
            loss.backward()
            return loss

        for step in range(5):
            before = copies["get"]
            optimizer.step(closure)
            assert copies["get"] == before
            if step == 2:
                state = optimizer.state_dict()
                optimizer = setting.build(optim, parameters)
                optimizer.load_state_dict(state)
        return parameters

    for found, wanted in zip(run(NAME), run("cpu"), strict=True):
        check(found, wanted)
