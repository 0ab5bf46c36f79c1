"""Activation functions.

Composed of elementwise operations; where one is bent at a point, the derivative there is PyTorch's.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from minidl.autograd.checkpoint import generator
from minidl.autograd.fused import fused
from minidl.autograd.primitive import Primitive
from minidl.kernels import gelu as kernel
from minidl.ops.arithmetic import ge, gt, logical_and, lt, where
from minidl.ops.batching import elementwise
from minidl.ops.elementwise import abs, exp, expm1, log1p, sigmoid, sign, stop_gradient, tanh
from minidl.ops.reduce import argmax
from minidl.ops.rounding import clamp
from minidl.ops.shape import cast, reshape, shape_of, unsqueeze
from minidl.ops.softmax import softmax
from minidl.ops.special import erf

__all__ = [
    "celu",
    "elu",
    "gelu",
    "glu",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "logsigmoid",
    "mish",
    "prelu",
    "relu6",
    "rrelu",
    "selu",
    "silu",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanhshrink",
    "threshold",
]


_gelu: Primitive = fused(
    "gelu",
    kernel.gelu,
    lambda x: 0.5 * x * (1.0 + erf(x * math.sqrt(0.5))),
    (kernel.gelu_gradient,),
    batch=elementwise,
)


def gelu(x: Any, *, approximate: Literal["none", "tanh"] = "none") -> Any:
    """Return x Φ(x), with Φ the normal distribution function.

    ``approximate="tanh"`` takes ``x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))`` instead.

    Raises
    ------
    ValueError
        ``approximate`` is neither.

    References
    ----------
    D. Hendrycks, K. Gimpel, "Gaussian Error Linear Units", arXiv:1606.08415.
    """
    if approximate == "none":
        return _gelu(x)
    if approximate == "tanh":
        return 0.5 * x * (1.0 + tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)))
    raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    """Return ``x`` where positive, else ``negative_slope · x``."""
    return where(gt(x, 0), x, x * negative_slope)


def prelu(x: Any, weight: Any) -> Any:
    """Return ``x`` where positive, else ``weight · x``; one weight, or one a channel (axis 1).

    Raises
    ------
    ValueError
        There is neither one weight nor one a channel.
    """
    shape, count = shape_of(x), math.prod(shape_of(weight))
    channels = shape[1] if len(shape) > 1 else 1
    if count not in (1, channels):
        raise ValueError(f"prelu: 1 weight or one for each of {channels} channels, got {count}")
    if count > 1 and len(shape) > 1:
        weight = reshape(weight, (-1, *(1,) * (len(shape) - 2)))
    return where(gt(x, 0), x, x * weight)


def rrelu(
    x: Any,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    *,
    rng: np.random.Generator | None = None,
) -> Any:
    """Return `leaky_relu` with slopes drawn between ``lower`` and ``upper``, their mean at rest.

    Raises
    ------
    ValueError
        ``lower`` is above ``upper``.
    """
    if lower > upper:
        raise ValueError(f"rrelu: lower {lower} is above upper {upper}")
    if not training:
        return leaky_relu(x, (lower + upper) / 2)
    slopes = generator(rng).uniform(lower, upper, shape_of(x)).astype(x.dtype)
    return where(gt(x, 0), x, x * slopes)


def relu6(x: Any) -> Any:
    """Return ``x`` held between 0 and 6."""
    return hardtanh(x, 0.0, 6.0)


def hardtanh(x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """Return ``x`` held between two limits; the derivative on a limit is 0."""
    inside = logical_and(gt(x, min_val), lt(x, max_val))
    return where(inside, x, stop_gradient(clamp(x, min_val, max_val)))


def threshold(x: Any, threshold: float, value: float) -> Any:
    """Return ``x`` where it is above ``threshold``, else ``value``."""
    return where(gt(x, threshold), x, value)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """Return ``x`` where positive, else ``alpha · (eˣ - 1)``.

    References
    ----------
    D.-A. Clevert et al., "Fast and Accurate Deep Network Learning by ELUs", arXiv:1511.07289.
    """
    positive = gt(x, 0)
    return where(positive, x, alpha * expm1(where(positive, 0.0, x)))


def celu(x: Any, alpha: float = 1.0) -> Any:
    """Return ``x`` where positive, else ``alpha · (e^(x / alpha) - 1)``."""
    positive = gt(x, 0)
    return where(positive, x, alpha * expm1(where(positive, 0.0, x) / alpha))


def selu(x: Any) -> Any:
    """Return `elu` with the factors that keep mean and variance.

    References
    ----------
    G. Klambauer et al., "Self-Normalizing Neural Networks", arXiv:1706.02515.
    """
    return 1.0507009873554804934193349852946 * elu(x, 1.6732632423543772848170429916717)


def glu(x: Any, dim: int = -1) -> Any:
    """Return the first half along ``dim`` times the sigmoid of the second.

    Raises
    ------
    ValueError
        The axis cannot be halved.
    """
    axis = dim % len(shape_of(x))
    half, rest = divmod(shape_of(x)[axis], 2)
    if rest:
        raise ValueError(f"glu: dim {dim} of {shape_of(x)} cannot be halved")
    before = (slice(None),) * axis
    return x[(*before, slice(half))] * sigmoid(x[(*before, slice(half, None))])


def silu(x: Any) -> Any:
    """Return ``x · sigmoid(x)``."""
    return x * sigmoid(x)


def mish(x: Any) -> Any:
    """Return ``x · tanh(softplus(x))``."""
    return x * tanh(softplus(x))


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """Return log(1 + e^(beta x)) / beta; ``x`` itself where ``beta · x`` is above ``threshold``."""
    scaled = x * beta
    linear = gt(scaled, threshold)
    held = where(linear, 0.0, scaled)
    # log(1 + eᵛ) = max(v, 0) + log(1 + e⁻|ᵛ|) does not overflow; its derivative is the sigmoid.
    return where(linear, x, _log_one_plus_exp(held) / beta)


def _log_one_plus_exp(x: Any) -> Any:
    return -logsigmoid(-x)


def logsigmoid(x: Any) -> Any:
    """Return log(sigmoid(x)), exact where the sigmoid underflows."""
    negative = lt(x, 0)
    # Two branches, each with the derivative sigmoid(-x), so that none is lost at 0.
    low = where(negative, x, 0.0)
    high = where(negative, 0.0, x)
    return where(negative, low - log1p(exp(low)), -log1p(exp(-high)))


def softsign(x: Any) -> Any:
    """Return ``x / (1 + |x|)``."""
    return x / (abs(x) + 1.0)


def tanhshrink(x: Any) -> Any:
    """Return ``x - tanh(x)``."""
    return x - tanh(x)


def softshrink(x: Any, lambd: float = 0.5) -> Any:
    """Return ``x`` moved towards 0 by ``lambd``, and 0 where it would cross.

    Raises
    ------
    ValueError
        ``lambd`` is negative.
    """
    if lambd < 0:
        raise ValueError(f"softshrink: lambd must be at least 0, got {lambd}")
    return where(gt(abs(x), lambd), x - sign(x) * lambd, x * 0.0)


def hardshrink(x: Any, lambd: float = 0.5) -> Any:
    """Return ``x``, and 0 where ``|x|`` is at most ``lambd``."""
    return where(gt(abs(x), lambd), x, 0.0)


def hardsigmoid(x: Any) -> Any:
    """Return ``x / 6 + 1/2`` held between 0 and 1."""
    inside = logical_and(gt(x, -3.0), lt(x, 3.0))
    return where(inside, x / 6.0 + 0.5, stop_gradient(clamp(x / 6.0 + 0.5, 0.0, 1.0)))


def hardswish(x: Any) -> Any:
    """Return ``x · hardsigmoid(x)``."""
    inside = logical_and(gt(x, -3.0), lt(x, 3.0))
    middle = where(inside, x, 0.0)
    return where(inside, middle * (middle + 3.0) / 6.0, where(ge(x, 3.0), x, 0.0))


def softmin(x: Any, dim: int) -> Any:
    """Return `softmax` of ``-x``."""
    return softmax(-x, dim)


def gumbel_softmax(
    logits: Any,
    tau: float = 1.0,
    hard: bool = False,
    dim: int = -1,
    *,
    rng: np.random.Generator | None = None,
) -> Any:
    """Return a soft sample of a categorical distribution; with ``hard`` one-hot, soft behind.

    References
    ----------
    E. Jang et al., "Categorical Reparameterization with Gumbel-Softmax", arXiv:1611.01144.

    Raises
    ------
    ValueError
        ``tau`` is not positive.
    """
    if tau <= 0:
        raise ValueError(f"gumbel_softmax: tau must be above 0, got {tau}")
    noise = generator(rng).gumbel(size=shape_of(logits)).astype(logits.dtype)
    soft = softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    axis = dim % len(shape_of(logits))
    places = np.arange(shape_of(logits)[axis])
    places = places.reshape([-1 if i == axis else 1 for i in range(len(shape_of(logits)))])
    chosen = unsqueeze(argmax(soft, axis), axis) == places
    return cast(chosen, logits.dtype) - stop_gradient(soft) + soft
