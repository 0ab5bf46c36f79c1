"""Gradients handed over while backward goes on, to who wants to do something with them meanwhile.

A leaf's gradient is complete when the last operation that used the leaf has been walked, long
before the walk ends for those near the loss. Nobody asks for that as a rule, and then leaves are
given their gradients together, at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar

from minidl.autograd.reverse import Leaf, Node

#: Called by `backward` with each leaf as soon as its ``grad`` is complete, in this thread.
listener: ContextVar[Callable[[Leaf], None] | None] = ContextVar("listener", default=None)


def last_uses(order: Iterable[Node | Leaf]) -> dict[Node | Leaf, list[Leaf]]:
    """Return by node the leaves whose gradient is complete once it has been walked.

    ``order`` is that of the walk.
    """
    last: dict[Leaf, Node | Leaf] = {}
    for node in order:
        for _, parent in node.edges:
            if isinstance(parent, Leaf):
                last[parent] = node
    found: dict[Node | Leaf, list[Leaf]] = {}
    for leaf, node in last.items():
        found.setdefault(node, []).append(leaf)
    return found
