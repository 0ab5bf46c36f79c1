"""Table of `minidl.ops.attention`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, edge, grid

MASK = np.array([[True, False, True], [True, True, False]])


def heads(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 2, 3), grid(rng, 3, 3), grid(rng, 3, 2))
    yield call(grid(rng, 2, 2, 2, 3), grid(rng, 2, 2, 3, 3), grid(rng, 2, 2, 3, 2))
    yield call(grid(rng, 1, 2, 3), grid(rng, 1, 3, 3), grid(rng, 1, 3, 2), MASK)
    yield call(grid(rng, 2, 3), grid(rng, 3, 3), grid(rng, 3, 2), grid(rng, 2, 3))
    yield call(grid(rng, 3, 2), grid(rng, 3, 2), grid(rng, 3, 2), is_causal=True, scale=0.3)
    q, k, v = grid(rng, 1, 4, 2, 3), grid(rng, 1, 2, 2, 3), grid(rng, 1, 2, 2, 3)
    yield call(q, k, v, enable_gqa=True)
    none = np.array([[True, False], [False, False]])
    yield edge(grid(rng, 2, 2), grid(rng, 2, 2), grid(rng, 2, 2), none)


def attended(
    q: Any,
    k: Any,
    v: Any,
    mask: Any = None,
    is_causal: bool = False,
    scale: Any = None,
    enable_gqa: bool = False,
) -> Any:
    if enable_gqa:
        k, v = (np.repeat(x, q.shape[-3] // x.shape[-3], -3) for x in (k, v))
    scores = q @ k.swapaxes(-1, -2) * (1 / np.sqrt(q.shape[-1]) if scale is None else scale)
    if is_causal:
        mask = np.tri(*scores.shape[-2:], dtype=bool)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    weights = np.exp(scores)
    total = weights.sum(-1, keepdims=True)
    return weights / np.where(total == 0, 1, total) @ v


OPS = [
    Op(
        "scaled_dot_product_attention",
        heads,
        attended,
        "nn.functional.scaled_dot_product_attention",
        (
            bad(
                of((2, 3)),
                of((2, 2)),
                of((2, 2)),
                raises=ValueError,
                match=r"key \(2, 2\) .* do not fit",
            ),
            bad(
                of((2, 2)),
                of((2, 2)),
                of((2, 2)),
                of((2, 2), bool),
                is_causal=True,
                raises=ValueError,
                match="takes no attn_mask",
            ),
        ),
        rtol=1e-11,
    )
]
