"""Table of `minidl.ops.einsum`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, grid

EQUATIONS = [
    ("ij,jk->ik", (2, 3), (3, 2)),
    ("ij,jk", (2, 3), (3, 2)),
    ("ij->ji", (2, 3)),
    ("ij->", (2, 3)),
    ("ii", (3, 3)),
    ("ii->i", (3, 3)),
    ("iji->j", (2, 3, 2)),
    ("i,j->ij", (2,), (3,)),
    ("i,i,i->i", (3,), (3,), (3,)),
    ("ij,ij->i", (2, 3), (2, 3)),
    ("ij,k->i", (2, 3), (2,)),
    ("...ij,...jk->...ik", (2, 2, 3), (3, 2)),
    ("b...,b->...", (2, 3, 2), (2,)),
    ("...i,i", (2, 3), (3,)),
    ("ij,jk,kl->il", (2, 3), (3, 2), (2, 2)),
    ("ij,->ij", (2, 2), ()),
    ("ij,jk->ik", (0, 3), (3, 2)),
]


def equations(rng: Rng) -> Iterator[Sample]:
    for text, *shapes in EQUATIONS:
        yield call(text, *(grid(rng, *shape) for shape in shapes))


OPS = [
    Op(
        "einsum",
        equations,
        lambda text, *xs: np.asarray(np.einsum(text, *xs)),
        "einsum",
        (
            bad("ij,jk", of((2, 2)), raises=ValueError, match="names 2 arrays, got 1"),
            bad(
                "ijk",
                of((2, 2)),
                raises=ValueError,
                match=r"'ijk' of 'ijk' does not fit shape \(2, 2\)",
            ),
            bad(
                "ij,jk",
                of((2, 3)),
                of((2, 3)),
                raises=ValueError,
                match="'j' of .* lengths 3 and 2",
            ),
            bad("ij->iik", of((2, 3)), raises=ValueError, match="must name known axes once"),
            bad("i1", of((2, 3)), raises=ValueError, match="'1' in 'i1' is no letter"),
        ),
    )
]
