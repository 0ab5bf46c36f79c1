"""Joining arrays, and taking them apart again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from minidl.autograd.primitive import Primitive, linear, primitive
from minidl.ops.batching import along
from minidl.ops.shape import (
    atleast_1d,
    atleast_2d,
    atleast_3d,
    axis_of,
    reshape,
    shape_of,
    unsqueeze,
)

__all__ = [
    "cat",
    "chunk",
    "column_stack",
    "concat",
    "concatenate",
    "dsplit",
    "dstack",
    "hsplit",
    "hstack",
    "row_stack",
    "split",
    "split_with_sizes",
    "stack",
    "tensor_split",
    "unbind",
    "vsplit",
    "vstack",
]


def _piece(g: Any, argnum: int, dim: int, bounds: Sequence[int]) -> Any:
    cut = slice(bounds[argnum], bounds[argnum + 1])
    return g[(slice(None),) * dim + (cut,)]


_cat: Primitive = primitive(
    "cat",
    lambda *arrays, dim, bounds: np.concatenate(arrays, axis=dim),
    # The places of the seams are a parameter, so that no array is kept for its length.
    vjp=lambda g, _out, *_arrays, argnum, dim, bounds: _piece(g, argnum, dim, bounds),
    jvp=linear,
    batch=along("dim"),
)


def cat(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Join arrays along an axis they have.

    Parameters
    ----------
    tensors
        At least one; same shape but for axis ``dim``.

    Raises
    ------
    ValueError
        There are none, or the other axes differ.
    IndexError
        ``dim`` is out of range.
    """
    if not len(tensors):
        raise ValueError("cat: at least one tensor is wanted, got none")
    axis = axis_of(dim, len(shape_of(tensors[0])), "cat")
    lengths = [shape[axis] if len(shape) > axis else 0 for shape in map(shape_of, tensors)]
    return _cat(*tensors, dim=axis, bounds=tuple(accumulate(lengths, initial=0)))


