"""Normalization over a batch, a layer, groups of channels."""

from __future__ import annotations

import math
from typing import Any

from minidl.autograd.primitive import plain
from minidl.ops.elementwise import sqrt, square
from minidl.ops.reduce import mean
from minidl.ops.shape import reshape, shape_of

__all__ = [
    "batch_norm",
]


def batch_norm(
    x: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    *,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Normalize each channel (axis 1) over the batch and all other axes.

    Shapes: ``x (N, C, *)``; statistics, ``weight`` and ``bias`` ``(C,)``.

    In training the batch's own mean and variance are used, and the running ones (if given) move
    towards them by ``momentum``, in place; the running variance is the unbiased one. Otherwise
    the running ones are used.

    Raises
    ------
    ValueError
        A channel has a single value in training, the shapes do not fit, or there are no running
        statistics outside of training.

    References
    ----------
    S. Ioffe, C. Szegedy, "Batch Normalization", ICML 2015, algorithms 1 and 2.
    """
    shape = shape_of(x)
    if len(shape) < 2:
        raise ValueError(f"batch_norm: an input of shape (N, C, …) is wanted, got {shape}")
    channel = (1, shape[1], *(1,) * (len(shape) - 2))
    tensors = {"running_mean": running_mean, "running_var": running_var}
    for name, value in {"weight": weight, "bias": bias, **tensors}.items():
        if value is not None and shape_of(value) != (shape[1],):
            raise ValueError(
                f"batch_norm: {name} {shape_of(value)} does not fit the {shape[1]} channels "
                f"of the input {shape}"
            )
    if training:
        over = (0, *range(2, len(shape)))
        count = math.prod(shape[axis] for axis in over)
        if count <= 1:
            raise ValueError(
                f"batch_norm: more than one value per channel is wanted in training, got {shape}; "
                "use larger batches, or drop_last for the last one"
            )
        center = mean(x, over, keepdim=True)
        centered = x - center
        spread = mean(square(centered), over, keepdim=True)
        _update(running_mean, center, momentum)
        _update(running_var, spread, momentum, count / (count - 1))
    elif running_mean is None or running_var is None:
        raise ValueError("batch_norm: running_mean and running_var are wanted outside of training")
    else:
        centered = x - reshape(running_mean, channel)
        spread = reshape(running_var, channel)
    out = centered / sqrt(spread + eps)
    if weight is not None:
        out = out * reshape(weight, channel)
    return out if bias is None else out + reshape(bias, channel)


def _update(running: Any, batch: Any, momentum: float, scale: float = 1.0) -> None:
    """Move a running statistic in place; it is a constant to every transform."""
    if running is None:
        return
    found = plain(batch, "batch_norm's running statistics").reshape(-1)
    running.value += momentum * (scale * found - running.value)
