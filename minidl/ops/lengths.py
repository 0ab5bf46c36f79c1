"""Lengths of vectors: p-norms over axes. At the zero vector their derivative is taken as 0."""

from __future__ import annotations

import math
from typing import Any

from minidl.ops.arithmetic import eq, ne, where
from minidl.ops.elementwise import abs
from minidl.ops.reduce import Dim, amax, amin, axes, require_float, sum
from minidl.ops.shape import cast, shape_of

__all__ = [
    "dist",
    "norm",
]


def _root(total: Any, power: float) -> Any:
    """``total ** power``, and 0 with derivative 0 where ``total`` is 0."""
    zero = eq(total, 0)
    return where(zero, 0.0, where(zero, 1.0, total) ** power)


def vector_norm(x: Any, ord: float = 2, dim: Dim = None, keepdim: bool = False) -> Any:
    """Return (Σ |x|ᵒʳᵈ)^(1/ord) over ``dim``; the largest size for ∞, how many are not 0 for 0.

    Raises
    ------
    IndexError
        An axis is out of range.
    TypeError
        ``x`` is not of a floating dtype.
    """
    require_float("vector_norm", x)
    over = axes(dim, len(shape_of(x)), "vector_norm")
    if ord == 2:
        size = abs(x) if x.dtype.kind == "c" else x
        return _root(sum(size * size, over, keepdim), 0.5)
    if ord == math.inf:
        return amax(abs(x), over, keepdim)
    if ord == -math.inf:
        return amin(abs(x), over, keepdim)
    if ord == 0:
        return cast(sum(ne(x, 0), over, keepdim), abs(x).dtype)
    if ord == 1:
        return sum(abs(x), over, keepdim)
    size = abs(x)
    if ord < 0:
        return sum(size**ord, over, keepdim) ** (1.0 / ord)
    return _root(sum(_root(size, ord), over, keepdim), 1.0 / ord)


def norm(x: Any, p: float | str = "fro", dim: Dim = None, keepdim: bool = False) -> Any:
    """Return the p-norm over ``dim``; ``"fro"`` is 2, over two axes or all.

    Raises
    ------
    ValueError
        ``p`` is another name (``minidl.linalg.matrix_norm`` knows "nuc").
    """
    if isinstance(p, str) and p != "fro":
        raise ValueError(f"norm: p must be a number or 'fro', got {p!r}; see linalg.matrix_norm")
    return vector_norm(x, 2 if isinstance(p, str) else p, dim, keepdim)


def dist(x: Any, y: Any, p: float = 2) -> Any:
    """Return the p-norm of ``x - y``."""
    return vector_norm(x - y, p)
