"""Gathering along an axis, and writing to many places at once.

All return new arrays. Where several writes meet in one place, `scatter` keeps the last and the
others combine. Indices are arguments of the operations, so a transform may carry them.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np

from minidl.autograd.arrays import on_host
from minidl.autograd.primitive import Array, Primitive, beside, plain, primitive
from minidl.ops.arithmetic import eq, gt, where
from minidl.ops.batching import along
from minidl.ops.diagonals import diag_embed, diagonal
from minidl.ops.elementwise import masked
from minidl.ops.indexing import add_at, getitem, setitem
from minidl.ops.reduce import pick_along, put_along
from minidl.ops.scan import cumsum
from minidl.ops.shape import (
    axis_of,
    broadcast_shapes,
    broadcast_to,
    cast,
    movedim,
    ravel,
    reshape,
    shape_of,
)

__all__ = [
    "diagonal_scatter",
    "gather",
    "index_add",
    "index_copy",
    "index_fill",
    "index_put",
    "index_select",
    "masked_fill",
    "masked_scatter",
    "masked_select",
    "put",
    "scatter",
    "scatter_add",
    "scatter_reduce",
    "select_scatter",
    "slice_scatter",
    "take",
    "take_along_dim",
]

Reduce: TypeAlias = Literal["sum", "prod", "mean", "amax", "amin"]


def _region(name: str, x: Any, dim: int, index: Any) -> tuple[int, tuple[slice, ...]]:
    """Which part of ``x`` an index of at most its size speaks of."""
    shape, wanted = shape_of(x), shape_of(index)
    axis = axis_of(dim, len(shape) or 1, name)
    if index.dtype.kind not in "iu":
        raise TypeError(f"{name}: the index must be of integers, got {index.dtype}")
    fits = len(shape) == len(wanted) and all(
        a <= b for i, (a, b) in enumerate(zip(wanted, shape, strict=True)) if i != axis
    )
    if not fits:
        raise ValueError(
            f"{name}: index {wanted} does not fit {shape}: as many axes, and none longer but {axis}"
        )
    return axis, tuple(slice(None if i == axis else n) for i, n in enumerate(wanted))


def gather(x: Any, dim: int, index: Any) -> Any:
    """Return ``x`` at ``index`` along ``dim``: ``out[i, j] = x[index[i, j], j]`` for dim 0.

    Shapes: ``index`` has as many axes as ``x``, none longer but ``dim``; the result its shape.

    Raises
    ------
    ValueError
        The shapes do not fit.
    IndexError
        An index is out of range.
    """
    axis, region = _region("gather", x, dim, index)
    return pick_along(x[region], index, dim=axis) if shape_of(x) else x


def _replaced(x: Any, region: tuple[slice, ...], part: Any) -> Any:
    whole = all(s.stop is None or s.stop == n for s, n in zip(region, shape_of(x), strict=True))
    return part if whole else setitem(x, region, part)


def _source(name: str, src: Any, index: Any, x: Any) -> Any:
    """What is written, of the index's shape: a number, or the first part of a larger array."""
    if not shape_of(src):
        src = src if hasattr(src, "dtype") else np.asarray(src, x.dtype)
        return broadcast_to(src, shape_of(index))
    wanted = shape_of(index)
    if len(shape_of(src)) != len(wanted) or any(
        a < b for a, b in zip(shape_of(src), wanted, strict=True)
    ):
        raise ValueError(f"{name}: src {shape_of(src)} is smaller than index {wanted}")
    return src if shape_of(src) == wanted else src[tuple(slice(n) for n in wanted)]


def scatter_add(x: Any, dim: int, index: Any, src: Any) -> Any:
    """Return ``x`` with ``src`` added at ``index`` along ``dim``; the adjoint of `gather`.

    Raises
    ------
    ValueError
        The shapes do not fit.
    """
    axis, region = _region("scatter_add", x, dim, index)
    if not shape_of(x):
        return x + _source("scatter_add", src, index, x)
    part = x[region]
    more = put_along(_source("scatter_add", src, index, x), index, dim=axis, shape=shape_of(part))
    return _replaced(x, region, part + more)


def _last_writes(index: Array, *, dim: int, length: int) -> Array:
    shape = (*index.shape[:dim], length, *index.shape[dim + 1 :])
    numbers = np.broadcast_to(
        np.arange(index.shape[dim]).reshape([-1 if i == dim else 1 for i in range(index.ndim)]),
        index.shape,
    )
    order = np.full(shape, -1)
    np.maximum.at(order, _places(index, dim), numbers)
    found: Array = np.take_along_axis(order, index, dim) == numbers
    return found


