"""Functions that turn a function into its derivative, in JAX's call shape.

Each opens a level, boxes the arguments there, calls the function and takes the boxes off again.
The result is of the kind that came in: ndarrays where the function was given ndarrays, Tensors
where a Tensor took part, boxes of an outer transform inside that one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np

from minidl.autograd.arrays import asarray
from minidl.autograd.backward import conjugate, pull_back
from minidl.autograd.forward import ForwardLevel
from minidl.autograd.primitive import Box, Level, box, clock, ones_like, zeros_like
from minidl.autograd.reverse import Leaf, ReverseLevel
from minidl.autograd.tree import leaves, tree_map


def differentiable(value: Any, where: str) -> Any:
    """Return ``value`` as a float array (or the box it is).

    Raises
    ------
    TypeError
        It is not of a floating dtype, so it has no derivative.
    """
    if type(value) in (int, float):
        return np.asarray(float(value))
    array: Any = value if isinstance(value, Box) else asarray(value)
    if array.dtype.kind not in "fc":
        raise TypeError(
            f"{where}: a floating dtype is wanted to differentiate, got {array.dtype}; "
            "convert with .astype(float), or leave the argument out of argnums"
        )
    return array


def _unbox(value: Any, level: Level) -> tuple[Any, Any]:
    """Split a value into what lies a level down and the level's note (None for a constant)."""
    if isinstance(value, Box) and value.level is level:
        return value.value, value.trace
    if isinstance(value, (Box, np.ndarray)):
        return value, None
    return asarray(value), None


def _constants(tree: Any, level: Level) -> Any:
    """Auxiliary results, one level down and without derivative."""
    return tree_map(lambda v: _unbox(v, level)[0] if isinstance(v, Box) else v, tree)


def _require_graph(result: Any, level: Level) -> None:
    """Raise where the derivative would be zero only because a value was taken out on the way."""
    if level.left and not any(isinstance(v, Box) and v.level is level for v in leaves(result)):
        raise RuntimeError(
            f"the function's result has lost its graph: a value left the transform by {level.left},"
            " and nothing that was returned depends on the arguments otherwise; compute with"
            " Tensors to the end, or say minidl.stop_gradient where a constant is meant"
        )


def _zeros(value: Any) -> Any:
    return zeros_like(value)


def _require_same(what: str, found: Any, wanted: Any) -> Any:
    found = found if isinstance(found, Box) else asarray(found, wanted.dtype)
    if found.shape != wanted.shape:
        raise ValueError(f"{what} has shape {found.shape}, wanted {wanted.shape}")
    return found


