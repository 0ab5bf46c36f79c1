"""Reverse mode, backward sweep: carry cotangents from results to what they depend on.

`pull_back` walks with an explicit list, not by recursion, and hands every rule's result through the
same three duties: the gradient is summed over broadcast axes, cast to the dtype of what it belongs
to, and added to what is there without writing to a buffer we do not own. `backward` and
`gradients` are the ways users start it at the outermost level, `minidl.vjp` the one inside others.

A cotangent of a complex value ``z`` is what makes ``Re(cotangent · dz)`` the change of the result,
so rules of holomorphic operations need no conjugate. Users get PyTorch's convention, in which a
gradient ``∂L/∂Re z + i ∂L/∂Im z`` is the direction of steepest ascent: the conjugate, taken where
cotangents come in and gradients go out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from minidl.autograd import anomaly, arrays, recording
from minidl.autograd.arrival import last_uses, listener
from minidl.autograd.primitive import (
    Box,
    Level,
    Primitive,
    Together,
    as_array,
    box,
    no_grad,
    ones_like,
    zeros_like,
)
from minidl.autograd.reverse import EAGER, Hooks, Leaf, Node

Cotangents = dict[Node | Leaf, tuple[Any, bool]]

#: Who looks on at each walk: is given its nodes in order, and yields them one by one as they are
#: walked. `minidl.profiling` puts itself here while it is open; asked for once a walk, not a node.
watch: Callable[[list[Node | Leaf]], Iterable[Node | Leaf]] | None = None


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


def reachable(roots: Iterable[Node | Leaf]) -> list[Node | Leaf]:
    """All nodes that ``roots`` depend on, and themselves, children before their parents."""
    seen = set(roots)
    stack = list(seen)
    while stack:
        for _, parent in stack.pop().edges:
            if parent not in seen:
                seen.add(parent)
                stack.append(parent)
    # A leaf that was overwritten since looks younger than its children; it has no parents, so
    # its place does not matter to the order, and `pull_back` reports it.
    return sorted(seen, key=attrgetter("index"), reverse=True)


def leading_to(targets: Iterable[Node | Leaf], order: list[Node | Leaf]) -> set[Node | Leaf]:
    """Those of the nodes in ``order`` that depend on ``targets``, and the targets."""
    needed = set(targets)
    for node in reversed(order):
        if any(parent in needed for _, parent in node.edges):
            needed.add(node)
    return needed


def pull_back(
    seeds: Mapping[Node | Leaf, Any],
    *,
    retain: bool,
    record_at: Level | None = None,
    targets: Collection[Node | Leaf] | None = None,
    arrived: Callable[[Leaf, Any, bool], None] | None = None,
) -> Cotangents:
    """Carry cotangents back to every leaf, or to ``targets`` alone.

    Parameters
    ----------
    seeds
        Where the walk starts, with cotangents of the nodes' shapes.
    retain
        Keep what the nodes saved, so that they can be walked again.
    record_at
        Box the saved values at this level again, so that the walk itself is recorded
        (``create_graph``).
    targets
        Walk only towards these, leaves or not.
    arrived
        Is given each leaf's cotangent as soon as it is complete; it is not returned then.

    Returns
    -------
    dict
        For each leaf (or target) reached its cotangent, and whether the array is ours to write to.

    Raises
    ------
    RuntimeError
        The graph was walked before without ``retain``, or a leaf was overwritten in between.
    FloatingPointError
        A rule made a NaN or Inf inside `detect_anomaly`.
    """
    cotangents: dict[Node | Leaf, Any] = dict(seeds)
    owned: set[Node | Leaf] = set()
    found: Cotangents = {}
    order = reachable(seeds)
    needed = None if targets is None else leading_to(targets, order)
    complete = {} if arrived is None else last_uses(order)
    watching = anomaly.watching()
    for node in order if watch is None else watch(order):
        if isinstance(node, Leaf):
            continue
        gradient = cotangents.pop(node, None)
        if gradient is None:
            continue
        if node.hooks:
            gradient = call_hooks(node.hooks, gradient)
        edges = node.edges
        if targets is not None and needed is not None:
            if node in targets:
                found[node] = gradient, False
            edges = [edge for edge in edges if edge[1] in needed]
            if not edges:
                continue
        args, out = saved(node, record_at)
        rules = node.primitive.vjp
        shares = rules.rule(gradient, node, edges, record_at) if type(rules) is Together else None
        for i, parent in edges:
            if parent.index > node.index and (args[i] is not None or node.primitive.view):
                raise overwritten(node, parent)
            if shares is not None:
                share = shares[i]
            elif watching:
                share = _watched_rule(i, node, gradient, args, out)
            else:
                share = rules[i](gradient, out, *args, **node.params)
            share = fit(share, parent, node.primitive)
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
        for last in complete.get(node, ()):
            if arrived is not None and last in cotangents:
                arrived(last, *_handed(last, cotangents.pop(last), owned))
    for leaf, gradient in cotangents.items():
        if isinstance(leaf, Leaf) and (targets is None or leaf in targets):
            found[leaf] = _handed(leaf, gradient, owned)
    return found


def _handed(leaf: Leaf, gradient: Any, owned: set[Node | Leaf]) -> tuple[Any, bool]:
    """Return what a leaf is given, once its hooks have seen it, and whether we may write to it."""
    mine = leaf in owned
    if leaf.hooks:
        gradient, mine = call_hooks(leaf.hooks, gradient), False
    return as_array(gradient), mine


def _watched_rule(i: int, node: Node, gradient: Any, args: list[Any], out: Any) -> Any:
    with anomaly.in_a_rule():
        share = node.primitive.vjp[i](gradient, out, *args, **node.params)
    line = getattr(node, "line", "a line that ran outside detect_anomaly()")
    anomaly.check(node.primitive.name, "gradient", share, (gradient, out, *args), line)
    return share


def call_hooks(hooks: Hooks, cotangent: Any) -> Any:
    """Show a gradient to the functions registered for it, and return what they make of it."""
    if hooks and recording.open_recordings:
        recording.refuse("a hook on a gradient")
    for hook in list(hooks.values()):
        gradient = conjugate(cotangent)
        shown = box(gradient, EAGER, None) if _below(gradient) else gradient
        result = hook(shown)
        if result is None:
            continue
        if getattr(result, "shape", None) != cotangent.shape:
            raise ValueError(
                f"a hook returned {getattr(result, 'shape', result)!r} in place of a gradient of "
                f"shape {cotangent.shape}; return None to leave it as it is"
            )
        cotangent = conjugate(unwrapped(result) if _below(cotangent) else result)
    return cotangent


def _below(gradient: Any) -> bool:
    """Whether a gradient lies below the outermost level: an array, or what stands for one."""
    return not isinstance(gradient, Box) or gradient.level.serial < 0


def unwrapped(value: Any) -> Any:
    """Take a constant out of the box that a user's function got or made it in."""
    constant = isinstance(value, Box) and value.level is EAGER and value.trace is None
    return value.value if constant else value


