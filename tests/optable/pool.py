"""Table of `minidl.ops.pool`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, grid


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


POOL_ERRORS = (
    bad(of((3, 3)), 2, raises=ValueError, match=r"\(N, C, H, W\) are wanted, got \(3, 3\)"),
    bad(of((1, 1, 3, 3)), 4, raises=ValueError, match=r"kernel \(4, 4\).* image \(3, 3\)"),
    bad(of((1, 1, 3, 3)), 2, 1, 2, raises=ValueError, match="more than half"),
    bad(of((1, 1, 3, 3)), 0, raises=ValueError, match="kernel_size must be at least 1"),
    bad(of((1, 1, 3, 3)), (2, 2, 2), raises=ValueError, match="kernel_size.*two"),
    bad(of((1, 1, 3, 3)), 2, 0, raises=ValueError, match="stride and dilation must be at least 1"),
)


def loop_pool(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False, *, n: int, how: str = "max",
    count_include_pad: bool = True, divisor_override: int | None = None, norm_type: float = 2,
) -> Any:  # fmt: skip
    """Pooling by its definition, over any number of axes."""
    if x.ndim == n + 1:
        rest = (kernel_size, stride, padding, dilation, ceil_mode, return_indices)
        found = loop_pool(
            x[None], *rest, n=n, how=how, count_include_pad=count_include_pad,
            divisor_override=divisor_override, norm_type=norm_type,
        )  # fmt: skip
        return tuple(f[0] for f in found) if return_indices else found[0]
    size = np.broadcast_to(kernel_size, n)
    steps = size if stride is None else np.broadcast_to(stride, n)
    around, holes = np.broadcast_to(padding, n), np.broadcast_to(dilation, n)
    space, counts = x.shape[2:], []
    for length, k, s, p, d in zip(space, size, steps, around, holes, strict=True):
        room = length + 2 * p - d * (k - 1) - 1
        count = -(-room // s) + 1 if ceil_mode else room // s + 1
        counts.append(count - 1 if ceil_mode and (count - 1) * s >= length + p else count)
    out = np.zeros((*x.shape[:2], *counts), x.dtype)
    indices = np.zeros(out.shape, int)
    for place in np.ndindex(*out.shape):
        values, flat, area = [], [], 0
        for offset in np.ndindex(*size):
            at = [
                i * s + o * d - p
                for i, s, o, d, p in zip(place[2:], steps, offset, holes, around, strict=True)
            ]
            area += all(a < length + p for a, length, p in zip(at, space, around, strict=True))
            if all(0 <= a < length for a, length in zip(at, space, strict=True)):
                values.append(x[(*place[:2], *at)])
                flat.append(int(np.ravel_multi_index(at, space)))
        if how == "max":
            out[place], indices[place] = max(values), flat[int(np.argmax(values))]
        elif how == "lp":
            out[place] = sum(v**norm_type for v in values) ** (1 / norm_type)
        else:
            count = divisor_override or (area if count_include_pad else len(values))
            out[place] = sum(values) / count
    return (out, indices) if return_indices else out


def windows(n: int) -> Any:
    space = {1: (6,), 2: (4, 3), 3: (3, 2, 4)}[n]

    def samples(rng: Rng) -> Iterator[Sample]:
        yield call(grid(rng, 2, 1, *space), 2)
        yield call(grid(rng, 2, *space), 2, 1)
        yield call(grid(rng, 1, 1, *space), 2, 2, 1)
        yield call(grid(rng, 1, 1, *space), 2, 2, ceil_mode=True)

    return samples


def largest(n: int) -> Any:
    def samples(rng: Rng) -> Iterator[Sample]:
        if n == 2:
            yield from pools(rng)
        yield from windows(n)(rng)
        space = {1: (6,), 2: (5, 4), 3: (3, 3, 3)}[n]
        yield call(grid(rng, 1, 1, *space), 2, 1, 0, 2)
        yield call(grid(rng, 1, 2, *space), 2, return_indices=True)
        yield call(grid(rng, 1, 1, *space), 3, 2, 1, 1, True, True)

    return samples


def means(n: int) -> Any:
    def samples(rng: Rng) -> Iterator[Sample]:
        if n == 2:
            yield from averages(rng)
        yield from windows(n)(rng)
        space = {1: (5,), 2: (3, 4), 3: (3, 3, 2)}[n]
        yield call(grid(rng, 1, 1, *space), 2, 2, 1, ceil_mode=True, count_include_pad=False)
        yield call(grid(rng, 1, 1, *space), 2, 2, 1, ceil_mode=True)
        if n > 1:
            yield call(grid(rng, 1, 1, *space), 2, 2, divisor_override=3)

    return samples


def powers(n: int) -> Any:
    def samples(rng: Rng) -> Iterator[Sample]:
        space = {1: (5,), 2: (3, 4), 3: (2, 3, 2)}[n]
        yield call(grid(rng, 1, 2, *space), 2.0, 2)
        yield call(grid(rng, 1, 1, *space, low=0.3), 3.0, 2, 1)

    return samples


def max_reference(n: int) -> Any:
    return lambda x, *a, **k: loop_pool(x, *a, n=n, **k)


def avg_reference(n: int) -> Any:
    def reference(
        x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, **how: Any
    ) -> Any:
        return loop_pool(x, kernel_size, stride, padding, n=n, how="avg", **how)

    return reference


def lp_reference(n: int) -> Any:
    return lambda x, p, k, stride=None: loop_pool(x, k, stride, n=n, how="lp", norm_type=p)


OPS = [
    Op("max_pool2d", largest(2), max_reference(2), "nn.functional.max_pool2d", POOL_ERRORS),
    Op("avg_pool2d", means(2), avg_reference(2), "nn.functional.avg_pool2d", POOL_ERRORS),
    Op("max_pool1d", largest(1), max_reference(1), "nn.functional.max_pool1d"),
    Op("max_pool3d", largest(3), max_reference(3), "nn.functional.max_pool3d"),
    Op("avg_pool1d", means(1), avg_reference(1), "nn.functional.avg_pool1d"),
    Op("avg_pool3d", means(3), avg_reference(3), "nn.functional.avg_pool3d"),
    Op("lp_pool1d", powers(1), lp_reference(1), "nn.functional.lp_pool1d"),
    Op("lp_pool2d", powers(2), lp_reference(2), "nn.functional.lp_pool2d"),
    Op("lp_pool3d", powers(3), lp_reference(3), "nn.functional.lp_pool3d"),
]
