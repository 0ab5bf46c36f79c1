"""Sorting, and selecting by rank.

Where an element goes does not change with a small change of its value, so the order is found by an
operation without derivative, and the values are picked by it: the gradient goes to what was picked.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd.primitive import Array, Examples, Primitive, primitive
from minidl.ops.batching import along, everywhere, refused
from minidl.ops.reduce import Extremum, pick_along
from minidl.ops.shape import axis_of, reshape, shape_of

__all__ = [
    "argsort",
    "bucketize",
    "kthvalue",
    "median",
    "mode",
    "msort",
    "nanmedian",
    "searchsorted",
    "sort",
    "topk",
    "unique",
    "unique_consecutive",
]


def _order(x: Array, *, dim: int, descending: bool) -> Array:
    if not descending:
        return np.argsort(x, axis=dim, kind="stable")
    # Sorted backward from the back, equal elements stay in the order they had.
    back = np.argsort(np.flip(x, dim), axis=dim, kind="stable")
    return x.shape[dim] - 1 - np.flip(back, dim)


_argsort: Primitive = primitive("argsort", _order, batch=along("dim"))


def argsort(x: Any, dim: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """Return the places along ``dim`` in the order of their values; NaN counts as largest.

    Equal elements stay in the order they had, whatever ``stable`` says.

    Raises
    ------
    IndexError
        ``dim`` is out of range.
    """
    return _ordered("argsort", x, dim, descending)


def _ordered(name: str, x: Any, dim: int, descending: bool) -> Any:
    axis = axis_of(dim, len(shape_of(x)) or 1, name)
    whole = x if shape_of(x) else reshape(x, (1,))
    return reshape(_argsort(whole, dim=axis, descending=descending), shape_of(x))


def _picked(x: Any, indices: Any, dim: int) -> Any:
    """Elements at ``indices`` along ``dim``; a single number is an array of one."""
    if shape_of(x):
        return pick_along(x, indices, dim=dim % len(shape_of(x)))
    return reshape(x, shape_of(indices))


def sort(x: Any, dim: int = -1, descending: bool = False, stable: bool = True) -> Extremum:
    """Return the elements along ``dim`` in order, and the places they come from; see `argsort`."""
    indices = _ordered("sort", x, dim, descending)
    return Extremum(_picked(x, indices, dim), indices)


def msort(x: Any) -> Any:
    """Return the elements along the first axis in order."""
    return sort(x, 0).values


def topk(x: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Extremum:
    """Return the ``k`` largest (or smallest) elements along ``dim``, in order, and their places.

    Raises
    ------
    ValueError
        There are fewer than ``k``.
    IndexError
        ``dim`` is out of range.
    """
    axis = axis_of(dim, len(shape_of(x)) or 1, "topk")
    count = shape_of(x)[axis] if shape_of(x) else 1
    if not 0 <= k <= count:
        raise ValueError(f"topk: k must be 0 to {count}, the length of dim {dim}, got {k}")
    if not shape_of(x):
        return Extremum(x, argsort(x))
    part = (slice(None),) * axis + (slice(0, k),)
    indices = argsort(x, dim, largest)[part]
    return Extremum(_picked(x, indices, axis), indices)


def _at_rank(x: Any, indices: Any, axis: int, keepdim: bool) -> Extremum:
    """Pick one element along ``axis``; ``indices`` has length 1 there."""
    if not shape_of(x):
        return Extremum(x, reshape(indices, ()))
    values = _picked(x, indices, axis)
    if not keepdim:
        shape = shape_of(x)[:axis] + shape_of(x)[axis + 1 :]
        values, indices = reshape(values, shape), reshape(indices, shape)
    return Extremum(values, indices)


def kthvalue(x: Any, k: int, dim: int = -1, keepdim: bool = False) -> Extremum:
    """Return the ``k``-th smallest element along ``dim`` (1 is the smallest), and its place.

    Raises
    ------
    ValueError
        There are fewer than ``k``.
    """
    axis = axis_of(dim, len(shape_of(x)) or 1, "kthvalue")
    count = shape_of(x)[axis] if shape_of(x) else 1
    if not 1 <= k <= count:
        raise ValueError(f"kthvalue: k must be 1 to {count}, the length of dim {dim}, got {k}")
    order = argsort(x, dim)
    part = (slice(None),) * axis + (slice(k - 1, k),) if shape_of(x) else ()
    return _at_rank(x, order[part], axis, keepdim)


def _middle(x: Array, *, dim: int, skip_nan: bool) -> Array:
    """Place of the lower median; of the first NaN, if those count and there is one."""
    order = np.argsort(x, axis=dim, kind="stable")
    missing = np.isnan(x) if x.dtype.kind == "f" else np.zeros(x.shape, bool, like=x)
    counted = (~missing).sum(axis=dim, keepdims=True)
    count = counted if skip_nan else np.full_like(counted, x.shape[dim])
    found = np.take_along_axis(order, np.maximum((count - 1) // 2, 0), dim)
    if skip_nan:
        return found
    first = np.argmax(missing, axis=dim, keepdims=True)
    return np.where(counted < x.shape[dim], first, found)


_median_place: Primitive = primitive("median", _middle, batch=along("dim"))


def median(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Return the median: of two in the middle the lower; with ``dim``, a pair with its place.

    A NaN is the median of whatever holds one.

    Raises
    ------
    IndexError
        ``dim`` is out of range.
    ValueError
        There is no element.
    """
    return _median("median", x, dim, keepdim, skip_nan=False)


