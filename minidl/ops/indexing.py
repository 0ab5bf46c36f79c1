"""Reading and writing parts: ``x[index]`` and ``x[index] = value``.

An index is split into a template (slices, whole numbers, None, Ellipsis) and the arrays in it,
which are arguments of the operation like any other: a transform may carry them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd.arrays import copied, on_host, others
from minidl.autograd.batch import one_by_one
from minidl.autograd.primitive import (
    Array,
    Box,
    Examples,
    Primitive,
    Rule,
    beside,
    place_of,
    primitive,
)
from minidl.kernels.scattering import add_at as add_at_places
from minidl.ops.arithmetic import where
from minidl.ops.batching import everywhere, raised
from minidl.ops.shape import broadcast_to, reshape, shape_of

__all__ = [
    "getitem",
    "setitem",
]


class _Slot:
    """The place of an array in a template."""


_SLOT = _Slot()


def split(index: Any) -> tuple[tuple[Any, ...], list[Any]]:
    """Split an index into a template and its arrays."""
    parts = index if isinstance(index, tuple) else (index,)
    template: list[Any] = []
    arrays: list[Any] = []
    for part in parts:
        if isinstance(part, list):
            part = np.asarray(part, dtype=None if part else np.intp)
        if isinstance(part, (np.ndarray, Box)) or type(part) in others:
            if part.dtype.kind not in "iub":
                raise IndexError(f"an index must be of integers or booleans, got {part.dtype}")
            template.append(_SLOT)
            arrays.append(part)
        else:
            template.append(part)
    return tuple(template), arrays


def _fill(template: tuple[Any, ...], arrays: tuple[Array, ...]) -> tuple[Any, ...]:
    if not arrays:
        return template
    rest = iter(arrays)
    return tuple(next(rest) if part is _SLOT else part for part in template)


def _add_at(g: Array, *indices: Array, template: tuple[Any, ...], shape: tuple[int, ...]) -> Array:
    out = np.zeros(shape, g.dtype, like=place_of(g))
    if indices:
        add_at_places(out, _fill(template, indices), g)  # an element may be named twice
    else:
        out[template] = g
    return out


def _simple(template: tuple[Any, ...], arrays: list[Any]) -> bool:
    """Whether an axis in front leaves the order of the result's other axes as it is."""
    # NumPy moves the axes of several index arrays to the front where a slice stands between them,
    # and takes whole numbers for arrays there.
    numbers = any(isinstance(part, (int, np.integer)) for part in template)
    return not arrays or (len(arrays) == 1 and not numbers)


def _batched_index(primitive: Primitive, examples: Examples, **params: Any) -> Any:
    template = params["template"]
    if any(examples.batched[1:]) or not _simple(template, examples.values[1:]):
        return one_by_one(primitive, examples, **params)
    params["template"] = (slice(None), *template)
    if "shape" in params:
        params["shape"] = (examples.size, *params["shape"])
    return primitive(*examples.values, **params)


def _batched_setitem(primitive: Primitive, examples: Examples, *, template: Any) -> Any:
    x, value, *arrays = examples.values
    traced = any(isinstance(array, Box) for array in arrays)
    if any(examples.batched[2:]) or traced or not _simple(template, arrays):
        return one_by_one(primitive, examples, template=template)
    x = everywhere(x, examples.batched[0], examples.size)
    part = np.broadcast_to(np.zeros(()), x.shape[1:])[_fill(template, tuple(arrays))]
    value = raised(value, examples.batched[1], part.ndim)
    return primitive(x, value, *arrays, template=(slice(None), *template))


# Reading at an index and adding at it into zeros are each other's adjoint.
_getitem: Primitive = primitive(
    "getitem",
    lambda x, *arrays, template: x[_fill(template, arrays)],
    vjp=(
        lambda g, _out, x, *arrays, template: _index_add(
            g, *arrays, template=template, shape=x.shape
        ),
    ),
    jvp=(lambda t, out, x, *arrays, template: _getitem(t, *arrays, template=template),),
    view=True,
    batch=_batched_index,
)
_index_add: Primitive = primitive(
    "index_add",
    _add_at,
    vjp=(lambda g, _out, _x, *arrays, template, shape: _getitem(g, *arrays, template=template),),
    jvp=(
        lambda t, out, x, *arrays, template, shape: _index_add(
            t, *arrays, template=template, shape=shape
        ),
    ),
    batch=_batched_index,
)


