"""Joining arrays, and taking them apart again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from minidl.autograd.primitive import Primitive, linear, primitive
from minidl.ops.batching import along
from minidl.ops.shape import axis_of, shape_of, unsqueeze

__all__ = [
    "cat",
    "concatenate",
    "stack",
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
