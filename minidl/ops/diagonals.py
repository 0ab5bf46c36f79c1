"""Triangles and diagonals of matrices, and matrices made of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd.primitive import Array, Examples, Primitive, linear, primitive
from minidl.ops.elementwise import masked
from minidl.ops.joining import cat
from minidl.ops.shape import axis_of, movedim, ravel, reshape, shape_of

__all__ = [
    "block_diag",
    "diag",
    "diag_embed",
    "diagflat",
    "diagonal",
    "tril",
    "triu",
]


def tril(x: Any, diagonal: int = 0) -> Any:
    """Return the lower triangles of matrices ``(*, n, m)``, zeros above ``diagonal``.

    Raises
    ------
    ValueError
        There are fewer than two axes.
    """
    rows, columns = _matrix("tril", x)
    return masked(x, np.tri(rows, columns, diagonal, dtype=bool))


def triu(x: Any, diagonal: int = 0) -> Any:
    """Return the upper triangles of matrices ``(*, n, m)``, zeros below ``diagonal``.

    Raises
    ------
    ValueError
        There are fewer than two axes.
    """
    rows, columns = _matrix("triu", x)
    return masked(x, ~np.tri(rows, columns, diagonal - 1, dtype=bool))


def _matrix(name: str, x: Any) -> tuple[int, int]:
    shape = shape_of(x)
    if len(shape) < 2:
        raise ValueError(f"{name}: at least two dimensions are wanted, got {shape}")
    return shape[-2], shape[-1]


def _leading(operation: Primitive, examples: Examples, **params: Any) -> Any:
    """Batching rule of operations on the last axes."""
    return operation(examples.values[0], **params)


def _write_diagonal(x: Array, *, offset: int, size: tuple[int, int]) -> Array:
    out = np.zeros((*x.shape[:-1], *size), x.dtype, like=x)
    places = np.arange(x.shape[-1])
    out[..., places + max(-offset, 0), places + max(offset, 0)] = x
    return out


# Reading a diagonal of the last two axes and writing it into zeros are each other's adjoint.
_read: Primitive = primitive(
    "diagonal",
    lambda x, *, offset: np.diagonal(x, offset, -2, -1),
    vjp=(lambda g, _out, x, *, offset: _write(g, offset=offset, size=x.shape[-2:]),),
    jvp=(linear,),
    view=True,
    batch=_leading,
)
_write: Primitive = primitive(
    "diag_embed",
    _write_diagonal,
    vjp=(lambda g, _out, _x, *, offset, size: _read(g, offset=offset),),
    jvp=(linear,),
    batch=_leading,
)


def diagonal(x: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """Return the diagonals of the planes of two axes, along a last axis.

    Raises
    ------
    IndexError
        An axis is out of range.
    ValueError
        Both are the same axis.
    """
    return _read(_plane_last("diagonal", x, dim1, dim2), offset=offset)


def _plane_last(name: str, x: Any, dim1: int, dim2: int) -> Any:
    ndim = len(shape_of(x))
    first, second = axis_of(dim1, ndim, name), axis_of(dim2, ndim, name)
    if first == second:
        raise ValueError(f"{name}: dim1 and dim2 must differ, both are {first}")
    return movedim(x, (first, second), (-2, -1))


def diag_embed(x: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """Return matrices, zeros but for the diagonal, which holds the last axis of ``x``.

    Raises
    ------
    IndexError
        An axis is out of range.
    """
    size = shape_of(x)[-1] + abs(offset)
    return movedim(_write(x, offset=offset, size=(size, size)), (-2, -1), (dim1, dim2))


def diag(x: Any, diagonal: int = 0) -> Any:
    """Return the diagonal of a matrix, or the matrix with a vector on its diagonal.

    Raises
    ------
    ValueError
        ``x`` is neither.
    """
    if len(shape_of(x)) not in (1, 2):
        raise ValueError(f"diag: a vector or a matrix is wanted, got shape {shape_of(x)}")
    return diag_embed(x, diagonal) if len(shape_of(x)) == 1 else _read(x, offset=diagonal)


def diagflat(x: Any, offset: int = 0) -> Any:
    """Return the matrix with all elements of ``x`` on its diagonal."""
    return diag_embed(ravel(x), offset)


def block_diag(*tensors: Any) -> Any:
    """Return the matrix with these matrices along its diagonal; vectors are rows.

    Raises
    ------
    ValueError
        An array has more than two axes.
    """
    blocks = []
    for tensor in tensors:
        shape = shape_of(tensor)
        if len(shape) > 2:
            raise ValueError(f"block_diag: matrices are wanted, got shape {shape}")
        blocks.append(reshape(tensor, (1,) * (2 - len(shape)) + shape))
    widths = [shape_of(block)[1] for block in blocks]
    rows = []
    for i, block in enumerate(blocks):
        height = shape_of(block)[0]
        around = (widths[:i], widths[i + 1 :])
        before, after = (np.zeros((height, sum(w)), block.dtype) for w in around)
        rows.append(cat([before, block, after], 1))
    return cat(rows, 0)
