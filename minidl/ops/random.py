"""Operations that draw random numbers, from a generator that the caller passes."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd.checkpoint import generator
from minidl.ops.shape import shape_of

__all__ = [
    "dropout",
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
