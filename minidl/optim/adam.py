"""Adam and its relatives: steps scaled by running moments of the gradient."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from minidl.arguments import NonNegative, Positive, Probability, checked
from minidl.kernels import optimizers as kernel
from minidl.optim import rules
from minidl.optim.flat import Segment
from minidl.optim.optimizer import Optimizer
from minidl.tensor import Tensor

Params = Iterable[Tensor] | Iterable[dict[str, Any]]


class Adam(Optimizer):
    """Adam: steps scaled by running moments of the gradient.

    ``m ← β₁ m + (1 - β₁) g``, ``v ← β₂ v + (1 - β₂) g²``,
    ``p ← p - lr · m̂ / (√v̂ + eps)`` with ``m̂ = m / (1 - β₁ᵗ)``, ``v̂ = v / (1 - β₂ᵗ)``;
    weight decay is added to the gradient. With ``amsgrad`` the largest v so far is used.

    Raises
    ------
    ValueError
        A setting is out of bounds.

    References
    ----------
    D. P. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, algorithm 1;
    S. Reddi et al., "On the Convergence of Adam and Beyond", ICLR 2018.
    """

    state_names: ClassVar = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
    optional_state: ClassVar = {"max_exp_avg_sq": "amsgrad"}
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
        amsgrad: bool = False,
        maximize: bool = False,
    ) -> None:
        settings = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**settings, "amsgrad": amsgrad, "maximize": maximize})

    def update(self, segment: Segment, settings: Mapping[str, Any]) -> None:
        """Take one step."""
        beta1, beta2 = settings["betas"]
        if settings["amsgrad"]:
            self._with_largest(segment, settings)
            return
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

    def _with_largest(self, segment: Segment, settings: Mapping[str, Any]) -> None:
        betas, eps = settings["betas"], settings["eps"]
        for p, g, m, v, most in rules.blocks(segment, *self.state_names):
            if self.decoupled:
                rules.shrink_(p, settings)
            else:
                g = rules.decayed(g, p, settings)
            rules.moments_(m, v, g, betas)
            np.maximum(most, v, out=most)
            p -= settings["lr"] * rules.adam_direction(m, most, segment.step, betas, eps)


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
        amsgrad: bool = False,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            maximize=maximize,
        )


class AMSGrad(Adam):
    """Adam with the largest second moment so far; the same as ``Adam(amsgrad=True)``.

    Raises
    ------
    ValueError
        A setting is out of bounds.
    """

    @checked
    def __init__(
        self,
        params: Params,
        lr: NonNegative = 1e-3,
        *,
        betas: tuple[Probability, Probability] = (0.9, 0.999),
        eps: Positive = 1e-8,
        weight_decay: NonNegative = 0.0,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=True,
            maximize=maximize,
        )


class _AdamLike(Optimizer):
    """What variants of Adam share: two moments, and settings of the same names."""

    state_names: ClassVar = ("exp_avg", "exp_avg_sq")

    def _settings_of(self, lr: float, betas: Any, eps: float, weight_decay: float) -> Any:
        return {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay}


class NAdam(_AdamLike):
    """Adam with Nesterov momentum, whose weight grows along the steps.

    Raises
    ------
    ValueError
        A setting is out of bounds.

    References
    ----------
    T. Dozat, "Incorporating Nesterov Momentum into Adam", ICLR workshop 2016; as implemented by
    ``torch.optim.NAdam``.
    """

    @checked
    def __init__(
        self,
        params: Params,
        lr: NonNegative = 2e-3,
        *,
        betas: tuple[Probability, Probability] = (0.9, 0.999),
        eps: Positive = 1e-8,
        weight_decay: NonNegative = 0.0,
        momentum_decay: NonNegative = 4e-3,
        decoupled_weight_decay: bool = False,
        maximize: bool = False,
    ) -> None:
        settings = self._settings_of(lr, betas, eps, weight_decay)
        settings |= {"momentum_decay": momentum_decay, "maximize": maximize}
        super().__init__(params, {**settings, "decoupled_weight_decay": decoupled_weight_decay})

    def _momentum(self, step: int, settings: Mapping[str, Any]) -> float:
        return float(
            settings["betas"][0] * (1.0 - 0.5 * 0.96 ** (step * settings["momentum_decay"]))
        )

    def derived_state(self, step: int, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the product of all momenta so far, which PyTorch keeps."""
        return {"mu_product": math.prod(self._momentum(t, settings) for t in range(1, step + 1))}

    def update(self, segment: Segment, settings: Mapping[str, Any]) -> None:
        """Take one step."""
        lr, step, betas = settings["lr"], segment.step, settings["betas"]
        mu, after = self._momentum(step, settings), self._momentum(step + 1, settings)
        product = self.derived_state(step, settings)["mu_product"]
        for p, g, m, v in rules.blocks(segment, *self.state_names):
            if settings["decoupled_weight_decay"]:
                rules.shrink_(p, settings)
            else:
                g = rules.decayed(g, p, settings)
            rules.moments_(m, v, g, betas)
            root = np.sqrt(v / rules.correction(betas[1], step)) + settings["eps"]
            p -= (lr * (1.0 - mu) / (1.0 - product)) * (g / root)
            p -= (lr * after / (1.0 - product * after)) * (m / root)


