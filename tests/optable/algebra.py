"""Table of `minidl.ops.algebra`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.spatial import distance

from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, edge, grid, ours, shaped


def several(*rows: tuple[tuple[int, ...], ...], **how: Any) -> Any:
    """One sample for each row of shapes."""

    def samples(rng: Rng) -> Iterator[Sample]:
        for shapes in rows:
            yield call(*(grid(rng, *shape) for shape in shapes))
        if how:
            yield call(*(grid(rng, *shape) for shape in rows[0]), **how)

    return samples


def added(product: Any) -> Any:
    return lambda x, a, b, beta=1, alpha=1: beta * x + alpha * product(a, b)


SCALED = {"beta": 0.5, "alpha": -2.0}


def covariances(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 2, 4))
    yield call(grid(rng, 5))
    yield call(grid(rng, 2, 4), correction=0)
    yield call(grid(rng, 2, 3), fweights=np.array([1, 2, 3]))
    yield ours(grid(rng, 2, 3), aweights=np.array([1, 2, 3]))
    yield ours(grid(rng, 2, 3), fweights=np.array([1, 2, 1]), aweights=np.array([1, 2, 3]))


def points(rng: Rng) -> Iterator[Sample]:
    for p in (2.0, 1.0, 3.0, float("inf")):
        yield call(grid(rng, 3, 2), grid(rng, 2, 2), p)
    yield call(grid(rng, 2, 2, 3), grid(rng, 2, 1, 3))
    yield edge(np.ones((2, 2)), np.ones((1, 2)))


def distances(x: Any, y: Any, p: float = 2.0) -> Any:
    if x.ndim > 2:
        return np.stack([distances(a, b, p) for a, b in zip(x, y, strict=True)])
    return distance.cdist(x, y, "minkowski", p=p)


def contractions(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 2, 3, 4), grid(rng, 3, 4, 2))
    yield call(grid(rng, 2, 3), grid(rng, 3, 2), 1)
    yield call(grid(rng, 2, 3), grid(rng, 2), 0)
    yield call(grid(rng, 2, 3, 2), grid(rng, 3, 2), ([1, -1], [0, 1]))


def chains(rng: Rng) -> Iterator[Sample]:
    shapes = [(2, 3), (3, 1), (1, 4), (4, 2)]
    yield call(*(grid(rng, *shape) for shape in shapes))
    yield call(grid(rng, 2, 3), grid(rng, 3, 2))


MATRICES = bad(of((2,)), of((2,)), raises=ValueError, match=r"2-d and 2-d are wanted, got shapes")

OPS = [
    Op("mm", several(((2, 3), (3, 2)), ((0, 2), (2, 3))), np.matmul, "mm", (MATRICES,)),
    Op("bmm", several(((2, 2, 3), (2, 3, 1))), np.matmul, "bmm"),
    Op("mv", several(((2, 3), (3,))), np.matmul, "mv"),
    Op("dot", several(((3,), (3,))), np.dot, "dot"),
    Op(
        "inner",
        several(((2, 3), (4, 3)), ((3,), (3,)), ((2,), ()), ((2, 2, 3), (3,))),
        np.inner,
        "inner",
    ),
    Op("outer", several(((2,), (3,)), ((0,), (2,))), np.outer, "outer"),
    Op(
        "addmm",
        several(((2, 2), (2, 3), (3, 2)), ((2,), (2, 3), (3, 2)), **SCALED),
        added(np.matmul),
        "addmm",
    ),
    Op("addmv", several(((2,), (2, 3), (3,)), **SCALED), added(np.matmul), "addmv"),
    Op("addr", several(((2, 3), (2,), (3,)), **SCALED), added(np.outer), "addr"),
    Op(
        "addbmm",
        several(((2, 2), (3, 2, 3), (3, 3, 2)), **SCALED),
        added(lambda a, b: np.matmul(a, b).sum(0)),
        "addbmm",
    ),
    Op(
        "baddbmm", several(((3, 2, 2), (3, 2, 3), (3, 3, 2)), **SCALED), added(np.matmul), "baddbmm"
    ),
    Op(
        "tensordot",
        contractions,
        lambda x, y, dims=2: np.tensordot(x, y, dims),
        "tensordot",
        (
            bad(
                of((2, 3)),
                of((2, 3)),
                1,
                raises=ValueError,
                match=r"axes \[1\] of \(2, 3\) do not fit",
            ),
        ),
    ),
    Op("kron", several(((2, 3), (2, 2)), ((2,), (2, 2)), ((), (2,))), np.kron, "kron"),
    Op(
        "cross",
        lambda rng: [
            call(grid(rng, 2, 3), grid(rng, 2, 3), dim=-1),
            call(grid(rng, 3, 2), grid(rng, 3, 2), dim=0),
        ],
        lambda x, y, dim=-1: np.cross(x, y, axis=dim),
        "cross",
        (bad(of((2, 2)), of((2, 2)), raises=ValueError, match="length 3 along dim -1"),),
    ),
    Op(
        "trace",
        shaped(((3, 3),), ((2, 3),)),
        np.trace,
        "trace",
        (bad(of((3,)), raises=ValueError, match="2-d are wanted"),),
    ),
    Op(
        "chain_matmul",
        chains,
        lambda *xs: np.linalg.multi_dot(xs),
        lambda torch, *xs: torch.linalg.multi_dot(xs),
    ),
    Op(
        "linalg.multi_dot",
        lambda rng: [
            call([grid(rng, 3), grid(rng, 3, 2), grid(rng, 2)]),
            call([grid(rng, 2, 3), grid(rng, 3, 4), grid(rng, 4, 1)]),
        ],
        np.linalg.multi_dot,
        "linalg.multi_dot",
        (bad([], raises=ValueError, match="at least one matrix"),),
    ),
    Op(
        "linalg.vecdot",
        lambda rng: [
            call(grid(rng, 2, 3), grid(rng, 3)),
            call(grid(rng, 3, 2), grid(rng, 3, 2), dim=0),
        ],
        lambda x, y, dim=-1: (x * y).sum(dim),
        "linalg.vecdot",
    ),
    Op(
        "vander",
        shaped(((3,),), ((3,), 2), ((2,), 4, True)),
        np.vander,
    ),
    Op(
        "linalg.vander",
        shaped(((3,),), ((2,), 4)),
        lambda x, n=None: np.vander(x, n, True),
        lambda torch, x, n=None: torch.linalg.vander(x, N=n),
    ),
    Op(
        "cov",
        covariances,
        lambda x, correction=1, fweights=None, aweights=None: np.cov(
            x, None, True, False, correction, fweights, aweights
        ),
        "cov",
        (bad(of((2, 2, 2)), raises=ValueError, match="at most two dimensions"),),
        rtol=1e-9,
    ),
    Op("corrcoef", lambda rng: [call(grid(rng, 3, 5))], np.corrcoef, "corrcoef", rtol=1e-9),
    Op(
        "cdist",
        points,
        distances,
        "cdist",
        (
            bad(
                of((2, 3)), of((2, 2)), raises=ValueError, match=r"\(2, 3\) and \(2, 2\) do not fit"
            ),
        ),
        rtol=1e-9,
    ),
]
