"""Inverses, determinants, norms, and functions of square matrices.

All work on matrices ``(*, n, n)`` with any leading axes; a singular matrix is an error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minidl.autograd import arrays
from minidl.autograd.arrays import on_host
from minidl.autograd.primitive import Array, Primitive, beside, constant, primitive
from minidl.ops.decompositions import svdvals
from minidl.ops.diagonals import tril
from minidl.ops.elementwise import log
from minidl.ops.lengths import vector_norm
from minidl.ops.products import matmul
from minidl.ops.reduce import amax, amin, sum
from minidl.ops.shape import movedim, reshape, shape_of, unsqueeze
from minidl.ops.systems import leading, matrix, mt, solve

__all__ = [
    "cholesky_inverse",
    "cholesky_solve",
    "det",
    "inverse",
    "logdet",
    "matrix_exp",
    "matrix_power",
    "pinverse",
    "slogdet",
]

_inv: Primitive = primitive(
    "inv",
    np.linalg.inv,
    vjp=(lambda g, out, _x: -matmul(matmul(mt(out), g), mt(out)),),
    jvp=(lambda t, out, x: -matmul(matmul(out, t), out),),
    batch=leading,
)


def inv(x: Any) -> Any:
    """Return the inverses of square matrices.

    Raises
    ------
    ValueError
        ``x`` is not square, or is singular.
    """
    matrix("inv", x, square=True)
    return _inv(x)


inverse = inv


def _scaled(g: Any, x: Any) -> Any:
    return unsqueeze(unsqueeze(g, -1), -1) * x


def _cofactor_value(x: Array) -> Array:
    """det(x) x⁻ᵀ by singular values, which needs no inverse."""
    u, s, vh = np.linalg.svd(x)
    others = np.stack([np.prod(np.delete(s, i, -1), -1) for i in range(s.shape[-1])], -1)
    sign = np.linalg.det(u) * np.linalg.det(vh)
    return (sign[..., None, None] * (u * others[..., None, :]) @ vh).astype(x.dtype, copy=False)


def _cofactor_pull(g: Any, _out: Any, x: Any) -> Any:
    back = mt(_inv(x))
    along = _scaled(sum(g * back, (-2, -1)), back) - matmul(matmul(back, mt(g)), back)
    return _scaled(_det(x), along)


# Its own derivative wants an inverse, so the second derivative of det wants regular matrices.
_cofactor: Primitive = primitive(
    "det",
    _cofactor_value,
    vjp=(_cofactor_pull,),
    jvp=(lambda t, out, x: _cofactor_pull(t, out, x),),
    batch=leading,
)
_det: Primitive = primitive(
    "det",
    np.linalg.det,
    vjp=(lambda g, _out, x: _scaled(g, _cofactor(x)),),
    jvp=(lambda t, out, x: sum(t * _cofactor(x), (-2, -1)),),
    batch=leading,
)


def det(x: Any) -> Any:
    """Return the determinants of square matrices; the derivative of singular ones is right too.

    Raises
    ------
    ValueError
        ``x`` is not square.
    """
    n, _ = matrix("det", x, square=True)
    return _det(x) if n else sum(x, (-2, -1)) + 1.0


class SLogDet(NamedTuple):
    """Result of `slogdet`."""

    sign: Any
    logabsdet: Any


_sign: Primitive = primitive("slogdet", lambda x: np.linalg.slogdet(x)[0], batch=leading)
_log_abs: Primitive = primitive(
    "slogdet",
    lambda x: np.linalg.slogdet(x)[1],
    vjp=(lambda g, _out, x: _scaled(g, mt(_inv(x))),),
    jvp=(lambda t, out, x: sum(t * mt(_inv(x)), (-2, -1)),),
    batch=leading,
)


def slogdet(x: Any) -> SLogDet:
    """Return signs and logarithms of the sizes of determinants, which may over- or underflow.

    Raises
    ------
    ValueError
        ``x`` is not square.
    """
    matrix("slogdet", x, square=True)
    return SLogDet(_sign(x), _log_abs(x))


def logdet(x: Any) -> Any:
    """Return the logarithms of determinants: NaN for a negative one, -∞ for 0.

    Raises
    ------
    ValueError
        ``x`` is not square.
    """
    matrix("logdet", x, square=True)
    sign, size = slogdet(x)
    with np.errstate(all="ignore"):  # the logarithm of 0 or of a negative sign
        return size + log(sign)


_pinv: Primitive = primitive(
    "pinv",
    lambda x, *, rcond: np.linalg.pinv(x, rcond),
    vjp=(lambda g, out, x, *, rcond: _pinv_pull(g, out, x),),
    jvp=(lambda t, out, x, *, rcond: _pinv_push(t, out, x),),
    batch=leading,
)


# G. Golub, V. Pereyra, "The differentiation of pseudo-inverses and nonlinear least squares
# problems whose variables separate", SIAM J. Numer. Anal. 10 (1973), for a constant rank.
def _pinv_push(t: Any, p: Any, x: Any) -> Any:
    left = beside(np.eye(x.shape[-2], dtype=x.dtype), x) - matmul(x, p)
    right = beside(np.eye(x.shape[-1], dtype=x.dtype), x) - matmul(p, x)
    return (
        matmul(matmul(p, mt(p)), matmul(mt(t), left))
        + matmul(matmul(right, mt(t)), matmul(mt(p), p))
        - matmul(matmul(p, t), p)
    )


def _pinv_pull(g: Any, p: Any, x: Any) -> Any:
    left = beside(np.eye(x.shape[-2], dtype=x.dtype), x) - matmul(x, p)
    right = beside(np.eye(x.shape[-1], dtype=x.dtype), x) - matmul(p, x)
    return (
        matmul(matmul(left, mt(g)), matmul(p, mt(p)))
        + matmul(matmul(mt(p), p), matmul(mt(g), right))
        - matmul(matmul(mt(p), g), mt(p))
    )


def pinv(x: Any, *, rtol: float | None = None) -> Any:
    """Return the pseudo-inverses of matrices ``(*, n, m)``, for matrices whose rank is constant.

    Singular values below ``rtol`` times the largest count as 0; by default ``max(n, m)`` times
    the precision of the dtype.

    Raises
    ------
    ValueError
        ``x`` is no matrix.
    """
    rows, columns = matrix("pinv", x)
    if rtol is None:
        rtol = max(rows, columns) * float(np.finfo(x.dtype).eps)
    return _pinv(x, rcond=rtol)


pinverse = pinv


class LeastSquares(NamedTuple):
    """Result of `lstsq`."""

    solution: Any
    residuals: Any
    rank: Any
    singular_values: Any


_rank: Primitive = primitive(
    "matrix_rank",
    on_host(lambda x, *, tol: np.asarray(np.linalg.matrix_rank(x, rtol=tol))),
    batch=leading,
)


def matrix_rank(x: Any, *, rtol: float | None = None) -> Any:
    """Return how many singular values are above ``rtol`` times the largest.

    Raises
    ------
    ValueError
        ``x`` is no matrix.
    """
    matrix("matrix_rank", x)
    return _rank(x, tol=rtol)


def lstsq(a: Any, b: Any, *, rcond: float | None = None) -> LeastSquares:
    """Return the x of least norm that makes ``‖a x - b‖`` least.

    Shapes: ``a (*, n, m)``, ``b (*, n, k)`` -> ``(*, m, k)``. Also the sums of squares that
    remain, the ranks, and the singular values of ``a``.

    Raises
    ------
    ValueError
        ``b`` does not fit.
    """
    rows, _ = matrix("lstsq", a)
    if len(shape_of(b)) < 2 or shape_of(b)[-2] != rows:
        raise ValueError(f"lstsq: matrices {shape_of(a)} do not fit right-hand sides {shape_of(b)}")
    x = matmul(pinv(a, rtol=rcond), b)
    rest = matmul(a, x) - b
    return LeastSquares(x, sum(rest * rest, -2), matrix_rank(a), svdvals(a))


def cholesky_solve(b: Any, lower: Any, upper: bool = False) -> Any:
    """Return x with ``L Lᵀ x = b``; with ``upper`` the triangle given is Lᵀ."""
    first = mt(lower) if upper else lower
    return solve(mt(tril(first)), solve(tril(first), b))


def cholesky_inverse(lower: Any, upper: bool = False) -> Any:
    """Return the inverse of ``L Lᵀ``; with ``upper`` the triangle given is Lᵀ."""
    n, _ = matrix("cholesky_inverse", lower, square=True)
    return cholesky_solve(beside(np.eye(n, dtype=lower.dtype), lower), lower, upper)


def matrix_power(x: Any, n: int) -> Any:
    """Return ``x`` multiplied with itself ``n`` times; its inverse for a negative ``n``.

    Raises
    ------
    ValueError
        ``x`` is not square.
    """
    size, _ = matrix("matrix_power", x, square=True)
    if n < 0:
        return matrix_power(inv(x), -n)
    result: Any = None
    while n:
        if n % 2:
            result = x if result is None else matmul(result, x)
        n //= 2
        x = matmul(x, x) if n else x
    return x * 0.0 + beside(np.eye(size, dtype=x.dtype), x) if result is None else result


# N. Higham, "The Scaling and Squaring Method for the Matrix Exponential Revisited", SIAM J.
# Matrix Anal. 26 (2005): the Padé approximant of order 13 is exact to double precision below θ.
_PADE = [
    math.factorial(26 - k) * math.factorial(13)
    / (math.factorial(26) * math.factorial(k) * math.factorial(13 - k))
    for k in range(14)
]  # fmt: skip
_THETA = 5.37


def matrix_exp(x: Any) -> Any:
    """Return the exponentials of square matrices, Σ xᵏ / k!.

    Raises
    ------
    ValueError
        ``x`` is not square.
    """
    n, _ = matrix("matrix_exp", x, square=True)
    known = arrays.host(constant(x))
    largest = float(np.abs(known).sum(-2).max(initial=0.0))
    halvings = max(0, math.ceil(math.log2(largest / _THETA))) if largest > _THETA else 0
    x = x * 0.5**halvings
    one = beside(np.eye(n, dtype=x.dtype), x)
    square = matmul(x, x)
    even, odd = one * _PADE[0], one * _PADE[1]
    power = square
    for k in range(2, 14, 2):
        even = even + power * _PADE[k]
        odd = odd + power * _PADE[k + 1]
        power = matmul(power, square) if k < 12 else power
    odd = matmul(x, odd)
    result = solve(even - odd, even + odd)
    for _ in range(halvings):
        result = matmul(result, result)
    return result


def tensorinv(x: Any, ind: int = 2) -> Any:
    """Return the inverse of `minidl.tensordot` with ``x`` over its last axes.

    Raises
    ------
    ValueError
        The first ``ind`` axes do not hold as many elements as the rest.
    """
    shape = shape_of(x)
    first, rest = shape[:ind], shape[ind:]
    if ind < 1 or math.prod(first) != math.prod(rest):
        raise ValueError(f"tensorinv: {first} and {rest} do not hold the same number of elements")
    return reshape(inv(reshape(x, (math.prod(first), -1))), (*rest, *first))


def tensorsolve(a: Any, b: Any) -> Any:
    """Return x with ``tensordot(a, x, x.ndim) = b``.

    Raises
    ------
    ValueError
        The shapes do not fit.
    """
    rest = shape_of(a)[len(shape_of(b)) :]
    size = math.prod(rest)
    if shape_of(a)[: len(shape_of(b))] != shape_of(b) or math.prod(shape_of(b)) != size:
        raise ValueError(f"tensorsolve: {shape_of(a)} does not fit {shape_of(b)}")
    return reshape(solve(reshape(a, (size, size)), reshape(b, (size,))), rest)


def matrix_norm(
    x: Any, ord: float | str = "fro", dim: Sequence[int] = (-2, -1), keepdim: bool = False
) -> Any:
    """Return norms of matrices: "fro", "nuc", ±∞, ±1 (row and column sums), ±2 (singular values).

    Raises
    ------
    ValueError
        ``ord`` is none of these.
    """
    if ord not in ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf):
        raise ValueError(f"matrix_norm: ord must be 'fro', 'nuc', ±1, ±2 or ±inf, got {ord!r}")
    ndim = len(shape_of(x))
    over = tuple(axis % ndim for axis in dim)
    plane = movedim(x, over, (-2, -1))
    matrix("matrix_norm", plane)
    if ord == "fro":
        found = vector_norm(plane, 2, (-2, -1))
    elif ord == "nuc":
        found = sum(svdvals(plane), -1)
    elif abs(float(ord)) == 2:
        found = svdvals(plane)[..., 0 if ord == 2 else -1]
    else:
        sums = vector_norm(plane, 1, -2 if abs(float(ord)) == 1 else -1)
        found = (amax if float(ord) > 0 else amin)(sums, -1)
    if not keepdim:
        return found
    return reshape(found, tuple(1 if i in over else n for i, n in enumerate(shape_of(x))))


def norm(
    x: Any,
    ord: float | str | None = None,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
) -> Any:
    """Return `vector_norm` or `matrix_norm`, by the number of axes in ``dim`` (or of ``x``).

    Raises
    ------
    ValueError
        ``ord`` is no norm for that many axes.
    """
    over = dim if dim is None or isinstance(dim, int) else tuple(dim)
    count = len(shape_of(x)) if over is None else 1 if isinstance(over, int) else len(over)
    if ord is None:
        return vector_norm(x, 2, over, keepdim)
    if count == 2:
        return matrix_norm(x, ord, (-2, -1) if over is None else over, keepdim)  # type: ignore[arg-type]
    if isinstance(ord, str):
        raise ValueError(f"norm: {ord!r} is a norm of matrices, got {count} axes")
    return vector_norm(x, ord, over, keepdim)


def cond(x: Any, p: float | str | None = None) -> Any:
    """Return the condition numbers: the norm times that of the inverse; by default the 2-norm."""
    if p is None or p == 2:
        s = svdvals(x)
        return s[..., 0] / s[..., -1]
    return matrix_norm(x, p) * matrix_norm(inv(x), p)
