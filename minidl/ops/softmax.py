"""Softmax, its logarithm, and the losses made of it.

All subtract a maximum before they exponentiate, so that large logits neither overflow nor lose
their digits; the maximum cancels, so no derivative flows through it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd.primitive import Array, Primitive, primitive
from minidl.ops.arithmetic import eq, where
from minidl.ops.batching import along
from minidl.ops.elementwise import exp
from minidl.ops.reduce import Dim, axes, restore, sum
from minidl.ops.shape import shape_of

__all__ = [
    "log_softmax",
    "logsumexp",
    "softmax",
]


def _stable_logsumexp(x: Array, *, dim: tuple[int, ...], keepdim: bool) -> Array:
    top = np.max(x, axis=dim, keepdims=True)
    # Where all are -inf (or one is inf), subtracting the maximum would make NaN.
    safe = np.where(np.isfinite(top), top, np.zeros_like(top))
    with np.errstate(divide="ignore"):
        out = np.log(np.add.reduce(np.exp(x - safe), axis=dim, keepdims=True)) + safe
    return out if keepdim else np.squeeze(out, axis=dim)


def _above_minus_inf(out: Any) -> Any:
    """Where all of x is -inf so is the result; -inf - -inf would be NaN, the derivative is 0."""
    return where(eq(out, -np.inf), 0.0, out)


_logsumexp: Primitive = primitive(
    "logsumexp",
    _stable_logsumexp,
    # d/dx log Σ exp x = softmax(x); written from `out`, so the exponentials are not summed twice
    vjp=(
        lambda g, out, x, *, dim, keepdim: (
            restore(g, dim, keepdim) * exp(x - restore(_above_minus_inf(out), dim, keepdim))
        ),
    ),
    jvp=(
        lambda t, out, x, *, dim, keepdim: sum(
            t * exp(x - restore(_above_minus_inf(out), dim, keepdim)), dim, keepdim
        ),
    ),
    batch=along("dim"),
)


def logsumexp(x: Any, dim: Dim, keepdim: bool = False) -> Any:
    """Return log Σ eˣ over ``dim``, without overflow.

    Raises
    ------
    IndexError
        An axis is out of range.
    """
    return _logsumexp(x, dim=axes(dim, len(shape_of(x)), "logsumexp"), keepdim=keepdim)


def _softmax_value(x: Array, *, dim: tuple[int, ...]) -> Array:
    out = np.exp(x - np.max(x, axis=dim, keepdims=True))
    out /= np.add.reduce(out, axis=dim, keepdims=True)
    return out


def _softmax_rule(g: Any, out: Any, _x: Any, *, dim: tuple[int, ...]) -> Any:
    """The Jacobian diag(s) - s sᵀ is symmetric, so it serves forward and reverse alike."""
    return out * (g - sum(g * out, dim, keepdim=True))


_softmax: Primitive = primitive(
    "softmax",
    _softmax_value,
    vjp=(_softmax_rule,),
    jvp=(_softmax_rule,),
    batch=along("dim"),
)


def softmax(x: Any, dim: int) -> Any:
    """Return eˣ / Σ eˣ along ``dim``: positive numbers that sum to 1.

    Raises
    ------
    IndexError
        ``dim`` is out of range.
    """
    return _softmax(x, dim=axes(dim, len(shape_of(x)), "softmax"))


def log_softmax_value(x: Array, *, dim: tuple[int, ...]) -> Array:
    out: Array = x - np.max(x, axis=dim, keepdims=True)
    out -= np.log(np.add.reduce(np.exp(out), axis=dim, keepdims=True))
    return out


_log_softmax: Primitive = primitive(
    "log_softmax",
    log_softmax_value,
    vjp=(lambda g, out, _x, *, dim: g - exp(out) * sum(g, dim, keepdim=True),),
    jvp=(lambda t, out, x, *, dim: t - sum(exp(out) * t, dim, keepdim=True),),
    batch=along("dim"),
)


def log_softmax(x: Any, dim: int) -> Any:
    """Return log(softmax(x)) along ``dim``, exact where softmax itself underflows.

    Raises
    ------
    IndexError
        ``dim`` is out of range.
    """
    return _log_softmax(x, dim=axes(dim, len(shape_of(x)), "log_softmax"))
