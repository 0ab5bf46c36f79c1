"""Matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd.primitive import Examples, Primitive, primitive
from minidl.kernels import affine as kernel
from minidl.ops.batching import elementwise, folded_if_only_first, raised
from minidl.ops.reduce import sum
from minidl.ops.shape import reshape, shape_of, transpose

__all__ = [
    "matmul",
]


def _mt(x: Any) -> Any:
    return transpose(x, -1, -2)


_matmul: Primitive = primitive(
    "matmul",
    np.matmul,
    vjp=(
        lambda g, _out, _x, y: _matmul(g, _mt(y)),
        lambda g, _out, x, _y: _matmul(_mt(x), g),
    ),
    jvp=(lambda t, out, x, y: _matmul(t, y), lambda t, out, x, y: _matmul(x, t)),
    batch=elementwise,
)


def matmul(x: Any, y: Any) -> Any:
    """Return the matrix product.

    Shapes: ``(*, n, k) @ (*, k, m) -> (*, n, m)``, leading axes broadcast; a vector on the left
    is a row, on the right a column, and loses that axis again.

    Raises
    ------
    ValueError
        The inner lengths differ, or an argument is a single number.
    """
    rows, columns = shape_of(x), shape_of(y)
    if len(rows) == len(columns) == 2 and rows[1] == columns[0]:
        return _matmul(x, y)
    return _matmul_any_rank(x, y)


def _matmul_any_rank(x: Any, y: Any) -> Any:
    rows, columns = shape_of(x), shape_of(y)
    if not rows or not columns:
        raise ValueError(f"matmul: a single number is no matrix, got shapes {rows} and {columns}")
    inner = columns[-2] if len(columns) > 1 else columns[0]
    if rows[-1] != inner:
        raise ValueError(
            f"matmul: shapes {rows} and {columns} do not fit: {rows[-1]} columns meet {inner} rows"
        )
    if len(rows) == 1:
        return reshape(
            product := matmul(reshape(x, (1, *rows)), y), _without(product.shape, -2, columns)
        )
    if len(columns) == 1:
        product = matmul(x, reshape(y, (*columns, 1)))
        return reshape(product, product.shape[:-1])
    if len(columns) == 2:
        # One large product instead of a batch of small ones, in backward too.
        flat = _matmul(reshape(x, (-1, rows[-1])) if rows[-1] else reshape(x, (_count(rows), 0)), y)
        return reshape(flat, (*rows[:-1], columns[-1]))
    return _matmul(x, y)


def _count(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape[:-1]))


def _without(shape: tuple[int, ...], axis: int, columns: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :] if len(columns) > 1 else shape[:axis]


def _batched_linear(primitive: Primitive, examples: Examples) -> Any:
    """With one weight for all examples, the rows of all are one product."""
    if not any(examples.batched[1:]):
        return folded_if_only_first(primitive, examples)
    x, weight, bias = examples.values
    out = _matmul(x, _mt(weight))
    return out if bias is None else out + raised(bias, examples.batched[2], 2)


_linear: Primitive = primitive(
    "linear",
    kernel.affine,
    vjp=(
        lambda g, _out, _x, weight, _bias: _matmul(g, weight),
        # Of one row nothing is added up, and BLAS takes longer for that than a product by elements.
        lambda g, _out, x, _weight, _bias: _matmul(_mt(g), x) if x.shape[0] != 1 else _mt(g) * x,
        lambda g, _out, _x, _weight, _bias: sum(g, 0),
    ),
    jvp=(
        lambda t, out, x, weight, bias: _linear(t, weight, None),
        lambda t, out, x, weight, bias: _linear(x, t, None),
        lambda t, out, x, weight, bias: t,
    ),
    batch=_batched_linear,
)


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """Return ``x Wᵀ + b``.

    Shapes: ``x (*, in)``, ``weight (out, in)``, ``bias (out,)`` -> ``(*, out)``.

    Raises
    ------
    ValueError
        The shapes do not fit.
    """
    shape, wanted = shape_of(x), shape_of(weight)
    if len(wanted) != 2 or not shape or shape[-1] != wanted[1]:
        raise ValueError(
            f"linear: input {shape} does not fit weight {wanted}: the last axis of the input must "
            f"have {wanted[-1] if wanted else '?'} features"
        )
    if bias is not None and shape_of(bias) != wanted[:1]:
        raise ValueError(f"linear: bias {shape_of(bias)} does not fit weight {wanted}")
    if len(shape) == 2:
        return _linear(x, weight, bias)
    flat = _linear(reshape(x, (_count(shape), shape[-1])), weight, bias)
    return reshape(flat, (*shape[:-1], wanted[0]))
