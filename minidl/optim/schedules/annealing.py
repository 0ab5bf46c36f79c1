"""Schedules that lead a rate down: along cosines, lines, powers, steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

from minidl.arguments import Count, Fraction, NonNegative, Positive, Size, checked
from minidl.optim.optimizer import Optimizer
from minidl.optim.schedules.base import Schedule


def half_cosine(progress: float) -> float:
    """Return 1 at progress 0, 0 at 1 and behind it, along half a cosine."""
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, max(0.0, progress))))


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
    T_max, eta_min
        PyTorch's names and meaning: steps of half a wave, behind which the rate goes up again, and
        the lowest rate.

    Raises
    ------
    ValueError
        An argument is out of bounds or missing, the warm-up is as long as the training, or both
        ``min_lr`` and ``eta_min`` are given.

    References
    ----------
    I. Loshchilov, F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017,
    equation 5, without restarts.
    """

    @checked
    def __init__(
        self,
        optimizer: Optimizer,
        total_steps: Size | None = None,
        *,
        warmup_steps: Count = 0,
        min_lr: NonNegative = 0.0,
        T_max: Size | None = None,
        eta_min: NonNegative | None = None,
    ) -> None:
        if total_steps is None and T_max is None:
            raise ValueError("CosineAnnealingLR: one of total_steps and T_max is wanted")
        if min_lr and eta_min is not None:
            raise ValueError(
                f"CosineAnnealingLR: min_lr {min_lr} and eta_min {eta_min} are one thing; give one"
            )
        if T_max is None and total_steps is not None:
            require_shorter(warmup_steps, total_steps)
        self.total_steps, self.T_max = total_steps, T_max
        self.warmup_steps = warmup_steps
        self.min_lr = min_lr if eta_min is None else eta_min
        super().__init__(optimizer)

    def lr_at(self, step: int, base: float) -> float:
        """Return the rate of step ``step`` (from 0) for a group with this base rate."""
        if step < self.warmup_steps:
            return base * (step + 1) / (self.warmup_steps + 1)
        place = step - self.warmup_steps
        if self.T_max is not None:  # a wave, whose halves go down and up in turn
            place %= 2 * self.T_max
            share = half_cosine(min(place, 2 * self.T_max - place) / self.T_max)
        else:
            assert self.total_steps is not None
            share = half_cosine(place / (self.total_steps - self.warmup_steps))
        return self.min_lr + (base - self.min_lr) * share


class CosineAnnealingWarmRestarts(Schedule):
    """Half a cosine down to ``eta_min`` in ``T_0`` steps, then again from the top.

    Each time it takes ``T_mult`` times as long.

    Raises
    ------
    ValueError
        An argument is out of bounds.

    References
    ----------
    I. Loshchilov, F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017.
    """

    @checked
    def __init__(
        self, optimizer: Optimizer, T_0: Size, T_mult: Size = 1, eta_min: NonNegative = 0.0
    ) -> None:
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        super().__init__(optimizer)

    def lr_at(self, step: int, base: float) -> float:
        """Return the rate of step ``step``."""
        length = self.T_0
        while step >= length:
            if self.T_mult == 1:
                step %= length
                break
            step -= length
            length *= self.T_mult
        return self.eta_min + (base - self.eta_min) * half_cosine(step / length)


class StepLR(Schedule):
    """Multiply the rate by ``gamma`` every ``step_size`` steps.

    Raises
    ------
    ValueError
        An argument is out of bounds.
    """

    @checked
    def __init__(self, optimizer: Optimizer, step_size: Size, gamma: Positive = 0.1) -> None:
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def lr_at(self, step: int, base: float) -> float:
        """Return the rate of step ``step``."""
        return base * self.gamma ** (step // self.step_size)


class MultiStepLR(Schedule):
    """Multiply the rate by ``gamma`` at each of the ``milestones``.

    Raises
    ------
    ValueError
        An argument is out of bounds.
    """

    @checked
    def __init__(
        self, optimizer: Optimizer, milestones: Sequence[Count], gamma: Positive = 0.1
    ) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer)

    def lr_at(self, step: int, base: float) -> float:
        """Return the rate of step ``step``."""
        return base * self.gamma ** sum(milestone <= step for milestone in self.milestones)


