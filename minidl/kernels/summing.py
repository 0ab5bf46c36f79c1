"""Sums, with a place to write them to."""

from __future__ import annotations

from typing import Any

import numpy as np


def total(x: Any, *, dim: tuple[int, ...], keepdim: bool, out: Any = None) -> Any:
    """Return the sum over the axes ``dim``."""
    return np.add.reduce(x, axis=dim, out=out, keepdims=keepdim)