def overwritten(node: Node, leaf: Node | Leaf) -> RuntimeError:
    """Make the error for a parameter that changed between forward and backward."""
    return RuntimeError(
        f"{node.primitive.name}: a parameter of shape {leaf.shape} was overwritten (by an "
        "optimizer step, copy_ or load_state_dict) after this operation used it; call "
        "backward() before, or compute the output again"
    )


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
    seeds = {root.trace: _seed("backward()", root, gradient, create_graph)}
    told = listener.get()

    def arrived(leaf: Node | Leaf, share: Any, owned: bool) -> None:
        assert isinstance(leaf, Leaf)
        leaf.accumulate(conjugate(share), owned)
        if told is not None:
            told(leaf)

    early = None if told is None or create_graph else arrived
    for leaf, (share, owned) in _walk(seeds, retain_graph, create_graph, arrived=early).items():
        arrived(leaf, share, owned)


def gradients(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """Return the gradients of ``outputs`` in ``inputs``, without touching any ``.grad``.

    The counterpart of ``torch.autograd.grad``; `minidl.grad` is the one that transforms functions.

    Parameters
    ----------
    outputs
        A Tensor or a sequence of them.
    inputs
        Tensors that took part in computing them, leaves or not: one or a sequence.
    grad_outputs
        A cotangent for each output (its shape), or None for 1.0 of a single number.
    retain_graph
        Keep the graph, to walk it again; by default what ``create_graph`` is.
    create_graph
        Record the walk, so that the gradients can be differentiated in turn.
    allow_unused
        Give None for an input that the outputs do not depend on, in place of an error.
    materialize_grads
        Give zeros for it.

    Returns
    -------
    tuple
        One Tensor an input, of the input's shape and dtype.

    Raises
    ------
    RuntimeError
        An output or input does not require a gradient, a gradient is needed or has the wrong
        shape, an input is unused, or the graph was freed by an earlier call.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.tensor(3.0, requires_grad=True)
    >>> y = x * x
    >>> minidl.autograd.grad(y * x, (x, y))
    (tensor(27.), tensor(3.))
    """
    roots, wanted = _several(outputs), _several(inputs)
    given = [None] * len(roots) if grad_outputs is None else _several(grad_outputs)
    if len(given) != len(roots):
        raise RuntimeError(f"grad: {len(roots)} outputs, but {len(given)} grad_outputs")
    seeds: dict[Node | Leaf, Any] = {}
    for root, gradient in zip(roots, given, strict=True):
        seed = _seed("grad()", root, gradient, create_graph)
        seeds[root.trace] = seeds[root.trace] + seed if root.trace in seeds else seed
    for number, tensor in enumerate(wanted):
        if not isinstance(tensor, Box) or tensor.trace is None:
            raise RuntimeError(f"grad: input {number} does not require a gradient")
    targets = {tensor.trace for tensor in wanted}
    found = _walk(seeds, retain_graph, create_graph, targets)
    results = []
    for number, tensor in enumerate(wanted):
        if tensor.trace in found:
            share = conjugate(found[tensor.trace][0])
            results.append(share if isinstance(share, Box) else box(share, EAGER, None))
        elif materialize_grads:
            results.append(box(zeros_like(tensor.value), EAGER, None))
        elif allow_unused:
            results.append(None)
        else:
            raise RuntimeError(
                f"grad: the outputs do not depend on input {number}; pass allow_unused=True for "
                "None in its place"
            )
    return tuple(results)


def _walk(
    seeds: Mapping[Node | Leaf, Any],
    retain_graph: bool | None,
    create_graph: bool,
    targets: Collection[Node | Leaf] | None = None,
    arrived: Callable[[Leaf, Any, bool], None] | None = None,
) -> Cotangents:
    retain = create_graph if retain_graph is None else retain_graph
    if create_graph:
        return pull_back(seeds, retain=retain, record_at=EAGER, targets=targets)
    with no_grad():  # for what hooks and custom rules compute
        return pull_back(seeds, retain=retain, targets=targets, arrived=arrived)


def _several(tensors: Any) -> Sequence[Any]:
    return tensors if isinstance(tensors, (tuple, list)) else (tensors,)


def _seed(caller: str, root: Any, gradient: Any, create_graph: bool) -> Any:
    """Check where a walk starts, and return the cotangent it starts with."""
    if not isinstance(root, Box):
        raise RuntimeError(f"{caller}: a Tensor is wanted, got {type(root).__name__}")
    if root.level is not EAGER:
        raise RuntimeError(
            f"{caller} inside grad, vjp or jvp: use minidl.grad or minidl.vjp there, they nest"
        )
    if root.trace is None:
        raise RuntimeError(
            f"{caller} on a Tensor that depends on nothing with requires_grad=True"
            " (was it computed under no_grad, or detached?)"
        )
    if gradient is None:
        if root.value.size != 1:
            raise RuntimeError(
                f"{caller} on a Tensor of shape {root.value.shape} needs a gradient of that "
                "shape; only a single number has an obvious one (1.0)"
            )
        gradient = ones_like(root.value)
        return conjugate(box(gradient, EAGER, None) if create_graph else gradient)
    if isinstance(gradient, Box) and not create_graph:
        gradient = gradient.value
    if not isinstance(gradient, Box):
        gradient = arrays.like(arrays.asarray(gradient, root.value.dtype), root.value)
    if gradient.shape != root.value.shape:
        raise RuntimeError(
            f"{caller}: the gradient has shape {gradient.shape}, the Tensor {root.value.shape}"
        )
    if create_graph and not isinstance(gradient, Box):
        gradient = box(gradient, EAGER, None)
    return conjugate(gradient)
