"""Operations of several steps that are computed in one, with gradients computed in one too.

A fused operation is faster than its parts: fewer passes over memory, fewer records. Written by
hand, though, it would want a rule for every argument in both modes, and for the derivative of each
rule again. So it is given twice: by kernels on ndarrays (its value, and the gradient of each
argument), which run on ndarrays, and as a composition of other operations, from which
the engine makes everything else: forward mode, and derivatives of the gradients, to any order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from minidl.autograd.primitive import BatchRule, Primitive, primitive
from minidl.autograd.transforms import jvp, vjp

Composition = Callable[..., Any]


def fused(
    name: str,
    value: Callable[..., Any],
    composed: Composition,
    gradients: Sequence[Callable[..., Any] | None],
    *,
    shared: Callable[..., Any] | None = None,
    batch: BatchRule | None = None,
) -> Primitive:
    """Declare a fused operation.

    Parameters
    ----------
    value
        ``(*args, **params)`` on ndarrays. It raises TypeError for arrays of a device, unless it can
        do with them; they are given to ``composed``.
    composed
        The same in differentiable operations.
    gradients
        For each argument ``(g, *args, **params)`` on ndarrays: its cotangent from that of the
        result. None for an argument without derivative.
    shared
        What all gradients want to know, ``(g, *args, **params)``: it calls an operation, whose
        result is a constant, handed to each of them behind the arguments. A recorded step does it
        once.
    """
    made = [
        None
        if kernel is None
        else gradient(f"{name}_gradient", kernel, composed, i, more=shared is not None)
        for i, kernel in enumerate(gradients)
    ]

    def pulling(made: Primitive) -> Callable[..., Any]:
        if shared is None:
            return lambda g, _out, *args, **params: made(g, *args, **params)
        return lambda g, _out, *args, **params: made(g, *args, shared(g, *args, **params), **params)

    def pushing(i: int) -> Callable[..., Any]:
        return lambda t, out, *args, **params: jvp(*_in_one(composed, i, args, params), (t,))[1]

    operation = primitive(
        name,
        value,
        vjp=tuple(None if each is None else pulling(each) for each in made),
        jvp=tuple(None if kernel is None else pushing(i) for i, kernel in enumerate(gradients)),
        batch=batch,
    )
    operation.composed = operation.elsewhere = composed
    return operation


def _in_one(
    function: Composition, i: int, args: Sequence[Any], params: dict[str, Any]
) -> tuple[Callable[[Any], Any], tuple[Any]]:
    """Return ``function`` as one of argument ``i`` alone, and that argument."""

    def of_one(chosen: Any) -> Any:
        return function(*args[:i], chosen, *args[i + 1 :], **params)

    return of_one, (args[i],)


def gradient(
    name: str, kernel: Callable[..., Any], composed: Composition, i: int, *, more: bool = False
) -> Primitive:
    """Make the gradient of argument ``i`` an operation, differentiated by the composition.

    ``more`` says that the kernel is given what all gradients share, behind the arguments.
    """

    def pulled(g: Any, *args: Any, **params: Any) -> Any:
        args = args[:-1] if more else args
        of_one, chosen = _in_one(composed, i, args, params)
        return vjp(of_one, *chosen)[1](g)[0]

    def rule(j: int) -> Callable[..., Any]:
        def pull(g: Any, _out: Any, *args: Any, **params: Any) -> Any:
            of_one, chosen = _in_one(pulled, j, args, params)
            return vjp(of_one, *chosen)[1](g)[0]

        return pull

    def pushed(j: int) -> Callable[..., Any]:
        return lambda t, out, *args, **params: jvp(*_in_one(pulled, j, args, params), (t,))[1]

    places = range(8)  # more arguments than any fused operation has
    made = primitive(name, kernel, vjp=tuple(map(rule, places)), jvp=tuple(map(pushed, places)))
    made.elsewhere = pulled
    return made
