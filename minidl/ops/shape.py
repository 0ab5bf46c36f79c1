"""Operations that move elements and compute nothing: reshape, permute, broadcast, join, cast."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from minidl.autograd import arrays
from minidl.autograd.primitive import Array, Examples, Primitive, linear, primitive
from minidl.ops.batching import elementwise, raised

__all__ = [
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "broadcast_tensors",
    "broadcast_to",
    "cast",
    "clone",
    "expand",
    "expand_as",
    "flatten",
    "moveaxis",
    "movedim",
    "permute",
    "ravel",
    "reshape",
    "squeeze",
    "swapaxes",
    "swapdims",
    "t",
    "transpose",
    "unflatten",
    "unsqueeze",
]


def shape_of(x: Any) -> tuple[int, ...]:
    """Shape of an array, a box or a Python number."""
    shape: tuple[int, ...] = x.shape if hasattr(x, "shape") else np.shape(x)
    return shape


def _batched_reshape(primitive: Primitive, examples: Examples, *, shape: tuple[int, ...]) -> Any:
    return primitive(examples.values[0], shape=(examples.size, *shape))


_reshape: Primitive = primitive(
    "reshape",
    lambda x, *, shape: np.reshape(x, shape),
    vjp=(lambda g, _out, x, *, shape: _reshape(g, shape=x.shape),),
    jvp=(linear,),
    view=True,
    batch=_batched_reshape,
)


def reshape(x: Any, *shape: Any) -> Any:
    """Return the elements in a new shape; one length may be -1 and is then inferred.

    Raises
    ------
    ValueError
        The shape holds another number of elements.
    """
    return _reshape(x, shape=unpack(shape))


def unpack(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """Take ``f(2, 3)`` and ``f((2, 3))`` for the same."""
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = tuple(sizes[0])
    return sizes


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Join the axes from ``start_dim`` to ``end_dim`` (both included) into one.

    Raises
    ------
    IndexError
        An axis is out of range.
    ValueError
        ``start_dim`` comes after ``end_dim``.
    """
    shape = shape_of(x)
    if not shape:
        return reshape(x, (1,))
    start, end = axis_of(start_dim, len(shape), "flatten"), axis_of(end_dim, len(shape), "flatten")
    if start > end:
        raise ValueError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    return reshape(x, (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]))


def ravel(x: Any) -> Any:
    """Return the elements along one axis."""
    return reshape(x, (math.prod(shape_of(x)),))


