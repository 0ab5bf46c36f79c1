"""Operations that draw random numbers, from a generator that the caller passes."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd.checkpoint import generator
from minidl.ops.shape import shape_of

__all__ = [
    "alpha_dropout",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "feature_alpha_dropout",
]


def dropout(
    x: Any, p: float = 0.5, training: bool = True, *, rng: np.random.Generator | None = None
) -> Any:
    """Set elements to zero with probability ``p`` and scale the others by 1 / (1 - p).

    Parameters
    ----------
    x
        A float array.
    p
        From 0 (change nothing) to 1 (all zeros).
    training
        False returns ``x`` as it is.
    rng
        Where the mask is drawn from; a fresh, unseeded generator by default.

    Raises
    ------
    ValueError
        ``p`` is not from 0 to 1.

    References
    ----------
    N. Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting",
    JMLR 15 (2014).
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout: p must be from 0 to 1, got {p}")
    if not training or p == 0.0:
        return x
    rng = generator(rng)
    dtype = x.dtype if hasattr(x, "dtype") else np.float64
    keep = rng.random(shape_of(x), dtype=np.float32) >= p
    return x * (keep * np.asarray(1.0 / (1.0 - p) if p < 1.0 else 0.0, dtype=dtype))


def _whole_channels(
    name: str, ndim: int, x: Any, p: float, training: bool, rng: np.random.Generator | None
) -> Any:
    """Drop whole channels of ``(N, C, *)`` with ``ndim`` further axes, or of ``(C, *)``."""
    shape = shape_of(x)
    if len(shape) not in (ndim + 1, ndim + 2):
        raise ValueError(f"{name}: {ndim + 1} or {ndim + 2} dimensions are wanted, got {shape}")
    channels = shape[: len(shape) - ndim] + (1,) * ndim
    return x * dropout(np.ones(channels, x.dtype), p, training, rng=rng)


def dropout1d(
    x: Any, p: float = 0.5, training: bool = True, *, rng: np.random.Generator | None = None
) -> Any:
    """Set whole channels of ``(N, C, L)`` or ``(C, L)`` to zero; see `dropout`."""
    return _whole_channels("dropout1d", 1, x, p, training, rng)


def dropout2d(
    x: Any, p: float = 0.5, training: bool = True, *, rng: np.random.Generator | None = None
) -> Any:
    """Set whole channels of ``(N, C, H, W)`` or ``(C, H, W)`` to zero; see `dropout`."""
    return _whole_channels("dropout2d", 2, x, p, training, rng)


def dropout3d(
    x: Any, p: float = 0.5, training: bool = True, *, rng: np.random.Generator | None = None
) -> Any:
    """Set whole channels of ``(N, C, D, H, W)`` or ``(C, D, H, W)`` to zero; see `dropout`."""
    return _whole_channels("dropout3d", 3, x, p, training, rng)


def _alpha_dropped(
    x: Any, p: float, training: bool, shape: tuple[int, ...], rng: np.random.Generator | None
) -> Any:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"alpha_dropout: p must be from 0 to 1, got {p}")
    if not training or p == 0.0:
        return x
    if p == 1.0:
        return x * 0.0
    low = -1.7580993408473766  # where SELU saturates: -λα
    keep = (generator(rng).random(shape, dtype=np.float32) >= p).astype(x.dtype)
    a = ((1.0 - p) * (1.0 + p * low**2)) ** -0.5
    return (x * keep + low * (1.0 - keep)) * a + (-a * p * low)


def alpha_dropout(
    x: Any, p: float = 0.5, training: bool = True, *, rng: np.random.Generator | None = None
) -> Any:
    """Set elements to SELU's lower limit, and keep mean and variance.

    Raises
    ------
    ValueError
        ``p`` is not from 0 to 1.

    References
    ----------
    G. Klambauer et al., "Self-Normalizing Neural Networks", arXiv:1706.02515.
    """
    return _alpha_dropped(x, p, training, shape_of(x), rng)


def feature_alpha_dropout(
    x: Any, p: float = 0.5, training: bool = True, *, rng: np.random.Generator | None = None
) -> Any:
    """Do `alpha_dropout` to whole channels of ``(N, C, *)``."""
    shape = shape_of(x)
    return _alpha_dropped(x, p, training, shape[:2] + (1,) * (len(shape) - 2), rng)
