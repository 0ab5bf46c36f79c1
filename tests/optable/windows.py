"""Table of `minidl.ops.windows`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, grid


def images(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 2, 2, 3, 4), 2)
    yield call(grid(rng, 1, 1, 4, 4), (2, 3), stride=2, padding=1)
    yield call(grid(rng, 1, 4, 4), 2, dilation=2)


def columns(x: Any, kernel: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    if x.ndim == 3:
        return columns(x[None], kernel, dilation, padding, stride)[0]
    (kh, kw), (d, p, s) = np.broadcast_to(kernel, 2), (dilation, padding, stride)
    x = np.pad(x, [(0, 0), (0, 0), (p, p), (p, p)])
    found = []
    for i in range(0, x.shape[2] - d * (kh - 1), s):
        for j in range(0, x.shape[3] - d * (kw - 1), s):
            part = x[:, :, i : i + d * (kh - 1) + 1 : d, j : j + d * (kw - 1) + 1 : d]
            found.append(part.reshape(len(x), -1))
    return np.stack(found, -1)


def folds(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 2, 8, 6), (3, 4), 2)
    yield call(grid(rng, 1, 4, 9), (4, 4), 2, padding=1, stride=2)
    yield call(grid(rng, 4, 4), (4, 4), 2, dilation=2)


def folded(
    x: Any, size: Any, kernel: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Any:
    """Where each element of an image of numbers would go, the column is added."""
    if x.ndim == 2:
        return folded(x[None], size, kernel, dilation, padding, stride)[0]
    area = int(np.prod(np.broadcast_to(kernel, 2)))
    channels = x.shape[1] // area
    out = np.zeros((len(x), channels, *size), x.dtype)
    numbers = np.arange(1, out[0].size + 1).reshape(1, channels, *size)
    where = columns(numbers, kernel, dilation, padding, stride)[0]
    for i, j in np.ndindex(*where.shape):
        if where[i, j]:
            out.reshape(len(x), -1)[:, where[i, j] - 1] += x[:, i, j]
    return out


OPS = [
    Op(
        "nn.functional.unfold",
        images,
        columns,
        "nn.functional.unfold",
        (
            bad(of((3, 3)), 2, raises=ValueError, match=r"\(C, H, W\) is wanted"),
            bad(of((1, 1, 2, 2)), 3, raises=ValueError, match="does not fit in"),
        ),
    ),
    Op(
        "fold",
        folds,
        folded,
        "nn.functional.fold",
        (bad(of((1, 4, 3)), (3, 3), 2, raises=ValueError, match=r"\(N, C · 4, 4\) is wanted"),),
    ),
]