def _places(index: Array, dim: int) -> tuple[Any, ...]:
    places = list(np.ogrid[tuple(slice(n) for n in index.shape)])
    places[dim] = index
    return tuple(places)


_survives: Primitive = primitive("scatter", on_host(_last_writes), batch=along("dim"))


def scatter(
    x: Any, dim: int, index: Any, src: Any, *, reduce: Literal["add", "multiply"] | None = None
) -> Any:
    """Return ``x`` with ``src`` (an array or a number) written at ``index`` along ``dim``.

    ``reduce`` combines with what is there instead.

    Raises
    ------
    ValueError
        The shapes do not fit, or ``reduce`` is unknown.
    """
    if reduce is not None:
        if reduce not in ("add", "multiply"):
            raise ValueError(f"scatter: reduce must be 'add' or 'multiply', got {reduce!r}")
        src = _source("scatter", src, index, x)
        how: Reduce = "sum" if reduce == "add" else "prod"
        return scatter_reduce(x, dim, index, src, how)
    axis, region = _region("scatter", x, dim, index)
    src = _source("scatter", src, index, x)
    if not shape_of(x):
        return src
    part = x[region]
    shape = shape_of(part)
    kept = masked(src, _survives(index, dim=axis, length=shape[axis]))
    hit = _hits(index, axis, shape)
    return _replaced(x, region, where(hit, put_along(kept, index, dim=axis, shape=shape), part))


def _hits(index: Any, axis: int, shape: tuple[int, ...]) -> Any:
    """Where anything is written."""
    return gt(_counts(index, axis, shape), 0)


def _counts(index: Any, axis: int, shape: tuple[int, ...]) -> Any:
    return put_along(np.ones(shape_of(index), np.intp), index, dim=axis, shape=shape)


def _combined(operation: Any) -> Any:
    def value(part: Array, src: Array, index: Array, *, dim: int) -> Array:
        out = np.array(part)
        operation.at(out, _places(index, dim), src)
        return out

    return value


def _shares(out: Any, part: Any, src: Any, index: Any, dim: int) -> tuple[Any, Any]:
    """Which of the elements attain the extremum, divided by how many do in that place."""
    own = eq(part, out)
    theirs = eq(src, pick_along(out, index, dim=dim))
    count = cast(own, out.dtype) + put_along(
        cast(theirs, out.dtype), index, dim=dim, shape=out.shape
    )
    return own / count, theirs / pick_along(count, index, dim=dim)


def _extremum(name: str, operation: Any) -> Primitive:
    return primitive(
        name,
        on_host(_combined(operation)),
        vjp=(
            lambda g, out, part, src, index, *, dim: g * _shares(out, part, src, index, dim)[0],
            lambda g, out, part, src, index, *, dim: (
                pick_along(g, index, dim=dim) * _shares(out, part, src, index, dim)[1]
            ),
            None,
        ),
        jvp=(
            lambda t, out, part, src, index, *, dim: t * _shares(out, part, src, index, dim)[0],
            lambda t, out, part, src, index, *, dim: put_along(
                t * _shares(out, part, src, index, dim)[1], index, dim=dim, shape=out.shape
            ),
            None,
        ),
        batch=along("dim"),
    )


_scatter_max = _extremum("scatter_reduce", np.maximum)
_scatter_min = _extremum("scatter_reduce", np.minimum)


def _no_zero(value: Any) -> Any:
    return where(eq(value, 0), 1.0, value)


def _others(part: Any, src: Any, index: Any, dim: int) -> tuple[Any, Any]:
    """For each factor the product of all other factors in its place, though some may be 0."""
    zeros = cast(eq(part, 0), np.intp) + put_along(
        cast(eq(src, 0), np.intp), index, dim=dim, shape=part.shape
    )
    rest = _scatter_prod(_no_zero(part), _no_zero(src), index, dim=dim)

    def share(value: Any, count: Any, product: Any) -> Any:
        zero = eq(value, 0)
        left = count - cast(zero, np.intp)  # zeros among the others
        return where(eq(left, 0), product / _no_zero(value), 0.0)

    return (
        share(part, zeros, rest),
        share(src, pick_along(zeros, index, dim=dim), pick_along(rest, index, dim=dim)),
    )


