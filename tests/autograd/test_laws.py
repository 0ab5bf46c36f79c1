"""Laws that hold for every function: linearity, the chain rule, on random expressions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
from minidl import ops, vjp

SHAPES = [(2, 3), (3,), (1, 3), (2, 1), ()]

# Smooth, and of bounded growth, so that central differences of any composition keep their digits.
UNARY: dict[str, Callable[[Any], Any]] = {
    "tanh": ops.tanh,
    "sigmoid": ops.sigmoid,
    "erf": ops.erf,
    "bell": lambda x: ops.exp(-(x * x)),
    "root": lambda x: ops.sqrt(1.0 + x * x),
    "log": lambda x: ops.log(1.5 + ops.tanh(x)),
    "half": lambda x: x * 0.5,
    "minus": lambda x: 1.0 - x,
    "mean": lambda x: ops.mean(x, -1, keepdim=True) if len(x.shape) else x,
    "twice": lambda x: ops.cat([x, x * 2.0], -1)[..., 1:-1] if len(x.shape) else x,
    "turn": lambda x: ops.reshape(ops.permute(x, *reversed(range(len(x.shape)))), x.shape),
    "softmax": lambda x: ops.softmax(x, -1),
}
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": ops.add,
    "sub": ops.sub,
    "mul": ops.mul,
    "div": lambda x, y: x / (2.0 + y * y),
    "pow": lambda x, y: (1.0 + x * x) ** ops.tanh(y),
    "where": lambda x, y: ops.where(np.array(True), x, y),
}


@st.composite
def expressions(draw: Any, depth: int = 4) -> Any:
    """An expression of variables 0 to 2, as nested tuples."""
    if depth == 0 or draw(st.integers(0, 4)) == 0:
        return draw(st.integers(0, 2))
    if draw(st.booleans()):
        return draw(st.sampled_from(sorted(UNARY))), draw(expressions(depth=depth - 1))
    name = draw(st.sampled_from(sorted(BINARY)))
    return name, draw(expressions(depth=depth - 1)), draw(expressions(depth=depth - 1))


def broadcastable(x: Any, y: Any) -> bool:
    try:
        np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        return False
    return True


def evaluate(tree: Any, variables: Any) -> Any:
    if isinstance(tree, int):
        return variables[tree]
    name, *parts = tree
    values = [evaluate(part, variables) for part in parts]
    if name in UNARY:
        return UNARY[name](values[0])
    # "twice" changes lengths; what then does not fit is reduced to a number first.
    return BINARY[name](*(values if broadcastable(*values) else [ops.mean(v) for v in values]))


def draw_arrays(seed: int, shapes: Any) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [rng.uniform(-1.5, 1.5, shape) for shape in shapes]


problems = given(
    tree=expressions(),
    shapes=st.lists(st.sampled_from(SHAPES), min_size=3, max_size=3),
    seed=st.integers(0, 10_000),
)
quick = settings(max_examples=60, deadline=None, derandomize=True)


@problems
@quick
def test_random_expressions_agree_with_central_differences(
    tree: Any, shapes: Any, seed: int
) -> None:
    assert minidl.gradcheck(lambda *v: evaluate(tree, v), draw_arrays(seed, shapes))


@problems
@quick
def test_forward_and_reverse_agree_on_random_expressions(tree: Any, shapes: Any, seed: int) -> None:
    points, along = draw_arrays(seed, shapes), draw_arrays(seed + 1, shapes)
    f = lambda *v: evaluate(tree, v)
    out, pull = vjp(f, *points)
    u = draw_arrays(seed + 2, [out.shape])[0]
    pushed = float((u * minidl.jvp(f, points, along)[1]).sum())
    pulled = sum(float((g * d).sum()) for g, d in zip(pull(u), along, strict=True))
    np.testing.assert_allclose(pushed, pulled, rtol=1e-9, atol=1e-10)


@problems
@quick
def test_a_pull_is_linear(tree: Any, shapes: Any, seed: int) -> None:
    out, pull = vjp(lambda *v: evaluate(tree, v), *draw_arrays(seed, shapes))
    u, v = draw_arrays(seed + 1, [out.shape, out.shape])
    for both, one, two in zip(pull(2.0 * u - 3.0 * v), pull(u), pull(v), strict=True):
        np.testing.assert_allclose(both, 2.0 * one - 3.0 * two, rtol=1e-9, atol=1e-10)


@problems
@quick
def test_the_chain_rule(tree: Any, shapes: Any, seed: int) -> None:
    """Pulling through g, then through f, is pulling through g ∘ f."""
    points = draw_arrays(seed, shapes)
    f, g = (lambda *v: evaluate(tree, v)), (lambda y: ops.tanh(y) * y)
    inner, pull_f = vjp(f, *points)
    outer, pull_g = vjp(g, inner)
    u = draw_arrays(seed + 1, [outer.shape])[0]
    whole = vjp(lambda *v: g(f(*v)), *points)[1](u)
    for one, two in zip(whole, pull_f(*pull_g(u)), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-10, atol=1e-12)


@problems
@settings(max_examples=25, deadline=None, derandomize=True)
def test_second_derivatives_are_symmetric(tree: Any, shapes: Any, seed: int) -> None:
    """uᵀ H v = vᵀ H u, each by forward over reverse."""
    points = draw_arrays(seed, shapes)
    u, v = draw_arrays(seed + 1, shapes), draw_arrays(seed + 2, shapes)
    slope = minidl.grad(lambda *x: ops.sum(evaluate(tree, x)), (0, 1, 2))

    def quadratic(a: Any, b: Any) -> float:
        pushed = minidl.jvp(slope, points, a)[1]
        return sum(float((h * c).sum()) for h, c in zip(pushed, b, strict=True))

    np.testing.assert_allclose(quadratic(u, v), quadratic(v, u), rtol=1e-8, atol=1e-9)
