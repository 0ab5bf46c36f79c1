"""Reverse mode: record each operation as a node, then walk the nodes backward.

A `Node` points to the nodes its arguments came from and to nothing that came later, so a graph
is freed by reference counting as soon as its last box goes. It keeps the arrays its rules read and
no others. `pull_back` walks with an explicit list, not by recursion, and hands every rule's
result through the same three duties: the gradient is summed over broadcast axes, cast to the
dtype of what it belongs to, and added to what is there without writing to a buffer we do not own.

A cotangent of a complex value ``z`` is what makes ``Re(cotangent · dz)`` the change of the result,
so rules of holomorphic operations need no conjugate. Users get PyTorch's convention, in which a
gradient ``∂L/∂Re z + i ∂L/∂Im z`` is the direction of steepest ascent: the conjugate, taken where
cotangents come in and gradients go out.

Level 0 is always open: `Tensor(requires_grad=True)` and ``.backward()`` are this machinery there.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import numpy as np

from minidl.autograd.primitive import (
    Array,
    Box,
    Level,
    Primitive,
    as_array,
    box,
    clock,
    recording_floor,
)


class Node:
    """One recorded operation.

    ``edges`` pairs an argument's index with the node the argument came from; ``args`` and ``out``
    are values one level down, None where no rule reads them. ``index`` is the time of recording:
    a parent is always older than its children.
    """

    __slots__ = ("args", "dtype", "edges", "index", "out", "params", "primitive", "shape")
    args: list[Any] | None
    dtype: np.dtype[Any]
    edges: list[tuple[int, Node | Leaf]]
    index: int
    out: Any
    params: dict[str, Any]
    primitive: Primitive
    shape: tuple[int, ...]


class Leaf:
    """Where a walk ends: an input of a transform, or a Tensor that requires a gradient.

    ``grad`` is what ``.backward()`` has accumulated; ``buffer``, if there is one, is the piece of
    an optimizer's flat gradient array in which ``grad`` is to lie.
    """

    __slots__ = ("buffer", "dtype", "grad", "index", "shape")
    edges: tuple[tuple[int, Any], ...] = ()

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.index = clock()
        self.shape = shape
        self.dtype = dtype
        self.grad: Any = None
        self.buffer: Array | None = None

    def touch(self) -> None:
        """Note that the leaf's array was overwritten: operations recorded before are now stale."""
        self.index = clock()

    def accumulate(self, gradient: Any, owned: bool) -> None:
        """Add ``gradient`` to ``grad``, in place where that is safe."""
        if self.grad is None:
            if isinstance(gradient, Box):
                # A constant may be the caller's own; it is copied, so that it can be added to.
                recorded = gradient.trace is not None
                self.grad = gradient if recorded else box(gradient.value.copy(), EAGER, None)
                return
            if self.buffer is not None:
                self.buffer[...] = gradient
                gradient = self.buffer
            elif not owned:
                gradient = gradient.copy()
            self.grad = box(gradient, EAGER, None)
        elif isinstance(gradient, Box) or self.grad.trace is not None:
            self.grad = self.grad + gradient
        else:
            np.add(self.grad.value, gradient, out=self.grad.value)


