"""minidl.autograd.grad, the counterpart of torch.autograd.grad."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl
from minidl import Tensor
from minidl.autograd import grad

X = np.array([1.0, 2.0, 3.0])


def leaf(values: Any = X) -> Tensor:
    return Tensor(np.array(values), requires_grad=True)


def test_leaves_and_results_between() -> None:
    x, w = leaf(), leaf(2 * X)
    y = x * w
    z = (y * y).sum()
    gx, gy, gw = grad(z, (x, y, w))
    np.testing.assert_array_equal(gy.numpy(), 2 * y.detach().numpy())
    np.testing.assert_array_equal(gx.numpy(), 2 * X * 4 * X**2)
    np.testing.assert_array_equal(gw.numpy(), 2 * X**2 * 2 * X)
    assert x.grad is None
    assert not gx.requires_grad


def test_a_result_that_is_its_own_input() -> None:
    x = leaf()
    y = (x * x).sum()
    (g,) = grad(y, y)
    assert g.item() == 1.0
    (g,) = grad(x.sum() + x.sum(), [x])
    np.testing.assert_array_equal(g.numpy(), np.full(3, 2.0))


def test_only_the_way_to_the_inputs_is_walked() -> None:
    x, w = leaf(), leaf()
    y = minidl.exp(x)
    z = y * minidl.exp(w)
    grad(z.sum(), w)  # frees the product and exp(w), not exp(x)
    (g,) = grad(y.sum(), x)
    np.testing.assert_allclose(g.numpy(), np.exp(X))


def test_several_outputs_with_cotangents() -> None:
    x = leaf()
    a, b = x * 2.0, x * x
    (g,) = grad((a, b), x, (np.ones(3), X))
    np.testing.assert_array_equal(g.numpy(), 2.0 + 2.0 * X * X)
    a = x * 2.0
    (g,) = grad([a, a], x, [np.ones(3), np.ones(3)])
    np.testing.assert_array_equal(g.numpy(), np.full(3, 4.0))


def test_unused_inputs() -> None:
    x, w = leaf(), leaf()
    y = (x * x).sum()
    with pytest.raises(RuntimeError, match="do not depend on input 1; pass allow_unused=True"):
        grad(y, (x, w), retain_graph=True)
    assert grad(y, (x, w), allow_unused=True, retain_graph=True)[1] is None
    zeros = grad(y, (x, w), materialize_grads=True)[1]
    np.testing.assert_array_equal(zeros.numpy(), np.zeros(3))


def test_create_graph_to_third_order() -> None:
    x = leaf()
    y: Any = (x**4).sum()
    for wanted in (4 * X**3, 12 * X**2, 24 * X):
        (g,) = grad(y, x, create_graph=True)
        np.testing.assert_allclose(g.detach().numpy(), wanted)
        y = g.sum()


def test_errors() -> None:
    x = leaf()
    y = x * x
    with pytest.raises(RuntimeError, match="input 0 does not require a gradient"):
        grad(y.sum(), Tensor(X))
    with pytest.raises(RuntimeError, match=r"grad\(\) on a Tensor that depends on nothing"):
        grad(Tensor(1.0), x)
    with pytest.raises(RuntimeError, match=r"grad\(\) on a Tensor of shape \(3,\) needs"):
        grad(y, x)
    with pytest.raises(RuntimeError, match=r"the gradient has shape \(2,\), the Tensor \(3,\)"):
        grad(y, x, np.ones(2))
    with pytest.raises(RuntimeError, match="2 outputs, but 1 grad_outputs"):
        grad((y, y), x, np.ones(3))
    with pytest.raises(RuntimeError, match="a Tensor is wanted, got ndarray"):
        grad(X, x)
    grad(y.sum(), x)
    with pytest.raises(RuntimeError, match="already walked this graph"):
        grad(y.sum(), x)


def test_against_pytorch(torch: Any) -> None:
    def run(lib: Any, x: Any, w: Any) -> list[Any]:
        h = lib.tanh(x * w)
        out = (h * h).sum() + w.sum()
        gx, gh = lib.autograd.grad(out, (x, h), create_graph=True)
        (gw,) = lib.autograd.grad((gx * gx).sum(), w)
        return [gx, gh, gw]

    found = run(minidl, leaf(), leaf(X / 2))
    wanted = run(torch, *(torch.tensor(v, requires_grad=True) for v in (X, X / 2)))
    for one, two in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one.detach().numpy(), two.detach().numpy(), rtol=1e-12)


# ---- what a transform refuses ------------------------------------------------------------------


@pytest.mark.parametrize("derive", [minidl.grad, minidl.jacrev, minidl.jacfwd, minidl.hessian])
@pytest.mark.parametrize(
    ("function", "how"),
    [(lambda x: np.asarray(x.item() ** 2), "item"), (lambda x: x.detach().numpy() * 1.0, "detach")],
)
def test_a_result_that_lost_its_graph_is_refused(derive: Any, function: Any, how: str) -> None:
    with pytest.raises(RuntimeError, match=rf"lost its graph: .* by {how}\(\)"):
        derive(function)(2.0)


def test_looking_at_a_value_is_no_loss() -> None:
    def f(x: Any) -> Any:
        assert x.item() == 2.0
        return x * x

    assert minidl.grad(f)(2.0) == 4.0
    assert minidl.grad(lambda x: minidl.stop_gradient(x) * 1.0)(2.0) == 0.0
