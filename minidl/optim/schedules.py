"""Learning-rate schedules: each a pure function of the step, so resuming needs the step only."""

from __future__ import annotations

import math

from minidl.arguments import Count, NonNegative, Size, checked
from minidl.optim.optimizer import Optimizer


class Schedule:
    """Base of all schedules."""


class CosineAnnealingLR(Schedule):
    """Linear warm-up to the optimizer's rate, then half a cosine down to ``min_lr``.

    At step t (from 0) of ``total_steps``, with u = (t - warmup) / (total - warmup):
    ``lr = min_lr + (base - min_lr) · (1 + cos(π u)) / 2``; during warm-up
    ``lr = base · (t + 1) / (warmup + 1)``.

    Parameters
    ----------
    optimizer
        Its groups' rates at this moment are their base rates.
    total_steps
        Number of optimizer steps in the whole training; afterwards the rate stays.
    warmup_steps
        Number of steps before the full rate.
    min_lr
        Rate at the end.

    Raises
    ------
    ValueError
        An argument is out of bounds, or the warm-up is as long as the training.

    References
    ----------
    I. Loshchilov, F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017,
    equation 5, without restarts.
    """

    @checked
    def __init__(
        self,
        optimizer: Optimizer,
        total_steps: Size,
        *,
        warmup_steps: Count = 0,
        min_lr: NonNegative = 0.0,
    ) -> None:
        if warmup_steps >= total_steps:
            raise ValueError(
                f"warmup_steps must be below the {total_steps} steps of the whole training, "
                f"got {warmup_steps}"
            )
        self.optimizer = optimizer
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps
        self.min_lr = min_lr
        self.base_lrs: list[float] = [group["lr"] for group in optimizer.param_groups]
        self.set_step(0)

    def lr_at(self, step: int, base: float) -> float:
        """Return the rate of step ``step`` (from 0) for a group with this base rate."""
        if step < self.warmup_steps:
            return base * (step + 1) / (self.warmup_steps + 1)
        span = self.total_steps - self.warmup_steps
        progress = min(1.0, (step - self.warmup_steps) / span)
        return self.min_lr + (base - self.min_lr) * 0.5 * (1.0 + math.cos(math.pi * progress))

    def set_step(self, step: int) -> None:
        """Set every group's rate for optimizer step ``step``."""
        self.last_step = step
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = self.lr_at(step, base)

    def step(self) -> None:
        """Go on to the next step; call it after ``optimizer.step()``."""
        self.set_step(self.last_step + 1)

    def get_last_lr(self) -> list[float]:
        """Return the rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]