class ExponentialLR(Schedule):
    """Multiply the rate by ``gamma`` at every step.

    Raises
    ------
    ValueError
        An argument is out of bounds.
    """

    @checked
    def __init__(self, optimizer: Optimizer, gamma: Positive) -> None:
        self.gamma = gamma
        super().__init__(optimizer)

    def lr_at(self, step: int, base: float) -> float:
        """Return the rate of step ``step``."""
        return base * self.gamma**step


class PolynomialLR(Schedule):
    """``base · (1 - step / total_iters)^power``, and 0 behind it.

    Raises
    ------
    ValueError
        An argument is out of bounds.
    """

    @checked
    def __init__(self, optimizer: Optimizer, total_iters: Size = 5, power: Positive = 1.0) -> None:
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer)

    def lr_at(self, step: int, base: float) -> float:
        """Return the rate of step ``step``."""
        left = 1.0 - min(step, self.total_iters) / self.total_iters
        return base * math.pow(left, self.power)


class PolynomialDecayLR(Schedule):
    """Linear warm-up, then down to ``min_lr`` at the end of the training, along a power.

    Raises
    ------
    ValueError
        An argument is out of bounds, or the warm-up is as long as the training.
    """

    @checked
    def __init__(
        self,
        optimizer: Optimizer,
        total_steps: Size,
        *,
        warmup_steps: Count = 0,
        power: Positive = 1.0,
        min_lr: NonNegative = 0.0,
    ) -> None:
        require_shorter(warmup_steps, total_steps)
        self.total_steps, self.warmup_steps = total_steps, warmup_steps
        self.power, self.min_lr = power, min_lr
        super().__init__(optimizer)

    def lr_at(self, step: int, base: float) -> float:
        """Return the rate of step ``step``."""
        if step < self.warmup_steps:
            return base * (step + 1) / (self.warmup_steps + 1)
        progress = (step - self.warmup_steps) / (self.total_steps - self.warmup_steps)
        left = math.pow(1.0 - min(1.0, progress), self.power)
        return self.min_lr + (base - self.min_lr) * left


class InverseSqrtLR(Schedule):
    """Linear warm-up, then ``base · √(warmup / step)``.

    Raises
    ------
    ValueError
        An argument is out of bounds.

    References
    ----------
    A. Vaswani et al., "Attention Is All You Need", NIPS 2017, section 5.3.
    """

    @checked
    def __init__(self, optimizer: Optimizer, warmup_steps: Size) -> None:
        self.warmup_steps = warmup_steps
        super().__init__(optimizer)

    def lr_at(self, step: int, base: float) -> float:
        """Return the rate of step ``step``."""
        place = step + 1
        return base * min(place / self.warmup_steps, math.sqrt(self.warmup_steps / place))


class TrapezoidLR(Schedule):
    """Warm-up, a stable rate, and a linear decay at the end of the training.

    Parameters
    ----------
    decay_fraction
        Share of all steps that the decay takes.

    Raises
    ------
    ValueError
        An argument is out of bounds, or warm-up and decay are longer than the training.

    References
    ----------
    A. Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations",
    NeurIPS 2024.
    """

    @checked
    def __init__(
        self,
        optimizer: Optimizer,
        total_steps: Size,
        *,
        warmup_steps: Count = 0,
        decay_fraction: Fraction = 0.2,
        min_lr: NonNegative = 0.0,
    ) -> None:
        self.decay_steps = round(decay_fraction * total_steps)
        require_shorter(warmup_steps + self.decay_steps, total_steps + 1)
        self.total_steps, self.warmup_steps = total_steps, warmup_steps
        self.decay_fraction, self.min_lr = decay_fraction, min_lr
        super().__init__(optimizer)

    def lr_at(self, step: int, base: float) -> float:
        """Return the rate of step ``step``."""
        if step < self.warmup_steps:
            return base * (step + 1) / (self.warmup_steps + 1)
        left = self.total_steps - step
        if left >= self.decay_steps or not self.decay_steps:
            return base
        return self.min_lr + (base - self.min_lr) * max(0, left) / self.decay_steps


def require_shorter(steps: int, total_steps: int) -> None:
    """Raise ValueError where a part of the training is as long as the whole."""
    if steps >= total_steps:
        raise ValueError(
            f"warmup_steps must be below the {total_steps} steps of the whole training, got {steps}"
        )