_scatter_prod: Primitive = primitive(
    "scatter_reduce",
    on_host(_combined(np.multiply)),
    vjp=(
        lambda g, _out, part, src, index, *, dim: g * _others(part, src, index, dim)[0],
        lambda g, _out, part, src, index, *, dim: (
            pick_along(g, index, dim=dim) * _others(part, src, index, dim)[1]
        ),
        None,
    ),
    jvp=(
        lambda t, out, part, src, index, *, dim: t * _others(part, src, index, dim)[0],
        lambda t, out, part, src, index, *, dim: put_along(
            t * _others(part, src, index, dim)[1], index, dim=dim, shape=part.shape
        ),
        None,
    ),
    batch=along("dim"),
)


def scatter_reduce(
    x: Any, dim: int, index: Any, src: Any, reduce: Reduce, *, include_self: bool = True
) -> Any:
    """Return ``x`` combined with ``src`` at ``index`` along ``dim``.

    Parameters
    ----------
    reduce
        ``"sum"``, ``"prod"``, ``"mean"``, ``"amax"`` or ``"amin"``; ties share the gradient.
    include_self
        Whether what was in ``x`` takes part where something is written.

    Raises
    ------
    ValueError
        The shapes do not fit, or ``reduce`` is unknown.
    """
    start = {"sum": 0.0, "mean": 0.0, "prod": 1.0, "amax": -np.inf, "amin": np.inf}
    if reduce not in start:
        raise ValueError(f"scatter_reduce: reduce must be one of {list(start)}, got {reduce!r}")
    axis, region = _region("scatter_reduce", x, dim, index)
    src = _source("scatter_reduce", src, index, x)
    part = x[region]
    shape = shape_of(part)
    if not include_self:
        part = where(_hits(index, axis, shape), start[reduce], part)
    if reduce in ("sum", "mean"):
        out = part + put_along(src, index, dim=axis, shape=shape)
        if reduce == "mean":
            counts = _counts(index, axis, shape) + int(include_self)
            out = out / cast(where(gt(counts, 0), counts, 1), out.dtype)
    else:
        combine = {"prod": _scatter_prod, "amax": _scatter_max, "amin": _scatter_min}[reduce]
        out = combine(part, src, index, dim=axis)
    return _replaced(x, region, out)


# ---- a list of places along one axis -----------------------------------------------------------


def _at(x: Any, dim: int, index: Any, name: str) -> tuple[Any, ...]:
    axis = axis_of(dim, len(shape_of(x)), name)
    if len(shape_of(index)) > 1:
        raise ValueError(f"{name}: the index must be a vector, got shape {shape_of(index)}")
    return (*(slice(None),) * axis, reshape(index, (-1,)))


def index_select(x: Any, dim: int, index: Any) -> Any:
    """Return the slices of ``x`` at ``index`` (a vector) along ``dim``.

    Raises
    ------
    IndexError
        ``dim`` or an index is out of range.
    ValueError
        ``index`` has more than one axis.
    """
    return getitem(x, _at(x, dim, index, "index_select"))


def index_add(x: Any, dim: int, index: Any, source: Any, *, alpha: float = 1) -> Any:
    """Return ``x`` with ``alpha · source`` added to its slices at ``index`` along ``dim``."""
    place = _at(x, dim, index, "index_add")
    return x + add_at(source if alpha == 1 else source * alpha, place, shape_of(x))


def index_copy(x: Any, dim: int, index: Any, source: Any) -> Any:
    """Return ``x`` with ``source`` in place of its slices at ``index`` along ``dim``."""
    return setitem(x, _at(x, dim, index, "index_copy"), source)


def index_fill(x: Any, dim: int, index: Any, value: Any) -> Any:
    """Return ``x`` with ``value`` in its slices at ``index`` along ``dim``."""
    return setitem(x, _at(x, dim, index, "index_fill"), value)


def index_put(x: Any, indices: tuple[Any, ...], values: Any, accumulate: bool = False) -> Any:
    """Return ``x`` with ``values`` at ``x[indices]``, or added to what is there."""
    if not accumulate:
        return setitem(x, tuple(indices), values)
    part = shape_of(getitem(np.broadcast_to(np.zeros((), bool), shape_of(x)), tuple(indices)))
    return x + add_at(broadcast_to(values, part), tuple(indices), shape_of(x))


# ---- masks -------------------------------------------------------------------------------------


