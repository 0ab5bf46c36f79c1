"""Batching rules that operations share; `minidl.autograd.batch` calls them for `vmap`.

A rule gets the operation, its arguments one level down (`Examples`) and its parameters; it returns
the result with the axis of examples in front.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd import arrays
from minidl.autograd.batch import one_by_one
from minidl.autograd.primitive import BatchRule, Box, Examples, Primitive


def _rank(value: Any, batched: bool) -> int:
    """Number of axes of one example."""
    # Not np.shape at once: asked of a box it goes by way of NumPy's protocol.
    shape = value.shape if hasattr(value, "shape") else np.shape(value)
    return len(shape) - batched


def raised(value: Any, batched: bool, rank: int) -> Any:
    """Insert axes of length 1 so that an example has ``rank`` axes (a number stays a number)."""
    if not batched or _rank(value, batched) >= rank:
        return value
    shape = value.shape
    return value.reshape((shape[0], *(1,) * (rank - len(shape) + 1), *shape[1:]))


def elementwise(primitive: Primitive, examples: Examples, **params: Any) -> Any:
    """Align the examples' axes from the right, as broadcasting does."""
    if len(examples.values) == 1:
        return primitive(*examples.values, **params)
    pairs = list(zip(examples.values, examples.batched, strict=True))
    ranks = [_rank(value, flag) for value, flag in pairs]
    rank = max(ranks)
    if min(ranks) == rank:
        return primitive(*examples.values, **params)
    return primitive(*(raised(value, flag, rank) for value, flag in pairs), **params)


def everywhere(value: Any, batched: bool, size: int) -> Any:
    """Repeat an argument that is the same for all examples, without copying."""
    if batched:
        return value
    value = value if isinstance(value, Box) else arrays.asarray(value)
    return np.broadcast_to(value, (size, *value.shape))


def _whole(examples: Examples) -> list[Any]:
    pairs = zip(examples.values, examples.batched, strict=True)
    return [everywhere(value, flag, examples.size) for value, flag in pairs]


def all_with_examples(primitive: Primitive, examples: Examples, **params: Any) -> Any:
    """Give every argument the axis of examples: for operations whose arguments have one shape."""
    return primitive(*_whole(examples), **params)


def along(name: str) -> BatchRule:
    """Return the rule of operations along axes: the parameter ``name`` counts one more."""

    def rule(primitive: Primitive, examples: Examples, **params: Any) -> Any:
        given = params[name]
        if given is None:
            return one_by_one(primitive, examples, **params)
        params[name] = tuple(d + 1 for d in given) if isinstance(given, tuple) else given + 1
        if "shape" in params:
            params["shape"] = (examples.size, *params["shape"])
        return primitive(*_whole(examples), **params)

    return rule


def folded(primitive: Primitive, examples: Examples, **params: Any) -> Any:
    """Take the examples for more of what the first axis counts: images, rows."""
    whole = _whole(examples)
    joined = [value.reshape((-1, *value.shape[2:])) for value in whole]
    out = primitive(*joined, **params)
    return out.reshape((examples.size, whole[0].shape[1], *out.shape[1:]))


def folded_if_only_first(primitive: Primitive, examples: Examples, **params: Any) -> Any:
    """Fold the examples into the first argument's first axis where the others are shared."""
    if not examples.batched[0] or any(examples.batched[1:]):
        return one_by_one(primitive, examples, **params)
    first, *rest = examples.values
    out = primitive(first.reshape((-1, *first.shape[2:])), *rest, **params)
    return out.reshape((examples.size, first.shape[1], *out.shape[1:]))


def refused(primitive: Primitive, examples: Examples, **params: Any) -> Any:
    """Refuse: the shape of the result depends on values, so examples would differ in it.

    Raises
    ------
    TypeError
        Always.
    """
    raise TypeError(
        f"{primitive.name} inside vmap: the shape of the result depends on the values, so the "
        "examples would differ in it; call it outside, or use a mask (minidl.where)"
    )
