"""Table of `minidl.ops.adaptive_pool`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, grid

SPACE = {1: (5,), 2: (5, 4), 3: (3, 4, 2)}
TO = {1: (3,), 2: (3, 2), 3: (2, 3, 1)}


def parts(n: int, *, indices: bool) -> Any:
    def samples(rng: Rng) -> Iterator[Sample]:
        yield call(grid(rng, 2, 1, *SPACE[n]), TO[n] if n > 1 else 3)
        yield call(grid(rng, 1, *SPACE[n]), 2)
        if indices:
            yield call(grid(rng, 1, 2, *SPACE[n]), 2, return_indices=True)
        if n > 1:
            yield call(grid(rng, 1, 1, *SPACE[n]), (None, *TO[n][1:]))

    return samples


def by_parts(n: int, how: str) -> Any:
    def reference(x: Any, size: Any, return_indices: bool = False) -> Any:
        if x.ndim == n + 1:
            found = reference(x[None], size, return_indices)
            return tuple(f[0] for f in found) if return_indices else found[0]
        space = x.shape[2:]
        given = [size] * n if isinstance(size, int) else size
        wanted = [s if m is None else m for m, s in zip(given, space, strict=True)]
        out = np.zeros((*x.shape[:2], *wanted), x.dtype)
        indices = np.zeros(out.shape, int)
        for place in np.ndindex(*out.shape):
            ranges = [
                range(i * s // m, -(-(i + 1) * s // m))
                for i, s, m in zip(place[2:], space, wanted, strict=True)
            ]
            ats = list(itertools.product(*ranges))
            values = [x[(*place[:2], *at)] for at in ats]
            best = int(np.argmax(values))
            out[place] = values[best] if how == "max" else sum(values) / len(values)
            indices[place] = np.ravel_multi_index(ats[best], space)
        return (out, indices) if return_indices else out

    return reference


def unpooled(n: int) -> Any:
    def samples(rng: Rng) -> Iterator[Sample]:
        values = grid(rng, 1, 2, *(2,) * n)
        places = np.arange(2**n) * 2**n  # one in each window
        indices = np.stack([places, places + 1]).reshape(1, 2, *(2,) * n) % 4**n
        yield call(values, indices, 2)
        yield call(values[0], indices[0], 2, output_size=(5,) * n)

    return samples


def put_back(n: int) -> Any:
    def reference(x: Any, indices: Any, size: int, output_size: Any = None) -> Any:
        space = output_size or tuple(2 * s for s in x.shape[-n:])
        out = np.zeros((*x.shape[:-n], *space), x.dtype)
        for place in np.ndindex(*x.shape):
            out[(*place[:-n], *np.unravel_index(indices[place], space))] = x[place]
        return out

    return reference


OPS = [
    *(
        Op(
            f"adaptive_avg_pool{n}d",
            parts(n, indices=False),
            by_parts(n, "avg"),
            f"nn.functional.adaptive_avg_pool{n}d",
        )
        for n in (1, 2, 3)
    ),
    *(
        Op(
            f"adaptive_max_pool{n}d",
            parts(n, indices=True),
            by_parts(n, "max"),
            f"nn.functional.adaptive_max_pool{n}d",
            (
                bad(
                    of((2,) * (n + 1)),
                    (1,) * (n + 1),
                    raises=ValueError,
                    match="output_size must be",
                ),
            ),
        )
        for n in (1, 2, 3)
    ),
    *(
        Op(
            f"max_unpool{n}d",
            unpooled(n),
            put_back(n),
            f"nn.functional.max_unpool{n}d",
            (
                bad(
                    of((2,) * (n + 2)),
                    of((1,) * (n + 2), int),
                    2,
                    raises=ValueError,
                    match="of one shape",
                ),
            ),
        )
        for n in (1, 2, 3)
    ),
]
