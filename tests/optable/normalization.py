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
]
