"""Derivatives of many outputs in many inputs, in JAX's call shape.

A Jacobian's columns are pushed, or its rows pulled, all at once: `vmap` over the directions, in
chunks if the memory for all is too much. Forward mode costs one pass an input, reverse mode one
pass an output; the Hessian of a scalar function takes forward over reverse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from itertools import accumulate
from math import prod
from typing import Any

import numpy as np

from minidl.autograd.batch import vmap
from minidl.autograd.primitive import beside, ones_like, zeros_like
from minidl.autograd.transforms import choose, differentiable, grad, jvp, single, vjp
from minidl.autograd.tree import leaves, tree_map


def _basis(tree: Any) -> tuple[Any, list[int]]:
    """Every direction in which one element of a tree changes, stacked; and where leaves begin."""
    parts = list(leaves(tree))
    bounds = list(accumulate((prod(part.shape) for part in parts), initial=0))
    numbers = iter(range(len(parts)))

    def directions(part: Any) -> Any:
        number = next(numbers)
        rows = np.zeros((bounds[-1], bounds[number + 1] - bounds[number]), part.dtype)
        np.fill_diagonal(rows[bounds[number] : bounds[number + 1]], 1)
        return beside(rows.reshape((bounds[-1], *part.shape)), part)

    return tree_map(directions, tree), bounds


def _piece(stacked: Any, bounds: list[int], number: int) -> Any:
    return stacked[bounds[number] : bounds[number + 1]]


class _Leaf:
    """A leaf that is not taken apart further, whatever it holds."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _sealed(tree: Any) -> Any:
    return tree_map(_Leaf, tree)


