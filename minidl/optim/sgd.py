"""Gradient descent: along the gradient, along its sign."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from minidl.arguments import Fraction, NonNegative, Positive, Probability, checked
from minidl.kernels import optimizers as kernel
from minidl.optim import rules
from minidl.optim.flat import Segment
from minidl.optim.optimizer import Optimizer
from minidl.tensor import Tensor

Params = Iterable[Tensor] | Iterable[dict[str, Any]]


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and weight decay.

    ``b ← momentum · b + (1 - dampening) · (g + weight_decay · p)``, ``p ← p - lr · b``; with
    ``nesterov`` the step is ``g + momentum · b``. The first ``b`` is the gradient itself.

    Raises
    ------
    ValueError
        A setting is out of bounds, or ``nesterov`` without momentum or with dampening.

    References
    ----------
    I. Sutskever et al., "On the importance of initialization and momentum", ICML 2013; as
    implemented by ``torch.optim.SGD``.
    """

    state_names: ClassVar = ("momentum_buffer",)

    @checked
    def __init__(
        self,
        params: Params,
        lr: NonNegative = 1e-3,
        *,
        momentum: Probability = 0.0,
        dampening: Fraction = 0.0,
        weight_decay: NonNegative = 0.0,
        nesterov: bool = False,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    def check(self, settings: Mapping[str, Any]) -> None:
        """Raise ValueError for Nesterov momentum without its premises."""
        if settings["nesterov"] and (not settings["momentum"] or settings["dampening"]):
            raise ValueError("SGD: nesterov wants a momentum above 0 and no dampening")

    def update(self, segment: Segment, settings: Mapping[str, Any]) -> None:
        """Take one step."""
        kernel.sgd(
            segment.value,
            segment.grad,
            segment.state["momentum_buffer"] if settings["momentum"] else None,
            first=segment.step == 1,
            lr=settings["lr"],
            momentum=settings["momentum"],
            dampening=settings["dampening"],
            weight_decay=settings["weight_decay"],
            nesterov=settings["nesterov"],
        )


class Lion(Optimizer):
    """Steps of one size, by the sign of momentum.

    ``p ← (1 - lr · weight_decay) p - lr · sign(β₁ m + (1 - β₁) g)``, ``m ← β₂ m + (1 - β₂) g``.

    Raises
    ------
    ValueError
        A setting is out of bounds.

    References
    ----------
    X. Chen et al., "Symbolic Discovery of Optimization Algorithms", NeurIPS 2023, algorithm 2.
    """

    state_names: ClassVar = ("exp_avg",)

    @checked
    def __init__(
        self,
        params: Params,
        lr: NonNegative = 1e-4,
        *,
        betas: tuple[Probability, Probability] = (0.9, 0.99),
        weight_decay: NonNegative = 0.0,
        maximize: bool = False,
    ) -> None:
        settings = {"lr": lr, "betas": tuple(betas), "weight_decay": weight_decay}
        super().__init__(params, {**settings, "maximize": maximize})

    def update(self, segment: Segment, settings: Mapping[str, Any]) -> None:
        """Take one step."""
        beta1, beta2 = settings["betas"]
        for p, g, m in rules.blocks(segment, "exp_avg"):
            rules.shrink_(p, settings)
            p -= settings["lr"] * np.sign(beta1 * m + (1.0 - beta1) * g)
            rules.follow_(m, g, 1.0 - beta2)


class Rprop(Optimizer):
    """Each parameter has a step size of its own, which grows while the gradient keeps its sign.

    Raises
    ------
    ValueError
        A setting is out of bounds.

    References
    ----------
    M. Riedmiller, H. Braun, "A Direct Adaptive Method for Faster Backpropagation Learning: The
    RPROP Algorithm", ICNN 1993; as implemented by ``torch.optim.Rprop``.
    """

    state_names: ClassVar = ("prev", "step_size")

    @checked
    def __init__(
        self,
        params: Params,
        lr: NonNegative = 1e-2,
        *,
        etas: tuple[Probability, Positive] = (0.5, 1.2),
        step_sizes: tuple[Positive, Positive] = (1e-6, 50.0),
        maximize: bool = False,
    ) -> None:
        settings = {"lr": lr, "etas": tuple(etas), "step_sizes": tuple(step_sizes)}
        super().__init__(params, {**settings, "maximize": maximize})

    def check(self, settings: Mapping[str, Any]) -> None:
        """Raise ValueError for factors on the wrong side of 1."""
        shrink, grow = settings["etas"]
        if not 0.0 < shrink < 1.0 < grow:
            raise ValueError(f"Rprop: etas must be below and above 1, got {settings['etas']}")

    def update(self, segment: Segment, settings: Mapping[str, Any]) -> None:
        """Take one step."""
        (shrink, grow), (least, most) = settings["etas"], settings["step_sizes"]
        if segment.step == 1:
            segment.state["step_size"][...] = settings["lr"]
        for p, g, before, size in rules.blocks(segment, "prev", "step_size"):
            agreement = g * before
            size *= np.where(agreement > 0, grow, np.where(agreement < 0, shrink, 1.0))
            np.clip(size, least, most, out=size)
            g = np.where(agreement < 0, p.dtype.type(0.0), g)  # a step too far is not repeated
            p -= np.sign(g) * size
            before[...] = g
