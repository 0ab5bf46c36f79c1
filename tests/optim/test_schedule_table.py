"""Every schedule: PyTorch's values, step by step, and nothing but a function of the step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from optimtable import SCHEDULES, Scheduled, one

from minidl import optim

every_schedule = pytest.mark.parametrize("entry", SCHEDULES, ids=lambda entry: entry.name)
torch_schedule = pytest.mark.parametrize(
    "entry", [e for e in SCHEDULES if e.torch], ids=lambda entry: entry.name
)


def make(entry: Scheduled) -> Any:
    return entry.build(optim, entry.optimizer(optim, [one()]))


def trace(schedule: Any, steps: int = 60) -> list[tuple[float, float]]:
    """Rate and momentum of each step."""
    found = []
    for _ in range(steps):
        group = schedule.optimizer.param_groups[0]
        found.append((group["lr"], group.get("momentum", group.get("betas", (0,))[0])))
        schedule.optimizer.step()  # PyTorch warns without
        schedule.step()
    return found


@torch_schedule
@pytest.mark.filterwarnings("ignore")  # PyTorch speaks of the order of calls
def test_values_are_those_of_torch(torch: Any, entry: Scheduled) -> None:
    parameter = torch.nn.Parameter(torch.ones(1))
    theirs = entry.build(torch.optim.lr_scheduler, entry.optimizer(torch.optim, [parameter]))
    if isinstance(theirs, torch.optim.lr_scheduler.ChainedScheduler):
        theirs.optimizer = theirs._schedulers[0].optimizer
    np.testing.assert_allclose(trace(make(entry)), trace(theirs), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("strategy", ["cos", "linear"])
def test_swalr_is_that_of_torch(torch: Any, strategy: Any) -> None:
    # It lies elsewhere in PyTorch than the others, and takes some of its arguments by name only.
    parameter = torch.nn.Parameter(torch.ones(1))
    theirs = torch.optim.swa_utils.SWALR(
        torch.optim.SGD([parameter], lr=0.3), 0.05, anneal_epochs=10, anneal_strategy=strategy
    )
    ours = optim.SWALR(optim.SGD([one()], lr=0.3), 0.05, 10, strategy)
    np.testing.assert_allclose(trace(ours), trace(theirs), rtol=1e-9)


def test_every_schedule_of_torch_is_here(torch: Any) -> None:
    theirs = vars(torch.optim.lr_scheduler)
    base = torch.optim.lr_scheduler.LRScheduler
    names = {n for n, c in theirs.items() if isinstance(c, type) and issubclass(c, base)}
    assert {n for n in names if not n.startswith("_")} - {"LRScheduler"} <= set(optim.__all__)


@every_schedule
def test_a_function_of_the_step_alone(entry: Scheduled) -> None:
    in_order = trace(make(entry))
    jumping = make(entry)
    for step in np.random.default_rng(0).permutation(60):
        jumping.set_step(int(step))
        assert jumping.get_last_lr() == [in_order[step][0]]
        assert jumping.optimizer.param_groups[0]["lr"] == in_order[step][0]
    fresh = make(entry)
    jumping.set_step(17)
    fresh.load_state_dict(jumping.state_dict())
    assert fresh.get_last_lr() == [in_order[17][0]]
    assert all(rate >= 0 for rate, _ in in_order)


def test_groups_keep_their_ratio() -> None:
    optimizer = optim.SGD([{"params": [one()], "lr": 0.1}, {"params": [one()], "lr": 0.4}])
    schedule = optim.StepLR(optimizer, 2, 0.5)
    for _ in range(5):
        schedule.step()
    assert schedule.get_last_lr() == [0.025, 0.1]


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
def test_plateau_is_that_of_torch(torch: Any, mode: Any, threshold_mode: Any) -> None:
    settings = {"factor": 0.5, "patience": 2, "threshold": 0.01, "cooldown": 1, "min_lr": 0.01}
    ours = optim.ReduceLROnPlateau(
        optim.SGD([one()], lr=0.3), mode, threshold_mode=threshold_mode, **settings
    )
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.3),
        mode,
        threshold_mode=threshold_mode,
        **settings,
    )
    rng = np.random.default_rng(0)
    values = 1.0 + np.cumsum(rng.normal(0, 0.02, 60))
    for i, value in enumerate(values):
        if i == 30:  # through a state
            fresh = optim.ReduceLROnPlateau(
                optim.SGD([one()], lr=9.0), mode, threshold_mode=threshold_mode, **settings
            )
            fresh.load_state_dict(ours.state_dict())
            ours = fresh
        ours.step(value)
        theirs.step(float(value))
        assert ours.get_last_lr() == pytest.approx(theirs.get_last_lr(), rel=1e-12)
    assert ours.get_last_lr()[0] < 0.3
