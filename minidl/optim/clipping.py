"""Limits on gradients, between backward and the step."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from minidl.arguments import NonNegative, Positive, checked
from minidl.autograd.primitive import Array, bottom
from minidl.autograd.recording import effect
from minidl.tensor import Tensor


def gradients_of(parameters: Tensor | Iterable[Tensor]) -> list[Array]:
    """Return the gradients that are there, to be changed in place."""
    # A Tensor iterates over its rows, which have no gradient: nothing would be clipped.
    given = [parameters] if isinstance(parameters, Tensor) else parameters
    return [bottom(p.grad.detach(), "clipping") for p in given if p.grad is not None]


@effect
@checked
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: Positive, norm_type: Positive = 2.0
) -> float:
    """Scale all gradients in place so that their joint norm is at most ``max_norm``.

    ``parameters`` may be a single Tensor; those without a gradient count for nothing.

    Returns
    -------
    float
        The norm before; not finite where a gradient is not, and then nothing is scaled.

    Raises
    ------
    ValueError
        ``max_norm`` is not above 0.

    References
    ----------
    R. Pascanu et al., "On the difficulty of training recurrent neural networks", ICML 2013.
    """
    gradients = gradients_of(parameters)
    if norm_type == 2.0:
        norm = math.sqrt(sum(_square_norm(g) for g in gradients))
    elif math.isinf(norm_type):
        norm = max((float(np.abs(g).max()) for g in gradients if g.size), default=0.0)
    else:
        wide = (np.abs(g.astype(np.float64)) ** norm_type for g in gradients)
        norm = float(sum(float(g.sum()) for g in wide) ** (1.0 / norm_type))
    if math.isfinite(norm) and norm > max_norm:
        for gradient in gradients:
            gradient *= max_norm / (norm + 1e-6)
    return norm


@effect
@checked
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: Positive) -> None:
    """Hold every element of all gradients within -clip_value..clip_value, in place.

    Raises
    ------
    ValueError
        ``clip_value`` is not above 0.
    """
    for gradient in gradients_of(parameters):
        np.clip(gradient, -clip_value, clip_value, out=gradient)


@effect
@checked
def clip_each_grad_norm_(parameters: Tensor | Iterable[Tensor], max_norm: Positive) -> None:
    """Scale each gradient by itself so that its 2-norm is at most ``max_norm``, in place.

    Raises
    ------
    ValueError
        ``max_norm`` is not above 0.
    """
    for gradient in gradients_of(parameters):
        norm = math.sqrt(_square_norm(gradient))
        if math.isfinite(norm) and norm > max_norm:
            gradient *= max_norm / norm


@effect
@checked
def clip_grad_adaptive_(
    parameters: Tensor | Iterable[Tensor], clip_factor: Positive = 0.01, eps: NonNegative = 1e-3
) -> None:
    """Scale the gradient of each unit so that it is at most ``clip_factor`` of the unit's weights.

    A unit is a row of a weight (its first axis); vectors are taken whole. ``eps`` stands for the
    norm of units that are zero.

    Raises
    ------
    ValueError
        A number is out of bounds.

    References
    ----------
    A. Brock et al., "High-Performance Large-Scale Image Recognition Without Normalization", ICML
    2021, equation 3.
    """
    given = [parameters] if isinstance(parameters, Tensor) else parameters
    for parameter in given:
        if parameter.grad is None:
            continue
        gradient, weight = (bottom(t.detach(), "clipping") for t in (parameter.grad, parameter))
        over = tuple(range(1, weight.ndim)) if weight.ndim > 1 else None
        size = np.sqrt(np.sum(weight * weight, axis=over, keepdims=True))
        slope = np.sqrt(np.sum(gradient * gradient, axis=over, keepdims=True))
        limit = clip_factor * np.maximum(size, eps)
        gradient *= np.where(slope > limit, limit / np.maximum(slope, 1e-6), 1.0).astype(
            gradient.dtype
        )


def _square_norm(gradient: Array) -> float:
    square = float(np.vdot(gradient, gradient))
    if math.isfinite(square):
        return square
    # Squares overflow float32 from 2e19 on: such a gradient is finite, and the one to be clipped.
    wide = gradient.astype(np.float64)
    return float(np.vdot(wide, wide))