def nanmedian(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Return the median of what is not NaN; see `median`."""
    return _median("nanmedian", x, dim, keepdim, skip_nan=True)


def _median(name: str, x: Any, dim: int | None, keepdim: bool, skip_nan: bool) -> Any:
    whole = reshape(x, (-1,)) if dim is None or not shape_of(x) else x
    axis = axis_of(0 if dim is None else dim, len(shape_of(whole)), name)
    if not shape_of(whole)[axis]:
        raise ValueError(f"{name}: no element along dim {dim} of shape {shape_of(x)}")
    found = _at_rank(whole, _median_place(whole, dim=axis, skip_nan=skip_nan), axis, keepdim)
    if dim is None:
        return reshape(found.values, ())
    return found if shape_of(x) else Extremum(x, reshape(found.indices, ()))


def _most_frequent(x: Array, *, dim: int) -> Array:
    """Last place of the most frequent element; of several, of the smallest."""
    ordered = np.sort(x, axis=dim)
    last = np.moveaxis(ordered, dim, -1)
    counts = (last[..., :, None] == last[..., None, :]).sum(-1)
    best = np.take_along_axis(last, counts.argmax(-1)[..., None], -1)
    same = np.moveaxis(x, dim, -1) == best
    place = x.shape[dim] - 1 - np.argmax(same[..., ::-1], axis=-1)
    return np.expand_dims(place, dim)


_mode_place: Primitive = primitive("mode", _most_frequent, batch=along("dim"))


def mode(x: Any, dim: int = -1, keepdim: bool = False) -> Extremum:
    """Return the most frequent element along ``dim`` (of several the smallest), and its last place.

    Raises
    ------
    IndexError
        ``dim`` is out of range.
    """
    axis = axis_of(dim, len(shape_of(x)) or 1, "mode")
    whole = x if shape_of(x) else reshape(x, (1,))
    return _at_rank(x, _mode_place(whole, dim=axis), axis, keepdim)


def _insertion(edges: Array, values: Array, *, right: bool) -> Array:
    side: Any = "right" if right else "left"
    if edges.ndim == 1:
        return np.searchsorted(edges, values, side)
    rows = edges.reshape(-1, edges.shape[-1])
    wanted = np.broadcast_to(values, (*edges.shape[:-1], values.shape[-1]))
    found = [
        np.searchsorted(row, v, side)
        for row, v in zip(rows, wanted.reshape(-1, values.shape[-1]), strict=True)
    ]
    return (
        np.stack(found).reshape(wanted.shape)
        if found
        else np.zeros(wanted.shape, np.intp, like=edges)
    )


def _batched_insertion(operation: Primitive, examples: Examples, *, right: bool) -> Any:
    (edges, values), (own, other) = examples.values, examples.batched
    if not own and len(edges.shape) == 1:
        return operation(edges, values, right=right)
    edges = everywhere(edges, own, examples.size)
    values = everywhere(values, other, examples.size)
    shape = values.shape
    if len(edges.shape) == 2:  # one sequence an example, for values of any shape
        values = values.reshape((shape[0], -1))
    return operation(edges, values, right=right).reshape(shape)


_searchsorted: Primitive = primitive("searchsorted", _insertion, batch=_batched_insertion)


def searchsorted(sorted_sequence: Any, values: Any, *, right: bool = False) -> Any:
    """Return where ``values`` would have to be inserted to keep ``sorted_sequence`` sorted.

    Parameters
    ----------
    sorted_sequence
        ``(n,)``, or ``(*, n)`` with one sequence for each row of ``values``.
    values
        Any shape, or ``(*, m)``.
    right
        After equal elements, not before.

    Raises
    ------
    ValueError
        Leading axes differ.
    """
    edges, wanted = shape_of(sorted_sequence), shape_of(values)
    if not edges or (len(edges) > 1 and edges[:-1] != wanted[:-1]):
        raise ValueError(
            f"searchsorted: sequences of shape {edges} do not fit values of shape {wanted}"
        )
    values = values if hasattr(values, "shape") else np.asarray(values)
    return _searchsorted(sorted_sequence, values, right=right)


def bucketize(x: Any, boundaries: Any, *, right: bool = False) -> Any:
    """Return which of the buckets between ``boundaries`` (sorted) each element falls in."""
    return searchsorted(boundaries, x, right=right)


def _distinct(what: int, consecutive: bool) -> Any:
    """Values (0), inverse (1) or counts (2) of the distinct elements, or slices along ``dim``."""

    def find(x: Array, *, dim: int | None) -> Array:
        if not consecutive:
            found: Array = np.unique(x, return_inverse=True, return_counts=True, axis=dim)[what]
            return found.reshape(x.shape) if what == 1 and dim is None else found
        flat = x.reshape(-1) if dim is None else np.moveaxis(x, dim, 0)
        rest = tuple(range(1, flat.ndim))
        starts = np.zeros(len(flat), bool, like=flat)
        starts[:1] = True
        starts[1:] = (flat[1:] != flat[:-1]).any(axis=rest) if rest else flat[1:] != flat[:-1]
        if what == 0:
            return flat[starts] if dim is None else np.moveaxis(flat[starts], 0, dim)
        numbers = np.cumsum(starts) - 1
        if what == 1:
            return numbers.reshape(x.shape) if dim is None else numbers
        return np.bincount(numbers)

    return find


_unique_parts = [
    primitive("unique", _distinct(what, consecutive=False), batch=refused) for what in range(3)
]
_run_parts = [
    primitive("unique_consecutive", _distinct(what, consecutive=True), batch=refused)
    for what in range(3)
]


def _unique(parts: Any, x: Any, inverse: bool, counts: bool, dim: int | None) -> Any:
    axis = None if dim is None else axis_of(dim, len(shape_of(x)), "unique")
    output = parts[0](x, dim=axis)
    if not inverse and not counts:
        return output
    found = [output]
    found += [parts[1](x, dim=axis)] if inverse else []
    found += [parts[2](x, dim=axis)] if counts else []
    return tuple(found)


def unique(
    x: Any,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """Return the distinct elements in order (or slices along ``dim``), as constants.

    With ``return_inverse`` and ``return_counts`` a tuple: where each element is among them, and
    how often each was there.

    Raises
    ------
    TypeError
        Inside vmap: examples would differ in their number.
    """
    return _unique(_unique_parts, x, return_inverse, return_counts, dim)


def unique_consecutive(
    x: Any, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """Return the elements without those equal to the one before; see `unique`."""
    return _unique(_run_parts, x, return_inverse, return_counts, dim)
