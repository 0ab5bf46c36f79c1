"""Table of `minidl.ops.normalization`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, grid


def batches(rng: Rng) -> Iterator[Sample]:
    stats = grid(rng, 2), grid(rng, 2, low=0.5)
    yield call(grid(rng, 4, 2), None, None, training=True)
    yield call(grid(rng, 3, 2), None, None, grid(rng, 2), grid(rng, 2), training=True, eps=1e-3)
    yield call(grid(rng, 2, 2, 2, 2), None, None, grid(rng, 2), training=True)
    yield call(grid(rng, 2, 2, 3), *stats, grid(rng, 2), grid(rng, 2))
    yield call(grid(rng, 1, 2), *stats)


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


def affine(shape: Any, last_axes: Any) -> Any:
    def samples(rng: Rng) -> Iterator[Sample]:
        yield call(grid(rng, *shape), last_axes)
        yield call(grid(rng, *shape), last_axes, grid(rng, *last_axes), grid(rng, *last_axes), 1e-3)
        yield call(grid(rng, 2, *shape), shape, grid(rng, *shape))

    return samples


def last(shape: Any) -> Any:
    return tuple(range(-len(shape), 0))


def standard(x: Any, dims: Any, eps: float) -> Any:
    return (x - x.mean(dims, keepdims=True)) / np.sqrt(x.var(dims, keepdims=True) + eps)


def scaled(x: Any, weight: Any, bias: Any) -> Any:
    return x * (1.0 if weight is None else weight) + (0.0 if bias is None else bias)


def by_channel(x: Any, weight: Any, bias: Any) -> Any:
    shape = (-1, *(1,) * (x.ndim - 2))
    parts = [None if v is None else v.reshape(shape) for v in (weight, bias)]
    return scaled(x, *parts)


def respond(x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Any:
    out = np.zeros_like(x)
    for c in range(x.shape[1]):
        low, high = max(0, c - size // 2), min(x.shape[1], c + (size - 1) // 2 + 1)
        total = (x[:, low:high] ** 2).sum(1)
        out[:, c] = x[:, c] / (k + alpha / size * total) ** beta
    return out


OPS = [
    Op(
        "batch_norm",
        batches,
        reference_batch_norm,
        torch_batch_norm,
        errors=(
            bad(
                of((3,)),
                None,
                None,
                training=True,
                raises=ValueError,
                match=r"\(N, C, …\) is wanted",
            ),
            bad(
                of((1, 3)),
                None,
                None,
                training=True,
                raises=ValueError,
                match="more than one value",
            ),
            bad(of((2, 3)), None, None, raises=ValueError, match="running_mean and running_var"),
            bad(
                of((2, 3)),
                None,
                None,
                of((2,)),
                training=True,
                raises=ValueError,
                match=r"weight \(2,\)",
            ),
        ),
    ),
    Op(
        "layer_norm",
        affine((2, 3), (3,)),
        lambda x, shape, w=None, b=None, eps=1e-5: scaled(standard(x, last(shape), eps), w, b),
        "nn.functional.layer_norm",
        (bad(of((2, 3)), (2,), raises=ValueError, match=r"last axes of \(2, 3\) are not \(2,\)"),),
        rtol=1e-9,
        float32_rtol=1e-3,
    ),
    Op(
        "rms_norm",
        lambda rng: [
            call(grid(rng, 2, 3), (3,)),
            call(grid(rng, 2, 2, 3), (2, 3), grid(rng, 2, 3), 1e-3),
        ],
        lambda x, shape, w=None, eps=None: scaled(
            x
            / np.sqrt(
                (x * x).mean(last(shape), keepdims=True)
                + (np.finfo(x.dtype).eps if eps is None else eps)
            ),
            w,
            None,
        ),
        "nn.functional.rms_norm",
        rtol=1e-9,
    ),
    Op(
        "group_norm",
        lambda rng: [
            call(grid(rng, 2, 4, 3), 2),
            call(grid(rng, 2, 4, 2, 2), 4, grid(rng, 4), grid(rng, 4), 1e-3),
            call(grid(rng, 2, 4), 1, grid(rng, 4)),
        ],
        lambda x, n, w=None, b=None, eps=1e-5: by_channel(
            standard(x.reshape(len(x), n, -1), (2,), eps).reshape(x.shape), w, b
        ),
        "nn.functional.group_norm",
        (bad(of((2, 3)), 2, raises=ValueError, match="2 groups do not divide the channels"),),
        rtol=1e-9,
        float32_rtol=1e-3,
    ),
    Op(
        "instance_norm",
        lambda rng: [
            call(grid(rng, 2, 3, 4)),
            call(grid(rng, 2, 2, 2, 3), weight=grid(rng, 2), bias=grid(rng, 2), eps=1e-3),
        ],
        lambda x, weight=None, bias=None, eps=1e-5: by_channel(
            standard(x, tuple(range(2, x.ndim)), eps), weight, bias
        ),
        "nn.functional.instance_norm",
        (bad(of((2, 3)), raises=ValueError, match=r"\(N, C, \*\) with more than one value"),),
        rtol=1e-9,
        float32_rtol=1e-3,
    ),
    Op(
        "local_response_norm",
        lambda rng: [call(grid(rng, 2, 5, 3), 3), call(grid(rng, 1, 4, 2, 2), 2, 0.5, 0.6, 2.0)],
        respond,
        "nn.functional.local_response_norm",
        (bad(of((2, 3)), 2, raises=ValueError, match=r"\(N, C, \*\) is wanted"),),
    ),
    Op(
        "normalize",
        lambda rng: [
            call(grid(rng, 2, 3)),
            call(grid(rng, 2, 3), 1.0, 0),
            call(grid(rng, 3), dim=0),
        ],
        lambda x, p=2.0, dim=1: x / (np.abs(x) ** p).sum(dim, keepdims=True) ** (1 / p),
        "nn.functional.normalize",
    ),
]
