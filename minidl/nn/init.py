"""Initial values of parameters, drawn from a generator that the caller passes.

Every function returns an ndarray; without ``rng`` a fresh, unseeded generator is used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from minidl.autograd.primitive import Array


def fan_in(shape: Sequence[int]) -> int:
    """Return how many inputs reach one output of a weight ``(out, in, *kernel)``.

    Raises
    ------
    ValueError
        The shape has fewer than two axes.
    """
    if len(shape) < 2:
        raise ValueError(f"fan_in: a weight has at least two axes (out, in), got {tuple(shape)}")
    return math.prod(shape[1:])


def uniform(
    shape: Sequence[int],
    bound: float,
    *,
    dtype: DTypeLike | None = None,
    rng: np.random.Generator | None = None,
) -> Array:
    """Draw uniformly from -bound to bound."""
    rng = np.random.default_rng() if rng is None else rng
    return rng.uniform(-bound, bound, tuple(shape)).astype(dtype or np.float32)


def kaiming_uniform(
    shape: Sequence[int],
    *,
    a: float = 0.0,
    dtype: DTypeLike | None = None,
    rng: np.random.Generator | None = None,
) -> Array:
    """Draw uniformly within ``√(6 / ((1 + a²) · fan_in))``, for leaky-relu slope ``a``.

    With ``a = √5`` this is PyTorch's default for Linear and convolutions.

    References
    ----------
    K. He et al., "Delving Deep into Rectifiers", ICCV 2015, equation 14 and below.
    """
    bound = math.sqrt(6.0 / ((1.0 + a * a) * max(1, fan_in(shape))))
    return uniform(shape, bound, dtype=dtype, rng=rng)


def uniform_fan_in(
    shape: Sequence[int],
    fan: int,
    *,
    dtype: DTypeLike | None = None,
    rng: np.random.Generator | None = None,
) -> Array:
    """Draw uniformly within 1/√fan: PyTorch's default for biases."""
    return uniform(shape, 1.0 / math.sqrt(max(1, fan)), dtype=dtype, rng=rng)
