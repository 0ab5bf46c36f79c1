"""What a schedule is: the rate as a pure function of the step, so resuming needs the step only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minidl.autograd.recording import effect
from minidl.optim.optimizer import Optimizer


class Schedule:
    """Base of all schedules; a subclass defines `lr_at`.

    Parameters
    ----------
    optimizer
        Its groups' rates at this moment are their base rates.
    """

    def __init_subclass__(cls) -> None:
        # What a subclass does in a step is done at each replay of a recorded one.
        for name in ("step", "set_step"):
            if name in vars(cls):
                setattr(cls, name, effect(vars(cls)[name]))

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.base_lrs: list[float] = [
            float(group.setdefault("initial_lr", group["lr"])) for group in optimizer.param_groups
        ]
        self.set_step(0)

    def lr_at(self, step: int, base: float) -> float:
        """Return the rate of step ``step`` (from 0) for a group with this base rate."""
        raise NotImplementedError

    def group_lr_at(self, step: int, group: int) -> float:
        """Return the rate of a group, by its number; what differs from group to group."""
        return self.lr_at(step, self.base_lrs[group])

    def momentum_at(self, step: int) -> float | None:
        """Return the momentum of step ``step``; None where the schedule leaves it alone."""
        return None

    @effect
    def set_step(self, step: int) -> None:
        """Set every group's rate for optimizer step ``step``."""
        self.last_step = step
        momentum = self.momentum_at(step)
        for number, group in enumerate(self.optimizer.param_groups):
            group["lr"] = self.group_lr_at(step, number)
            if momentum is not None and "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])
            elif momentum is not None:
                group["momentum"] = momentum

    @effect
    def step(self) -> None:
        """Go on to the next step; call it after ``optimizer.step()``."""
        self.set_step(self.last_step + 1)

    def get_last_lr(self) -> list[float]:
        """Return the rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return the step; all else follows from it."""
        return {"last_step": self.last_step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to the step that `state_dict` told."""
        self.set_step(int(state["last_step"]))


def require_momentum(name: str, optimizer: Optimizer) -> None:
    """Hold that an optimizer has a momentum to cycle.

    Raises
    ------
    ValueError
        It has none.
    """
    for group in optimizer.param_groups:
        if "momentum" not in group and "betas" not in group:
            raise ValueError(
                f"{name}: cycle_momentum wants an optimizer with momentum or betas, "
                f"{type(optimizer).__name__} has none; set cycle_momentum=False"
            )