def concatenate(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Return `cat`, which has this name too in PyTorch and NumPy."""
    return cat(tensors, dim)


def stack(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Join arrays of one shape along a new axis ``dim``.

    Raises
    ------
    ValueError
        There are none, or the shapes differ.
    IndexError
        ``dim`` is out of range.
    """
    shapes = {shape_of(tensor) for tensor in tensors}
    if len(shapes) != 1:
        raise ValueError(
            f"stack: at least one tensor, all of one shape, wanted; got {sorted(shapes)}"
        )
    axis = axis_of(dim, len(shapes.pop()) + 1, "stack")
    return cat([unsqueeze(tensor, axis) for tensor in tensors], axis)


def _all(tensors: Sequence[Any], at_least: Any, dim: int) -> Any:
    return cat([at_least(tensor) for tensor in tensors], dim)


def hstack(tensors: Sequence[Any]) -> Any:
    """Join along the second axis; vectors and numbers end to end."""
    return _all(tensors, atleast_1d, 0 if len(shape_of(tensors[0])) < 2 else 1)


def vstack(tensors: Sequence[Any]) -> Any:
    """Join along the first axis; vectors and numbers are rows."""
    return _all(tensors, atleast_2d, 0)


def dstack(tensors: Sequence[Any]) -> Any:
    """Join along the third axis."""
    return _all(tensors, atleast_3d, 2)


def column_stack(tensors: Sequence[Any]) -> Any:
    """Join along the second axis; vectors and numbers are columns."""
    return _all(tensors, lambda x: x if len(shape_of(x)) > 1 else reshape(x, (-1, 1)), 1)


def _parts(x: Any, bounds: Sequence[int], axis: int) -> tuple[Any, ...]:
    before = (slice(None),) * axis
    ends = [*bounds[1:], shape_of(x)[axis]]
    whole = x if hasattr(x, "shape") else np.asarray(x)
    return tuple(
        whole[(*before, slice(start, end))] for start, end in zip(bounds, ends, strict=True)
    )


def split(x: Any, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Any, ...]:
    """Return parts of one size along ``dim`` (the last may be smaller), or of the sizes listed.

    Raises
    ------
    ValueError
        A size is not positive, or sizes do not add up to the length.
    IndexError
        ``dim`` is out of range.
    """
    axis = axis_of(dim, len(shape_of(x)), "split")
    length, sizes = shape_of(x)[axis], split_size_or_sections
    if isinstance(sizes, (int, np.integer)):
        if sizes < 1:
            raise ValueError(f"split: the size must be at least 1, got {sizes}")
        return _parts(x, list(range(0, max(length, 1), int(sizes))), axis)
    if sum(sizes) != length:
        raise ValueError(f"split: sizes {list(sizes)} do not add up to {length}")
    return _parts(x, list(accumulate(sizes, initial=0))[:-1], axis)


def split_with_sizes(x: Any, split_sizes: Sequence[int], dim: int = 0) -> tuple[Any, ...]:
    """Return parts of the sizes listed; see `split`."""
    return split(x, split_sizes, dim)


def chunk(x: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """Return at most ``chunks`` parts along ``dim``, of one size but the last.

    Raises
    ------
    ValueError
        ``chunks`` is not positive.
    """
    if chunks < 1:
        raise ValueError(f"chunk: chunks must be at least 1, got {chunks}")
    axis = axis_of(dim, len(shape_of(x)), "chunk")
    return split(x, max(1, -(-shape_of(x)[axis] // chunks)), axis)


def tensor_split(x: Any, indices_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Any, ...]:
    """Return so many parts of nearly equal size along ``dim``, or parts that end at the indices.

    Raises
    ------
    ValueError
        The number of parts is not positive.
    IndexError
        ``dim`` is out of range.
    """
    return _tensor_split("tensor_split", x, indices_or_sections, dim)


def _tensor_split(name: str, x: Any, where: int | Sequence[int], dim: int) -> tuple[Any, ...]:
    axis = axis_of(dim, len(shape_of(x)), name)
    if isinstance(where, (int, np.integer)):
        if where < 1:
            raise ValueError(f"{name}: at least one part is wanted, got {where}")
        size, more = divmod(shape_of(x)[axis], int(where))
        sizes = [size + 1] * more + [size] * (int(where) - more)
        return _parts(x, list(accumulate(sizes, initial=0))[:-1], axis)
    before = (slice(None),) * axis
    bounds = [0, *where]
    ends = [*where, shape_of(x)[axis]]
    return tuple(x[(*before, slice(a, b))] for a, b in zip(bounds, ends, strict=True))


def _split_evenly(name: str, least: int, dim: Any) -> Any:
    def call(x: Any, where: int | Sequence[int]) -> tuple[Any, ...]:
        ndim = len(shape_of(x))
        if ndim < least:
            raise ValueError(f"{name}: at least {least} dimensions are wanted, got {shape_of(x)}")
        axis = dim(ndim)
        if isinstance(where, (int, np.integer)) and (where < 1 or shape_of(x)[axis] % where):
            raise ValueError(f"{name}: {shape_of(x)[axis]} cannot be split in {where} equal parts")
        return _tensor_split(name, x, where, axis)

    return call


def hsplit(x: Any, indices_or_sections: int | Sequence[int]) -> tuple[Any, ...]:
    """Return equal parts along the second axis (a vector's first), or parts at the indices.

    Raises
    ------
    ValueError
        The parts would not be equal, or there is no such axis.
    """
    return _split_evenly("hsplit", 1, lambda ndim: min(ndim - 1, 1))(x, indices_or_sections)


def vsplit(x: Any, indices_or_sections: int | Sequence[int]) -> tuple[Any, ...]:
    """Return equal parts along the first axis, or parts at the indices; see `hsplit`."""
    return _split_evenly("vsplit", 2, lambda ndim: 0)(x, indices_or_sections)


def dsplit(x: Any, indices_or_sections: int | Sequence[int]) -> tuple[Any, ...]:
    """Return equal parts along the third axis, or parts at the indices; see `hsplit`."""
    return _split_evenly("dsplit", 3, lambda ndim: 2)(x, indices_or_sections)


def unbind(x: Any, dim: int = 0) -> tuple[Any, ...]:
    """Return the slices along ``dim``, without that axis.

    Raises
    ------
    IndexError
        ``dim`` is out of range.
    """
    axis = axis_of(dim, len(shape_of(x)), "unbind")
    return tuple(x[(slice(None),) * axis + (i,)] for i in range(shape_of(x)[axis]))


concat, row_stack = cat, vstack
