"""Table of `minidl.ops.diagonals`."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import linalg

from optable.record import Op, bad, of
from optable.samples import call, grid, shaped

MATRICES = shaped(((3, 4),), ((3, 4), 1), ((2, 3, 3), -1), ((0, 3),), ((2, 2), 5))
TOO_FEW = (bad(of((3,)), raises=ValueError, match="at least two dimensions"),)


def embedded(x: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    size = x.shape[-1] + abs(offset)
    out = np.zeros((*x.shape[:-1], size, size), x.dtype)
    for i in range(x.shape[-1]):
        out[..., i + max(-offset, 0), i + max(offset, 0)] = x[..., i]
    return np.moveaxis(out, (-2, -1), (dim1, dim2))


OPS = [
    Op("tril", MATRICES, np.tril, "tril", TOO_FEW),
    Op("triu", MATRICES, np.triu, "triu", TOO_FEW),
    Op(
        "diag",
        shaped(((3,),), ((2,), -1), ((3, 4),), ((3, 4), 2), ((3, 2), -1)),
        np.diag,
        "diag",
        (bad(of((2, 2, 2)), raises=ValueError, match="a vector or a matrix"),),
    ),
    Op(
        "diagonal",
        shaped(((3, 4),), ((3, 4), -1), ((2, 3, 4), 1, 0, 2), ((2, 3, 2), 0, -1, 0)),
        np.diagonal,
        "diagonal",
        (bad(of((2, 2)), 0, 1, 1, raises=ValueError, match="must differ"),),
    ),
    Op(
        "diag_embed",
        shaped(((3,),), ((2, 3), 1), ((2, 3), -1, 0, 2), ((0,),)),
        embedded,
        "diag_embed",
    ),
    Op("diagflat", shaped(((3,),), ((2, 2), 1), ((),)), np.diagflat, "diagflat"),
    Op(
        "block_diag",
        lambda rng: [call(grid(rng, 2, 3), grid(rng, 1, 2), grid(rng, 2)), call(grid(rng, 2, 2))],
        linalg.block_diag,
        "block_diag",
        (bad(of((2, 2, 2)), raises=ValueError, match="matrices are wanted"),),
    ),
]
