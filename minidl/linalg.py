"""Linear algebra, under the names of ``torch.linalg``."""

from typing import Any

from minidl.ops import cholesky, cross, det, matmul, matrix_exp, matrix_power, qr, slogdet
from minidl.ops import diagonal as _diagonal
from minidl.ops import svd as _reduced_svd
from minidl.ops import vander as _falling_vander
from minidl.ops.algebra import multi_dot, vecdot
from minidl.ops.decompositions import SVD, eig, eigh, eigvals, eigvalsh, svdvals
from minidl.ops.lengths import vector_norm
from minidl.ops.solvers import (
    cond,
    inv,
    lstsq,
    matrix_norm,
    matrix_rank,
    norm,
    pinv,
    tensorinv,
    tensorsolve,
)
from minidl.ops.systems import solve, solve_triangular


def svd(x: Any, full_matrices: bool = True) -> SVD:
    """Return `minidl.svd`, by default with square U and Vᵀ as ``torch.linalg.svd`` has them."""
    return _reduced_svd(x, full_matrices)


def diagonal(x: Any, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """Return `minidl.diagonal` of the last two axes."""
    return _diagonal(x, offset, dim1, dim2)


def vander(x: Any, N: int | None = None) -> Any:
    """Return rising powers of a vector as columns; see `minidl.vander`."""
    return _falling_vander(x, N, increasing=True)


__all__ = [
    "cholesky",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "inv",
    "lstsq",
    "matmul",
    "matrix_exp",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "multi_dot",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensorinv",
    "tensorsolve",
    "vander",
    "vecdot",
    "vector_norm",
]
