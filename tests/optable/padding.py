"""Table of `minidl.ops.padding`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, grid, ours


def pads(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 2, 3), (1, 2))
    yield call(grid(rng, 2, 3), (1, 0, 2, 1), value=7.0)
    yield call(grid(rng, 2, 4), (-1, 2))
    yield call(grid(rng, 3), (-1, -1))
    yield call(grid(rng, 0, 2), (1, 1, 1, 0))
    for mode in ("reflect", "replicate", "circular"):
        yield call(grid(rng, 1, 2, 3), (1, 2), mode)
        yield call(grid(rng, 1, 1, 3, 4), (2, 0, 1, 1), mode)
    yield ours(grid(rng, 3), (2, 1), "reflect")
    yield call(grid(rng, 1, 1, 2, 3), (1, -1, 0, 2), "circular")
    yield call(grid(rng, 1, 1, 2), (3, 4), "replicate")


def padded(x: Any, pad: Any, mode: str = "constant", value: float = 0.0) -> Any:
    widths = [(0, 0)] * (x.ndim - len(pad) // 2)
    widths += [tuple(pad[i : i + 2]) for i in range(len(pad) - 2, -1, -2)]
    for axis, (low, high) in enumerate(widths):
        n = x.shape[axis]
        x = np.take(x, range(max(-low, 0), n - max(-high, 0)), axis)
    grow = [(max(low, 0), max(high, 0)) for low, high in widths]
    how: Any = {
        "constant": "constant",
        "reflect": "reflect",
        "replicate": "edge",
        "circular": "wrap",
    }
    extra = {"constant_values": value} if mode == "constant" else {}
    return np.pad(x, grow, how[mode], **extra)


OPS = [
    Op(
        "pad",
        pads,
        padded,
        "nn.functional.pad",
        (
            bad(of((2,)), (1,), raises=ValueError, match=r"pairs for at most 1 axes .* got \(1,\)"),
            bad(of((2,)), (1, 1), "mirror", raises=ValueError, match="got 'mirror'"),
            bad(of((2,)), (2, 0), "reflect", raises=ValueError, match="needs more than the 2"),
        ),
    )
]
