"""Derivatives of derivatives, in every order of modes, and of functions that close over others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import derivative, grad, jvp, ops, vjp
from minidl.nn import functional


def forward(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: jvp(f, (x,), (np.ones(()),))[1]


def pulled(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: vjp(f, x)[1](np.ones(()))[0]


MODES = {"reverse": grad, "forward": forward, "derivative": lambda f: lambda x: derivative(f, x),
         "vjp": pulled}  # fmt: skip
outer = pytest.mark.parametrize("d1", MODES.values(), ids=MODES)
inner = pytest.mark.parametrize("d2", MODES.values(), ids=MODES)


@outer
@inner
def test_perturbations_are_not_confused(d1: Any, d2: Any) -> None:
    assert float(d1(lambda x: x * d2(lambda y: x + y)(np.array(1.0)))(np.array(5.0))) == 1.0
    assert float(d1(lambda x: x * d2(lambda y: x * y)(np.array(2.0)))(np.array(5.0))) == 10.0


@outer
@inner
def test_the_inner_point_may_depend_on_the_outer_variable(d1: Any, d2: Any) -> None:
    # d/dx [d/dy x²y³ at y = x] = d/dx 3x⁴ = 12x³
    assert float(d1(lambda x: d2(lambda y: x**2 * y**3)(x))(np.array(2.0))) == pytest.approx(96.0)


@outer
@inner
def test_an_inner_function_that_ignores_its_variable(d1: Any, d2: Any) -> None:
    assert float(d1(lambda x: x * d2(lambda y: x * 1.0)(x))(np.array(3.0))) == 0.0


PAIR = ("reverse", "forward")


@pytest.mark.parametrize("modes", [
    (a, b, c) for a in PAIR for b in PAIR for c in PAIR
])  # fmt: skip
def test_three_levels_of_any_modes(modes: tuple[str, ...]) -> None:
    f: Any = lambda x: ops.exp(2.0 * x) * x
    for mode in modes:
        f = MODES[mode](f)
    # (x e²ˣ)''' = (8x + 12) e²ˣ
    assert float(f(np.array(0.5))) == pytest.approx(16 * np.e)


def test_reverse_over_three_variables_of_three_levels() -> None:
    def f(x: Any) -> Any:
        return grad(lambda y: x * grad(lambda z: x * y * z**2)(y))(x)

    # d/dy [x · 2xy·y] = 4x²y at y = x: 4x³; derivative 12x²
    assert float(grad(f)(2.0)) == pytest.approx(48.0)


def nth(f: Any, n: int, d: Any) -> Any:
    for _ in range(n):
        f = d(f)
    return f


TANH = [
    lambda t: t,
    lambda t: 1 - t**2,
    lambda t: -2 * t + 2 * t**3,
    lambda t: -2 + 8 * t**2 - 6 * t**4,
    lambda t: 16 * t - 40 * t**3 + 24 * t**5,
    lambda t: 16 - 136 * t**2 + 240 * t**4 - 120 * t**6,
]


@pytest.mark.parametrize("n", range(8))
@pytest.mark.parametrize("d", [grad, forward], ids=["reverse", "forward"])
def test_nth_derivatives(n: int, d: Any) -> None:
    x = np.array(0.7)
    assert float(nth(ops.exp, n, d)(x)) == pytest.approx(np.exp(0.7), rel=1e-12)
    assert float(nth(ops.sin, n, d)(x)) == pytest.approx(np.sin(0.7 + n * np.pi / 2), rel=1e-12)
    if n < len(TANH):
        assert float(nth(ops.tanh, n, d)(x)) == pytest.approx(TANH[n](np.tanh(0.7)), rel=1e-10)
    falling = float(np.prod([7 - k for k in range(n)]))
    assert float(nth(lambda v: v**7, n, d)(x)) == pytest.approx(falling * 0.7 ** (7 - n), rel=1e-12)


def test_nth_derivative_of_a_tensor_power() -> None:
    x = np.array(1.3)
    assert float(nth(lambda v: v ** np.array(3.0), 4, grad)(x)) == pytest.approx(0.0, abs=1e-12)


def test_through_assignment_to_parts() -> None:
    def f(x: Any) -> Any:
        y = x * 2.0
        y[0] = x[1] ** 2
        y[1:] = y[1:] * y[0]
        return (y**2).sum()

    x = np.array([0.5, 1.5, -0.7])
    minidl.gradcheck(f, [x])
    minidl.gradgradcheck(f, [x])


def test_an_argument_may_be_assigned_to() -> None:
    def f(x: Any) -> Any:
        x[0] = x[1] * 3.0
        return (x * x).sum()

    given = np.array([5.0, 2.0])
    np.testing.assert_array_equal(grad(f)(given), [0.0, 40.0])  # 9y² + y²
    np.testing.assert_array_equal(given, [5.0, 2.0])
    assert float(jvp(f, (given,), (np.array([1.0, 1.0]),))[1]) == 40.0


def test_augmented_assignment_rebinds() -> None:
    def f(x: Any) -> Any:
        y = x
        y += x * x
        y *= 2.0
        return (y - x).sum()

    np.testing.assert_allclose(grad(f)(np.array([3.0])), [13.0])


@pytest.mark.parametrize("d", ["reverse", "forward"])
def test_through_cat_and_matmul_with_outer_variables(d: str) -> None:
    a = np.array([[0.3, -0.8], [1.1, 0.2]])

    def f(x: Any) -> Any:
        def g(y: Any) -> Any:
            m = ops.cat([ops.reshape(x * y, (1, 1)), ops.reshape(y, (1, 1))], 1)
            return ops.sum(ops.tanh(ops.matmul(ops.matmul(m, a), ops.transpose(m, 0, 1))))

        return MODES[d](g)(x * 0.5)

    minidl.gradcheck(f, [np.array(0.6)])
    minidl.gradgradcheck(f, [np.array(0.6)])


def test_gradient_penalty_through_a_convolution() -> None:
    """The norm of the input's gradient, differentiated by the weight: reverse over reverse."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 1, 4, 4)), rng.standard_normal((2, 1, 3, 3))

    def penalty(weight: Any) -> Any:
        slope = grad(lambda image: ops.tanh(functional.conv2d(image, weight, padding=1)).sum())(x)
        return (slope**2).sum()

    minidl.gradcheck(penalty, [w])
    v = rng.standard_normal(w.shape)
    along = jvp(penalty, (w,), (v,))[1]
    assert float(along) == pytest.approx(float((grad(penalty)(w) * v).sum()))


