"""Limits on gradients, between backward and the step."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from minidl.arguments import Positive, checked
from minidl.tensor import Tensor


@checked
def clip_grad_norm_(parameters: Iterable[Tensor], max_norm: Positive) -> float:
    """Scale all gradients in place so that their joint 2-norm is at most ``max_norm``.

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
    gradients = [p.grad.detach().numpy() for p in parameters if p.grad is not None]
    norm = math.sqrt(sum(float(np.vdot(g, g)) for g in gradients))
    if math.isfinite(norm) and norm > max_norm:
        for gradient in gradients:
            gradient *= max_norm / (norm + 1e-6)
    return norm
