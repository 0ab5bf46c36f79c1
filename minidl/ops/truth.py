"""Questions about arrays as a whole: is any element true, are all, which, how many."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd.primitive import Primitive, plain, primitive
from minidl.ops.arithmetic import eq, ne
from minidl.ops.batching import along, refused
from minidl.ops.reduce import Dim, axes, sum
from minidl.ops.rounding import isclose
from minidl.ops.shape import reshape, shape_of

__all__ = [
    "all",
    "allclose",
    "any",
    "count_nonzero",
    "equal",
    "isin",
    "nonzero",
]

_any: Primitive = primitive(
    "any",
    lambda x, *, dim, keepdim: np.any(x, axis=dim, keepdims=keepdim),
    batch=along("dim"),
)
_all: Primitive = primitive(
    "all",
    lambda x, *, dim, keepdim: np.all(x, axis=dim, keepdims=keepdim),
    batch=along("dim"),
)


def any(x: Any, dim: Dim = None, keepdim: bool = False) -> Any:
    """Return whether an element over ``dim`` is true (not 0).

    Raises
    ------
    IndexError
        An axis is out of range.
    """
    return _any(x, dim=axes(dim, len(shape_of(x)), "any"), keepdim=keepdim)


def all(x: Any, dim: Dim = None, keepdim: bool = False) -> Any:
    """Return whether every element over ``dim`` is true (not 0).

    Raises
    ------
    IndexError
        An axis is out of range.
    """
    return _all(x, dim=axes(dim, len(shape_of(x)), "all"), keepdim=keepdim)


def count_nonzero(x: Any, dim: Dim = None) -> Any:
    """Return the number of elements over ``dim`` that are not 0.

    Raises
    ------
    IndexError
        An axis is out of range.
    """
    return sum(ne(x, 0), axes(dim, len(shape_of(x)), "count_nonzero"))


def isin(elements: Any, test_elements: Any, *, invert: bool = False) -> Any:
    """Return where ``elements`` are among ``test_elements`` (or are not, with ``invert``)."""
    known = reshape(test_elements, (-1,)) if shape_of(test_elements) else test_elements
    same = eq(reshape(elements, (*shape_of(elements), 1)), known)
    found = any(same, -1)
    return eq(found, False) if invert else found


_nonzero: Primitive = primitive(
    "nonzero",
    lambda x: np.argwhere(x) if x.ndim else np.zeros((int(x != 0), 0), int, like=x),
    batch=refused,
)


def nonzero(x: Any, *, as_tuple: bool = False) -> Any:
    """Return the places of elements that are not 0: ``(count, ndim)``, or a tuple of columns.

    Raises
    ------
    TypeError
        Inside vmap: examples would differ in the number of places.
    """
    places = _nonzero(x)
    if as_tuple:
        return tuple(places[:, axis] for axis in range(shape_of(places)[1]))
    return places


def allclose(
    x: Any, y: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Return whether ``|x - y| <= atol + rtol · |y|`` everywhere, as a Python bool."""
    return bool(plain(all(isclose(x, y, rtol, atol, equal_nan)), "allclose()"))


def equal(x: Any, y: Any) -> bool:
    """Return whether shapes and all elements are the same, as a Python bool."""
    return shape_of(x) == shape_of(y) and bool(plain(all(eq(x, y)), "equal()"))