def test_hessian_vector_products_three_ways() -> None:
    rng = np.random.default_rng(0)
    a, x, v = rng.standard_normal((3, 3)), rng.standard_normal(3), rng.standard_normal(3)

    def f(y: Any) -> Any:
        return ops.logsumexp(ops.matmul(a, y), 0) + (y**4).sum()

    forward_over_reverse = jvp(grad(f), (x,), (v,))[1]
    reverse_over_reverse = grad(lambda y: (grad(f)(y) * v).sum())(x)
    reverse_over_forward = grad(lambda y: jvp(f, (y,), (v,))[1])(x)
    np.testing.assert_allclose(forward_over_reverse, reverse_over_reverse, rtol=1e-12)
    np.testing.assert_allclose(forward_over_reverse, reverse_over_forward, rtol=1e-12)


def test_an_eager_tensor_inside_a_transform_keeps_its_graph() -> None:
    w = minidl.tensor(3.0, requires_grad=True, dtype=np.float64)
    slope = grad(lambda x: w * x**2)(np.array(2.0))
    assert float(slope) == 12.0
    slope.backward()
    assert float(w.grad) == 4.0


def test_a_pull_can_be_called_again_and_inside_another_transform() -> None:
    _, pull = vjp(lambda x: x**3, np.array(2.0))
    assert float(pull(np.array(1.0))[0]) == float(pull(np.array(1.0))[0]) == 12.0
    assert float(grad(lambda g: pull(g)[0])(np.array(5.0))) == 12.0


@pytest.mark.parametrize("d", [grad, forward], ids=["reverse", "forward"])
def test_a_value_that_outlives_its_transform_raises(d: Any) -> None:
    kept: list[Any] = []
    d(lambda x: (kept.append(x), x * x)[1])(np.array(1.0))
    with pytest.raises(RuntimeError, match=r"mul: .* after the transform had returned.*has_aux"):
        kept[0] * 2.0


def test_an_exception_in_a_nested_transform_leaves_nothing_behind() -> None:
    def fails(y: Any) -> Any:
        raise ZeroDivisionError

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            grad(lambda x: x * derivative(lambda y: grad(fails)(x * y), 1.0))(2.0)
        with minidl.no_grad(), pytest.raises(ZeroDivisionError):
            grad(fails)(2.0)
    assert float(grad(lambda x: x**2)(3.0)) == 6.0
    assert minidl.tensor(1.0, requires_grad=True).exp().requires_grad


def test_the_readme_s_number() -> None:
    assert derivative(lambda x: x**3 + 2 * x, 3.0) == 29.0
    assert type(derivative(lambda x: x**3, 3)) is float
