"""Products of vectors, matrices and arrays, all made of `minidl.matmul`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.autograd.primitive import beside
from minidl.ops.diagonals import diagonal
from minidl.ops.joining import stack
from minidl.ops.lengths import vector_norm
from minidl.ops.products import matmul
from minidl.ops.reduce import sum
from minidl.ops.shape import axis_of, cast, permute, reshape, shape_of, transpose, unsqueeze

__all__ = [
    "addbmm",
    "addmm",
    "addmv",
    "addr",
    "baddbmm",
    "bmm",
    "cdist",
    "chain_matmul",
    "corrcoef",
    "cov",
    "cross",
    "dot",
    "ger",
    "inner",
    "kron",
    "mm",
    "mv",
    "outer",
    "tensordot",
    "trace",
    "vander",
    "vdot",
]


def _wants(name: str, *given: tuple[Any, int]) -> None:
    """Raise unless each array has so many axes."""
    shapes = [shape_of(x) for x, _ in given]
    if any(len(shape) != ndim for shape, (_, ndim) in zip(shapes, given, strict=True)):
        wanted = " and ".join(f"{ndim}-d" for _, ndim in given)
        raise ValueError(f"{name}: {wanted} are wanted, got shapes {shapes}")


def mm(x: Any, y: Any) -> Any:
    """Return the product of two matrices.

    Raises
    ------
    ValueError
        They are no matrices, or do not fit.
    """
    _wants("mm", (x, 2), (y, 2))
    return matmul(x, y)


def bmm(x: Any, y: Any) -> Any:
    """Return the products of two batches of matrices ``(b, n, k) @ (b, k, m)``."""
    _wants("bmm", (x, 3), (y, 3))
    return matmul(x, y)


def mv(x: Any, vector: Any) -> Any:
    """Return the product of a matrix and a vector."""
    _wants("mv", (x, 2), (vector, 1))
    return matmul(x, vector)


def dot(x: Any, y: Any) -> Any:
    """Return the inner product of two vectors."""
    _wants("dot", (x, 1), (y, 1))
    return matmul(x, y)


def inner(x: Any, y: Any) -> Any:
    """Return the inner products of the last axes: ``(*, k), (+, k) -> (*, +)``."""
    if not shape_of(x) or not shape_of(y):
        return x * y
    return tensordot(x, y, ([-1], [-1]))


def outer(x: Any, y: Any) -> Any:
    """Return all products of elements of two vectors ``(n,), (m,) -> (n, m)``."""
    _wants("outer", (x, 1), (y, 1))
    return reshape(x, (-1, 1)) * y


def _sum_of(x: Any, product: Any, beta: float, alpha: float) -> Any:
    product = product if alpha == 1 else product * alpha
    return product if beta == 0 else (x if beta == 1 else x * beta) + product


def addmm(x: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """Return ``beta · x + alpha · mat1 @ mat2``."""
    return _sum_of(x, mm(mat1, mat2), beta, alpha)


def addmv(x: Any, mat: Any, vec: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """Return ``beta · x + alpha · mat @ vec``."""
    return _sum_of(x, mv(mat, vec), beta, alpha)


def addr(x: Any, vec1: Any, vec2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """Return ``beta · x + alpha · vec1 ⊗ vec2``."""
    return _sum_of(x, outer(vec1, vec2), beta, alpha)


def addbmm(x: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """Return ``beta · x + alpha · Σ batch1[i] @ batch2[i]``."""
    return _sum_of(x, sum(bmm(batch1, batch2), 0), beta, alpha)


def baddbmm(x: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """Return ``beta · x + alpha · batch1 @ batch2``."""
    return _sum_of(x, bmm(batch1, batch2), beta, alpha)


def tensordot(x: Any, y: Any, dims: Any = 2) -> Any:
    """Return sums of products over pairs of axes.

    ``dims`` is a number (the last axes of ``x`` with the first of ``y``) or two lists of axes.

    Raises
    ------
    ValueError
        The axes differ in number or length.
    """
    rows, columns = shape_of(x), shape_of(y)
    if isinstance(dims, int):
        left, right = list(range(len(rows) - dims, len(rows))), list(range(dims))
    else:
        left, right = ([d] if isinstance(d, int) else list(d) for d in dims)
        left = [d % len(rows) for d in left]
        right = [d % len(columns) for d in right]
    if [rows[d] for d in left] != [columns[d] for d in right]:
        raise ValueError(f"tensordot: axes {left} of {rows} do not fit {right} of {columns}")
    kept_x = [d for d in range(len(rows)) if d not in left]
    kept_y = [d for d in range(len(columns)) if d not in right]
    size = math.prod(rows[d] for d in left)
    out = (*(rows[d] for d in kept_x), *(columns[d] for d in kept_y))
    first = reshape(permute(x, (*kept_x, *left)), (math.prod(rows[d] for d in kept_x), size))
    second = reshape(permute(y, (*right, *kept_y)), (size, math.prod(columns[d] for d in kept_y)))
    return reshape(matmul(first, second), out)


def kron(x: Any, y: Any) -> Any:
    """Return the Kronecker product: every element of ``x`` times the whole of ``y``."""
    ndim = max(len(shape_of(x)), len(shape_of(y)))
    one, two = ((1,) * (ndim - len(shape_of(v))) + shape_of(v) for v in (x, y))
    apart = reshape(x, tuple(n for a in one for n in (a, 1)))
    within = reshape(y, tuple(n for b in two for n in (1, b)))
    return reshape(apart * within, tuple(a * b for a, b in zip(one, two, strict=True)))


def cross(x: Any, y: Any, dim: int = -1) -> Any:
    """Return the vector products of vectors of three along ``dim``.

    Raises
    ------
    ValueError
        The axis does not have length 3.
    """
    ndim = max(len(shape_of(x)), len(shape_of(y)))
    axis = axis_of(dim, ndim, "cross") - ndim
    if shape_of(x)[axis] != 3 or shape_of(y)[axis] != 3:
        raise ValueError(f"cross: length 3 along dim {dim} is wanted: {shape_of(x)}, {shape_of(y)}")
    (x1, x2), (y1, y2) = (
        (index_along(v, axis, [1, 2, 0]), index_along(v, axis, [2, 0, 1])) for v in (x, y)
    )
    return x1 * y2 - x2 * y1


def index_along(x: Any, axis: int, order: list[int]) -> Any:
    """Pick slices along an axis counted from the end."""
    return x[(..., np.array(order), *(slice(None),) * (-axis - 1))]


def trace(x: Any) -> Any:
    """Return the sum of a matrix's diagonal.

    Raises
    ------
    ValueError
        ``x`` is no matrix.
    """
    _wants("trace", (x, 2))
    return sum(diagonal(x), -1)


def chain_matmul(*matrices: Any) -> Any:
    """Return the product of several matrices, in the order that costs least."""
    return multi_dot(matrices)


def multi_dot(matrices: Sequence[Any]) -> Any:
    """Return the product of several matrices in the cheapest order; vectors may stand at the ends.

    Raises
    ------
    ValueError
        There are none, or they do not fit.
    """
    if not matrices:
        raise ValueError("multi_dot: at least one matrix is wanted, got none")
    if len(matrices) == 1:
        return matrices[0]
    sizes = [shape_of(m)[0] if len(shape_of(m)) > 1 else 1 for m in matrices[:1]]
    sizes += [shape_of(m)[0] for m in matrices[1:]]
    sizes += [shape_of(matrices[-1])[-1] if len(shape_of(matrices[-1])) > 1 else 1]
    count = len(matrices)
    # best[i, j]: cost of the product from i to j, and where it is split last.
    best = {(i, i): (0, i) for i in range(count)}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            best[i, j] = min(
                (best[i, k][0] + best[k + 1, j][0] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            )

    def product(i: int, j: int) -> Any:
        if i == j:
            return matrices[i]
        k = best[i, j][1]
        return matmul(product(i, k), product(k + 1, j))

    return product(0, count - 1)


def vecdot(x: Any, y: Any, dim: int = -1) -> Any:
    """Return the inner products along ``dim``, with broadcasting."""
    return sum(x * y, dim)


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """Return powers of a vector as columns: ``(n,) -> (n, N)``, falling unless ``increasing``."""
    count = shape_of(x)[-1] if N is None else N
    powers = [x**k if k else x * 0.0 + 1.0 for k in range(count)]
    return stack(powers if increasing else powers[::-1], -1)


def cov(x: Any, *, correction: int = 1, fweights: Any = None, aweights: Any = None) -> Any:
    """Return the covariances of variables in rows, observed in columns.

    Raises
    ------
    ValueError
        There are more than two axes.
    """
    if len(shape_of(x)) > 2:
        raise ValueError(f"cov: at most two dimensions are wanted, got {shape_of(x)}")
    rows = reshape(x, (1, -1)) if len(shape_of(x)) < 2 else x
    weights: Any = beside(np.ones(shape_of(rows)[1], x.dtype), x)
    for given in (fweights, aweights):
        weights = weights if given is None else weights * cast(given, x.dtype)
    total = sum(weights)
    centered = rows - sum(rows * weights, 1, True) / total
    if aweights is None:
        left = total - correction
    else:
        left = total - correction * sum(weights * cast(aweights, x.dtype)) / total
    found = matmul(centered * weights, transpose(centered, 0, 1)) / left
    return reshape(found, ()) if len(shape_of(x)) < 2 else found


def corrcoef(x: Any) -> Any:
    """Return the correlations of variables in rows, observed in columns."""
    c = cov(x)
    if not shape_of(c):
        return c / c
    deviation = diagonal(c) ** 0.5
    return c / reshape(deviation, (-1, 1)) / deviation


def cdist(x: Any, y: Any, p: float = 2.0) -> Any:
    """Return the p-norms of all differences: ``(*, n, d), (*, m, d) -> (*, n, m)``.

    Raises
    ------
    ValueError
        The last axes differ, or there are fewer than two.
    """
    if len(shape_of(x)) < 2 or len(shape_of(y)) < 2 or shape_of(x)[-1] != shape_of(y)[-1]:
        raise ValueError(f"cdist: points {shape_of(x)} and {shape_of(y)} do not fit")
    return vector_norm(unsqueeze(x, -2) - unsqueeze(y, -3), p, -1)


ger, vdot = outer, dot