class ReverseLevel(Level):
    """Run operations and record those that a leaf of this level takes part in."""

    __slots__ = ()

    # Called for every operation of every training step, so it is written for speed: one pass over
    # the arguments, and objects filled in place rather than by constructors that take arguments.
    def run(self, primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Run ``primitive`` one level down; record it where an argument wants a gradient."""
        values = list(args)
        rules = primitive.vjp
        edges: list[tuple[int, Any]] = []
        mask = i = 0
        for arg in args:
            if isinstance(arg, Box) and arg.level is self:
                values[i] = arg.value
                trace = arg.trace
                if trace is not None and rules is not None and rules[i] is not None:
                    edges.append((i, trace))
                    mask |= 1 << i
            i += 1
        serial = self.serial
        if serial:
            self.check_open(primitive)
            out = as_array(primitive(*values, **params))
        else:
            try:
                out = primitive.value(*values, **params) if params else primitive.value(*values)
            except (ValueError, TypeError, IndexError) as error:
                raise primitive.explain(error, values) from error
            if type(out) is not np.ndarray:
                out = np.asarray(out)
        if not mask or recording_floor.get() > serial:
            return out if serial else box(out, self, None)
        unread, out_is_read = primitive.keeps.get((mask, i)) or primitive.unread(mask, i)
        for position in unread:
            values[position] = None
        node = _new_node(Node)
        node.index = clock()
        node.primitive = primitive
        node.args = values
        node.params = params
        node.out = out if out_is_read else None
        node.edges = edges
        node.shape = out.shape
        node.dtype = out.dtype
        return box(out, self, node)


_new_node = object.__new__

#: The outermost level, always open.
EAGER = ReverseLevel(0)


def conjugate(gradient: Any) -> Any:
    """Turn a cotangent into the gradient that users see, and back; real ones are the same."""
    return np.conj(gradient) if gradient.dtype.kind == "c" else gradient


def fit(gradient: Any, node: Node | Leaf, primitive: Primitive) -> Any:
    """Give a rule's result the shape and dtype of what it is the gradient of."""
    shape = node.shape
    if gradient.shape != shape:
        gradient = sum_to(gradient, shape, primitive)
    if gradient.dtype != node.dtype:
        if gradient.dtype.kind == "c" and node.dtype.kind != "c":
            gradient = gradient.real  # a real argument has no imaginary part to change
        gradient = gradient.astype(node.dtype)
    return gradient


def sum_to(gradient: Any, shape: tuple[int, ...], primitive: Primitive) -> Any:
    """Sum over the axes along which an argument of ``shape`` was broadcast.

    Raises
    ------
    RuntimeError
        The rule's result does not broadcast from ``shape``: the rule is wrong.
    """
    extra = gradient.ndim - len(shape)
    axes = tuple(
        i
        for i, size in enumerate(gradient.shape)
        if i < extra or (extra >= 0 and size != 1 and shape[i - extra] == 1)
    )
    summed = gradient.sum(axes).reshape(shape) if extra >= 0 and axes else gradient
    if summed.shape != shape:
        raise RuntimeError(
            f"{primitive.name}: a vjp rule returned shape {gradient.shape} for an argument of "
            f"shape {shape}"
        )
    return summed


def reachable(root: Node | Leaf) -> list[Node | Leaf]:
    """All nodes that ``root`` depends on, itself first, children before their parents."""
    seen = {root}
    stack = [root]
    while stack:
        for _, parent in stack.pop().edges:
            if parent not in seen:
                seen.add(parent)
                stack.append(parent)
    # A leaf that was overwritten since looks younger than its children; it has no parents, so
    # its place does not matter to the order, and `pull_back` reports it.
    return sorted(seen, key=attrgetter("index"), reverse=True)


def pull_back(
    root: Node | Leaf, cotangent: Any, *, retain: bool, record_at: Level | None = None
) -> dict[Leaf, tuple[Any, bool]]:
    """Carry ``cotangent`` from ``root`` to every leaf.

    Parameters
    ----------
    root
        Where the walk starts.
    cotangent
        A value of the root's shape.
    retain
        Keep what the nodes saved, so that they can be walked again.
    record_at
        Box the saved values at this level again, so that the walk itself is recorded
        (``create_graph``).

    Returns
    -------
    dict
        For each leaf reached its gradient, and whether the array is ours to write to.

    Raises
    ------
    RuntimeError
        The graph was walked before without ``retain``, or a leaf was overwritten in between.
    """
    cotangents: dict[Node | Leaf, Any] = {root: cotangent}
    owned: set[Node | Leaf] = set()
    found: dict[Leaf, tuple[Any, bool]] = {}
    for node in reachable(root):
        if isinstance(node, Leaf):
            continue
        gradient = cotangents.pop(node, None)
        if gradient is None:
            continue
        args, out = saved(node, record_at)
        primitive = node.primitive
        rules = primitive.vjp
        assert rules is not None
        for i, parent in node.edges:
            if parent.index > node.index and (args[i] is not None or primitive.view):
                raise RuntimeError(
                    f"{primitive.name}: a parameter of shape {parent.shape} was overwritten (by an "
                    "optimizer step, copy_ or load_state_dict) after this operation used it; call "
                    "backward() before, or compute the output again"
                )
            rule = rules[i]
            assert rule is not None
            share = fit(rule(gradient, out, *args, **node.params), parent, primitive)
            held = cotangents.get(parent)
            if held is None:
                cotangents[parent] = share
            elif parent in owned and type(held) is type(share) is np.ndarray:
                np.add(held, share, out=held)
            else:
                cotangents[parent] = as_array(held + share)
                owned.add(parent)
        if not retain:
            node.args = node.out = None
    for leaf, gradient in cotangents.items():
        if isinstance(leaf, Leaf):
            found[leaf] = (as_array(gradient), leaf in owned)
    return found


def saved(node: Node, record_at: Level | None) -> tuple[list[Any], Any]:
    """What a node kept for its rules, boxed again where the walk is to be recorded."""
    if node.args is None:
        raise RuntimeError(
            f"{node.primitive.name}: backward() has already walked this graph and freed what it "
            "kept; pass retain_graph=True to the first call to walk it twice"
        )
    if record_at is None:
        return node.args, node.out
    args = list(node.args)
    for i, parent in node.edges:
        if args[i] is not None:
            args[i] = box(args[i], record_at, parent)
    return args, None if node.out is None else box(node.out, record_at, node)


def backward(
    root: Box, gradient: Any = None, *, retain_graph: bool | None = None, create_graph: bool = False
) -> None:
    """Accumulate d(root)/d(leaf) into every leaf's ``grad``; see `minidl.Tensor.backward`."""
    if root.level is not EAGER:
        raise RuntimeError(
            "backward() inside grad, vjp or jvp: use minidl.grad or minidl.vjp there, they nest"
        )
    if root.trace is None:
        raise RuntimeError(
            "backward() on a Tensor that depends on nothing with requires_grad=True"
            " (was it computed under no_grad, or detached?)"
        )
    if gradient is None:
        if root.value.size != 1:
            raise RuntimeError(
                f"backward() on a Tensor of shape {root.value.shape} needs a gradient of that "
                "shape; only a single number has an obvious one (1.0)"
            )
        gradient = np.ones(root.value.shape, root.value.dtype)
    else:
        gradient = _as_cotangent(gradient, root, create_graph)
    retain = create_graph if retain_graph is None else retain_graph
    record_at = EAGER if create_graph else None
    if create_graph and not isinstance(gradient, Box):
        gradient = box(gradient, EAGER, None)
    for leaf, (share, owned) in pull_back(
        root.trace, conjugate(gradient), retain=retain, record_at=record_at
    ).items():
        leaf.accumulate(conjugate(share), owned)


def _as_cotangent(gradient: Any, root: Box, create_graph: bool) -> Any:
    if isinstance(gradient, Box) and not create_graph:
        gradient = gradient.value
    if not isinstance(gradient, Box):
        gradient = np.asarray(gradient, dtype=root.value.dtype)
    if gradient.shape != root.value.shape:
        raise RuntimeError(
            f"backward(): the gradient has shape {gradient.shape}, the Tensor {root.value.shape}"
        )
    return gradient
