"""References that NumPy and SciPy do not have, and PyTorch's functions in minidl's call shape.

References are written for plainness: definitions as loops and formulas, no regard to speed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from minidl import ops

Array = Any


def reference_cross_entropy(logits: Array, target: Array, **how: Any) -> Array:
    return reference_nll(reference_log_softmax(logits, 0 if logits.ndim == 1 else 1), target, **how)


def reference_nll(
    logp: Array,
    target: Array,
    *,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Array:
    """Negative log-likelihood, a loop over the targets (indices) or one sum (probabilities)."""
    classes = logp.shape[0] if logp.ndim == 1 else logp.shape[1]
    weight = np.ones(classes) if weight is None else weight
    if logp.ndim == 1:
        logp, target, squeeze = logp[None], np.asarray(target)[None], True
    else:
        squeeze = False
    rows = np.moveaxis(logp, 1, -1)
    if target.dtype.kind == "f":
        goal = np.moveaxis(target, 1, -1) * (1 - label_smoothing) + label_smoothing / classes
        losses = -(rows * goal * weight).sum(-1)
        total = losses.size
    else:
        losses, total = np.zeros(target.shape), 0.0
        for place in np.ndindex(*target.shape):
            label = target[place]
            if label == ignore_index:
                continue
            own = -weight[label] * rows[place][label]
            even = -(weight * rows[place]).sum() / classes
            losses[place] = (1 - label_smoothing) * own + label_smoothing * even
            total += weight[label]
    if reduction == "none":
        return losses[0] if squeeze else losses
    return losses.sum() / total if reduction == "mean" else losses.sum()


def reference_log_softmax(x: Array, dim: int) -> Array:
    with np.errstate(all="ignore"):
        top = np.max(x, axis=dim, keepdims=True) if x.ndim else x
        shifted = x - top
        return shifted - np.log(
            np.sum(np.exp(shifted), axis=dim if x.ndim else None, keepdims=True)
        )


def loop_pool2d(
    x: Array, size: Any, stride: Any = None, padding: Any = 0, *, take: Any, fill: float
) -> Array:
    """Pooling by its definition; ``take`` reduces a window."""
    stride = size if stride is None else stride
    (kh, kw), (sh, sw), (ph, pw) = (np.broadcast_to(v, 2) for v in (size, stride, padding))
    x = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)), constant_values=fill)
    high, wide = (x.shape[2] - kh) // sh + 1, (x.shape[3] - kw) // sw + 1
    out = np.zeros((*x.shape[:2], high, wide), x.dtype)
    for i, j in itertools.product(range(high), range(wide)):
        window = x[:, :, i * sh : i * sh + kh, j * sw : j * sw + kw]
        out[:, :, i, j] = take(window, axis=(2, 3))
    return out


def loop_conv2d(
    x: Array, w: Array, bias: Any = None, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1
) -> Array:
    """Convolution by its definition."""
    (sh, sw), (dh, dw) = np.broadcast_to(stride, 2), np.broadcast_to(dilation, 2)
    if padding == "same":
        padding = dh * (w.shape[2] - 1) // 2, dw * (w.shape[3] - 1) // 2
    ph, pw = np.broadcast_to(0 if padding == "valid" else padding, 2)
    x = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    high = (x.shape[2] - dh * (w.shape[2] - 1) - 1) // sh + 1
    wide = (x.shape[3] - dw * (w.shape[3] - 1) - 1) // sw + 1
    out = np.zeros((len(x), len(w), high, wide), np.result_type(x, w))
    for n, o, i, j in np.ndindex(*out.shape):
        for c, a, b in np.ndindex(*w.shape[1:]):
            out[n, o, i, j] += x[n, c, i * sh + a * dh, j * sw + b * dw] * w[o, c, a, b]
    return out if bias is None else out + bias[:, None, None]


def reducing(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, dim=None, keepdim=False: function(x, axis=dim, keepdims=keepdim)


def torch_reducing(name: str) -> Callable[..., Any]:
    def reduce(torch: Any, x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        over = tuple(range(x.ndim)) if dim is None else dim
        return getattr(torch, name)(x, over, keepdim=keepdim)

    return reduce


def moment(function: Callable[..., Any]) -> Callable[..., Any]:
    def reference(x: Any, dim: Any = None, correction: float = 1, keepdim: bool = False) -> Any:
        return function(x, axis=dim, ddof=correction, keepdims=keepdim)

    return reference


def extremum(select: Any, value: Any) -> Callable[..., Any]:
    def reference(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
        if dim is None:
            return value(x)
        return value(x, axis=dim, keepdims=keepdim), select(x, axis=dim, keepdims=keepdim)

    return reference


def torch_extremum(name: str) -> Callable[..., Any]:
    def extremum(torch: Any, x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
        found = getattr(torch, name)
        return found(x) if dim is None else tuple(found(x, dim, keepdim=keepdim))

    return extremum


def average(x: Any, *args: Any, count_include_pad: bool = True, **kwargs: Any) -> Any:
    mean = loop_pool2d(x, *args, **kwargs, take=np.mean, fill=0.0)
    if count_include_pad:
        return mean
    return mean / loop_pool2d(np.ones_like(x), *args, **kwargs, take=np.mean, fill=0.0)


def torch_loss(name: str) -> Callable[..., Any]:
    def loss(torch: Any, x: Any, target: Any, weight: Any = None, **how: Any) -> Any:
        constant = None if weight is None else weight.detach()  # no derivative there in PyTorch
        return getattr(torch.nn.functional, name)(x, target, weight=constant, **how)

    return loss


def drop(x: Any, p: float = 0.5, training: bool = True, seed: int = 3) -> Any:
    return ops.dropout(x, p, training, rng=np.random.default_rng(seed))


def reference_drop(x: Any, p: float = 0.5, training: bool = True, seed: int = 3) -> Any:
    if not training:
        return x
    keep = np.random.default_rng(seed).random(np.shape(x), dtype=np.float32) >= p
    return np.where(keep, x / (1 - p) if p < 1 else 0.0, 0.0)


def reference_batch_norm(
    x: Any, mean: Any, var: Any, weight: Any = None, bias: Any = None, *, training: bool = False,
    eps: float = 1e-5,
) -> Any:  # fmt: skip
    rows = np.moveaxis(x, 1, -1)
    if training:
        flat = rows.reshape(-1, x.shape[1])
        mean, var = flat.mean(0), flat.var(0)
    out = (rows - mean) / np.sqrt(var + eps)
    out = out * (1.0 if weight is None else weight) + (0.0 if bias is None else bias)
    return np.moveaxis(out, -1, 1)


def torch_batch_norm(torch: Any, x: Any, mean: Any, var: Any, *args: Any, **how: Any) -> Any:
    constants = (None if v is None else v.detach() for v in (mean, var))
    return torch.nn.functional.batch_norm(x, *constants, *args, **how)


def elementwise_loss(function: Callable[..., Any]) -> Callable[..., Any]:
    def reference(x: Any, y: Any, reduction: str = "mean") -> Any:
        take = {"mean": np.mean, "sum": np.sum, "none": np.asarray}
        return take[reduction](function(x - y))

    return reference


def written(x: Any, index: Any, value: Any) -> Any:
    out = x.copy()
    out[index] = value
    return out


def torch_written(torch: Any, x: Any, index: Any, value: Any) -> Any:
    out = x.clone()
    out[index] = value
    return out


def reference_flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    if not x.ndim:
        return x.reshape(1)
    start, end = start_dim % x.ndim, end_dim % x.ndim
    return x.reshape(*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :])


def reference_expand(x: Any, *sizes: Any) -> Any:
    sizes = sizes[0] if isinstance(sizes[0], tuple) else sizes
    own = (1,) * (len(sizes) - x.ndim) + x.shape
    return np.broadcast_to(x, [o if s == -1 else s for o, s in zip(own, sizes, strict=True)])


def reference_gelu(x: Any, approximate: str = "none") -> Any:
    if approximate == "none":
        return x * special.ndtr(x)
    return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def reference_logsumexp(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return special.logsumexp(x, axis=dim, keepdims=keepdim)


def all_dims_by_default(function: Any) -> Any:
    """`logsumexp` has no default for ``dim``, as in PyTorch; the shared samples rely on one."""
    return lambda x, dim=None, keepdim=False: function(x, dim, keepdim)


def reference_one_hot(labels: Any, num_classes: int | None = None) -> Any:
    return np.eye(labels.max() + 1 if num_classes is None else num_classes, dtype=int)[labels]
