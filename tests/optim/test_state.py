"""Optimizer state: it goes round, goes on identically, is PyTorch's, and is checked first."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from optimtable import SETTINGS, Setting, one
from trajectories import agree, ours, run, theirs

from minidl import Tensor, optim

torch_setting = pytest.mark.parametrize(
    "setting", [s for s in SETTINGS if s.torch], ids=lambda setting: setting.name
)
every_setting = pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)


def uneven(step: int, i: int) -> bool:
    return i != 1 or step % 3 == 0


def plain(value: Any) -> Any:
    """State with arrays in place of tensors of either framework, as a file would hold it."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    return value.detach().numpy().copy() if hasattr(value, "detach") else value


@every_setting
def test_a_fresh_optimizer_goes_on_where_the_state_was_taken(setting: Setting) -> None:
    a = ours()
    optimizer = setting.build(optim, a)
    run(optimizer, a, range(50), has_gradient=uneven)
    b = ours()
    for p, q in zip(a, b, strict=True):
        q.copy_(p)
    fresh = setting.build(optim, b)
    run(fresh, b, range(3))  # its own state must be overwritten
    for p, q in zip(a, b, strict=True):
        q.copy_(p)
    fresh.load_state_dict(optimizer.state_dict())
    later = range(50, 100)
    agree(
        run(fresh, b, later, has_gradient=uneven),
        run(optimizer, a, later, has_gradient=uneven),
        tolerance=0,
    )


def test_state_is_a_snapshot() -> None:
    a = ours()
    optimizer = optim.Adam(a, lr=0.1)
    run(optimizer, a, range(3))
    state = optimizer.state_dict()
    before = plain(state)
    run(optimizer, a, range(3))
    np.testing.assert_equal(plain(state), before)


def test_layout() -> None:
    a = ours()
    optimizer = optim.Adam([{"params": a[:2], "lr": 0.1}, {"params": a[2:]}])
    run(optimizer, a, range(4), has_gradient=lambda step, i: i != 3 and (i or step > 1))
    state = optimizer.state_dict()
    assert set(state) == {"state", "param_groups"}
    assert {number: entry["step"] for number, entry in state["state"].items()} == {
        0: 2, 1: 4, 2: 4, 4: 4,
    }  # fmt: skip
    assert list(state["state"][0]) == ["step", "exp_avg", "exp_avg_sq"]
    assert all(isinstance(state["state"][0][name], Tensor) for name in ("exp_avg", "exp_avg_sq"))
    assert [entry["exp_avg"].shape for entry in state["state"].values()] == [
        a[i].shape for i in (0, 1, 2, 4)
    ]
    settings = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
    settings |= {"amsgrad": False, "maximize": False}
    assert state["param_groups"] == [
        {"lr": 0.1, **settings, "params": [0, 1]},
        {"lr": 1e-3, **settings, "params": [2, 3, 4]},
    ]


@torch_setting
def test_layout_is_that_of_torch(torch: Any, setting: Setting) -> None:
    a, b = ours(), theirs(torch)
    mine, other = setting.build(optim, a), setting.build(torch.optim, b)
    run(mine, a, range(5), has_gradient=uneven)
    run(other, b, range(5), torch.from_numpy, uneven)
    ours_state, torch_state = mine.state_dict(), other.state_dict()
    for group, expected in zip(
        ours_state["param_groups"], torch_state["param_groups"], strict=True
    ):
        assert {key: expected[key] for key in group} == group
    for number, entry in torch_state["state"].items():
        for name, value in entry.items():
            near = max(1e-9, setting.tolerance)
            np.testing.assert_allclose(
                np.asarray(ours_state["state"][number][name]),
                value.numpy(),
                rtol=near,
                atol=max(1e-11, 0.01 * setting.tolerance),
            )


