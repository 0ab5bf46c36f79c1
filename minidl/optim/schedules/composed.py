"""Schedules made of functions or of other schedules, and the one that looks at a metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from minidl.arguments import Count, NonNegative, Positive, checked
from minidl.autograd.recording import effect
from minidl.optim.optimizer import Optimizer
from minidl.optim.schedules.base import Schedule

Factor = Callable[[int], float]


class LambdaLR(Schedule):
    """The rate times ``lr_lambda(step)``; one function, or one a group.

    Raises
    ------
    ValueError
        The number of functions is not that of the groups.
    """

    def __init__(self, optimizer: Optimizer, lr_lambda: Factor | Sequence[Factor]) -> None:
        self.functions = _functions(type(self).__name__, optimizer, lr_lambda)
        super().__init__(optimizer)

    def group_lr_at(self, step: int, group: int) -> float:
        """Return the rate of a group at step ``step``."""
        return self.base_lrs[group] * self.functions[group](step)


class MultiplicativeLR(LambdaLR):
    """The rate times all of ``lr_lambda(1)`` to ``lr_lambda(step)``."""

    def group_lr_at(self, step: int, group: int) -> float:
        """Return the rate of a group at step ``step``."""
        function = self.functions[group]
        return self.base_lrs[group] * math.prod(function(t) for t in range(1, step + 1))


def _functions(name: str, optimizer: Optimizer, given: Any) -> list[Factor]:
    groups = len(optimizer.param_groups)
    functions = [given] * groups if callable(given) else list(given)
    if len(functions) != groups:
        raise ValueError(f"{name}: {groups} functions are wanted, one a group, got {given!r}")
    return functions


class SequentialLR(Schedule):
    """One schedule after the other; each begins anew at its milestone.

    Raises
    ------
    ValueError
        The milestones do not rise, their number is not one less than that of the schedules, or a
        schedule is another optimizer's.
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[Schedule], milestones: Sequence[int]
    ) -> None:
        _same_optimizer("SequentialLR", optimizer, schedulers)
        if len(milestones) != len(schedulers) - 1 or sorted(set(milestones)) != list(milestones):
            raise ValueError(
                f"SequentialLR: {len(schedulers) - 1} rising milestones are wanted, got "
                f"{list(milestones)}"
            )
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        super().__init__(optimizer)

    def _at(self, step: int) -> tuple[Schedule, int]:
        number = sum(milestone <= step for milestone in self.milestones)
        return self.schedulers[number], step - (self.milestones[number - 1] if number else 0)

    def group_lr_at(self, step: int, group: int) -> float:
        """Return the rate of a group at step ``step``."""
        schedule, place = self._at(step)
        return schedule.group_lr_at(place, group)

    def momentum_at(self, step: int) -> float | None:
        """Return the momentum of step ``step``."""
        schedule, place = self._at(step)
        return schedule.momentum_at(place)


class ChainedScheduler(Schedule):
    """Several schedules at once: their factors are multiplied.

    Raises
    ------
    ValueError
        There are none, or one is another optimizer's.
    """

    def __init__(self, schedulers: Sequence[Schedule], optimizer: Optimizer | None = None) -> None:
        if not schedulers:
            raise ValueError("ChainedScheduler: there are no schedules")
        optimizer = schedulers[0].optimizer if optimizer is None else optimizer
        _same_optimizer("ChainedScheduler", optimizer, schedulers)
        self.schedulers = list(schedulers)
        super().__init__(optimizer)

    def group_lr_at(self, step: int, group: int) -> float:
        """Return the rate of a group at step ``step``."""
        base = self.base_lrs[group]
        if not base:
            return 0.0
        return base * math.prod(s.group_lr_at(step, group) / base for s in self.schedulers)


def _same_optimizer(name: str, optimizer: Optimizer, schedulers: Sequence[Schedule]) -> None:
    for i, schedule in enumerate(schedulers):
        if not isinstance(schedule, Schedule) or schedule.optimizer is not optimizer:
            raise ValueError(f"{name}: schedule {i} ({schedule!r}) is not one of this optimizer")


class ReduceLROnPlateau:
    """Lower the rate when a metric no longer gets better: ``step(metric)``, once an epoch.

    The only schedule with a state of its own: the best value, and how long ago it was.

    Parameters
    ----------
    mode
        ``"min"``: lower is better; ``"max"``.
    factor
        What the rate is multiplied by.
    patience
        Calls without a better value that are waited for.
    threshold, threshold_mode
        By how much a better value must be better: relatively (``"rel"``) or absolutely (``"abs"``).
    cooldown
        Calls after a reduction that count for nothing.
    min_lr, eps
        Rates stay at least this; a change below ``eps`` is left out.

    Raises
    ------
    ValueError
        An argument is out of bounds or unknown.
    """

    @checked
    def __init__(
        self,
        optimizer: Optimizer,
        mode: Literal["min", "max"] = "min",
        factor: Positive = 0.1,
        patience: Count = 10,
        threshold: NonNegative = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        cooldown: Count = 0,
        min_lr: NonNegative = 0.0,
        eps: NonNegative = 1e-8,
    ) -> None:
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ValueError(
                "ReduceLROnPlateau: mode must be 'min' or 'max', threshold_mode 'rel' or 'abs', "
                f"got {mode!r}, {threshold_mode!r}"
            )
        if factor >= 1.0:
            raise ValueError(f"ReduceLROnPlateau: factor must be below 1, got {factor}")
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.cooldown, self.min_lr, self.eps = cooldown, min_lr, eps
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0

    def _better(self, value: float) -> bool:
        if math.isinf(self.best):
            return value < self.best if self.mode == "min" else value > self.best
        margin = self.threshold * (abs(self.best) if self.threshold_mode == "rel" else 1.0)
        if self.mode == "min":
            return value < self.best - margin
        return value > self.best + margin

    @effect
    def step(self, metrics: float) -> None:
        """Take in the metric of an epoch, and lower the rate if it is time."""
        self.last_epoch += 1
        if self._better(float(metrics)):
            self.best, self.num_bad_epochs = float(metrics), 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group in self.optimizer.param_groups:
                lower = max(group["lr"] * self.factor, self.min_lr)
                if group["lr"] - lower > self.eps:
                    group["lr"] = lower
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def get_last_lr(self) -> list[float]:
        """Return the rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return what it remembers, and the rates."""
        names = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")
        return {**{name: getattr(self, name) for name in names}, "lrs": self.get_last_lr()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` told."""
        for group, lr in zip(self.optimizer.param_groups, state["lrs"], strict=True):
            group["lr"] = lr
        for name in ("best", "num_bad_epochs", "cooldown_counter", "last_epoch"):
            setattr(self, name, state[name])