def masked_fill(x: Any, mask: Any, value: Any) -> Any:
    """Return ``x`` with ``value`` where ``mask`` (boolean) holds."""
    return where(mask, value, x)


def masked_select(x: Any, mask: Any) -> Any:
    """Return the elements of ``x`` where ``mask`` holds, along one axis.

    Raises
    ------
    TypeError
        Inside vmap: examples would differ in the number of elements.
    """
    shape = broadcast_shapes(shape_of(x), shape_of(mask))
    known = np.broadcast_to(plain(mask, "masked_select() of a mask"), shape)
    return ravel(broadcast_to(x, shape))[np.flatnonzero(known)]


def masked_scatter(x: Any, mask: Any, source: Any) -> Any:
    """Return ``x`` with the first elements of ``source``, in order, where ``mask`` holds.

    Raises
    ------
    ValueError
        ``mask`` does not broadcast to the shape of ``x``.
    """
    mask = broadcast_to(mask, shape_of(x))
    order = cumsum(cast(ravel(mask), np.intp), 0) - 1
    flat = ravel(source)
    last = shape_of(flat)[0] - 1
    if last < 0:
        return x
    held = where(order < 0, 0, where(order > last, last, order))
    return where(mask, reshape(pick_along(flat, held, dim=0), shape_of(x)), x)


# ---- flat places, slices, diagonals ------------------------------------------------------------


def take(x: Any, index: Any) -> Any:
    """Return the elements of the flat array at ``index``, in its shape."""
    return getitem(ravel(x), index)


def take_along_dim(x: Any, indices: Any, dim: int | None = None) -> Any:
    """Return ``x`` at ``indices`` along ``dim`` (or of the flat array); the others broadcast.

    Raises
    ------
    IndexError
        ``dim`` is out of range.
    ValueError
        The shapes do not broadcast.
    """
    if dim is None:
        return take(x, ravel(indices))
    axis = axis_of(dim, len(shape_of(x)), "take_along_dim")
    others = ([*shape_of(v)] for v in (x, indices))
    common = broadcast_shapes(*((*s[:axis], 1, *s[axis + 1 :]) for s in others))
    own, other = ((*common[:axis], shape_of(v)[axis], *common[axis + 1 :]) for v in (x, indices))
    return pick_along(broadcast_to(x, own), broadcast_to(indices, other), dim=axis)


def put(x: Any, index: Any, source: Any, accumulate: bool = False) -> Any:
    """Return ``x`` with ``source`` at ``index`` of the flat array, or added there."""
    flat = index_put(ravel(x), (ravel(index),), ravel(source), accumulate)
    return reshape(flat, shape_of(x))


def select_scatter(x: Any, src: Any, dim: int, index: int) -> Any:
    """Return ``x`` with ``src`` in place of the slice at ``index`` along ``dim``."""
    axis = axis_of(dim, len(shape_of(x)), "select_scatter")
    return setitem(x, (*(slice(None),) * axis, index), src)


def slice_scatter(
    x: Any,
    src: Any,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Any:
    """Return ``x`` with ``src`` in place of the slice from ``start`` to ``end`` along ``dim``."""
    axis = axis_of(dim, len(shape_of(x)), "slice_scatter")
    return setitem(x, (*(slice(None),) * axis, slice(start, end, step)), src)


def diagonal_scatter(x: Any, src: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """Return ``x`` with ``src`` in place of the diagonal that `minidl.diagonal` returns.

    Raises
    ------
    ValueError
        ``src`` is not of that diagonal's shape.
    """
    wanted = shape_of(diagonal(np.broadcast_to(np.zeros(()), shape_of(x)), offset, dim1, dim2))
    if shape_of(src) != wanted:
        raise ValueError(f"diagonal_scatter: src has shape {shape_of(src)}, wanted {wanted}")
    plane = movedim(x, (dim1, dim2), (-2, -1))
    rows, columns = shape_of(plane)[-2:]
    written = diag_embed(src, offset)[..., :rows, :columns]
    short = (rows - shape_of(written)[-2], columns - shape_of(written)[-1])
    if any(short):  # the embedding is square, and may be smaller than the plane
        whole = beside(np.zeros(shape_of(plane), written.dtype), written)
        part = (..., slice(shape_of(written)[-2]), slice(shape_of(written)[-1]))
        written = setitem(whole, part, written)
    keep = np.eye(rows, columns, offset, dtype=bool)
    return movedim(where(keep, written, plane), (-2, -1), (dim1, dim2))