@torch_setting
def test_state_of_torch_is_taken_over(torch: Any, setting: Setting) -> None:
    b = theirs(torch)
    other = setting.build(torch.optim, b)
    run(other, b, range(50), torch.from_numpy, uneven)
    a = ours()
    for p, q in zip(a, b, strict=True):
        p.copy_(q.detach().numpy())
    mine = setting.build(optim, a)
    mine.load_state_dict(plain(other.state_dict()))
    assert set(mine.param_groups[0]) == {"params", *mine.defaults}
    agree(
        run(mine, a, range(50, 100), has_gradient=uneven),
        run(other, b, range(50, 100), torch.from_numpy, uneven),
    )


def test_state_survives_json_and_lists() -> None:
    a = ours()
    optimizer = optim.Adam(a, lr=0.1)
    run(optimizer, a, range(5))
    arrays = plain(optimizer.state_dict())
    through = json.loads(json.dumps(arrays, default=lambda array: array.tolist()))
    b = ours()
    for p, q in zip(a, b, strict=True):
        q.copy_(p)
    fresh = optim.Adam(b)
    del through["state"]["4"]  # an empty array: JSON keeps no shape
    fresh.load_state_dict(through)
    assert fresh.param_groups[0]["lr"] == 0.1
    agree(run(fresh, b, range(5, 9)), run(optimizer, a, range(5, 9)), tolerance=0)


def test_settings_come_with_the_state() -> None:
    source = optim.SGD([one()], lr=0.5, momentum=0.9, nesterov=True)
    target = optim.SGD([one()], lr=0.1)
    target.load_state_dict(source.state_dict())
    assert target.state_dict() == source.state_dict()
    assert target.param_groups[0]["nesterov"] is True


@every_setting
def test_a_state_from_before_the_first_step_starts_anew(setting: Setting) -> None:
    a, b = ours(), ours()
    optimizer, fresh = setting.build(optim, a), setting.build(optim, b)
    beginning = optimizer.state_dict()
    run(optimizer, a, range(5))
    optimizer.load_state_dict(beginning)
    for p, q in zip(a, b, strict=True):
        p.copy_(q)
    agree(run(optimizer, a, range(5)), run(fresh, b, range(5)), tolerance=0)


# ---- what it refuses -----------------------------------------------------------------------


def taken(**changes: Any) -> dict[str, Any]:
    """State of an Adam over two parameters, with changes to its first entry and group."""
    a = ours(shapes=[(3,), (2, 2)])
    optimizer = optim.Adam(a, lr=0.5)
    run(optimizer, a, range(2))
    state = plain(optimizer.state_dict())
    for key, value in changes.items():
        place = state["state"][1] if key in state["state"][1] else state["param_groups"][0]
        place[key] = value
    return state


def without(state: dict[str, Any], *path: Any) -> dict[str, Any]:
    *places, last = path
    inside: Any = state
    for place in places:
        inside = inside[place]
    del inside[last]
    return state


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (taken(params=[0]), r"parameters in groups: \[2\] here, \[1\] in the state"),
        (
            taken(exp_avg=np.zeros(4)),
            r"'exp_avg' of parameter 1: wanted shape \(2, 2\), got \(4,\)",
        ),
        (without(taken(), "state", 1, "exp_avg_sq"), "'exp_avg_sq' of parameter 1.*got nothing"),
        (taken(lr=-1.0), "lr must be at least 0, got -1"),
        (taken(betas=(0.9, 1.0)), "betas must be"),
        (taken(amsgrad=True), "state 'max_exp_avg_sq' of parameter 0.*got nothing"),
        (taken(foresight=True), "saved with foresight=True, which this optimizer does not do"),
        (taken(decoupled_weight_decay=True), "saved with decoupled_weight_decay=True"),
        (
            {**taken(), "state": {2: taken()["state"][1]}},
            "state of parameter 2; there are 2",
        ),
    ],
    ids=["groups", "shape", "missing", "lr", "betas", "amsgrad", "foreign", "decoupled", "number"],
)
def test_state_that_does_not_fit_changes_nothing(state: dict[str, Any], message: str) -> None:
    a = ours(shapes=[(3,), (2, 2)])
    optimizer = optim.Adam(a, lr=0.1)
    run(optimizer, a, range(3))
    before = plain(optimizer.state_dict())
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(state)
    np.testing.assert_equal(plain(optimizer.state_dict()), before)
