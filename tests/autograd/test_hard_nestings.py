"""Transforms in transforms in transforms, each against a closed form or central differences."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import checkpoint, derivative, exp, grad, hessian, hvp, jacfwd, jacrev, jvp, vjp, vmap
from minidl import sum as total

X = np.array([0.4, -0.7, 1.1])


def f(x: Any) -> Any:
    """Σ eˣⁱ xᵢ²: its nth derivative in each xᵢ is eˣ (x² + 2n x + n(n-1))."""
    return total(exp(x) * x * x)


def nth(n: int, x: Any = X) -> Any:
    return np.exp(x) * (x * x + 2 * n * x + n * (n - 1))


def maml(w: Any) -> Any:
    """The loss after one step of gradient descent, as in model-agnostic meta-learning."""
    return f(w - 0.1 * grad(f)(w))


def maml_gradient() -> Any:
    return nth(1, X - 0.1 * nth(1)) * (1 - 0.1 * nth(2))


def newton(a: Any) -> Any:
    """√a by Newton's iteration; its derivative is 1 / 2√a."""
    x = a
    for _ in range(8):
        residual = lambda y: y * y - a
        x = x - residual(x) / derivative(residual, x)
    return x


def laplacian(x: Any) -> Any:
    def second(direction: Any) -> Any:
        slope = lambda y: jvp(f, (y,), (direction,))[1]
        return jvp(slope, (x,), (direction,))[1]

    return vmap(second)(np.eye(3)).sum()


@minidl.custom_jvp
def square(x: Any) -> Any:
    return x * x


@square.defjvp
def square_rule(primals: Any, tangents: Any) -> Any:
    return square(primals[0]), 2.0 * primals[0] * tangents[0]


def rescued(x: Any) -> Any:
    return total(vmap(lambda v: checkpoint(lambda u: square(u) * exp(u), v))(x))


def penalty(w: Any) -> Any:
    """‖d/dx (w·x)²/2‖² = (w·x)² ‖w‖²: a gradient penalty."""
    g = grad(lambda x: total(w * x) ** 2 / 2)(X)
    return total(g * g)


W = np.array([0.2, 0.5, -0.3])
PENALTY = 2 * (W @ X) * X * (W @ W) + 2 * (W @ X) ** 2 * W

CASES: dict[str, tuple[Any, Any]] = {
    "third derivatives, three modes": (
        lambda: jacfwd(jacrev(jacfwd(f)))(X)[range(3), range(3), range(3)],
        nth(3),
    ),
    "third derivatives, the other way": (
        lambda: jacrev(jacfwd(jacrev(f)))(X)[range(3), range(3), range(3)],
        nth(3),
    ),
    "gradient of the trace of a Hessian": (
        lambda: grad(lambda x: total(minidl.mul(hessian(f)(x), np.eye(3))))(X),
        nth(3),
    ),
    "gradient of a Hessian in chunks": (
        lambda: grad(lambda x: total(hessian(f, chunk_size=2)(x)))(X),
        nth(3),
    ),
    "gradient of a Laplacian by forward over forward under vmap": (
        lambda: grad(laplacian)(X),
        nth(3),
    ),
    "vmap of Hessians": (
        lambda: vmap(hessian(f))(X[:, None])[:, 0, 0],
        nth(2),
    ),
    "a step of gradient descent, differentiated": (lambda: grad(maml)(X), maml_gradient()),
    "and under vmap, pushed forward": (
        lambda: vmap(lambda w: jvp(maml, (w,), (np.ones(1),))[1])(X[:, None]),
        maml_gradient(),
    ),
    "Newton's method, with its own derivative inside": (
        lambda: vmap(grad(newton))(np.array([2.0, 3.0])),
        0.5 / np.sqrt([2.0, 3.0]),
    ),
    "a tangent that depends on the variable": (
        lambda: grad(lambda x: jvp(f, (x,), (x,))[1])(X),
        nth(2) * X + nth(1),
    ),
    "a cotangent that depends on the variable": (
        lambda: jacfwd(lambda x: vjp(exp, x)[1](x * x)[0])(X).diagonal(),
        np.exp(X) * (X * X + 2 * X),
    ),
    "hvp along a gradient": (
        lambda: grad(lambda x: total(hvp(f, (x,), (grad(f)(x),))))(X),
        nth(3) * nth(1) + nth(2) ** 2,
    ),
    "linearize inside reverse": (
        lambda: grad(lambda x: minidl.linearize(f, x)[1](np.ones(3)))(X),
        nth(2),
    ),
    "custom_jvp in checkpoint in vmap in forward over reverse": (
        lambda: jacfwd(grad(rescued))(X).diagonal(),
        nth(2),
    ),
    "gradient penalty": (lambda: grad(penalty)(W), PENALTY),
    "vmap in vmap, axes crossed, inside reverse": (
        lambda: grad(
            lambda x: total(vmap(vmap(lambda a, b: a * b, (0, None)), (None, 0))(x, x * x))
        )(X),
        (X**2).sum() + 2 * X * X.sum(),
    ),
    "an inner variable that shadows two outer ones": (
        lambda: derivative(
            lambda x: x * derivative(lambda x: x * derivative(lambda x: x * x, x), 3.0), 5.0
        ),
        12.0,
    ),
    "through PyTorch's door: create_graph over a transform": (
        lambda: eager_over_transform(),
        nth(2),
    ),
}


def eager_over_transform() -> Any:
    x = minidl.Tensor(X, requires_grad=True)
    (g,) = minidl.autograd.grad(total(grad(f)(x)), x)
    return g.numpy()


@pytest.mark.parametrize("case", CASES)
def test_nesting(case: str) -> None:
    found, wanted = CASES[case]
    np.testing.assert_allclose(found(), wanted, rtol=1e-9, atol=1e-12)


def test_eight_threads_get_the_numbers_that_one_gets() -> None:
    """Every nesting above in eight threads at once, bit for bit."""
    wanted = [np.asarray(found()) for found, _ in CASES.values()]
    results: dict[int, list[Any]] = {}

    def work(number: int) -> None:
        results[number] = [np.asarray(found()) for found, _ in CASES.values()]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(8))
    for found in results.values():
        for one, two in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(one, two)
