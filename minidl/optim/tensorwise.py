"""Steps that look at a tensor as a whole: its norm, its singular values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

from minidl.arguments import NonNegative, Positive, Probability, Size, checked
from minidl.autograd.primitive import Array
from minidl.optim import rules
from minidl.optim.flat import Segment
from minidl.optim.optimizer import Optimizer
from minidl.tensor import Tensor

Params = Iterable[Tensor] | Iterable[dict[str, Any]]


class LARS(Optimizer):
    """Momentum with a rate for each tensor, by the ratio of its norm to its gradient's.

    ``b ← momentum · b + λ (g + weight_decay · p)``, ``p ← p - lr · b`` with
    ``λ = trust_coefficient · ‖p‖ / (‖g‖ + weight_decay · ‖p‖)``, 1 for a tensor of zeros.

    Raises
    ------
    ValueError
        A setting is out of bounds.

    References
    ----------
    Y. You et al., "Large Batch Training of Convolutional Networks", 2017, algorithm 1.
    """

    state_names: ClassVar = ("momentum_buffer",)

    @checked
    def __init__(
        self,
        params: Params,
        lr: NonNegative = 1e-1,
        *,
        momentum: Probability = 0.9,
        weight_decay: NonNegative = 0.0,
        trust_coefficient: Positive = 1e-3,
        maximize: bool = False,
    ) -> None:
        settings = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        settings |= {"trust_coefficient": trust_coefficient, "maximize": maximize}
        super().__init__(params, settings)

    def update(self, segment: Segment, settings: Mapping[str, Any]) -> None:
        """Take one step."""
        decay = settings["weight_decay"]
        for part in segment.tensors():
            p, g, buffer = part.value, part.grad, part.state["momentum_buffer"]
            size, slope = rules.norm(p), rules.norm(g)
            rate = 1.0
            if size > 0.0 and slope > 0.0:
                rate = settings["trust_coefficient"] * size / (slope + decay * size)
            buffer *= settings["momentum"]
            buffer += rate * rules.decayed(g, p, settings)
            p -= settings["lr"] * buffer


class LAMB(Optimizer):
    """Adam whose step on each tensor is as large as the tensor's norm says.

    Raises
    ------
    ValueError
        A setting is out of bounds.

    References
    ----------
    Y. You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes", ICLR
    2020, algorithm 2.
    """

    state_names: ClassVar = ("exp_avg", "exp_avg_sq")

    @checked
    def __init__(
        self,
        params: Params,
        lr: NonNegative = 1e-3,
        *,
        betas: tuple[Probability, Probability] = (0.9, 0.999),
        eps: Positive = 1e-6,
        weight_decay: NonNegative = 1e-2,
        maximize: bool = False,
    ) -> None:
        settings = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**settings, "maximize": maximize})

    def update(self, segment: Segment, settings: Mapping[str, Any]) -> None:
        """Take one step."""
        betas, eps = settings["betas"], settings["eps"]
        for part in segment.tensors():
            p, m, v = part.value, part.state["exp_avg"], part.state["exp_avg_sq"]
            rules.moments_(m, v, part.grad, betas)
            u = rules.adam_direction(m, v, segment.step, betas, eps)
            u = rules.decayed(u, p, settings)
            p -= settings["lr"] * rules.trust_ratio(p, u) * u


class Muon(Optimizer):
    """Momentum whose matrices are made (nearly) orthogonal before the step; AdamW for the rest.

    A parameter with two or more axes is taken as a matrix (rows the first axis); others, biases and
    scales, take AdamW steps of the same rate with ``betas`` and ``eps_adam``.

    Parameters
    ----------
    adjust_lr_fn
        ``"original"``, also None: matrices take ``lr · √max(1, rows / columns)``;
        ``"match_rms_adamw"``: ``0.2 lr · √max(rows, columns)``, so that a rate that suits AdamW
        suits it too.

    Raises
    ------
    ValueError
        A setting is out of bounds or unknown.

    References
    ----------
    K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; as
    implemented by ``torch.optim.Muon``, but for the dtype of the iteration (bfloat16 there).
    """

    state_names: ClassVar = ("momentum_buffer", "exp_avg", "exp_avg_sq")
    optional_state: ClassVar = {"exp_avg": "", "exp_avg_sq": "", "momentum_buffer": ""}

    @checked
    def __init__(
        self,
        params: Params,
        lr: NonNegative = 1e-3,
        *,
        weight_decay: NonNegative = 0.1,
        momentum: Probability = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: Positive = 1e-7,
        ns_steps: Size = 5,
        adjust_lr_fn: Literal["original", "match_rms_adamw"] | None = None,
        betas: tuple[Probability, Probability] = (0.9, 0.95),
        eps_adam: Positive = 1e-8,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "nesterov": nesterov,
                "ns_coefficients": tuple(ns_coefficients),
                "eps": eps,
                "ns_steps": ns_steps,
                "adjust_lr_fn": adjust_lr_fn,
                "betas": tuple(betas),
                "eps_adam": eps_adam,
                "maximize": maximize,
            },
        )

    def check(self, settings: Mapping[str, Any]) -> None:
        """Raise ValueError for an unknown adjustment."""
        if settings["adjust_lr_fn"] not in (None, "original", "match_rms_adamw"):
            raise ValueError(
                "Muon: adjust_lr_fn must be 'original' or 'match_rms_adamw', got "
                f"{settings['adjust_lr_fn']!r}"
            )

    def update(self, segment: Segment, settings: Mapping[str, Any]) -> None:
        """Take one step."""
        for part in segment.tensors():
            rules.shrink_(part.value, settings)
            if part.value.ndim < 2 or not part.value.size:
                self._as_adam(part, settings)
                continue
            buffer, g, momentum = part.state["momentum_buffer"], part.grad, settings["momentum"]
            rules.follow_(buffer, g, 1.0 - momentum)
            step = g + momentum * (buffer - g) if settings["nesterov"] else buffer
            matrix = step.reshape(len(step), -1)
            rows, columns = matrix.shape
            rate = settings["lr"] * math.sqrt(max(1.0, rows / columns))
            if settings["adjust_lr_fn"] == "match_rms_adamw":
                rate = settings["lr"] * 0.2 * math.sqrt(max(rows, columns))
            p = part.value
            p -= rate * orthogonalized(matrix, settings).reshape(step.shape)

    def _as_adam(self, part: Segment, settings: Mapping[str, Any]) -> None:
        m, v, betas = part.state["exp_avg"], part.state["exp_avg_sq"], settings["betas"]
        rules.moments_(m, v, part.grad, betas)
        p = part.value
        p -= settings["lr"] * rules.adam_direction(m, v, part.step, betas, settings["eps_adam"])


def orthogonalized(matrix: Array, settings: Mapping[str, Any]) -> Array:
    """Return the matrix with its singular values moved near 1, by a quintic iteration."""
    a, b, c = settings["ns_coefficients"]
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / max(rules.norm(x), settings["eps"])
    for _ in range(settings["ns_steps"]):
        gram = x @ x.T
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    turned: Array = x.T if matrix.shape[0] > matrix.shape[1] else x
    return turned