def unflatten(x: Any, dim: int, sizes: Sequence[int]) -> Any:
    """Split axis ``dim`` into axes of ``sizes``, of which one may be -1.

    Raises
    ------
    IndexError
        ``dim`` is out of range.
    ValueError
        The sizes do not multiply to the length of the axis.
    """
    shape = shape_of(x)
    axis = axis_of(dim, len(shape), "unflatten")
    known = math.prod(size for size in sizes if size != -1)
    if -1 in sizes and known and shape[axis] % known == 0:
        sizes = [shape[axis] // known if size == -1 else size for size in sizes]
    if math.prod(sizes) != shape[axis]:
        raise ValueError(f"unflatten: {tuple(sizes)} do not multiply to {shape[axis]}")
    return reshape(x, (*shape[:axis], *sizes, *shape[axis + 1 :]))


def squeeze(x: Any, dim: int | Sequence[int] | None = None) -> Any:
    """Drop axes of length 1: all of them, or those in ``dim`` that have length 1."""
    shape = shape_of(x)
    if isinstance(dim, (tuple, list)):
        gone = {axis_of(axis, len(shape), "squeeze") for axis in dim}
        return reshape(x, tuple(n for axis, n in enumerate(shape) if n != 1 or axis not in gone))
    if dim is None:
        return reshape(x, tuple(size for size in shape if size != 1))
    if not shape and dim in (0, -1):  # as PyTorch has it
        return x
    axis = axis_of(dim, len(shape), "squeeze")  # type: ignore[arg-type]
    return reshape(x, shape[:axis] + shape[axis + 1 :]) if shape[axis] == 1 else x


def unsqueeze(x: Any, dim: int) -> Any:
    """Insert an axis of length 1 before axis ``dim``.

    Raises
    ------
    IndexError
        ``dim`` is out of range.
    """
    shape = shape_of(x)
    axis = axis_of(dim, len(shape) + 1, "unsqueeze")
    return reshape(x, (*shape[:axis], 1, *shape[axis:]))


def axis_of(dim: int, ndim: int, name: str) -> int:
    if not -ndim <= dim < ndim:
        raise IndexError(
            f"{name}: dim {dim} is out of range for {ndim} dimensions"
            f" (wanted {-ndim} to {ndim - 1})"
        )
    return dim % ndim


def _batched_permute(primitive: Primitive, examples: Examples, *, dims: tuple[int, ...]) -> Any:
    return primitive(examples.values[0], dims=(0, *(dim + 1 for dim in dims)))


_permute: Primitive = primitive(
    "permute",
    lambda x, *, dims: np.transpose(x, dims),
    vjp=(lambda g, _out, _x, *, dims: _permute(g, dims=inverse(dims)),),
    jvp=(linear,),
    view=True,
    batch=_batched_permute,
)


def inverse(dims: tuple[int, ...]) -> tuple[int, ...]:
    """Return the permutation that undoes ``dims``."""
    back = [0] * len(dims)
    for position, dim in enumerate(dims):
        back[dim] = position
    return tuple(back)


def permute(x: Any, *dims: Any) -> Any:
    """Reorder the axes: axis ``i`` of the result is axis ``dims[i]`` of ``x``.

    Raises
    ------
    ValueError
        ``dims`` does not name every axis once.
    """
    order = unpack(dims)
    ndim = len(shape_of(x))
    if sorted(dim % ndim if -ndim <= dim < ndim else -1 for dim in order) != list(range(ndim)):
        raise ValueError(f"permute: dims {order} must name each of the {ndim} axes once")
    return _permute(x, dims=tuple(dim % ndim for dim in order))


def transpose(x: Any, dim0: int, dim1: int) -> Any:
    """Swap two axes.

    Raises
    ------
    IndexError
        An axis is out of range.
    """
    ndim = len(shape_of(x))
    first, second = axis_of(dim0, ndim, "transpose"), axis_of(dim1, ndim, "transpose")
    order = list(range(ndim))
    order[first], order[second] = second, first
    return _permute(x, dims=tuple(order))


def _batched_broadcast(primitive: Primitive, examples: Examples, *, shape: tuple[int, ...]) -> Any:
    value = raised(examples.values[0], examples.batched[0], len(shape))
    return primitive(value, shape=(examples.size, *shape))


_broadcast_to: Primitive = primitive(
    "broadcast_to",
    lambda x, *, shape: np.broadcast_to(x, shape),
    vjp=(lambda g, _out, _x, *, shape: g,),  # the engine sums it back
    jvp=(linear,),
    view=True,
    batch=_batched_broadcast,
)


def broadcast_to(x: Any, shape: Sequence[int]) -> Any:
    """Repeat ``x`` along new axes and axes of length 1, without copying.

    Raises
    ------
    ValueError
        ``x`` does not broadcast to ``shape``.
    """
    return x if shape_of(x) == tuple(shape) else _broadcast_to(x, shape=tuple(shape))


def expand(x: Any, *shape: Any) -> Any:
    """Return `broadcast_to` under PyTorch's name; a size of -1 keeps that axis as it is.

    Raises
    ------
    ValueError
        ``x`` does not broadcast to ``shape``.
    """
    sizes = unpack(shape)
    own = (1,) * (len(sizes) - len(shape_of(x))) + shape_of(x)
    if len(own) != len(sizes):
        raise ValueError(
            f"expand: shape {own} cannot become {sizes}: a size is wanted for each of its axes"
        )
    wanted = tuple(old if size == -1 else size for old, size in zip(own, sizes, strict=True))
    return broadcast_to(x, wanted)


def _as_dtype(x: Array, *, dtype: np.dtype[Any]) -> Array:
    return arrays.asarray(x).astype(dtype, copy=False)


_cast: Primitive = primitive(
    "cast",
    _as_dtype,
    vjp=(lambda g, _out, _x, *, dtype: g,),
    jvp=(linear,),
    view=True,
    batch=elementwise,
)
_cast_to_integer: Primitive = primitive(
    "cast",
    _as_dtype,
    batch=elementwise,
)


def cast(x: Any, dtype: DTypeLike) -> Any:
    """Convert to another dtype; between floating dtypes the gradient is converted back."""
    wanted = np.dtype(dtype)
    return (_cast if wanted.kind in "fc" else _cast_to_integer)(x, dtype=wanted)


clone: Primitive = primitive(
    "clone",
    arrays.copied,
    vjp=(lambda g, _out, _x: g,),
    jvp=(linear,),
    doc="Return a copy through which gradients flow.",
    batch=elementwise,
)


def movedim(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Any:
    """Move axes to other places; the others keep their order.

    Raises
    ------
    IndexError
        An axis is out of range.
    ValueError
        An axis is named twice, or the two lists differ in length.
    """
    ndim = len(shape_of(x))
    given = [[axes] if isinstance(axes, int) else list(axes) for axes in (source, destination)]
    start, end = ([axis_of(axis, ndim, "movedim") for axis in axes] for axes in given)
    if len(set(start)) != len(start) or len(set(end)) != len(start) or len(start) != len(end):
        raise ValueError(f"movedim: {source} to {destination}: each axis once, as many as places")
    order = [axis for axis in range(ndim) if axis not in start]
    for place, axis in sorted(zip(end, start, strict=True)):
        order.insert(place, axis)
    return permute(x, tuple(order))


def t(x: Any) -> Any:
    """Return the transpose of a matrix; a vector or a number as it is.

    Raises
    ------
    ValueError
        There are more than two axes.
    """
    if len(shape_of(x)) > 2:
        raise ValueError(f"t: at most two dimensions are wanted, got {shape_of(x)}; see transpose")
    return transpose(x, 0, 1) if len(shape_of(x)) == 2 else x


def expand_as(x: Any, other: Any) -> Any:
    """Return `expand` to the shape of ``other``."""
    return expand(x, shape_of(other))


def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]:
    """Return the shape that arrays of these shapes broadcast to.

    Raises
    ------
    ValueError
        They do not broadcast together.
    """
    return np.broadcast_shapes(*(tuple(shape) for shape in shapes))


def broadcast_tensors(*tensors: Any) -> tuple[Any, ...]:
    """Return the arrays broadcast to one shape.

    Raises
    ------
    ValueError
        They do not broadcast together.
    """
    shape = broadcast_shapes(*(shape_of(tensor) for tensor in tensors))
    return tuple(broadcast_to(tensor, shape) for tensor in tensors)


def _at_least(count: int, grow: Any) -> Any:
    def call(*tensors: Any) -> Any:
        listed = len(tensors) == 1 and isinstance(tensors[0], (tuple, list))
        given = tensors[0] if listed else tensors
        found = tuple(grow(x) if len(shape_of(x)) < count else x for x in given)
        return found[0] if len(tensors) == 1 and not listed else found

    return call


def _grow3(x: Any) -> Any:
    shape = shape_of(x)
    return reshape(x, {0: (1, 1, 1), 1: (1, *shape, 1), 2: (*shape, 1)}[len(shape)])


def atleast_1d(*tensors: Any) -> Any:
    """Return a number as an array of one; several arrays as a tuple."""
    return _at_least(1, lambda x: reshape(x, (1,)))(*tensors)


def atleast_2d(*tensors: Any) -> Any:
    """Return a number or vector as a matrix of one row; several arrays as a tuple."""
    return _at_least(2, lambda x: reshape(x, (1, math.prod(shape_of(x)))))(*tensors)


def atleast_3d(*tensors: Any) -> Any:
    """Return at least three axes: a vector in the middle one, a matrix in the first two."""
    return _at_least(3, _grow3)(*tensors)


swapaxes = swapdims = transpose
moveaxis = movedim