class RAdam(_AdamLike):
    """Adam that waits with its second moment until there is enough to estimate it from.

    Raises
    ------
    ValueError
        A setting is out of bounds.

    References
    ----------
    L. Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", ICLR 2020,
    algorithm 2.
    """

    @checked
    def __init__(
        self,
        params: Params,
        lr: NonNegative = 1e-3,
        *,
        betas: tuple[Probability, Probability] = (0.9, 0.999),
        eps: Positive = 1e-8,
        weight_decay: NonNegative = 0.0,
        decoupled_weight_decay: bool = False,
        maximize: bool = False,
    ) -> None:
        settings = self._settings_of(lr, betas, eps, weight_decay)
        settings |= {"decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize}
        super().__init__(params, settings)

    def update(self, segment: Segment, settings: Mapping[str, Any]) -> None:
        """Take one step."""
        lr, step, (beta1, beta2) = settings["lr"], segment.step, settings["betas"]
        whole = 2.0 / (1.0 - beta2) - 1.0
        missing = rules.correction(beta2, step)
        length = whole - 2.0 * step * beta2**step / missing
        for p, g, m, v in rules.blocks(segment, *self.state_names):
            if settings["decoupled_weight_decay"]:
                rules.shrink_(p, settings)
            else:
                g = rules.decayed(g, p, settings)
            rules.moments_(m, v, g, settings["betas"])
            direction = m / rules.correction(beta1, step)
            if length > 5.0:
                rectified = (length - 4) * (length - 2) * whole
                rectified /= (whole - 4) * (whole - 2) * length
                direction *= math.sqrt(rectified * missing) / (np.sqrt(v) + settings["eps"])
            p -= lr * direction


class Adamax(Optimizer):
    """Adam with the largest gradient, which fades, in place of the mean square.

    Raises
    ------
    ValueError
        A setting is out of bounds.

    References
    ----------
    D. P. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, algorithm 2.
    """

    state_names: ClassVar = ("exp_avg", "exp_inf")

    @checked
    def __init__(
        self,
        params: Params,
        lr: NonNegative = 2e-3,
        *,
        betas: tuple[Probability, Probability] = (0.9, 0.999),
        eps: Positive = 1e-8,
        weight_decay: NonNegative = 0.0,
        maximize: bool = False,
    ) -> None:
        settings = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**settings, "maximize": maximize})

    def update(self, segment: Segment, settings: Mapping[str, Any]) -> None:
        """Take one step."""
        beta1, beta2 = settings["betas"]
        rate = settings["lr"] / rules.correction(beta1, segment.step)
        for p, g, m, most in rules.blocks(segment, *self.state_names):
            g = rules.decayed(g, p, settings)
            rules.follow_(m, g, 1.0 - beta1)
            most *= beta2
            np.maximum(most, np.abs(g) + settings["eps"], out=most)
            p -= rate * (m / most)


class AdaBelief(_AdamLike):
    """Adam whose second moment is that of the surprise, ``g - m``.

    Raises
    ------
    ValueError
        A setting is out of bounds.

    References
    ----------
    J. Zhuang et al., "AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed
    Gradients", NeurIPS 2020, algorithm 2, with decoupled weight decay.
    """

    @checked
    def __init__(
        self,
        params: Params,
        lr: NonNegative = 1e-3,
        *,
        betas: tuple[Probability, Probability] = (0.9, 0.999),
        eps: Positive = 1e-16,
        weight_decay: NonNegative = 0.0,
        maximize: bool = False,
    ) -> None:
        settings = self._settings_of(lr, betas, eps, weight_decay)
        super().__init__(params, {**settings, "maximize": maximize})

    def update(self, segment: Segment, settings: Mapping[str, Any]) -> None:
        """Take one step."""
        betas, eps = settings["betas"], settings["eps"]
        for p, g, m, s in rules.blocks(segment, *self.state_names):
            rules.shrink_(p, settings)
            rules.follow_(m, g, 1.0 - betas[0])
            s *= betas[1]
            s += (1.0 - betas[1]) * np.square(g - m) + eps
            p -= settings["lr"] * rules.adam_direction(m, s, segment.step, betas, eps)


class OAdam(Optimizer):
    """Optimistic Adam: twice the new direction, less the last one; for games such as GANs.

    Raises
    ------
    ValueError
        A setting is out of bounds.

    References
    ----------
    C. Daskalakis et al., "Training GANs with Optimism", ICLR 2018, algorithm 1.
    """

    state_names: ClassVar = ("exp_avg", "exp_avg_sq", "last")

    @checked
    def __init__(
        self,
        params: Params,
        lr: NonNegative = 1e-3,
        *,
        betas: tuple[Probability, Probability] = (0.5, 0.9),
        eps: Positive = 1e-8,
        maximize: bool = False,
    ) -> None:
        settings = {"lr": lr, "betas": tuple(betas), "eps": eps, "maximize": maximize}
        super().__init__(params, settings)

    def update(self, segment: Segment, settings: Mapping[str, Any]) -> None:
        """Take one step."""
        betas, eps = settings["betas"], settings["eps"]
        for p, g, m, v, last in rules.blocks(segment, *self.state_names):
            rules.moments_(m, v, g, betas)
            term = settings["lr"] * rules.adam_direction(m, v, segment.step, betas, eps)
            p -= 2.0 * term - last
            last[...] = term
