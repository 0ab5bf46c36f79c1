"""Nested tuples, lists and dicts of arrays, taken apart and put together again.

Transforms accept such *trees* wherever they accept an array, so parameters may come as a dict of
lists of arrays and their gradients come back in the same shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def leaves(tree: Any) -> Iterator[Any]:
    """Yield the leaves of a tree in order; None holds none."""
    if tree is None:
        return
    if isinstance(tree, (tuple, list)):
        for part in tree:
            yield from leaves(part)
    elif isinstance(tree, dict):
        for key in tree:
            yield from leaves(tree[key])
    else:
        yield tree


def tree_map(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Apply ``function`` to each leaf (and the leaves at its place in ``others``).

    Raises
    ------
    ValueError
        The trees differ in structure.
    """
    if tree is None:
        return None
    if isinstance(tree, (tuple, list)):
        for other in others:
            if not isinstance(other, (tuple, list)) or len(other) != len(tree):
                raise ValueError(f"trees differ: {type(tree).__name__} of {len(tree)}, {other!r}")
        parts = [tree_map(function, *row) for row in zip(tree, *others, strict=True)]
        if hasattr(tree, "_fields"):
            return type(tree)(*parts)
        return type(tree)(parts)
    if isinstance(tree, dict):
        for other in others:
            if not isinstance(other, dict) or other.keys() != tree.keys():
                raise ValueError(f"trees differ: dict with keys {sorted(tree)}, {other!r}")
        return {
            key: tree_map(function, tree[key], *(other[key] for other in others)) for key in tree
        }
    return function(tree, *others)
