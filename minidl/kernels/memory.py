"""Where kernels get the arrays that they fill: new ones, or what a recorded step has planned.

A step that is replayed asks for the same arrays each time, and every page of a new one is first
touched by a page fault. So the program that replays it lends its kernels memory of its own
(`lend`); kernels ask here instead of NumPy. While a step is recorded, what is asked for is noted
(`noting`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from minidl.autograd.arrays import others
from minidl.autograd.primitive import Array

Shape = tuple[int, ...]

_source: ContextVar[Callable[[Shape, Any], Array] | None] = ContextVar("memory", default=None)


def empty(shape: Shape, dtype: Any, like: Any = None) -> Array:
    """Return an array whose elements are anything, of the type of ``like``."""
    source = _source.get()
    if source is None or type(like) in others:
        return np.empty(shape, dtype, like=like)
    return source(shape, dtype)


def zeros(shape: Shape, dtype: Any, like: Any = None) -> Array:
    """Return an array of zeros, of the type of ``like``."""
    source = _source.get()
    if source is None or type(like) in others:
        return np.zeros(shape, dtype, like=like)
    array = source(shape, dtype)
    array.fill(0)
    return array


@contextmanager
def noting(asked: list[Array]) -> Iterator[None]:
    """Add the arrays that kernels ask for in this block to ``asked``."""

    def source(shape: Shape, dtype: Any) -> Array:
        asked.append(np.empty(shape, dtype))
        return asked[-1]

    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)


def lend(arrays: Sequence[Array], function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call ``function`` with ``arrays`` for those that it will ask for, in order."""
    rest = iter(arrays)

    def source(shape: Shape, dtype: Any) -> Array:
        array = next(rest, None)
        if array is None or array.shape != shape or array.dtype != dtype:
            return np.empty(shape, dtype)
        return array

    token = _source.set(source)
    try:
        return function(*args, **kwargs)
    finally:
        _source.reset(token)
