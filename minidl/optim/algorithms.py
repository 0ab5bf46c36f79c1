"""The optimizers: settings and formula each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from minidl.arguments import Fraction, NonNegative, Positive, Probability, checked
from minidl.kernels import optimizers as kernel
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
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
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


class Adam(Optimizer):
    """Adam: steps scaled by running moments of the gradient.

    ``m ← β₁ m + (1 - β₁) g``, ``v ← β₂ v + (1 - β₂) g²``,
    ``p ← p - lr · m̂ / (√v̂ + eps)`` with ``m̂ = m / (1 - β₁ᵗ)``, ``v̂ = v / (1 - β₂ᵗ)``;
    weight decay is added to the gradient.

    Raises
    ------
    ValueError
        A setting is out of bounds.

    References
    ----------
    D. P. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, algorithm 1.
    """

    state_names: ClassVar = ("exp_avg", "exp_avg_sq")
    decoupled: ClassVar[bool] = False
    fixed: ClassVar = {"decoupled_weight_decay": False}

    @checked
    def __init__(
        self,
        params: Params,
        lr: NonNegative = 1e-3,
        *,
        betas: tuple[Probability, Probability] = (0.9, 0.999),
        eps: Positive = 1e-8,
        weight_decay: NonNegative = 0.0,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay}
        )

    def update(self, segment: Segment, settings: Mapping[str, Any]) -> None:
        """Take one step."""
        beta1, beta2 = settings["betas"]
        kernel.adam(
            segment.value,
            segment.grad,
            segment.state["exp_avg"],
            segment.state["exp_avg_sq"],
            step=segment.step,
            lr=settings["lr"],
            beta1=beta1,
            beta2=beta2,
            eps=settings["eps"],
            weight_decay=settings["weight_decay"],
            decoupled=self.decoupled,
        )


class AdamW(Adam):
    """Adam with weight decay decoupled from the gradient: ``p ← (1 - lr · weight_decay) p`` first.

    Raises
    ------
    ValueError
        A setting is out of bounds.

    References
    ----------
    I. Loshchilov, F. Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2.
    """

    decoupled: ClassVar = True
    fixed: ClassVar = {"decoupled_weight_decay": True}

    @checked
    def __init__(
        self,
        params: Params,
        lr: NonNegative = 1e-3,
        *,
        betas: tuple[Probability, Probability] = (0.9, 0.999),
        eps: Positive = 1e-8,
        weight_decay: NonNegative = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas=betas, eps=eps, weight_decay=weight_decay)
