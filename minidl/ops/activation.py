"""Activation functions."""

from __future__ import annotations

import math
from typing import Any, Literal

from minidl.ops.elementwise import tanh
from minidl.ops.special import erf

__all__ = [
    "gelu",
]


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
        return 0.5 * x * (1.0 + erf(x * math.sqrt(0.5)))
    if approximate == "tanh":
        return 0.5 * x * (1.0 + tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)))
    raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
