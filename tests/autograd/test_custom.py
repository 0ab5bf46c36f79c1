"""custom_vjp and custom_jvp: the user's rule is what every mode uses, at any depth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl
from minidl import Tensor

X = np.array([0.3, -0.5, 1.2])


def times() -> Any:
    """``x · y · y`` with a rule that is right, and notes that it ran."""

    @minidl.custom_vjp
    def product(x: Any, y: Any) -> Any:
        return x * y * y

    def back(residuals: Any, g: Any) -> Any:
        calls.append(1)
        x, y = residuals
        return g * y * y, 2.0 * g * x * y

    calls: list[int] = []
    product.defvjp(lambda x, y: (x * y * y, (x, y)), back)
    product.calls = calls
    return product


def cubed() -> Any:
    @minidl.custom_jvp
    def cube(x: Any) -> Any:
        return x * x * x

    @cube.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        calls.append(1)
        (x,), (t,) = primals, tangents
        return cube(x), 3.0 * x * x * t

    calls: list[int] = []
    cube.calls = calls
    return cube


def test_the_rule_is_used_and_not_the_function_s_own_derivative() -> None:
    @minidl.custom_vjp
    def reversed_sign(x: Any) -> Any:
        return x

    reversed_sign.defvjp(lambda x: (x, ()), lambda _, g: (-g,))
    np.testing.assert_array_equal(minidl.grad(lambda x: reversed_sign(x).sum())(X), -np.ones(3))
    x = Tensor(X, requires_grad=True)
    reversed_sign(x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), -np.ones(3))
    np.testing.assert_array_equal(reversed_sign(X), X)  # outside of transforms: the function


NESTINGS = {
    "reverse over reverse": lambda f: minidl.jacrev(minidl.grad(f)),
    "grad of a sum of grad": lambda f: minidl.grad(lambda x: minidl.grad(f)(x).sum()),
    "vmap of grad": lambda f: minidl.vmap(minidl.grad(lambda x: f(x[None]))),
    "grad through vmap": lambda f: minidl.grad(
        lambda x: minidl.vmap(lambda e: f(e[None]))(x).sum()
    ),
    "vmap over a shared point": lambda f: (
        lambda x: minidl.vmap(lambda s: minidl.grad(lambda v: f(v * s))(x))(X)
    ),
}


@pytest.mark.parametrize("nesting", NESTINGS)
def test_custom_vjp_nests(nesting: str) -> None:
    product = times()
    derive = NESTINGS[nesting]
    found = derive(lambda x: product(x, x + 1.0).sum())(X)
    wanted = derive(lambda x: (x * (x + 1.0) ** 2).sum())(X)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    assert product.calls
    assert type(found) is np.ndarray


@pytest.mark.parametrize("nesting", NESTINGS)
def test_custom_jvp_nests(nesting: str) -> None:
    cube = cubed()
    derive = NESTINGS[nesting]
    found = derive(lambda x: cube(x).sum())(X)
    np.testing.assert_allclose(found, derive(lambda x: (x**3).sum())(X), rtol=1e-12)
    assert cube.calls


@pytest.mark.parametrize(
    "derive",
    [minidl.jacfwd, minidl.jacrev, lambda f: minidl.jacfwd(minidl.jacfwd(f)), minidl.hessian],
)
def test_custom_jvp_serves_both_modes(derive: Any) -> None:
    cube = cubed()
    found = derive(lambda x: cube(x).sum())(X)
    np.testing.assert_allclose(found, derive(lambda x: (x**3).sum())(X), rtol=1e-12)


def test_shares_of_what_all_examples_have_in_common_are_summed() -> None:
    product = times()
    f = minidl.vmap(product, in_axes=(0, None))
    gx, gy = minidl.grad(lambda x, y: f(x, y).sum(), (0, 1))(X, np.array(2.0))
    np.testing.assert_allclose(gx, np.full(3, 4.0))
    np.testing.assert_allclose(gy, 4.0 * X.sum())


def test_trees_of_arguments_and_results() -> None:
    @minidl.custom_vjp
    def both(params: Any, scale: Any) -> Any:
        return {"sum": params["a"] + params["b"][0], "product": (params["a"] * scale, 7)}

    both.defvjp(
        lambda params, scale: (both(params, scale), (params, scale)),
        lambda res, g: (
            {"a": g["sum"] + g["product"][0] * res[1], "b": [g["sum"]]},
            (g["product"][0] * res[0]["a"]).sum(),
        ),
    )

    def loss(params: Any, scale: Any) -> Any:
        out = both(params, scale)
        return (out["sum"] ** 2).sum() + (out["product"][0]).sum() * out["product"][1]

    def plain_loss(params: Any, scale: Any) -> Any:
        return ((params["a"] + params["b"][0]) ** 2).sum() + (params["a"] * scale).sum() * 7

    params = {"a": X, "b": [X + 1.0]}
    found = minidl.grad(loss, (0, 1))(params, np.array(3.0))
    wanted = minidl.grad(plain_loss, (0, 1))(params, np.array(3.0))
    np.testing.assert_allclose(found[0]["a"], wanted[0]["a"])
    np.testing.assert_allclose(found[0]["b"][0], wanted[0]["b"][0])
    np.testing.assert_allclose(found[1], wanted[1])


@pytest.mark.parametrize("make", [times, cubed])
def test_create_graph_reaches_the_arguments(make: Any) -> None:
    function = make()
    x = Tensor(X, requires_grad=True)
    y = function(x) if make is cubed else function(x, x)
    (g,) = minidl.autograd.grad(y.sum(), x, create_graph=True)
    (gg,) = minidl.autograd.grad(g.sum(), x)
    np.testing.assert_allclose(g.detach().numpy(), 3 * X**2)
    np.testing.assert_allclose(gg.numpy(), 6 * X)


def test_no_grad_records_nothing() -> None:
    product, x = times(), Tensor(X, requires_grad=True)
    with minidl.no_grad():
        assert not product(x, x).requires_grad
    assert product(x, x).requires_grad
    assert product(Tensor(X), Tensor(X)).requires_grad is False


def test_none_stands_for_zeros() -> None:
    @minidl.custom_vjp
    def f(x: Any, y: Any) -> Any:
        return x * y

    f.defvjp(lambda x, y: (x * y, y), lambda y, g: (g * y, None))
    _, gy = minidl.grad(lambda x, y: f(x, y).sum(), (0, 1))(X, X)
    np.testing.assert_array_equal(gy, np.zeros(3))


def test_errors() -> None:
    @minidl.custom_vjp
    def lonely(x: Any) -> Any:
        return x

    with pytest.raises(RuntimeError, match=r"lonely: its derivative is missing; call lonely.defv"):
        minidl.grad(lambda x: lonely(x).sum())(X)
    lonely.defvjp(lambda x: (x, ()), lambda _, g: g)
    with pytest.raises(TypeError, match="lonely: backward must return a tuple with one cotangent"):
        minidl.grad(lambda x: lonely(x).sum())(X)
    lonely.defvjp(lambda x: (x, ()), lambda _, g: (g.sum(),))
    with pytest.raises(ValueError, match=r"lonely: backward returned shape \(\) for argument 0 of"):
        minidl.grad(lambda x: lonely(x).sum())(X)
    with pytest.raises(TypeError, match=r"lonely: forward mode .* custom_jvp"):
        minidl.jvp(lonely, (X,), (X,))

    @minidl.custom_jvp
    def alone(x: Any) -> Any:
        return x

    with pytest.raises(RuntimeError, match=r"alone: its derivative is missing; call alone.defjvp"):
        minidl.jvp(alone, (X,), (X,))
    alone.defjvp(lambda primals, tangents: primals[0])
    with pytest.raises(TypeError, match=r"alone: the rule must return \(result, tangent\)"):
        minidl.jvp(alone, (X,), (X,))
    alone.defjvp(lambda primals, tangents: (primals[0], tangents[0].sum()))
    with pytest.raises(ValueError, match=r"alone: .* tangent of shape \(\) for a result of .*3"):
        minidl.jvp(alone, (X,), (X,))


def test_a_stale_parameter_raises() -> None:
    product, x = times(), Tensor(X.copy(), requires_grad=True)
    y = product(x, x).sum()
    x.copy_(np.ones(3))
    with pytest.raises(RuntimeError, match=r"product: a parameter of shape .* was overwritten"):
        y.backward()


def test_it_keeps_the_function_s_name_and_docstring() -> None:
    @minidl.custom_vjp
    def named(x: Any) -> Any:
        """Doc."""
        return x

    assert (named.__name__, named.__doc__) == ("named", "Doc.")
