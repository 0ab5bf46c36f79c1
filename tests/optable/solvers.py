"""Table of `minidl.ops.solvers`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import linalg as reference

import minidl
from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, grid, ours, shaped
from optable.systems import LINALG, regular

INF = float("inf")
SQUARE = bad(of((2, 3)), raises=ValueError, match=r"square matrices .*got shape \(2, 3\)")


def squares(rng: Rng) -> Iterator[Sample]:
    for shape in [(3, 3), (2, 2, 2), (1, 1)]:
        yield call(regular(rng, *shape))


def determinants(rng: Rng) -> Iterator[Sample]:
    yield from squares(rng)
    singular = np.array([[1.0, 2.0], [2.0, 4.0]])
    yield Sample((singular,), smooth=False, torch=False)  # PyTorch gives 0 there
    yield call(-regular(rng, 3, 3))


def powers(rng: Rng) -> Iterator[Sample]:
    for n in (0, 1, 2, 5, -1, -2):
        yield call(regular(rng, 2, 2), n)


def exponents(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 3, 3))
    yield call(grid(rng, 2, 2, 2))
    yield call(grid(rng, 2, 2) * 8)
    yield call(np.zeros((2, 2)))


def problems(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 4, 2), grid(rng, 4, 3))
    yield call(grid(rng, 2, 3, 2), grid(rng, 2, 3, 1))


def triangles(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 3, 2), np.tril(regular(rng, 3, 3)))
    yield call(grid(rng, 2, 2), np.triu(regular(rng, 2, 2)), True)


def inverse_of_triangle(x: Any, upper: bool = False) -> Any:
    lower = np.triu(x).T if upper else np.tril(x)
    return np.linalg.inv(lower @ lower.T)


def norms(rng: Rng) -> Iterator[Sample]:
    for ord in ("fro", "nuc", 1, -1, 2, -2, INF, -INF):
        yield call(grid(rng, 3, 2), ord)
    yield call(grid(rng, 2, 3, 2), 1, (0, 2), True)


def any_norm(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 2, 3))
    yield call(grid(rng, 2, 3), "nuc")
    yield call(grid(rng, 2, 3), 3, 1)
    yield call(grid(rng, 2, 3, 2), INF, (0, 1))
    yield call(grid(rng, 4), INF)
    yield call(grid(rng, 2, 3, 2), keepdim=True)


def numpy_norm(x: Any, ord: Any = None, dim: Any = None, keepdim: bool = False) -> Any:
    if ord is None and dim is None:
        found = np.sqrt((x * x).sum())
        return found.reshape((1,) * x.ndim) if keepdim else found
    return np.linalg.norm(x, ord, dim, keepdim)


def vector_norms(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 2, 3))
    yield call(grid(rng, 2, 3), 3, 1, True)
    yield call(grid(rng, 2, 3), INF, (0, 1))


def vector_norm(x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False) -> Any:
    if ord == INF:
        return np.abs(x).max(axis=dim, keepdims=keepdim)
    return (np.abs(x) ** ord).sum(axis=dim, keepdims=keepdim) ** (1 / ord)


OPS = [
    Op(
        "linalg.inv",
        squares,
        np.linalg.inv,
        "linalg.inv",
        (SQUARE, bad(of((2, 2)), raises=ValueError, match="Singular")),
        **LINALG,
    ),
    Op("det", determinants, np.linalg.det, "det", (SQUARE,), **LINALG),
    Op("slogdet", squares, lambda x: tuple(np.linalg.slogdet(x)), "slogdet", (SQUARE,), **LINALG),
    Op("logdet", squares, lambda x: np.log(np.linalg.det(x)), "logdet", (SQUARE,), **LINALG),
    Op(
        "linalg.pinv",
        shaped(((3, 2),), ((2, 3),), ((2, 3, 2),)),
        np.linalg.pinv,
        "linalg.pinv",
        (),
        **LINALG,
    ),
    Op("matrix_power", powers, np.linalg.matrix_power, "matrix_power", **LINALG),
    Op("matrix_exp", exponents, reference.expm, "matrix_exp", (SQUARE,), **LINALG),
    Op(
        "linalg.lstsq",
        problems,
        lambda a, b: np.linalg.pinv(a) @ b,
        lambda torch, a, b: torch.linalg.lstsq(a, b).solution,
        function=lambda a, b: minidl.linalg.lstsq(a, b).solution,
        **LINALG,
    ),
    Op(
        "cholesky_solve",
        triangles,
        lambda b, x, upper=False: inverse_of_triangle(x, upper) @ b,
        lambda torch, b, x, upper=False: torch.cholesky_solve(
            b, x.triu() if upper else x.tril(), upper
        ),
        **LINALG,
    ),
    Op(
        "cholesky_inverse",
        lambda rng: [call(np.tril(regular(rng, 3, 3))), call(np.triu(regular(rng, 2, 2)), True)],
        inverse_of_triangle,
        lambda torch, x, upper=False: torch.cholesky_inverse(
            x.triu() if upper else x.tril(), upper
        ),
        **LINALG,
    ),
    Op(
        "linalg.matrix_rank",
        lambda rng: [call(grid(rng, 3, 2)), call(np.ones((2, 3, 3)))],
        lambda x: np.asarray(np.linalg.matrix_rank(x)),
        "linalg.matrix_rank",
        (bad(of((3,)), raises=ValueError, match="matrices"),),
        differentiable=False,
    ),
    Op(
        "linalg.matrix_norm",
        norms,
        lambda x, ord="fro", dim=(-2, -1), keepdim=False: np.linalg.norm(x, ord, dim, keepdim),
        "linalg.matrix_norm",
        (bad(of((2, 2)), 3, raises=ValueError, match="ord must be 'fro', .* got 3"),),
        **LINALG,
    ),
    Op(
        "linalg.vector_norm",
        vector_norms,
        vector_norm,
        "linalg.vector_norm",
        (bad(of((2,), int), raises=TypeError, match="floating dtype"),),
    ),
    Op(
        "linalg.norm",
        any_norm,
        numpy_norm,
        "linalg.norm",
        (bad(of((3,)), "nuc", raises=ValueError, match="'nuc' is a norm of matrices, got 1"),),
        **LINALG,
    ),
    Op(
        "linalg.cond",
        lambda rng: [
            call(regular(rng, 3, 3)),
            ours(regular(rng, 2, 2), 1),
            ours(regular(rng, 2, 2), "fro"),
        ],
        np.linalg.cond,
        "linalg.cond",
        **LINALG,
    ),
    Op(
        "linalg.tensorinv",
        lambda rng: [
            call(regular(rng, 4, 4).reshape(2, 2, 4)),
            call(regular(rng, 4, 4).reshape(4, 2, 2), ind=1),
        ],
        np.linalg.tensorinv,
        "linalg.tensorinv",
        (bad(of((2, 3)), 1, raises=ValueError, match="same number of elements"),),
        **LINALG,
    ),
    Op(
        "linalg.tensorsolve",
        lambda rng: [
            call(regular(rng, 4, 4).reshape(2, 2, 4), grid(rng, 2, 2)),
            ours(regular(rng, 2, 2), grid(rng, 2)),
        ],
        np.linalg.tensorsolve,
        "linalg.tensorsolve",
        (bad(of((2, 3)), of((2,)), raises=ValueError, match="does not fit"),),
        **LINALG,
    ),
    Op(
        "linalg.diagonal",
        lambda rng: [call(grid(rng, 2, 3, 3)), call(grid(rng, 3, 4), offset=1)],
        lambda x, offset=0: np.diagonal(x, offset, -2, -1),
        "linalg.diagonal",
    ),
]
