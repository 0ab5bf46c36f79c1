"""One derivative four ways: central differences, symbols, forward mode, reverse mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minidl.autograd.primitive import box
from minidl.autograd.transforms import jvp, vjp
from minidl.explaining.expression import evaluate, read
from minidl.explaining.trace import Step, TraceLevel, bottom


@dataclass
class Way:
    """One way to a derivative: what it gives, and how many operations it took."""

    name: str
    value: float
    operations: int | None
    note: str = ""


@dataclass
class Comparison:
    """What `compare` found; ``print`` it."""

    ways: list[Way]
    #: Step sizes of the difference quotient, and its error against reverse mode.
    steps: list[tuple[float, float]] = field(default_factory=list)

    @property
    def agreement(self) -> float:
        """Largest relative difference from reverse mode among the exact ways."""
        reverse = next(way.value for way in self.ways if way.name == "reverse mode")
        scale = abs(reverse) or 1.0
        exact = [way.value for way in self.ways if way.name != "central differences"]
        return max(abs(value - reverse) / scale for value in exact)

    def __str__(self) -> str:
        lines = [f"{'':<22}{'derivative':>24}  operations"]
        for way in self.ways:
            count = "" if way.operations is None else str(way.operations)
            lines.append(f"{way.name:<22}{way.value:>24.16g}  {count:>10}  {way.note}".rstrip())
        lines += ["", "central differences: step size and error"]
        lines += [f"  {h:7.0e}  {error:.1e}" for h, error in self.steps]
        lines += ["", f"the exact ways agree to {self.agreement:.1e}"]
        return "\n".join(lines)


def _count(run: Callable[..., Any], *values: Any) -> int:
    """How many operations a computation runs, by a level on top of it."""
    level = TraceLevel()
    boxed = [box(np.asarray(v), level, Step(f"x{i}", "input", [], v)) for i, v in enumerate(values)]
    try:
        run(*boxed)
    finally:
        level.closed = True
    return len(level.steps)


def compare(
    function: Callable[..., Any],
    args: Sequence[Any],
    *,
    wrt: int = 0,
    symbolic: str | None = None,
) -> Comparison:
    """Return the derivative of a function of numbers in argument ``wrt``, four ways.

    Parameters
    ----------
    function
        Takes numbers and returns one.
    args
        Where.
    symbolic
        The function as a formula in x1, x2, … or in its own names; sympy (the extra ``symbolic``)
        differentiates it. Without it that way is left out, and says so.

    Raises
    ------
    ValueError
        An argument or the result is not a single number.
    """
    points = [np.asarray(arg, dtype=np.float64) for arg in args]
    if any(p.shape != () for p in points):
        raise ValueError("compare: single numbers are wanted")
    others = list(points)

    def along(x: Any) -> Any:
        others[wrt] = x
        return function(*others)

    at = points[wrt]
    value = bottom(along(at))
    if value.shape != ():
        raise ValueError(f"compare: a single number is wanted, the function gave {value.shape}")
    one = np.ones(())
    forward = float(jvp(along, (at,), (one,))[1])
    reverse = float(vjp(along, at)[1](one)[0])

    def quotient(h: float) -> float:
        return float((bottom(along(at + h)) - bottom(along(at - h))) / (2 * h))

    sizes = [10.0**-k for k in range(1, 16)]
    errors = [(h, abs(quotient(h) - reverse)) for h in sizes]
    best = min(errors, key=lambda pair: pair[1])[0]
    cost = _count(along, at)
    ways = [
        Way("central differences", quotient(best), 2 * cost + 3, f"with the best step, {best:.0e}"),
        *_symbolic(symbolic, points, wrt),
        Way("forward mode", forward, _count(lambda x: jvp(along, (x,), (one,)), at)),
        Way("reverse mode", reverse, _count(lambda x: vjp(along, x)[1](one), at)),
    ]
    return Comparison(ways, errors)


def _symbolic(formula: str | None, points: list[Any], wrt: int) -> list[Way]:
    if formula is None:
        return []
    try:
        import sympy
    except ImportError:
        return []
    tree, names = read(formula)
    symbols = {name: sympy.Symbol(name, real=True) for name in names}
    tree = _with_whole_numbers(tree)
    slope = sympy.diff(evaluate(tree, symbols, _symbols_of(sympy)), symbols[names[wrt]])
    place = {symbols[name]: float(point) for name, point in zip(names, points, strict=True)}
    return [Way("symbolic (sympy)", float(slope.subs(place)), int(slope.count_ops()), str(slope))]


def _with_whole_numbers(tree: Any) -> Any:
    """Write 3.0 as 3, which symbols keep exact."""
    if tree[0] == "number":
        return ("number", int(tree[1])) if float(tree[1]).is_integer() else tree
    return tree if tree[0] == "name" else (*tree[:2], *map(_with_whole_numbers, tree[2:]))


class _symbols_of(dict[str, Any]):  # noqa: N801 - reads as a phrase
    """Sympy's counterpart of each operation of a formula."""

    def __init__(self, sympy: Any) -> None:
        super().__init__(
            add=lambda x, y: x + y,
            sub=lambda x, y: x - y,
            mul=lambda x, y: x * y,
            div=lambda x, y: x / y,
            neg=lambda x: -x,
            pow=lambda x, y: x**y,
            square=lambda x: x**2,
            sqrt=lambda x: x ** sympy.Rational(1, 2),
            rsqrt=lambda x: x ** sympy.Rational(-1, 2),
            exp2=lambda x: 2**x,
            expm1=lambda x: sympy.exp(x) - 1,
            log1p=lambda x: sympy.log(1 + x),
            log2=lambda x: sympy.log(x, 2),
            log10=lambda x: sympy.log(x, 10),
            ln=sympy.log,
            sigmoid=lambda x: 1 / (1 + sympy.exp(-x)),
            relu=lambda x: sympy.Max(x, 0),
            abs=sympy.Abs,
            max=sympy.Max,
            min=sympy.Min,
            maximum=sympy.Max,
            minimum=sympy.Min,
            lgamma=sympy.loggamma,
            hypot=lambda x, y: sympy.sqrt(x**2 + y**2),
            logaddexp=lambda x, y: sympy.log(sympy.exp(x) + sympy.exp(y)),
        )
        self.sympy = sympy

    def __missing__(self, name: str) -> Any:
        return getattr(self.sympy, name)
