"""Table of `minidl.ops.decompositions`.

Results that are unique only up to signs are compared by what does not depend on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import minidl
from minidl import linalg
from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, grid, shaped

SQUARE = bad(of((2, 3)), raises=ValueError, match=r"square matrices .*got shape \(2, 3\)")
WHOLE = bad(of((2, 2), int), raises=TypeError, match="floating dtype is wanted, got int64")
MATRIX = bad(of((3,)), raises=ValueError, match=r"matrices \(\*, n, m\) are wanted")
LINALG = {"rtol": 1e-8, "float32_rtol": 5e-3}


def mt(x: Any) -> Any:
    return x.swapaxes(-1, -2)


def definite(x: Any) -> Any:
    """A symmetric positive definite matrix of any one."""
    return x @ mt(x) + np.eye(x.shape[-1], dtype=x.dtype)


def symmetric(x: Any) -> Any:
    return x + mt(x)


SQUARES = shaped(((3, 3),), ((2, 2, 2),), ((1, 1),))
RECTANGLES = shaped(((3, 2),), ((2, 3),), ((2, 3, 3),), ((1, 2),))


def cholesky_of(x: Any, upper: bool = False) -> Any:
    found = np.linalg.cholesky(definite(x))
    return mt(found) if upper else found


def choleskies(rng: Rng) -> Iterator[Sample]:
    yield from SQUARES(rng)
    yield call(grid(rng, 2, 2), upper=True)


def torch_definite(torch: Any, x: Any) -> Any:
    return x @ x.mT + torch.eye(x.shape[-1], dtype=x.dtype)


def qr_parts(qr: Any, x: Any) -> Any:
    """|R| and the projection on Q's columns do not depend on signs."""
    q, r = qr(x)
    return r * r, q @ mt(q) * x[..., :1]


def eigh_parts(eigh: Any, x: Any) -> Any:
    values, vectors = eigh(symmetric(x))
    return values, vectors * vectors


def svd_parts(svd: Any, x: Any) -> Any:
    u, s, vh = svd(x)
    return u * u, s, vh * vh


def complex_parts(values: Any) -> Any:
    """Sums of powers of eigenvalues, in no order."""
    return values.real.sum(-1), (values * values).real.sum(-1)


OPS = [
    Op(
        "cholesky",
        choleskies,
        cholesky_of,
        lambda torch, x, upper=False: torch.linalg.cholesky(torch_definite(torch, x), upper=upper),
        function=lambda x, upper=False: minidl.cholesky(definite(x), upper=upper),
        **LINALG,
    ),
    Op(
        "qr",
        RECTANGLES,
        lambda x: qr_parts(np.linalg.qr, x),
        lambda torch, x: qr_parts(torch.linalg.qr, x),
        (MATRIX, bad(of((2, 2)), "full", raises=ValueError, match="'reduced', .* got 'full'")),
        function=lambda x, *mode: qr_parts(lambda v: minidl.qr(v, *mode), x),
        **LINALG,
    ),
    Op(
        "linalg.eigh",
        SQUARES,
        lambda x: eigh_parts(np.linalg.eigh, x),
        lambda torch, x: eigh_parts(torch.linalg.eigh, x),
        (),
        function=lambda x: eigh_parts(linalg.eigh, x),
        **LINALG,
    ),
    Op(
        "linalg.eigvalsh",
        SQUARES,
        lambda x: np.linalg.eigvalsh(symmetric(x)),
        lambda torch, x: torch.linalg.eigvalsh(symmetric(x)),
        function=lambda x: linalg.eigvalsh(symmetric(x)),
        **LINALG,
    ),
    Op(
        "svd",
        RECTANGLES,
        lambda x: svd_parts(lambda v: np.linalg.svd(v, full_matrices=False), x),
        lambda torch, x: svd_parts(lambda v: torch.linalg.svd(v, full_matrices=False), x),
        function=lambda x: svd_parts(minidl.svd, x),
        **LINALG,
    ),
    Op(
        "linalg.svd",
        shaped(((3, 3),), ((2, 2, 2),)),
        lambda x: svd_parts(np.linalg.svd, x),
        lambda torch, x: svd_parts(torch.linalg.svd, x),
        function=lambda x: svd_parts(linalg.svd, x),
        **LINALG,
    ),
    Op("linalg.svdvals", RECTANGLES, np.linalg.svdvals, "linalg.svdvals", **LINALG),
    Op(
        "linalg.eig",
        SQUARES,
        lambda x: complex_parts(np.linalg.eig(x)[0]),
        function=lambda x: complex_parts(linalg.eig(x)[0]),
        differentiable=False,
        **LINALG,
    ),
    Op(
        "linalg.eigvals",
        SQUARES,
        lambda x: complex_parts(np.linalg.eigvals(x)),
        function=lambda x: complex_parts(linalg.eigvals(x)),
        differentiable=False,
        **LINALG,
    ),
]
