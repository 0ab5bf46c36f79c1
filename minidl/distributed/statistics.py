"""Batch normalization by the statistics of the whole batch, of which each rank has a share.

Forward, each rank tells the others the number of its values, their mean and their variance;
backward, the two sums over the batch that the gradient of the input needs. Both are one message a
layer. Where derivatives of derivatives, or forward mode, are wanted, the same is composed of
`sum_over_ranks`, which is an operation like any other.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd import recording
from minidl.autograd.fused import fused
from minidl.autograd.primitive import Array, Primitive, bottom, constant, linear, primitive
from minidl.distributed.world import current
from minidl.kernels import norm as kernel
from minidl.ops.elementwise import sqrt, square
from minidl.ops.joining import stack
from minidl.ops.reduce import sum
from minidl.ops.shape import reshape, shape_of


def _summed(x: Array) -> Array:
    total: Array = current().sum(x, statistics=True)
    return total


#: The elementwise sum over all ranks. It is its own transpose: what each rank's result changes by a
#: rank's argument, summed over ranks, is what that rank's cotangent is.
sum_over_ranks: Primitive = primitive(
    "sum_over_ranks", _summed, vjp=(lambda g, _out, _x: sum_over_ranks(g),), jvp=linear
)


def _moments(x: Array) -> Array:
    """Return mean, variance and number of values of each channel over all ranks, ``(3, C)``.

    T. Chan, G. Golub, R. LeVeque, "Algorithms for Computing the Sample Variance", 1983: parts are
    joined by their means and squared deviations, in the order of the ranks.
    """
    count = x.size // x.shape[1]
    own = np.zeros((3, x.shape[1]))  # float64: few numbers, whatever the dtype
    if count:
        own[:2], own[2] = kernel.moments(x), count
    parts = current().stack(own)
    means, variances, counts = parts[:, 0], parts[:, 1], parts[:, 2]
    total = counts.sum(axis=0)
    if total.min(initial=2.0) <= 1.0:
        raise ValueError(
            "sync_batch_norm: more than one value per channel is wanted in training, got "
            f"{int(total[0])} on all ranks together (here {x.shape}); use larger batches, or "
            "drop_last for the last one"
        )
    mean = (counts * means).sum(axis=0) / total
    spread = (counts * (variances + np.square(means - mean))).sum(axis=0) / total
    return np.stack([mean, spread, total]).astype(x.dtype, copy=False)


def _channel(x: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the axes that statistics are taken over, and the shape of a channel's numbers."""
    shape = shape_of(x)
    return (0, *range(2, len(shape))), (1, shape[1], *(1,) * (len(shape) - 2))


def _centered(x: Any) -> tuple[Any, Any, Any]:
    over, channel = _channel(x)
    shape = shape_of(x)
    number = np.full(shape[1], np.prod(shape, dtype=np.int64) // shape[1], x.dtype)
    total = sum_over_ranks(number)
    mean = sum_over_ranks(sum(x, over)) / total
    centered = x - reshape(mean, channel)
    return centered, mean, sum_over_ranks(sum(square(centered), over)) / total


def _moments_composed(x: Any) -> Any:
    _, mean, spread = _centered(x)
    shape = shape_of(x)
    number = np.full(shape[1], np.prod(shape, dtype=np.int64) // shape[1], x.dtype)
    return stack([mean, spread, sum_over_ranks(number)])


def _composed(x: Any, weight: Any, bias: Any, _moments: Any, *, eps: float) -> Any:
    channel = _channel(x)[1]
    centered, _, spread = _centered(x)
    out = centered / reshape(sqrt(spread + eps), channel)
    out = out if weight is None else out * reshape(weight, channel)
    return out if bias is None else out + reshape(bias, channel)


def _value(x: Array, weight: Any, bias: Any, moments: Array, *, eps: float) -> Array:
    return kernel.batch_norm(x, weight, bias, moments[:2], eps=eps)


def _by_input(g: Array, x: Array, weight: Any, bias: Any, moments: Array, *, eps: float) -> Array:
    """Return the cotangent of ``x``, as `minidl.kernels.norm.by_input`, with sums over ranks."""
    mean, spread, count = moments
    deviation = np.sqrt(spread + eps)
    along = kernel.by_bias(g, x, weight, bias, moments[:2], eps=eps)
    across = kernel.by_weight(g, x, weight, bias, moments[:2], eps=eps)  # Σ g (x - mean) / σ
    along, across = current().sum(np.stack([along, across]).astype(np.float64), statistics=True)
    channel = _channel(x)[1]
    level = (along / count).astype(x.dtype, copy=False).reshape(channel)
    slope = (across / count / deviation).astype(x.dtype, copy=False).reshape(channel)
    scale = 1.0 / deviation if weight is None else weight / deviation
    part = x - mean.reshape(channel)
    part *= slope
    out: Array = g - level
    out -= part
    out *= scale.astype(x.dtype, copy=False).reshape(channel)
    return out


def _by_weight(g: Array, x: Array, weight: Any, bias: Any, moments: Array, *, eps: float) -> Array:
    found: Array = kernel.by_weight(g, x, weight, bias, moments[:2], eps=eps)
    return found


_take_moments: Primitive = primitive("sync_batch_norm_moments", _moments)
_take_moments.composed = _take_moments.elsewhere = _moments_composed

_normalized: Primitive = fused(
    "sync_batch_norm", _value, _composed, (_by_input, _by_weight, kernel.by_bias, None)
)


def sync_batch_norm(
    x: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any,
    bias: Any,
    *,
    momentum: float,
    eps: float,
) -> Any:
    """Normalize each channel over the samples of all ranks, in training: a collective call.

    The same as `minidl.nn.functional.batch_norm` of the whole batch, running statistics included.
    A rank's share may be empty: ``(0, C, *)``.

    Raises
    ------
    ValueError
        A channel has a single value on all ranks together.
    """
    found = _take_moments(x)
    if running_mean is not None:
        if recording.open_recordings:
            recording.run(_move, running_mean, running_var, constant(found), momentum)
        else:
            _move(running_mean, running_var, bottom(found, "running statistics"), momentum)
    return _normalized(x, weight, bias, found, eps=eps)


def _move(running_mean: Any, running_var: Any, found: Array, momentum: float) -> None:
    mean, spread, count = found
    running_mean.value += momentum * (mean - running_mean.value)
    running_var.value += momentum * (count / (count - 1.0) * spread - running_var.value)
