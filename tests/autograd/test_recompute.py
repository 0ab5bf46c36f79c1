"""checkpoint: the same derivatives, with less kept and more computed."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import Tensor, nn
from minidl.nn import functional

X = np.array([0.3, -0.5, 1.2])


def block(x: Any) -> Any:
    return minidl.tanh(minidl.exp(x) * x) * x


def kept(x: Any) -> Any:
    return minidl.checkpoint(block, x)


NESTINGS = {
    "grad": lambda f: minidl.grad(lambda x: f(x).sum()),
    "jacrev": minidl.jacrev,
    "jacfwd": minidl.jacfwd,
    "hessian": lambda f: minidl.hessian(lambda x: f(x).sum()),
    "reverse over reverse": lambda f: minidl.jacrev(minidl.jacrev(lambda x: f(x).sum())),
    "reverse over forward": lambda f: minidl.jacrev(minidl.jacfwd(lambda x: f(x).sum())),
    "vmap of grad": lambda f: minidl.vmap(minidl.grad(f)),
    "grad through vmap": lambda f: minidl.grad(lambda x: minidl.vmap(f)(x).sum()),
    "third order": lambda f: minidl.vmap(minidl.grad(minidl.grad(minidl.grad(f)))),
}


@pytest.mark.parametrize("nesting", NESTINGS)
def test_it_nests(nesting: str) -> None:
    derive = NESTINGS[nesting]
    np.testing.assert_allclose(derive(kept)(X), derive(block)(X), rtol=1e-12)


@pytest.mark.parametrize("nesting", NESTINGS)
def test_checkpoints_in_a_checkpoint(nesting: str) -> None:
    derive = NESTINGS[nesting]

    def outer(x: Any) -> Any:
        return minidl.checkpoint(lambda v: kept(v) + kept(2.0 * v), x)

    wanted = derive(lambda x: block(x) + block(2.0 * x))(X)
    np.testing.assert_allclose(derive(outer)(X), wanted, rtol=1e-12)


def test_parameters_that_the_function_closes_over_get_their_gradients() -> None:
    w, x = Tensor(2 * X, requires_grad=True), Tensor(X, requires_grad=True)
    minidl.checkpoint(lambda v: (minidl.exp(v) * w).sum(), x).backward()
    np.testing.assert_allclose(w.grad.numpy(), np.exp(X))
    np.testing.assert_allclose(x.grad.numpy(), np.exp(X) * 2 * X)


def test_intermediate_values_that_the_function_closes_over() -> None:
    x = Tensor(X, requires_grad=True)
    middle = x * x
    minidl.checkpoint(lambda: (minidl.exp(middle) * middle).sum()).backward()
    wanted = minidl.grad(lambda v: (minidl.exp(v * v) * v * v).sum())(X)
    np.testing.assert_allclose(x.grad.numpy(), wanted)


def test_create_graph() -> None:
    x = Tensor(X, requires_grad=True)
    (g,) = minidl.autograd.grad(kept(x).sum(), x, create_graph=True)
    (gg,) = minidl.autograd.grad((g * g).sum(), x)
    wanted = minidl.grad(lambda v: (minidl.grad(lambda u: block(u).sum())(v) ** 2).sum())(X)
    np.testing.assert_allclose(gg.numpy(), wanted)


def test_a_module_in_training_draws_the_same_mask_again() -> None:
    layer = nn.Dropout(0.5, rng=np.random.default_rng(3))
    x = Tensor(np.ones(100), requires_grad=True)
    y = minidl.checkpoint(lambda v: layer(v) * 3.0, x)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())


def test_a_fresh_generator_is_the_same_in_the_second_run() -> None:
    x = Tensor(np.ones(100), requires_grad=True)
    y = minidl.checkpoint(lambda v: functional.dropout(v, 0.5), x)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())


def test_several_results_and_constants() -> None:
    def two(x: Any) -> Any:
        return {"a": x * x, "b": (minidl.exp(x), 3)}

    def loss(run: Any) -> Any:
        def f(x: Any) -> Any:
            out = run(x)
            return (out["a"] * out["b"][0] * out["b"][1]).sum()

        return minidl.grad(f)(X)

    np.testing.assert_allclose(loss(lambda x: minidl.checkpoint(two, x)), loss(two))
    assert minidl.checkpoint(two, X)["b"][1] == 3


def test_less_is_kept() -> None:
    def deep(x: Any) -> Any:
        for _ in range(20):
            x = minidl.tanh(x)
        return x

    def held(run: Any) -> int:
        x = Tensor(np.ones(20_000), requires_grad=True)
        tracemalloc.start()
        y = run(x)
        current, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert y.requires_grad
        return current

    assert held(lambda x: minidl.checkpoint(deep, x)) < held(deep) / 8


def test_the_function_runs_once_forward_and_once_backward() -> None:
    calls = []

    def counted(x: Any) -> Any:
        calls.append(1)
        return x * x

    x = Tensor(X, requires_grad=True)
    y = minidl.checkpoint(counted, x).sum()
    assert len(calls) == 1
    y.backward()
    assert len(calls) == 2
    with minidl.no_grad():
        assert not minidl.checkpoint(counted, x).requires_grad


def test_overwriting_a_parameter_in_between_raises() -> None:
    x = Tensor(X.copy(), requires_grad=True)
    y = kept(x).sum()
    x.copy_(np.zeros(3))
    with pytest.raises(RuntimeError, match=r"checkpoint: a parameter of shape .* overwritten"):
        y.backward()


def test_an_exception_in_the_second_run_leaves_nothing_behind() -> None:
    runs = []

    def fails_later(x: Any) -> Any:
        runs.append(1)
        if len(runs) == 2:
            raise ZeroDivisionError("second run")
        return x * x

    x = Tensor(X, requires_grad=True)
    y = minidl.checkpoint(fails_later, x).sum()
    with pytest.raises(ZeroDivisionError):
        y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * X)