def getitem(x: Any, index: Any) -> Any:
    """Return ``x[index]``, for every index NumPy knows.

    Raises
    ------
    IndexError
        The index does not fit ``x``, or is an array of floats.
    """
    template, arrays = split(index)
    return _getitem(x, *arrays, template=template)


def add_at(value: Any, index: Any, shape: tuple[int, ...]) -> Any:
    """Return zeros of ``shape`` with ``value`` added at ``index``: the adjoint of `getitem`."""
    template, arrays = split(index)
    return _index_add(value, *arrays, template=template, shape=shape)


def _written(x: Array, value: Any, *indices: Array, template: tuple[Any, ...]) -> Array:
    out = copied(x)
    out[_fill(template, indices)] = value
    return out


def _erase(g: Any, arrays: tuple[Any, ...], template: tuple[Any, ...]) -> Any:
    return _setitem(g, 0.0, *arrays, template=template)


def _into_zeros(t: Any, out: Any, arrays: tuple[Any, ...], template: tuple[Any, ...]) -> Any:
    target = _getitem(out, *arrays, template=template).shape
    shape = tuple(out.shape)
    zeros = beside(np.zeros(shape, t.dtype), t)
    return _setitem(zeros, broadcast_to(t, target), *arrays, template=template)


def _number_of_writes(
    *indices: Array, template: tuple[Any, ...], shape: tuple[int, ...]
) -> tuple[Array, Array]:
    order = np.zeros(shape, np.intp)
    index = _fill(template, indices)
    numbers = np.arange(order[index].size).reshape(order[index].shape)
    order[index] = numbers
    return order[index], numbers


# Which of the written elements are still there, where an index of integers may name a place twice.
_survives: Primitive = primitive(
    "survives",
    on_host(lambda *indices, **where_to: np.equal(*_number_of_writes(*indices, **where_to))),
)


def _read_back(g: Any, arrays: tuple[Any, ...], template: tuple[Any, ...]) -> Any:
    found = _getitem(g, *arrays, template=template)
    if all(array.dtype == np.bool_ for array in arrays):
        return found
    return where(_survives(*arrays, template=template, shape=tuple(g.shape)), found, 0.0)


_put_rules: tuple[Rule, Rule] = (
    lambda g, _out, _x, _value, *arrays, template: _erase(g, arrays, template),
    lambda g, _out, _x, _value, *arrays, template: _read_back(g, arrays, template),
)
_setitem: Primitive = primitive(
    "setitem",
    _written,
    vjp=_put_rules,
    jvp=(
        lambda t, out, x, value, *arrays, template: _erase(t, arrays, template),
        lambda t, out, x, value, *arrays, template: _into_zeros(t, out, arrays, template),
    ),
    batch=_batched_setitem,
)


def setitem(x: Any, index: Any, value: Any) -> Any:
    """Return ``x`` with ``value`` at ``index``; where an index names a place twice, the last wins.

    Raises
    ------
    IndexError
        The index does not fit ``x``.
    ValueError
        ``value`` does not broadcast to the indexed part.
    TypeError
        ``value`` is of a floating dtype and ``x`` is not: fractions and derivatives would be lost.
    """
    template, arrays = split(index)
    into, dtype = getattr(x, "dtype", None), getattr(value, "dtype", None)
    if dtype is not None and dtype.kind == "f" and into is not None and into.kind != "f":
        raise TypeError(f"setitem: {dtype} into an array of {into}; convert one with .to() first")
    shape = shape_of(value)
    if shape and shape[0] == 1:
        # NumPy admits more leading axes of length 1 than the indexed part has; gradients must not.
        while shape and shape[0] == 1:
            shape = shape[1:]
        value = reshape(value, shape)
    return _setitem(x, value, *arrays, template=template)
