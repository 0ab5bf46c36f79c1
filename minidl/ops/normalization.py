"""Normalization over a batch, a layer, groups of channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.autograd import recording
from minidl.autograd.batch import one_by_one
from minidl.autograd.fused import fused
from minidl.autograd.primitive import Array, Examples, Primitive, bottom, constant, primitive
from minidl.kernels import norm as kernel
from minidl.kernels import rows
from minidl.ops.batching import along
from minidl.ops.channels import scale_channels
from minidl.ops.elementwise import rsqrt, sqrt, square
from minidl.ops.joining import stack
from minidl.ops.lengths import vector_norm
from minidl.ops.products import matmul
from minidl.ops.reduce import mean, var
from minidl.ops.rounding import clamp_min
from minidl.ops.shape import reshape, shape_of

__all__ = [
    "batch_norm",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "local_response_norm",
    "normalize",
    "rms_norm",
]


def batch_norm(
    x: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
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
    tensors = {"running_mean": running_mean, "running_var": running_var}
    for name, value in {"weight": weight, "bias": bias, **tensors}.items():
        if value is not None and shape_of(value) != (shape[1],):
            raise ValueError(
                f"batch_norm: {name} {shape_of(value)} does not fit the {shape[1]} channels "
                f"of the input {shape}"
            )
    if training:
        count = shape[0] * math.prod(shape[2:])
        if count <= 1:
            raise ValueError(
                f"batch_norm: more than one value per channel is wanted in training, got {shape}; "
                "use larger batches, or drop_last for the last one"
            )
        found = _moments(x)
        _update(running_mean, found[0], momentum)
        _update(running_var, found[1], momentum, count / (count - 1))
        return _batch_norm(x, weight, bias, found, eps=eps)
    if running_mean is None or running_var is None:
        raise ValueError("batch_norm: running_mean and running_var are wanted outside of training")
    scale = rsqrt(running_var + eps)
    scale = scale if weight is None else weight * scale
    return scale_channels(x, running_mean, scale, bias)


def _composed(x: Any, weight: Any, bias: Any, _moments: Any, *, eps: float) -> Any:
    """Normalize by other operations; the moments follow from ``x``, and derivatives must see it."""
    shape = shape_of(x)
    over, channel = (0, *range(2, len(shape))), (1, shape[1], *(1,) * (len(shape) - 2))
    centered = x - mean(x, over, keepdim=True)
    out = centered / sqrt(mean(square(centered), over, keepdim=True) + eps)
    if weight is not None:
        out = out * reshape(weight, channel)
    return out if bias is None else out + reshape(bias, channel)


def _moments_composed(x: Any) -> Any:
    over = (0, *range(2, len(shape_of(x))))
    return stack([mean(x, over), var(x, over, 0)])


#: Mean and variance of each channel, as constants: `_batch_norm` differentiates through them.
_moments: Primitive = primitive("batch_norm_moments", kernel.moments)
_moments.composed = _moments.elsewhere = _moments_composed


def _sums_composed(g: Any, x: Any, moments: Any) -> Any:
    over, channel = (0, *range(2, x.ndim)), (1, x.shape[1], *(1,) * (x.ndim - 2))
    return stack([g.sum(axis=over), (g * (x - moments[0].reshape(channel))).sum(axis=over)])


#: What its three gradients are made of, as constants too.
_sums: Primitive = primitive("batch_norm_sums", kernel.gradient_sums)
_sums.composed = _sums.elsewhere = _sums_composed

_batch_norm: Primitive = fused(
    "batch_norm",
    kernel.batch_norm,
    _composed,
    (kernel.by_input, kernel.by_weight, kernel.by_bias, None),
    shared=lambda g, x, _weight, _bias, moments, eps: _sums(g, x, moments),
)


def _update(running: Any, batch: Any, momentum: float, scale: float = 1.0) -> None:
    """Move a running statistic in place; it is a constant to every transform."""
    if running is None:
        return
    if recording.open_recordings:
        recording.run(move, running, constant(batch), momentum, scale)
    else:
        move(running, bottom(batch, "batch_norm's running statistics"), momentum, scale)


def move(running: Any, found: Array, momentum: float, scale: float) -> None:
    """Move a running statistic by ``momentum`` towards ``scale`` times the one ``found``."""
    running.value += momentum * (scale * found.reshape(-1) - running.value)


def _last_axes(name: str, x: Any, normalized_shape: Sequence[int]) -> tuple[int, ...]:
    wanted, shape = tuple(normalized_shape), shape_of(x)
    if not wanted or shape[len(shape) - len(wanted) :] != wanted:
        raise ValueError(f"{name}: the last axes of {shape} are not {wanted}")
    return tuple(range(len(shape) - len(wanted), len(shape)))


def _normalized(x: Array, *, dim: tuple[int, ...], eps: float) -> Array:
    centered = x - x.mean(axis=dim, keepdims=True)
    spread = np.square(centered).mean(axis=dim, keepdims=True)
    centered /= np.sqrt(spread + eps)
    return centered


def _normalize_rule(g: Any, out: Any, x: Any, *, dim: tuple[int, ...], eps: float) -> Any:
    """(g - mean(g) - out · mean(g · out)) / σ: symmetric, so it serves forward and reverse."""
    scale = rsqrt(var(x, dim, 0, True) + eps)
    along = mean(g * out, dim, keepdim=True)
    return (g - mean(g, dim, keepdim=True) - out * along) * scale


# One operation: its derivative needs the result and one number a row, not the steps between.
_normalize: Primitive = primitive(
    "layer_norm",
    _normalized,
    vjp=(_normalize_rule,),
    jvp=(_normalize_rule,),
    batch=along("dim"),
)


def _examples_as_rows(operation: Primitive, examples: Examples, **params: Any) -> Any:
    """More examples are more rows, where weight and bias are the same for all."""
    if examples.batched != [True, False, False, True]:
        return one_by_one(operation, examples, **params)
    return operation(*examples.values, **params)


def _examples_with_moments(operation: Primitive, examples: Examples, **params: Any) -> Any:
    found = operation(examples.values[0], **params)
    return reshape(found, (examples.size, -1, 2))


def layer_norm(
    x: Any, normalized_shape: Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """Bring the last axes to mean 0 and variance 1, then scale and shift each element.

    Shapes: ``weight`` and ``bias`` have ``normalized_shape``, which is that of the last axes.

    Raises
    ------
    ValueError
        The last axes have another shape.

    References
    ----------
    J. L. Ba et al., "Layer Normalization", arXiv:1607.06450.
    """
    over = _last_axes("layer_norm", x, normalized_shape)
    shape = shape_of(x)
    length = math.prod(normalized_shape)
    wrong = any(
        v is not None and (shape_of(v) != tuple(normalized_shape) or v.dtype != x.dtype)
        for v in (weight, bias)
    )
    if wrong or x.dtype.kind != "f" or not math.prod(shape):
        return _affine(_normalize(x, dim=over, eps=eps), weight, bias)
    found = _row_moments(x, length=length, eps=eps)
    return _layer_norm(x, weight, bias, found, length=length, eps=eps)


def _affine(out: Any, weight: Any, bias: Any) -> Any:
    out = out if weight is None else out * weight
    return out if bias is None else out + bias


def _layer_norm_composed(
    x: Any, weight: Any, bias: Any, _moments: Any, *, length: int, eps: float
) -> Any:
    """Normalize by other operations; the moments follow from ``x``, and derivatives must see it."""
    axes, count = 0, 1
    while count < length:
        axes, count = axes + 1, count * shape_of(x)[-axes - 1]
    dim = tuple(range(len(shape_of(x)) - axes, len(shape_of(x))))
    return _affine(_normalize(x, dim=dim, eps=eps), weight, bias)


def _row_moments_composed(x: Any, *, length: int, eps: float) -> Any:
    lines = reshape(x, (-1, length))
    return stack([mean(lines, 1), rsqrt(var(lines, 1, 0) + eps)], 1)


#: Mean and 1 / √(variance + eps) of each row, as constants: `_layer_norm` differentiates through.
_row_moments: Primitive = primitive(
    "layer_norm_moments", rows.moments, batch=_examples_with_moments
)
_row_moments.composed = _row_moments.elsewhere = _row_moments_composed

_layer_norm: Primitive = fused(
    "layer_norm",
    rows.layer_norm,
    _layer_norm_composed,
    (rows.by_input, rows.by_weight, rows.by_bias, None),
    batch=_examples_as_rows,
)


def rms_norm(
    x: Any, normalized_shape: Sequence[int], weight: Any = None, eps: float | None = None
) -> Any:
    """Divide the last axes by the root of their mean square, then scale each element.

    ``eps`` is the precision of the dtype by default.

    Raises
    ------
    ValueError
        The last axes have another shape.

    References
    ----------
    B. Zhang, R. Sennrich, "Root Mean Square Layer Normalization", arXiv:1910.07467.
    """
    over = _last_axes("rms_norm", x, normalized_shape)
    eps = float(np.finfo(x.dtype).eps) if eps is None else eps
    out = x * rsqrt(mean(square(x), over, keepdim=True) + eps)
    return out if weight is None else out * weight


def _per_channel(out: Any, weight: Any, bias: Any) -> Any:
    channel = (1, -1, *(1,) * (len(shape_of(out)) - 2))
    out = out if weight is None else out * reshape(weight, channel)
    return out if bias is None else out + reshape(bias, channel)


def group_norm(
    x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """Normalize groups of channels of each sample ``(N, C, *)``; scale and shift each channel.

    Raises
    ------
    ValueError
        The channels cannot be divided into ``num_groups``.

    References
    ----------
    Y. Wu, K. He, "Group Normalization", arXiv:1803.08494.
    """
    shape = shape_of(x)
    if len(shape) < 2 or num_groups < 1 or shape[1] % num_groups:
        raise ValueError(f"group_norm: {num_groups} groups do not divide the channels of {shape}")
    size = math.prod(shape[1:]) // num_groups
    rows = reshape(x, (shape[0], num_groups, size))
    return _per_channel(reshape(_normalize(rows, dim=(2,), eps=eps), shape), weight, bias)


def instance_norm(
    x: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Normalize each channel of each sample ``(N, C, *)``; running statistics as in `batch_norm`.

    Raises
    ------
    ValueError
        There are no statistics to use, or nothing to take them over.
    """
    shape = shape_of(x)
    if len(shape) < 3 or (use_input_stats and math.prod(shape[2:]) <= 1):
        raise ValueError(f"instance_norm: (N, C, *) with more than one value each, got {shape}")
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    over = tuple(range(2, len(shape)))
    if running_mean is not None:
        count = math.prod(shape[2:])
        _update(running_mean, mean(mean(x, over), 0), momentum)
        _update(running_var, mean(var(x, over, 0), 0), momentum, count / (count - 1))
    return _per_channel(_normalize(x, dim=over, eps=eps), weight, bias)


def local_response_norm(
    x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Any:
    """Divide by ``(k + alpha · mean of squares over size channels around)^beta``.

    Raises
    ------
    ValueError
        ``x`` is not ``(N, C, *)``.

    References
    ----------
    A. Krizhevsky et al., "ImageNet Classification with Deep CNNs", NeurIPS 2012.
    """
    shape = shape_of(x)
    if len(shape) < 3:
        raise ValueError(f"local_response_norm: (N, C, *) is wanted, got {shape}")
    channels = np.arange(shape[1])
    offset = channels[:, None] - channels  # channel i sees j from i - size//2 to i + (size-1)//2
    near = ((offset <= size // 2) & (offset >= -((size - 1) // 2))).astype(x.dtype)
    rows = reshape(square(x), (shape[0], shape[1], -1))
    total = reshape(matmul(near, rows), shape)
    return x / (total * (alpha / size) + k) ** beta


def normalize(x: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Any:
    """Divide by the p-norm along ``dim``, or by ``eps`` where that is larger."""
    return x / clamp_min(vector_norm(x, p, dim, True), eps)
