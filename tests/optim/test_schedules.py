"""Schedules: the formula, its edges, and PyTorch's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from optimtable import one

from minidl import optim


def rates(schedule: Any, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        found.append(schedule.get_last_lr()[0])
        schedule.optimizer.step()  # PyTorch warns without
        schedule.step()
    return found


def test_formula() -> None:
    schedule = optim.CosineAnnealingLR(optim.SGD([one()], lr=0.4), 100, warmup_steps=20, min_lr=0.1)
    found = rates(schedule, 110)
    warm = [0.4 * (t + 1) / 21 for t in range(20)]
    cosine = [0.1 + 0.3 * 0.5 * (1 + math.cos(math.pi * t / 80)) for t in range(80)]
    np.testing.assert_allclose(found, warm + cosine + [0.1] * 10, rtol=1e-14)
    assert found[20] == 0.4  # the full rate, right after the warm-up
    assert max(found) == 0.4
    assert found[60] == pytest.approx(0.25)  # half way


def test_without_warm_up_it_is_that_of_torch(torch: Any) -> None:
    schedule = optim.CosineAnnealingLR(optim.SGD([one()], lr=0.3), 50, min_lr=0.01)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(
        torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.3), T_max=50, eta_min=0.01
    )
    np.testing.assert_allclose(rates(schedule, 51), rates(theirs, 51), rtol=1e-10)


def test_it_is_a_function_of_the_step_alone() -> None:
    def make() -> optim.CosineAnnealingLR:
        return optim.CosineAnnealingLR(optim.SGD([one()], lr=0.3), 40, warmup_steps=5)

    in_order = rates(make(), 50)
    jumping = make()
    for step in np.random.default_rng(0).permutation(50):
        jumping.set_step(int(step))
        assert jumping.last_step == step
        assert jumping.get_last_lr() == [in_order[step]]
        assert jumping.lr_at(int(step), 0.3) == in_order[step]


def test_resuming_needs_the_step_and_the_base_rate_only() -> None:
    optimizer = optim.Adam([one()], lr=0.3)
    schedule = optim.CosineAnnealingLR(optimizer, 40)
    rates(schedule, 17)
    saved = optimizer.state_dict()
    fresh = optim.Adam([one()], lr=0.3)
    resumed = optim.CosineAnnealingLR(fresh, 40)
    fresh.load_state_dict(saved)
    resumed.set_step(17)
    assert rates(resumed, 23) == rates(schedule, 23)


def test_groups_keep_their_own_base_rates() -> None:
    optimizer = optim.SGD([{"params": [one()], "lr": 1.0}, {"params": [one()], "lr": 0.1}])
    schedule = optim.CosineAnnealingLR(optimizer, 10, warmup_steps=1)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.05]
    schedule.set_step(1)
    assert schedule.get_last_lr() == [1.0, 0.1]
    schedule.set_step(10)
    assert schedule.get_last_lr() == [0.0, 0.0]


def test_the_optimizer_takes_the_rate() -> None:
    parameter = one()
    optimizer = optim.SGD([parameter], lr=1.0)
    schedule = optim.CosineAnnealingLR(optimizer, 2)
    for _ in range(3):  # rates 1, 1/2, 0
        parameter.grad = np.ones(3, np.float32)
        optimizer.step()
        schedule.step()
    assert parameter.tolist() == [-0.5, -0.5, -0.5]
    assert parameter.dtype == np.float32


def test_one_step() -> None:
    assert rates(optim.CosineAnnealingLR(optim.SGD([one()], lr=0.3), 1), 3) == [0.3, 0.0, 0.0]
