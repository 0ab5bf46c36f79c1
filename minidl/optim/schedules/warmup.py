"""Schedules that lead a rate up, or hold a share of it for a while."""

from __future__ import annotations

import math

from minidl.arguments import Count, NonNegative, Positive, Size, checked
from minidl.optim.optimizer import Optimizer
from minidl.optim.schedules.base import Schedule


class ConstantLR(Schedule):
    """``factor`` times the rate for ``total_iters`` steps, then the whole rate.

    Raises
    ------
    ValueError
        An argument is out of bounds.
    """

    @checked
    def __init__(
        self, optimizer: Optimizer, factor: NonNegative = 1.0 / 3.0, total_iters: Count = 5
    ) -> None:
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer)

    def lr_at(self, step: int, base: float) -> float:
        """Return the rate of step ``step``."""
        return base * (self.factor if step < self.total_iters else 1.0)


class LinearLR(Schedule):
    """From ``start_factor`` to ``end_factor`` times the rate in ``total_iters`` steps, in a line.

    Raises
    ------
    ValueError
        An argument is out of bounds.
    """

    @checked
    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: Positive = 1.0 / 3.0,
        end_factor: NonNegative = 1.0,
        total_iters: Size = 5,
    ) -> None:
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = total_iters
        super().__init__(optimizer)

    def lr_at(self, step: int, base: float) -> float:
        """Return the rate of step ``step``."""
        share = min(step, self.total_iters) / self.total_iters
        return base * (self.start_factor + (self.end_factor - self.start_factor) * share)


class LinearWarmupLR(Schedule):
    """Up to the whole rate in ``warmup_steps`` steps, in a line; then it stays.

    Raises
    ------
    ValueError
        An argument is out of bounds.
    """

    @checked
    def __init__(self, optimizer: Optimizer, warmup_steps: Count) -> None:
        self.warmup_steps = warmup_steps
        super().__init__(optimizer)

    def lr_at(self, step: int, base: float) -> float:
        """Return the rate of step ``step``."""
        return base * min(1.0, (step + 1) / (self.warmup_steps + 1))


class CosineWarmupLR(Schedule):
    """Up to the whole rate in ``warmup_steps`` steps, along half a cosine; then it stays.

    Raises
    ------
    ValueError
        An argument is out of bounds.
    """

    @checked
    def __init__(self, optimizer: Optimizer, warmup_steps: Count) -> None:
        self.warmup_steps = warmup_steps
        super().__init__(optimizer)

    def lr_at(self, step: int, base: float) -> float:
        """Return the rate of step ``step``."""
        progress = min(1.0, (step + 1) / (self.warmup_steps + 1))
        return base * 0.5 * (1.0 - math.cos(math.pi * progress))