def vjp(function: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """Evaluate ``function`` and return what pulls cotangents back through it.

    Parameters
    ----------
    function
        Takes ``primals`` (trees of float arrays), returns a tree of arrays.
    has_aux
        ``function`` returns a pair whose second part is passed through.

    Returns
    -------
    out, pull : tuple
        ``pull(cotangent)``, with a cotangent in the shape of ``out``, gives a tuple with one
        gradient a primal. It may be called any number of times. With ``has_aux``, the auxiliary
        value is third.

    Raises
    ------
    TypeError
        A primal is not of a floating dtype.
    ValueError
        A cotangent's shape is not that of the output.
    RuntimeError
        The result depends on the primals only through values that were taken out of the transform
        (``item()``, ``numpy()``, ``detach()``), so its graph is lost.

    Examples
    --------
    >>> import numpy as np, minidl
    >>> out, pull = minidl.vjp(lambda x, y: x * y, np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    >>> pull(np.array([1.0, 1.0]))
    (array([3., 4.]), array([1., 2.]))
    """
    level = ReverseLevel(clock())
    inputs = tree_map(lambda x: differentiable(x, "vjp"), primals)

    # The leaves are kept apart from the boxes: the function may assign to parts of its arguments,
    # and a box then stands for the new value.
    tree_of_leaves = tree_map(lambda value: Leaf(value.shape, value.dtype), inputs)
    try:
        result = function(
            *tree_map(lambda value, leaf: box(value, level, leaf), inputs, tree_of_leaves)
        )
    finally:
        level.closed = True
    result, aux = result if has_aux else (result, None)
    _require_graph(result, level)
    pairs = tree_map(lambda value: _Pair(*_unbox(value, level)), result)
    out = tree_map(lambda pair: pair.value, pairs)
    if has_aux:
        aux = _constants(aux, level)

    def pull(cotangent: Any) -> tuple[Any, ...]:
        wanted = tree_map(lambda g, y: _require_same("vjp: the cotangent", g, y), cotangent, out)
        seeds: dict[Any, Any] = {}
        for pair, g in zip(leaves(pairs), leaves(wanted), strict=True):
            if pair.trace is not None:
                seed = conjugate(g)
                seeds[pair.trace] = seeds[pair.trace] + seed if pair.trace in seeds else seed
        found = pull_back(seeds, retain=True)

        def gradient(leaf: Leaf) -> Any:
            return conjugate(found[leaf][0]) if leaf in found else _zeros(leaf)

        pulled: tuple[Any, ...] = tree_map(gradient, tree_of_leaves)
        return pulled

    return (out, pull, aux) if has_aux else (out, pull)


class _Pair:
    """A value and its note; not a tuple, so that a tree of them keeps its shape."""

    __slots__ = ("trace", "value")

    def __init__(self, value: Any, trace: Any) -> None:
        self.value = value
        self.trace = trace


def jvp(
    function: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    has_aux: bool = False,
) -> tuple[Any, ...]:
    """Evaluate ``function`` at ``primals`` and its directional derivative along ``tangents``.

    Returns
    -------
    out, tangent : tuple
        Both in the shape of the function's result. With ``has_aux`` the function returns a pair,
        and its second part is third here, without derivative.

    Raises
    ------
    TypeError
        A primal is not of a floating dtype.
    ValueError
        A tangent's shape is not that of its primal.

    Examples
    --------
    >>> import numpy as np, minidl
    >>> minidl.jvp(lambda x: x**2, (np.array(3.0),), (np.array(1.0),))
    (array(9.), array(6.))
    """
    level = ForwardLevel(clock())
    if len(primals) != len(tangents):
        raise ValueError(f"jvp: {len(primals)} primals, but {len(tangents)} tangents")

    def lift(value: Any, tangent: Any) -> Any:
        value = differentiable(value, "jvp")
        return box(value, level, _require_same("jvp: a tangent", tangent, value))

    boxed = [
        tree_map(lift, value, tangent) for value, tangent in zip(primals, tangents, strict=True)
    ]
    try:
        result = function(*boxed)
    finally:
        level.closed = True

    def tangent_of(value: Any) -> Any:
        value, trace = _unbox(value, level)
        return _zeros(value) if trace is None else trace

    result, aux = result if has_aux else (result, None)
    _require_graph(result, level)
    out = tree_map(lambda value: _unbox(value, level)[0], result)
    pushed = tree_map(tangent_of, result)
    return (out, pushed, _constants(aux, level)) if has_aux else (out, pushed)


def single(argnums: Any) -> bool:
    """Whether ``argnums`` names one argument, so that the result is no tuple."""
    return isinstance(argnums, (int, np.integer))


def choose(
    function: Callable[..., Any], argnums: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Make a function of the arguments named alone, and return it with their values.

    Raises
    ------
    IndexError
        ``argnums`` names an argument that was not given.
    """
    numbers = (int(argnums),) if single(argnums) else tuple(argnums)
    for number in numbers:
        if not -len(args) <= number < len(args):
            raise IndexError(f"grad: argnums names argument {number}, but {len(args)} were given")
    places = [number % len(args) for number in numbers]

    def of_chosen(*values: Any) -> Any:
        full = list(args)
        for place, value in zip(places, values, strict=True):
            full[place] = value
        return function(*full, **kwargs)

    return of_chosen, tuple(args[place] for place in places)


def value_and_grad(
    function: Callable[..., Any], argnums: int | Sequence[int] = 0, *, has_aux: bool = False
) -> Callable[..., Any]:
    """Turn a function with a scalar result into one that returns the result and its gradient.

    Parameters
    ----------
    function
        Returns a single number (shape ``()``), or a pair of it and anything with ``has_aux``.
    argnums
        Which positional arguments to differentiate (trees of float arrays): one gradient for an
        int, a tuple of gradients for a sequence.

    Returns
    -------
    callable
        Gives ``(value, gradient)``, or ``((value, aux), gradient)`` with ``has_aux``.

    Raises
    ------
    TypeError
        The result is not a single float, or an argument is not of a floating dtype.

    Examples
    --------
    >>> import numpy as np, minidl
    >>> minidl.value_and_grad(lambda x: (x**2).sum())(np.array([1.0, 2.0]))
    (array(5.), array([2., 4.]))
    """
    return wraps(function)(_differentiated(function, argnums, has_aux))


def _differentiated(
    function: Callable[..., Any], argnums: int | Sequence[int], has_aux: bool
) -> Callable[..., Any]:
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        of_chosen, chosen = choose(function, argnums, args, kwargs)
        out, pull, *aux = vjp(of_chosen, *chosen, has_aux=has_aux)
        if getattr(out, "shape", None) != () or out.dtype.kind != "f":
            kind = f"{out.dtype}{list(out.shape)}" if hasattr(out, "shape") else repr(type(out))
            raise TypeError(
                f"grad: the function must return a single float (shape ()), it returned {kind};"
                " reduce it (.sum(), .mean()), or use vjp"
            )
        gradients = pull(ones_like(out))
        gradient = gradients[0] if single(argnums) else gradients
        return ((out, aux[0]) if has_aux else out), gradient

    return differentiated


def grad(
    function: Callable[..., Any], argnums: int | Sequence[int] = 0, *, has_aux: bool = False
) -> Callable[..., Any]:
    """Turn a function with a scalar result into its gradient; see `value_and_grad`.

    With ``has_aux`` the result is ``(gradient, aux)``.

    Examples
    --------
    >>> import minidl
    >>> minidl.grad(lambda x: x * minidl.grad(lambda y: x + y)(1.0))(5.0)  # D(x · D(x + y)) = 1
    array(1.)
    """
    both = _differentiated(function, argnums, has_aux)

    @wraps(function)
    def gradient_only(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return gradient_only


def derivative(function: Callable[[Any], Any], x: Any) -> Any:
    """Return the derivative of a function of one number, at ``x``, by forward mode.

    Parameters
    ----------
    function
        Takes a single number (shape ``()``) and returns an array of any shape.
    x
        Where; a Python number is taken as float64 and gives a Python float back.

    Raises
    ------
    TypeError
        ``x`` is not a single float.

    Examples
    --------
    >>> import minidl
    >>> minidl.derivative(lambda x: x**3 + 2 * x, 3.0)
    29.0
    """
    point = differentiable(x, "derivative")
    if point.shape != ():
        raise TypeError(
            f"derivative: x must be a single number, got shape {point.shape}; use grad or jvp"
        )
    _, slope = jvp(function, (point,), (ones_like(point),))
    if type(x) in (int, float) and isinstance(slope, np.ndarray) and slope.ndim == 0:
        return float(slope)
    return slope
