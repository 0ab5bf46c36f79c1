"""Systems of linear equations, for matrices ``(*, n, n)`` with any leading axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd.primitive import Examples, Primitive, beside, primitive
from minidl.ops.batching import elementwise
from minidl.ops.diagonals import tril, triu
from minidl.ops.products import matmul
from minidl.ops.shape import broadcast_shapes, broadcast_to, reshape, shape_of, transpose, unsqueeze

__all__: list[str] = []


def leading(operation: Primitive, examples: Examples, **params: Any) -> Any:
    """Batching rule of operations on one matrix: examples are one more leading axis."""
    return operation(*examples.values, **params)


def mt(x: Any) -> Any:
    """Transpose matrices."""
    return transpose(x, -1, -2)


def matrix(name: str, x: Any, *, square: bool = False) -> tuple[int, int]:
    """Return the number of rows and columns.

    Raises
    ------
    ValueError
        ``x`` is no matrix, or not a square one.
    TypeError
        ``x`` is not of a floating dtype.
    """
    shape = shape_of(x)
    if len(shape) < 2 or (square and shape[-1] != shape[-2]):
        kind = "square matrices (*, n, n)" if square else "matrices (*, n, m)"
        raise ValueError(f"{name}: {kind} are wanted, got shape {shape}")
    if x.dtype.kind not in "fc":
        raise TypeError(f"{name}: a floating dtype is wanted, got {x.dtype}")
    return shape[-2], shape[-1]


# A x = b: the adjoint solves with Aᵀ.
_solve: Primitive = primitive(
    "solve",
    np.linalg.solve,
    vjp=(
        lambda g, out, a, _b: -matmul(_solve(mt(a), g), mt(out)),
        lambda g, _out, a, _b: _solve(mt(a), g),
    ),
    jvp=(
        lambda t, out, a, b: -_solve(a, matmul(t, out)),
        lambda t, out, a, b: _solve(a, t),
    ),
    batch=elementwise,
)


def solve(a: Any, b: Any, *, left: bool = True) -> Any:
    """Return x with ``a x = b`` (``x a = b`` with ``left=False``).

    Shapes: ``a (*, n, n)``; ``b (*, n, k)``, or a vector ``(n,)``, or vectors ``(*, n)`` where
    these are the leading axes of ``a``.

    Raises
    ------
    ValueError
        ``a`` is not square or is singular, or ``b`` does not fit.
    """
    n, _ = matrix("solve", a, square=True)
    shape = shape_of(b)
    vector = len(shape) == 1 or (len(shape) == len(shape_of(a)) - 1 and shape == shape_of(a)[:-1])
    rows = shape[-1] if vector or not left else shape[-2] if len(shape) > 1 else -1
    if rows != n:
        raise ValueError(f"solve: matrices {shape_of(a)} do not fit right-hand sides {shape}")
    if vector:
        return reshape_last(_solve_broadcast(mt(a) if not left else a, unsqueeze(b, -1)))
    return _solve_broadcast(a, b) if left else mt(_solve_broadcast(mt(a), mt(b)))


def reshape_last(x: Any) -> Any:
    """Drop a last axis of length 1."""
    return reshape(x, shape_of(x)[:-1])


def _solve_broadcast(a: Any, b: Any) -> Any:
    batch = broadcast_shapes(shape_of(a)[:-2], shape_of(b)[:-2])
    a, b = (broadcast_to(x, (*batch, *shape_of(x)[-2:])) for x in (a, b))
    return _solve(a, b)


def solve_triangular(
    a: Any, b: Any, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Any:
    """Return x with ``a x = b``, of which only one triangle of ``a`` is read.

    NumPy has no triangular solver, so the general one does it.

    Raises
    ------
    ValueError
        ``a`` is not square, or ``b`` does not fit.
    """
    n, _ = matrix("solve_triangular", a, square=True)
    side = 1 if unitriangular else 0
    held = triu(a, side) if upper else tril(a, -side)
    if unitriangular:
        held = held + beside(np.eye(n, dtype=a.dtype), a)
    return solve(held, b, left=left)
