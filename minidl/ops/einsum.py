"""Sums of products in Einstein's notation.

An expression is brought to a plain form first: the axes of an ellipsis get letters, a letter that
one array has twice is its diagonal, a letter of one array alone is summed. What is left is linear
in each array, and its gradient is again such an expression.
"""

from __future__ import annotations

import string
from typing import Any

import numpy as np

from minidl.autograd.primitive import EveryArgument, Examples, Primitive, primitive
from minidl.ops.diagonals import diagonal
from minidl.ops.reduce import sum
from minidl.ops.shape import broadcast_to, movedim, permute, shape_of

__all__ = [
    "einsum",
]


def _batched(operation: Primitive, examples: Examples, *, terms: Any, out: str) -> Any:
    letter = next(
        c for c in string.ascii_letters if c not in out and all(c not in t for t in terms)
    )
    terms = tuple(
        letter + term if own else term for term, own in zip(terms, examples.batched, strict=True)
    )
    return operation(*examples.values, terms=terms, out=letter + out)


def _put(g: Any, argnum: int, args: tuple[Any, ...], terms: Any, out: str) -> Any:
    """The gradient of one array: ``g`` in its place, and its letters in place of the result's."""
    others = [i for i in range(len(args)) if i != argnum]
    return _einsum(
        g,
        *(args[i] for i in others),
        terms=(out, *(terms[i] for i in others)),
        out=terms[argnum],
    )


def _push(t: Any, _out: Any, *args: Any, argnum: int, terms: Any, out: str) -> Any:
    return _einsum(*args[:argnum], t, *args[argnum + 1 :], terms=terms, out=out)


_einsum: Primitive = primitive(
    "einsum",
    lambda *args, terms, out: np.einsum(f"{','.join(terms)}->{out}", *args, optimize=True),
    vjp=lambda g, _out, *args, argnum, terms, out: _put(g, argnum, args, terms, out),
    jvp=EveryArgument(_push),
    batch=_batched,
)


def einsum(equation: str, *operands: Any) -> Any:
    """Return sums of products of elements, as the equation says.

    Parameters
    ----------
    equation
        Letters for the axes of each array, as ``"ij,jk->ik"``; ``...`` for leading axes that
        broadcast. Without ``->`` letters that occur once are kept, in alphabetical order.
    operands
        Arrays, or one list of them.

    Raises
    ------
    ValueError
        The equation does not fit the arrays.

    Examples
    --------
    >>> import numpy as np, minidl
    >>> minidl.einsum("ii->i", np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([1., 4.])
    """
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    text = equation.replace(" ", "")
    left, arrow, out = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise ValueError(f"einsum: {equation!r} names {len(terms)} arrays, got {len(operands)}")
    terms, operands, dots = _without_ellipsis(equation, terms, operands)
    counts = {c: left.count(c) for c in left if c.isalpha()}
    if arrow:
        out = out.replace("...", dots)
    else:
        out = dots + "".join(sorted(c for c, n in counts.items() if n == 1))
    if len(set(out)) != len(out) or any(c not in "".join(terms) for c in out):
        raise ValueError(f"einsum: the result {out!r} of {equation!r} must name known axes once")
    _check_sizes(equation, terms, operands)
    pairs = [_with_single_letters(x, term) for x, term in zip(operands, terms, strict=True)]
    arrays = []
    plain = []
    for number, (x, term) in enumerate(pairs):
        elsewhere = out + "".join(other for i, (_, other) in enumerate(pairs) if i != number)
        alone = [i for i, c in enumerate(term) if c not in elsewhere]
        arrays.append(sum(x, tuple(alone)) if alone else x)
        plain.append("".join(c for c in term if c in elsewhere))
    if len(arrays) == 1:
        return permute(arrays[0], tuple(plain[0].index(c) for c in out))
    return _einsum(*arrays, terms=tuple(plain), out=out)


def _without_ellipsis(
    equation: str, terms: list[str], operands: tuple[Any, ...]
) -> tuple[list[str], tuple[Any, ...], str]:
    """Give the axes of ``...`` letters of their own, and broadcast them."""
    shapes = []
    for term, x in zip(terms, operands, strict=True):
        named = len(term.replace("...", ""))
        ndim = len(shape_of(x))
        if named > ndim or (named < ndim and "..." not in term):
            raise ValueError(f"einsum: {term!r} of {equation!r} does not fit shape {shape_of(x)}")
        start = term.find("...")
        shapes.append(shape_of(x)[start : start + ndim - named] if start >= 0 else ())
    common = np.broadcast_shapes(*shapes)
    free = [c for c in string.ascii_letters if c not in equation]
    dots = "".join(free[: len(common)])
    found = []
    for i, (term, x) in enumerate(zip(terms, operands, strict=True)):
        start = term.find("...")
        if start >= 0:
            own = len(shapes[i])
            shape = shape_of(x)
            wanted = (*shape[:start], *common[len(common) - own :], *shape[start + own :])
            x = broadcast_to(x, wanted)
            terms[i] = term.replace("...", dots[len(dots) - own :] if own else "")
        found.append(x)
    return terms, tuple(found), dots


def _check_sizes(equation: str, terms: list[str], operands: tuple[Any, ...]) -> None:
    sizes: dict[str, int] = {}
    for term, x in zip(terms, operands, strict=True):
        for letter, size in zip(term, shape_of(x), strict=True):
            if not letter.isalpha():
                raise ValueError(f"einsum: {letter!r} in {equation!r} is no letter")
            if sizes.setdefault(letter, size) != size:
                raise ValueError(
                    f"einsum: axis {letter!r} of {equation!r} has lengths "
                    f"{sizes[letter]} and {size}"
                )


def _with_single_letters(x: Any, term: str) -> tuple[Any, str]:
    """Take the diagonal where a letter stands twice."""
    for letter in dict.fromkeys(term):
        while term.count(letter) > 1:
            first = term.index(letter)
            second = term.index(letter, first + 1)
            x = movedim(diagonal(x, 0, first, second), -1, first)
            term = term[:second] + term[second + 1 :]
    return x, term
