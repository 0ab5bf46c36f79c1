"""Layers and losses as functions: everything a module computes, without its parameters."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from minidl.autograd.primitive import plain
from minidl.ops import (
    abs,
    avg_pool2d,
    conv2d,
    cross_entropy,
    dropout,
    erf,
    linear,
    log_softmax,
    max_pool2d,
    mean,
    nll_loss,
    relu,
    sigmoid,
    softmax,
    sqrt,
    square,
    sum,
    tanh,
)
from minidl.ops.shape import reshape, shape_of
from minidl.ops.softmax import Reduction
from minidl.tensor import Tensor

__all__ = [
    "avg_pool2d",
    "batch_norm",
    "conv2d",
    "cross_entropy",
    "dropout",
    "gelu",
    "l1_loss",
    "linear",
    "log_softmax",
    "max_pool2d",
    "mse_loss",
    "nll_loss",
    "one_hot",
    "relu",
    "sigmoid",
    "softmax",
    "tanh",
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


def batch_norm(
    x: Any,
    running_mean: Tensor | None,
    running_var: Tensor | None,
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


def _update(running: Tensor | None, batch: Any, momentum: float, scale: float = 1.0) -> None:
    """Move a running statistic in place; it is a constant to every transform."""
    if running is None:
        return
    found = plain(batch, "batch_norm's running statistics").reshape(-1)
    running.value += momentum * (scale * found - running.value)


def mse_loss(x: Any, target: Any, *, reduction: Reduction = "mean") -> Any:
    """Return (x - target)², averaged, summed, or as it is.

    Raises
    ------
    ValueError
        The shapes differ, or ``reduction`` is unknown.
    """
    _same_shape("mse_loss", x, target)
    return _reduced("mse_loss", square(x - target), reduction)


def l1_loss(x: Any, target: Any, *, reduction: Reduction = "mean") -> Any:
    """Return the absolute difference, averaged, summed, or as it is.

    Raises
    ------
    ValueError
        The shapes differ, or ``reduction`` is unknown.
    """
    _same_shape("l1_loss", x, target)
    return _reduced("l1_loss", abs(x - target), reduction)


def _same_shape(name: str, x: Any, target: Any) -> None:
    # PyTorch only warns, and broadcasts (N, 1) against (N,) to (N, N): a famous source of models
    # that do not learn.
    if shape_of(x) != shape_of(target):
        raise ValueError(
            f"{name}: input {shape_of(x)} and target {shape_of(target)} must have the same shape"
        )


def _reduced(name: str, loss: Any, reduction: str) -> Any:
    if reduction == "none":
        return loss
    if reduction not in ("mean", "sum"):
        raise ValueError(f"{name}: reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    return mean(loss) if reduction == "mean" else sum(loss)


def one_hot(labels: Any, num_classes: int | None = None, *, dtype: DTypeLike = np.int64) -> Tensor:
    """Return 1 at each label's place and 0 elsewhere: ``(*) -> (*, num_classes)``.

    Raises
    ------
    IndexError
        A label is negative or not below ``num_classes``.
    """
    array = np.asarray(labels.detach() if isinstance(labels, Tensor) else labels)
    if num_classes is None and not array.size:
        raise ValueError("one_hot: num_classes is wanted where there are no labels to tell it")
    classes = int(array.max()) + 1 if num_classes is None else num_classes
    if array.size and (array.min() < 0 or array.max() >= classes):
        raise IndexError(
            f"one_hot: labels {array.min()} to {array.max()} do not fit {classes} classes"
        )
    return Tensor((array[..., None] == np.arange(classes)).astype(dtype))
