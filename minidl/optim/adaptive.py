"""A rate for each parameter, by the size of its past gradients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from minidl.arguments import Fraction, NonNegative, Positive, Probability, checked
from minidl.optim import rules
from minidl.optim.flat import Segment
from minidl.optim.optimizer import Optimizer
from minidl.tensor import Tensor

Params = Iterable[Tensor] | Iterable[dict[str, Any]]


class Adagrad(Optimizer):
    """Steps divided by the root of the sum of all squared gradients.

    Raises
    ------
    ValueError
        A setting is out of bounds.

    References
    ----------
    J. Duchi et al., "Adaptive Subgradient Methods for Online Learning and Stochastic
    Optimization", JMLR 12 (2011).
    """

    state_names: ClassVar = ("sum",)

    @checked
    def __init__(
        self,
        params: Params,
        lr: NonNegative = 1e-2,
        *,
        lr_decay: NonNegative = 0.0,
        weight_decay: NonNegative = 0.0,
        initial_accumulator_value: NonNegative = 0.0,
        eps: Positive = 1e-10,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "eps": eps,
                "maximize": maximize,
            },
        )

    def update(self, segment: Segment, settings: Mapping[str, Any]) -> None:
        """Take one step."""
        rate = settings["lr"] / (1.0 + (segment.step - 1) * settings["lr_decay"])
        if segment.step == 1:
            segment.state["sum"][...] = settings["initial_accumulator_value"]
        for p, g, total in rules.blocks(segment, "sum"):
            g = rules.decayed(g, p, settings)
            total += g * g
            p -= rate * (g / (np.sqrt(total) + settings["eps"]))


class Adadelta(Optimizer):
    """Steps scaled by the ratio of the root mean squares of past steps and gradients.

    Raises
    ------
    ValueError
        A setting is out of bounds.

    References
    ----------
    M. Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, algorithm 1.
    """

    state_names: ClassVar = ("square_avg", "acc_delta")

    @checked
    def __init__(
        self,
        params: Params,
        lr: NonNegative = 1.0,
        *,
        rho: Fraction = 0.9,
        eps: Positive = 1e-6,
        weight_decay: NonNegative = 0.0,
        maximize: bool = False,
    ) -> None:
        settings = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**settings, "maximize": maximize})

    def update(self, segment: Segment, settings: Mapping[str, Any]) -> None:
        """Take one step."""
        rho, eps = settings["rho"], settings["eps"]
        for p, g, square, steps in rules.blocks(segment, *self.state_names):
            g = rules.decayed(g, p, settings)
            rules.follow_(square, g * g, 1.0 - rho)
            delta = np.sqrt(steps + eps) / np.sqrt(square + eps) * g
            rules.follow_(steps, delta * delta, 1.0 - rho)
            p -= settings["lr"] * delta


class RMSprop(Optimizer):
    """Steps divided by the root mean square of recent gradients, with momentum.

    With ``centered`` by their deviation.

    Raises
    ------
    ValueError
        A setting is out of bounds.

    References
    ----------
    T. Tieleman, G. Hinton, lecture 6.5 of "Neural Networks for Machine Learning", 2012; centered:
    A. Graves, "Generating Sequences With Recurrent Neural Networks", 2013.
    """

    state_names: ClassVar = ("square_avg", "momentum_buffer", "grad_avg")
    optional_state: ClassVar = {"momentum_buffer": "momentum", "grad_avg": "centered"}

    @checked
    def __init__(
        self,
        params: Params,
        lr: NonNegative = 1e-2,
        *,
        alpha: Probability = 0.99,
        eps: Positive = 1e-8,
        weight_decay: NonNegative = 0.0,
        momentum: NonNegative = 0.0,
        centered: bool = False,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
                "maximize": maximize,
            },
        )

    def update(self, segment: Segment, settings: Mapping[str, Any]) -> None:
        """Take one step."""
        weight = 1.0 - settings["alpha"]
        for p, g, square, buffer, mean in rules.blocks(segment, *self.state_names):
            g = rules.decayed(g, p, settings)
            rules.follow_(square, g * g, weight)
            spread = square
            if settings["centered"]:
                rules.follow_(mean, g, weight)
                spread = square - mean * mean
            direction = g / (np.sqrt(spread) + settings["eps"])
            if settings["momentum"]:
                buffer *= settings["momentum"]
                buffer += direction
                direction = buffer
            p -= settings["lr"] * direction
