"""Check derivatives against central differences, in forward and reverse mode.

Everything is done in float64. The difference quotient (f(x + h) - f(x - h)) / 2h with h = 1e-6
is right to about 1e-9 for functions of ordinary size, far within the default tolerances.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl.autograd.primitive import Array, plain
from minidl.autograd.transforms import jvp, vjp


def _plain(value: Any) -> Array:
    return plain(value, "gradcheck()")


def _numerical_jacobian(
    function: Callable[..., Any], inputs: list[Array], which: int, eps: float
) -> Array:
    """Central differences: rows are output elements, columns the elements of one input."""
    columns = []
    for j in range(inputs[which].size):
        ends = []
        for sign in (1.0, -1.0):
            moved = [x.copy() for x in inputs]
            moved[which].flat[j] += sign * eps
            ends.append(_plain(function(*moved)).astype(np.float64).ravel())
        columns.append((ends[0] - ends[1]) / (2 * eps))
    return np.stack(columns, axis=1) if columns else np.zeros((0, 0))


def _reverse_jacobians(function: Callable[..., Any], inputs: list[Array]) -> list[Array]:
    out, pull = vjp(function, *inputs)
    rows = []
    for i in range(out.size if isinstance(out, np.ndarray) else _plain(out).size):
        cotangent = np.zeros(out.shape)
        cotangent.flat[i] = 1.0
        rows.append([_plain(g).ravel() for g in pull(cotangent)])
    return [np.stack([row[k] for row in rows]) for k in range(len(inputs))] if rows else []


def _forward_jacobians(function: Callable[..., Any], inputs: list[Array]) -> list[Array]:
    jacobians = []
    for k, x in enumerate(inputs):
        columns = []
        for j in range(x.size):
            tangents = [np.zeros_like(other) for other in inputs]
            tangents[k].flat[j] = 1.0
            columns.append(_plain(jvp(function, inputs, tangents)[1]).ravel())
        jacobians.append(np.stack(columns, axis=1) if columns else np.zeros((0, 0)))
    return jacobians


def _check_direction(
    function: Callable[..., Any],
    points: list[Array],
    eps: float,
    tolerance: tuple[float, float],
    modes: Sequence[str],
    rng: np.random.Generator,
) -> None:
    """Compare <u, J v> for one random pair: v in the space of inputs, u in that of the output."""
    v = [rng.standard_normal(x.shape) for x in points]
    length = np.sqrt(sum(float((d * d).sum()) for d in v)) or 1.0
    v = [d / length for d in v]
    ahead, behind = (
        _plain(function(*(x + sign * eps * d for x, d in zip(points, v, strict=True))))
        for sign in (1.0, -1.0)
    )
    u = rng.uniform(0.5, 1.5, ahead.shape)
    expected = float((u * (ahead - behind)).sum() / (2 * eps))
    found = {}
    if "forward" in modes:
        found["forward"] = float((u * _plain(jvp(function, points, v)[1])).sum())
    if "reverse" in modes:
        pulled = vjp(function, *points)[1](u)
        found["reverse"] = sum(float((_plain(g) * d).sum()) for g, d in zip(pulled, v, strict=True))
    atol, rtol = tolerance
    for mode, slope in found.items():
        if not abs(slope - expected) <= atol + rtol * abs(expected):
            raise AssertionError(
                f"gradcheck: {mode} mode disagrees with central differences along a random "
                f"direction: slope {slope!r}, difference {expected!r} "
                f"(atol {atol:g}, rtol {rtol:g}, eps {eps:g})"
            )


def gradcheck(
    function: Callable[..., Any],
    inputs: Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-4,
    modes: Sequence[str] = ("reverse", "forward"),
    directions: int | None = None,
    seed: int = 0,
) -> bool:
    """Hold a function's derivatives against central differences.

    Parameters
    ----------
    function
        Takes the inputs, returns one array.
    inputs
        Float arrays; they are copied to float64.
    eps
        Step of the difference quotient.
    atol, rtol
        Every element must satisfy ``|derivative - difference| <= atol + rtol · |difference|``.
    modes
        ``"reverse"`` and ``"forward"``, or one of them.
    directions
        In place of every element of every input, check so many random directions: a few
        evaluations however large the inputs are.
    seed
        Draws the directions.

    Returns
    -------
    bool
        True; a disagreement raises.

    Raises
    ------
    AssertionError
        With the mode, input, worst element, both values and the tolerance.
    ValueError
        An unknown mode, or no direction.

    Examples
    --------
    >>> import numpy as np, minidl
    >>> minidl.gradcheck(lambda x: minidl.tanh(x) * x, [np.linspace(-1, 1, 5)])
    True
    """
    points = [np.array(_plain(x), dtype=np.float64) for x in inputs]
    analytical = {"reverse": _reverse_jacobians, "forward": _forward_jacobians}
    for mode in modes:
        if mode not in analytical:
            raise ValueError(f"gradcheck: mode must be 'reverse' or 'forward', got {mode!r}")
    if directions is not None:
        if directions < 1:
            raise ValueError(f"gradcheck: at least one direction is wanted, got {directions}")
        for number in range(directions):
            rng = np.random.default_rng((seed, number))
            _check_direction(function, points, eps, (atol, rtol), modes, rng)
        return True
    jacobians = {mode: analytical[mode](function, points) for mode in modes}
    for k in range(len(points)):
        expected = _numerical_jacobian(function, points, k, eps)
        if not expected.size:
            continue
        for mode in modes:
            found = jacobians[mode][k]
            excess = np.abs(found - expected) - (atol + rtol * np.abs(expected))
            excess[np.isnan(found)] = np.inf
            if excess.max() > 0:
                row, column = np.unravel_index(excess.argmax(), excess.shape)
                place = tuple(int(i) for i in np.unravel_index(column, points[k].shape))
                raise AssertionError(
                    f"gradcheck: {mode} mode disagrees with central differences at input {k}, "
                    f"element {place} of shape {points[k].shape}, output element {row}: "
                    f"derivative {found[row, column]!r}, difference {expected[row, column]!r} "
                    f"(atol {atol:g}, rtol {rtol:g}, eps {eps:g})"
                )
    return True


def gradgradcheck(
    function: Callable[..., Any],
    inputs: Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-4,
    modes: Sequence[str] = ("reverse", "forward"),
    directions: int | None = None,
    seed: int = 0,
) -> bool:
    """Check second derivatives: `gradcheck` of the pulled-back random cotangent.

    Reverse over reverse and forward over reverse are held against central differences of the
    first gradient. Parameters and errors are those of `gradcheck`; ``seed`` draws the cotangent.
    """
    points = [np.array(_plain(x), dtype=np.float64) for x in inputs]
    shape = _plain(function(*points)).shape
    cotangent = np.random.default_rng(seed).uniform(0.5, 1.5, shape)

    for k in range(len(points)):

        def gradient(*values: Any, k: int = k) -> Any:
            _, pull = vjp(function, *values)
            return pull(cotangent)[k]

        gradcheck(
            gradient,
            points,
            eps=eps,
            atol=atol,
            rtol=rtol,
            modes=modes,
            directions=directions,
            seed=seed,
        )
    return True
