"""Limits on gradients, between backward and the step."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from minidl.arguments import Positive, checked
from minidl.autograd.primitive import Array
from minidl.tensor import Tensor


@checked
def clip_grad_norm_(parameters: Tensor | Iterable[Tensor], max_norm: Positive) -> float:
    """Scale all gradients in place so that their joint 2-norm is at most ``max_norm``.

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
    # A Tensor iterates over its rows, which have no gradient: nothing would be clipped.
    given = [parameters] if isinstance(parameters, Tensor) else parameters
    gradients = [p.grad.detach().numpy() for p in given if p.grad is not None]
    norm = math.sqrt(sum(_square_norm(g) for g in gradients))
    if math.isfinite(norm) and norm > max_norm:
        for gradient in gradients:
            gradient *= max_norm / (norm + 1e-6)
    return norm


def _square_norm(gradient: Array) -> float:
    square = float(np.vdot(gradient, gradient))
    if math.isfinite(square):
        return square
    # Squares overflow float32 from 2e19 on: such a gradient is finite, and the one to be clipped.
    wide = gradient.astype(np.float64)
    return float(np.vdot(wide, wide))