def jacfwd(
    function: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """Turn a function into its Jacobian, by forward mode: for few inputs and many outputs.

    Parameters
    ----------
    function
        Takes and returns trees of float arrays.
    argnums
        Which positional arguments to differentiate.
    has_aux
        ``function`` returns a pair whose second part is passed through: the result is
        ``(jacobian, aux)``.
    chunk_size
        Push at most so many directions at a time.

    Returns
    -------
    callable
        Gives, for each output, for each element of the chosen argument, an array of shape
        ``(*output, *argument)``: nested as the output is, and within as the argument is (a tuple
        of these for a sequence of ``argnums``).

    Raises
    ------
    TypeError
        An argument is not of a floating dtype.

    Examples
    --------
    >>> import numpy as np, minidl
    >>> minidl.jacfwd(lambda x: x**2)(np.array([1.0, 3.0]))
    array([[2., 0.],
           [0., 6.]])
    """

    @wraps(function)
    def jacobian_of(*args: Any, **kwargs: Any) -> Any:
        of_chosen, chosen = choose(function, argnums, args, kwargs)
        primals = tree_map(lambda x: differentiable(x, "jacfwd"), chosen)
        basis, bounds = _basis(primals)

        def push(direction: Any) -> Any:
            _, *rest = jvp(of_chosen, primals, direction, has_aux)
            if has_aux:
                aux.append(rest[1])  # it does not depend on the direction, so not on the example
            return rest[0]

        aux: list[Any] = []
        pushed = vmap(push, chunk_size=chunk_size)(basis)

        def columns(stacked: Any) -> Any:
            output = stacked.shape[1:]

            def block(leaf: _Leaf) -> Any:
                number, part = numbers[id(leaf)], leaf.value
                piece = _last(_piece(stacked, bounds, number))
                return piece.reshape((*output, *part.shape))

            found = tree_map(block, sealed)
            return found[0] if single(argnums) else found

        sealed = _sealed(primals)
        numbers = {id(leaf): number for number, leaf in enumerate(leaves(sealed))}
        found = tree_map(columns, pushed)
        return (found, aux[0]) if has_aux else found

    return jacobian_of


def _last(stacked: Any) -> Any:
    """Move the first axis to the end."""
    return np.transpose(stacked, (*range(1, len(stacked.shape)), 0))


def jacrev(
    function: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """Turn a function into its Jacobian, by reverse mode: for many inputs and few outputs.

    Parameters, result and errors are those of `jacfwd`; ``chunk_size`` bounds how many outputs are
    pulled at a time.

    Examples
    --------
    >>> import numpy as np, minidl
    >>> minidl.jacrev(lambda x: x**2)(np.array([1.0, 3.0]))
    array([[2., 0.],
           [0., 6.]])
    """

    @wraps(function)
    def jacobian_of(*args: Any, **kwargs: Any) -> Any:
        of_chosen, chosen = choose(function, argnums, args, kwargs)
        out, pull, *aux = vjp(of_chosen, *chosen, has_aux=has_aux)
        if getattr(out, "shape", None) == ():  # one direction, which needs no axis of directions
            row = pull(ones_like(out))
            row = row[0] if single(argnums) else row
            return (row, aux[0]) if has_aux else row
        basis, bounds = _basis(out)
        pulled = vmap(pull, chunk_size=chunk_size)(basis)
        sealed = _sealed(out)
        numbers = {id(leaf): number for number, leaf in enumerate(leaves(sealed))}

        def rows(leaf: _Leaf) -> Any:
            def block(stacked: Any) -> Any:
                piece = _piece(stacked, bounds, numbers[id(leaf)])
                return piece.reshape((*leaf.value.shape, *stacked.shape[1:]))

            found = tree_map(block, pulled)
            return found[0] if single(argnums) else found

        found = tree_map(rows, sealed)
        return (found, aux[0]) if has_aux else found

    return jacobian_of


jacobian = jacrev


def hessian(
    function: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """Turn a function into its second derivatives: forward over reverse mode.

    Parameters, result and errors are those of `jacfwd`, applied twice: for a scalar function of an
    array, an array of shape ``(*argument, *argument)``.

    Examples
    --------
    >>> import numpy as np, minidl
    >>> minidl.hessian(lambda x: x[0] * x[1] ** 2)(np.array([1.0, 3.0]))
    array([[0., 6.],
           [6., 2.]])
    """
    inner = jacrev(function, argnums, has_aux=has_aux)
    return jacfwd(inner, argnums, has_aux=has_aux, chunk_size=chunk_size)


def hvp(function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """Return the Hessian of a scalar function times a vector, at the cost of a few evaluations.

    Parameters
    ----------
    function
        Takes the primals, returns a single number.
    primals, tangents
        Where, and the vector: sequences with one tree of arrays an argument.

    Returns
    -------
    tuple
        One product an argument; the array itself where there is one argument.

    Raises
    ------
    TypeError
        The result is not a single float, or an argument is not of a floating dtype.
    ValueError
        A tangent's shape is not that of its primal.

    References
    ----------
    B. A. Pearlmutter, "Fast Exact Multiplication by the Hessian", Neural Computation 6 (1994).

    Examples
    --------
    >>> import numpy as np, minidl
    >>> minidl.hvp(lambda x: (x**3).sum(), (np.array([1.0, 2.0]),), (np.array([1.0, 0.0]),))
    array([6., 0.])
    """
    places = tuple(range(len(primals)))
    product = jvp(grad(function, places), primals, tangents)[1]
    return product[0] if len(primals) == 1 else product


def linearize(function: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """Evaluate once, and return what pushes tangents through without evaluating again.

    Returns
    -------
    out, push : tuple
        ``push(*tangents)`` gives what ``jvp(function, primals, tangents)[1]`` would.

    Raises
    ------
    TypeError
        A primal is not of a floating dtype.

    Examples
    --------
    >>> import numpy as np, minidl
    >>> out, push = minidl.linearize(lambda x: x**2, np.array(3.0))
    >>> out, push(np.array(1.0))
    (array(9.), array(6.))
    """
    out, pull = vjp(function, *primals)
    # Pulling is linear in the cotangent; the transpose of that map pushes tangents.
    zeros = tree_map(zeros_like, out)
    _, transposed = vjp(pull, zeros)

    def push(*tangents: Any) -> Any:
        return transposed(tangents)[0]

    return out, push
