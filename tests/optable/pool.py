"""Table of `minidl.ops.pool`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from optable.record import Op, bad, of
from optable.samples import Array, Rng, Sample, call, grid


def pools(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 1, 2, 4, 4), 2)
    yield call(grid(rng, 2, 1, 3, 4), (2, 3), stride=1)
    yield call(grid(rng, 1, 1, 4, 4), 3, 2, 1)
    yield call(grid(rng, 1, 1, 5, 4), 2, (2, 1), padding=(1, 0))
    yield call(grid(rng, 0, 2, 4, 4), 2)
    yield call(grid(rng, 1, 1, 2, 2), 1, 2)


def averages(rng: Rng) -> Iterator[Sample]:
    yield from pools(rng)
    yield call(grid(rng, 1, 1, 4, 4), 3, 2, 1, count_include_pad=False)


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


def average(x: Any, *args: Any, count_include_pad: bool = True, **kwargs: Any) -> Any:
    mean = loop_pool2d(x, *args, **kwargs, take=np.mean, fill=0.0)
    if count_include_pad:
        return mean
    return mean / loop_pool2d(np.ones_like(x), *args, **kwargs, take=np.mean, fill=0.0)


POOL_ERRORS = (
    bad(of((3, 3)), 2, raises=ValueError, match=r"\(N, C, H, W\) are wanted, got \(3, 3\)"),
    bad(of((1, 1, 3, 3)), 4, raises=ValueError, match=r"kernel \(4, 4\).* image \(3, 3\)"),
    bad(of((1, 1, 3, 3)), 2, 1, 2, raises=ValueError, match="more than half"),
    bad(of((1, 1, 3, 3)), 0, raises=ValueError, match="kernel_size must be at least 1"),
    bad(of((1, 1, 3, 3)), (2, 2, 2), raises=ValueError, match="kernel_size.*two"),
    bad(of((1, 1, 3, 3)), 2, 0, raises=ValueError, match="stride and dilation must be at least 1"),
)


OPS = [
    Op(
        "max_pool2d",
        pools,
        lambda x, *a, **k: loop_pool2d(x, *a, **k, take=np.max, fill=-np.inf),
        "nn.functional.max_pool2d",
        POOL_ERRORS,
    ),
    Op("avg_pool2d", averages, average, "nn.functional.avg_pool2d", POOL_ERRORS),
]
