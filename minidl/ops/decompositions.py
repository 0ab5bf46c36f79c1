"""Matrix decompositions: Cholesky, QR, eigenvalues, singular values.

All work on matrices ``(*, n, m)`` with any leading axes. Derivatives follow M. Giles, "Collected
matrix derivative results for forward and reverse mode algorithmic differentiation" (2008). Where a
decomposition is not unique (signs, or bases of equal eigenvalues) only functions that do not depend
on the choice have a derivative; differences of equal values count as ∞ in its formula.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minidl.autograd.primitive import Array, Primitive, primitive
from minidl.ops.arithmetic import eq, where
from minidl.ops.diagonals import diag_embed, diagonal, tril
from minidl.ops.packing import pack, unpack
from minidl.ops.products import matmul
from minidl.ops.systems import leading, matrix, mt, solve

__all__ = [
    "cholesky",
    "qr",
    "svd",
]


def _half(x: Any) -> Any:
    """The lower triangle with half the diagonal."""
    return tril(x) - 0.5 * diag_embed(diagonal(x, 0, -2, -1))


def _cholesky_pull(g: Any, out: Any, _x: Any) -> Any:
    inner = _half(matmul(mt(out), tril(g)))
    left = solve(mt(out), inner)
    full = mt(solve(mt(out), mt(left)))
    return 0.5 * (full + mt(full))


def _cholesky_push(t: Any, out: Any, x: Any) -> Any:
    symmetric = 0.5 * (t + mt(t))
    inner = solve(out, mt(solve(out, symmetric)))
    return matmul(out, _half(inner))


_cholesky: Primitive = primitive(
    "cholesky",
    lambda x: np.linalg.cholesky(x),
    vjp=(_cholesky_pull,),
    jvp=(_cholesky_push,),
    batch=leading,
)


def cholesky(x: Any, *, upper: bool = False) -> Any:
    """Return the triangular L with ``L Lᵀ = x``, of symmetric positive definite matrices.

    The derivative takes ``x`` for symmetric. With ``upper`` the result is Lᵀ.

    Raises
    ------
    ValueError
        ``x`` is not square or not positive definite.
    """
    matrix("cholesky", x, square=True)
    lower = _cholesky(x)
    return mt(lower) if upper else lower


class QR(NamedTuple):
    """Result of `qr`."""

    Q: Any
    R: Any


def _qr_shapes(rows: int, columns: int) -> list[tuple[int, int]]:
    inner = min(rows, columns)
    return [(rows, inner), (inner, columns)]


def _skew_part(x: Any) -> Any:
    """X - xᵀ in the lower triangle and its negative above."""
    lower = tril(x, -1)
    return lower - mt(lower)


def _qr_push(t: Any, out: Any, _x: Any, *, shapes: Any) -> Any:
    q, r = unpack(out, shapes)
    inner = shapes[0][1]
    first, square = t[..., :inner], r[..., :inner]
    moved = mt(solve(mt(square), mt(first)))  # dX R⁻¹
    turned = matmul(mt(q), moved)
    skew = _skew_part(turned)
    dq = moved - matmul(q, turned - skew)
    dr = matmul(mt(q), t) - matmul(skew, r)
    return pack([dq, dr], shapes)


def _qr_pull(g: Any, out: Any, _x: Any, *, shapes: Any) -> Any:
    q, r = unpack(out, shapes)
    gq, gr = unpack(g, shapes)
    inner = shapes[0][1]
    rest, grest = r[..., inner:], gr[..., inner:]
    square, gsquare = r[..., :inner], gr[..., :inner]
    if shapes[1][1] > inner:  # X = Q [R S]: S = Qᵀ X₂ gives Q a share of its own
        gq = gq + matmul(matmul(q, rest), mt(grest))
    m = matmul(square, mt(gsquare)) - matmul(mt(gq), q)
    symmetric = tril(m, -1)
    symmetric = symmetric + mt(symmetric) + diag_embed(diagonal(m, 0, -2, -1))
    left = mt(solve(square, mt(gq + matmul(q, symmetric))))
    if shapes[1][1] == inner:
        return left
    return np.concatenate([left, matmul(q, grest)], axis=-1)


_qr: Primitive = primitive(
    "qr",
    lambda x, *, shapes: pack(np.linalg.qr(x), shapes),
    vjp=(_qr_pull,),
    jvp=(_qr_push,),
    batch=leading,
)
_qr_complete: Primitive = primitive(
    "qr",
    lambda x, *, shapes: pack(np.linalg.qr(x, "complete"), shapes),
    batch=leading,
)


def qr(x: Any, mode: str = "reduced") -> QR:
    """Return orthogonal Q and upper triangular R with ``Q R = x``.

    Parameters
    ----------
    mode
        ``"reduced"`` (Q ``(*, n, k)``, R ``(*, k, m)``, k the smaller of n and m), ``"complete"``
        (Q square; constants, without derivative), or ``"r"`` (Q is None).

    Raises
    ------
    ValueError
        ``mode`` is none of these, or ``x`` is no matrix.
    """
    rows, columns = matrix("qr", x)
    if mode not in ("reduced", "complete", "r"):
        raise ValueError(f"qr: mode must be 'reduced', 'complete' or 'r', got {mode!r}")
    if mode == "complete":
        shapes = [(rows, rows), (rows, columns)]
        return QR(*unpack(_qr_complete(x, shapes=shapes), shapes))
    shapes = _qr_shapes(rows, columns)
    q, r = unpack(_qr(x, shapes=shapes), shapes)
    return QR(None if mode == "r" else q, r)


class Eigen(NamedTuple):
    """Result of `eigh` and `eig`."""

    eigenvalues: Any
    eigenvectors: Any


def _inverse_gaps(values: Any) -> Any:
    """1 / (wⱼ - wᵢ), and 0 where they are equal."""
    gaps = values[..., None, :] - values[..., :, None]
    same = eq(gaps, 0)
    return where(same, 0.0, 1.0 / where(same, 1.0, gaps))


def _eigh_value(x: Array, *, shapes: Any) -> Array:
    return pack(np.linalg.eigh(x), shapes)


def _eigh_pull(g: Any, out: Any, _x: Any, *, shapes: Any) -> Any:
    (w, v), (gw, gv) = unpack(out, shapes), unpack(g, shapes)
    inner = diag_embed(gw) + _inverse_gaps(w) * matmul(mt(v), gv)
    full = matmul(matmul(v, inner), mt(v))
    return 0.5 * (full + mt(full))


def _eigh_push(t: Any, out: Any, _x: Any, *, shapes: Any) -> Any:
    w, v = unpack(out, shapes)
    turned = matmul(matmul(mt(v), 0.5 * (t + mt(t))), v)
    return pack([diagonal(turned, 0, -2, -1), matmul(v, _inverse_gaps(w) * turned)], shapes)


_eigh: Primitive = primitive(
    "eigh", _eigh_value, vjp=(_eigh_pull,), jvp=(_eigh_push,), batch=leading
)


def eigh(x: Any) -> Eigen:
    """Return the eigenvalues of symmetric matrices, smallest first, and their vectors as columns.

    The lower triangle is read; the derivative takes ``x`` for symmetric.

    Raises
    ------
    ValueError
        ``x`` is not square.
    """
    n, _ = matrix("eigh", x, square=True)
    shapes = [(n,), (n, n)]
    return Eigen(*unpack(_eigh(x, shapes=shapes), shapes))


def eigvalsh(x: Any) -> Any:
    """Return the eigenvalues of symmetric matrices, smallest first; see `eigh`."""
    return eigh(x).eigenvalues


class SVD(NamedTuple):
    """Result of `svd`."""

    U: Any
    S: Any
    Vh: Any


def _svd_inner(s: Any) -> Any:
    """1 / (sⱼ² - sᵢ²), and 0 where they are equal."""
    return _inverse_gaps(s * s)


def _safe(s: Any) -> Any:
    return where(eq(s, 0), 1.0, s)


def _svd_pull(g: Any, out: Any, x: Any, *, shapes: Any) -> Any:
    (u, s, vh), (gu, gs, gvh) = unpack(out, shapes), unpack(g, shapes)
    rows, columns = x.shape[-2:]
    gaps, v, gv = _svd_inner(s), mt(vh), mt(gvh)
    left, right = matmul(mt(u), gu), matmul(mt(v), gv)
    left = gaps * (left - mt(left))
    right = gaps * (right - mt(right))
    inner = left * s[..., None, :] + s[..., :, None] * right + diag_embed(gs)
    full = matmul(matmul(u, inner), vh)
    over = 1.0 / _safe(s)
    if rows > columns:
        rest = gu * over[..., None, :]
        full = full + matmul(rest - matmul(u, matmul(mt(u), rest)), vh)
    if columns > rows:
        rest = gv * over[..., None, :]
        full = full + matmul(u, mt(rest - matmul(v, matmul(mt(v), rest))))
    return full


def _svd_push(t: Any, out: Any, x: Any, *, shapes: Any) -> Any:
    u, s, vh = unpack(out, shapes)
    rows, columns = x.shape[-2:]
    v = mt(vh)
    turned = matmul(matmul(mt(u), t), v)
    gaps = _svd_inner(s)
    across, down = s[..., None, :], s[..., :, None]
    du = matmul(u, gaps * (turned * across + down * mt(turned)))
    dv = matmul(v, gaps * (down * turned + mt(turned) * across))
    over = (1.0 / _safe(s))[..., None, :]
    if rows > columns:
        rest = matmul(t, v) * over
        du = du + rest - matmul(u, matmul(mt(u), rest))
    if columns > rows:
        rest = matmul(mt(t), u) * over
        dv = dv + rest - matmul(v, matmul(mt(v), rest))
    return pack([du, diagonal(turned, 0, -2, -1), mt(dv)], shapes)


_svd: Primitive = primitive(
    "svd",
    lambda x, *, shapes: pack(np.linalg.svd(x, full_matrices=False), shapes),
    vjp=(_svd_pull,),
    jvp=(_svd_push,),
    batch=leading,
)
_svd_full: Primitive = primitive(
    "svd", lambda x, *, shapes: pack(np.linalg.svd(x), shapes), batch=leading
)


def svd(x: Any, full_matrices: bool = False) -> SVD:
    """Return U, singular values S (largest first) and Vᵀ with ``U diag(S) Vᵀ = x``.

    With ``full_matrices`` U and Vᵀ are square, and all three are constants, without derivative.
    (``minidl.linalg.svd`` has ``full_matrices=True`` for default, as PyTorch.)

    Raises
    ------
    ValueError
        ``x`` is no matrix.
    """
    rows, columns = matrix("svd", x)
    inner = min(rows, columns)
    if full_matrices and rows != columns:
        shapes: list[tuple[int, ...]] = [(rows, rows), (inner,), (columns, columns)]
        return SVD(*unpack(_svd_full(x, shapes=shapes), shapes))
    shapes = [(rows, inner), (inner,), (inner, columns)]
    return SVD(*unpack(_svd(x, shapes=shapes), shapes))


def svdvals(x: Any) -> Any:
    """Return the singular values, largest first."""
    return svd(x).S


def _eig_value(x: Array, *, shapes: Any) -> Array:
    values, vectors = np.linalg.eig(x)
    kind = np.result_type(x.dtype, np.complex64)
    return pack([values.astype(kind), vectors.astype(kind)], shapes)


_eig: Primitive = primitive("eig", _eig_value, batch=leading)


def eig(x: Any) -> Eigen:
    """Return the complex eigenvalues of square matrices and their vectors, as constants.

    Raises
    ------
    ValueError
        ``x`` is not square.
    """
    n, _ = matrix("eig", x, square=True)
    shapes = [(n,), (n, n)]
    return Eigen(*unpack(_eig(x, shapes=shapes), shapes))


def eigvals(x: Any) -> Any:
    """Return the complex eigenvalues of square matrices, as constants."""
    return eig(x).eigenvalues
