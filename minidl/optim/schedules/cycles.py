"""Schedules that go up and down, with momentum going the other way."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from minidl.arguments import NonNegative, Positive, Probability, Size, checked
from minidl.optim.optimizer import Optimizer
from minidl.optim.schedules.base import Schedule, require_momentum

Rates: TypeAlias = float | Sequence[float]


def _each(name: str, optimizer: Optimizer, given: Rates) -> list[float]:
    groups = len(optimizer.param_groups)
    rates = [float(given)] * groups if isinstance(given, (int, float)) else list(map(float, given))
    if len(rates) != groups or min(rates) < 0:
        raise ValueError(f"{name}: one number of at least 0, or {groups}, are wanted, got {given}")
    return rates


class CyclicLR(Schedule):
    """From ``base_lr`` to ``max_lr`` and back, again and again.

    Parameters
    ----------
    mode
        ``"triangular"``; ``"triangular2"``, half as high each time; ``"exp_range"``, scaled by
        ``gamma`` to the power of the step.
    scale_fn
        In place of ``mode``: a factor, of the number of the cycle (from 1) or of the step.

    Raises
    ------
    ValueError
        An argument is out of bounds, or there is no momentum to cycle.

    References
    ----------
    L. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017.
    """

    @checked
    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: Rates,
        max_lr: Rates,
        step_size_up: Size = 2000,
        step_size_down: Size | None = None,
        mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
        gamma: Positive = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: Literal["cycle", "iterations"] = "cycle",
        cycle_momentum: bool = True,
        base_momentum: Probability = 0.8,
        max_momentum: Probability = 0.9,
    ) -> None:
        if mode not in ("triangular", "triangular2", "exp_range"):
            raise ValueError(
                f"CyclicLR: mode must be 'triangular', 'triangular2' or 'exp_range', got {mode!r}"
            )
        self.low = _each("CyclicLR: base_lr", optimizer, base_lr)
        self.high = _each("CyclicLR: max_lr", optimizer, max_lr)
        self.up = step_size_up
        self.down = step_size_up if step_size_down is None else step_size_down
        self.mode, self.gamma, self.scale_fn, self.scale_mode = mode, gamma, scale_fn, scale_mode
        self.cycle_momentum = cycle_momentum
        self.base_momentum, self.max_momentum = base_momentum, max_momentum
        if cycle_momentum:
            require_momentum("CyclicLR", optimizer)
        super().__init__(optimizer)

    def _height(self, step: int) -> float:
        """Share of the way up."""
        length = self.up + self.down
        cycle = 1 + step // length
        place = step % length
        height = place / self.up if place <= self.up else 1.0 - (place - self.up) / self.down
        if self.scale_fn is not None:
            return height * self.scale_fn(cycle if self.scale_mode == "cycle" else step)
        if self.mode == "triangular2":
            return height / 2.0 ** (cycle - 1)
        return height * self.gamma**step if self.mode == "exp_range" else height

    def group_lr_at(self, step: int, group: int) -> float:
        """Return the rate of a group at step ``step``."""
        low, high = self.low[group], self.high[group]
        return low + (high - low) * self._height(step)

    def momentum_at(self, step: int) -> float | None:
        """Return the momentum of step ``step``, high where the rate is low."""
        if not self.cycle_momentum:
            return None
        return self.max_momentum - (self.max_momentum - self.base_momentum) * self._height(step)


class OneCycleLR(Schedule):
    """Once up to ``max_lr`` and down far below where it began; momentum goes the other way.

    Parameters
    ----------
    max_lr
        The highest rate, or one a group.
    total_steps
        Steps of the whole training.
    pct_start
        Share of the steps that lead up.
    div_factor, final_div_factor
        The first rate is ``max_lr / div_factor``, the last that divided by ``final_div_factor``.
    three_phase
        Back to the first rate in as many steps as led up, then down.

    Raises
    ------
    ValueError
        An argument is out of bounds, or there is no momentum to cycle.

    References
    ----------
    L. Smith, N. Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large
    Learning Rates", 2018.
    """

    @checked
    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: Rates,
        total_steps: Size,
        *,
        pct_start: Probability = 0.3,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        cycle_momentum: bool = True,
        base_momentum: Probability = 0.85,
        max_momentum: Probability = 0.95,
        div_factor: Positive = 25.0,
        final_div_factor: Positive = 1e4,
        three_phase: bool = False,
    ) -> None:
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"OneCycleLR: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}"
            )
        self.high = _each("OneCycleLR: max_lr", optimizer, max_lr)
        self.total_steps, self.pct_start, self.anneal = total_steps, pct_start, anneal_strategy
        self.cycle_momentum = cycle_momentum
        self.base_momentum, self.max_momentum = base_momentum, max_momentum
        self.div_factor, self.final_div_factor = div_factor, final_div_factor
        self.three_phase = three_phase
        if cycle_momentum:
            require_momentum("OneCycleLR", optimizer)
        super().__init__(optimizer)

    def _phases(self) -> list[tuple[float, str, str]]:
        """Where each phase ends, and what it leads from and to."""
        up, last = self.pct_start * self.total_steps - 1.0, self.total_steps - 1.0
        if self.three_phase:
            back = 2.0 * self.pct_start * self.total_steps - 2.0
            return [(up, "low", "high"), (back, "high", "low"), (last, "low", "least")]
        return [(up, "low", "high"), (last, "high", "least")]

    def _value(self, step: int, levels: dict[str, float]) -> float:
        begin = 0.0
        place = float(min(step, self.total_steps - 1))
        for end, first, last in self._phases():
            if place <= end or end == self.total_steps - 1:
                share = (place - begin) / (end - begin) if end > begin else 1.0
                if self.anneal == "cos":
                    share = 0.5 * (1.0 - math.cos(math.pi * share))
                return levels[first] + (levels[last] - levels[first]) * share
            begin = end
        return levels["least"]

    def group_lr_at(self, step: int, group: int) -> float:
        """Return the rate of a group at step ``step``."""
        high = self.high[group]
        low = high / self.div_factor
        return self._value(step, {"low": low, "high": high, "least": low / self.final_div_factor})

    def momentum_at(self, step: int) -> float | None:
        """Return the momentum of step ``step``, high where the rate is low."""
        if not self.cycle_momentum:
            return None
        most, least = self.max_momentum, self.base_momentum
        return self._value(step, {"low": most, "high": least, "least": most})


class SWALR(Schedule):
    """From the rate to ``swa_lr`` in ``anneal_epochs`` steps, where it stays.

    Raises
    ------
    ValueError
        An argument is out of bounds.

    References
    ----------
    P. Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI
    2018.
    """

    @checked
    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: NonNegative,
        anneal_epochs: Size = 10,
        anneal_strategy: Literal["cos", "linear"] = "cos",
    ) -> None:
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"SWALR: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}"
            )
        self.swa_lr, self.anneal_epochs, self.anneal = swa_lr, anneal_epochs, anneal_strategy
        super().__init__(optimizer)

    def lr_at(self, step: int, base: float) -> float:
        """Return the rate of step ``step``."""
        share = min(1.0, step / self.anneal_epochs)
        if self.anneal == "cos":
            share = 0.5 * (1.0 - math.cos(math.pi * share))
        return base + (self.swa_lr - base) * share
