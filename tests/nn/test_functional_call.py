"""functional_call: a module as a function of its parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl
from minidl import Tensor, nn


def model() -> nn.Sequential:
    rng = np.random.default_rng(0)
    return nn.Sequential(
        nn.Linear(3, 4, rng=rng), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2, rng=rng)
    ).double()


def params_of(module: nn.Module) -> dict[str, Any]:
    return {name: p.detach().numpy().copy() for name, p in module.named_parameters()}


X = np.random.default_rng(1).standard_normal((5, 3))


def test_gradients_are_those_of_backward() -> None:
    net = model()
    found = minidl.grad(lambda p: (nn.functional_call(net, p, X) ** 2).sum())(params_of(net))
    (net(Tensor(X)) ** 2).sum().backward()
    for name, parameter in net.named_parameters():
        np.testing.assert_allclose(found[name], parameter.grad.numpy(), rtol=1e-9)
        assert type(parameter) is nn.Parameter


def test_the_module_is_left_as_it_was_whatever_happens() -> None:
    net = model()
    before = {name: p.value for name, p in net.named_parameters()}
    doubled = {name: 2 * value for name, value in params_of(net).items()}
    nn.functional_call(net, doubled, X)
    with pytest.raises(ValueError, match="linear"):
        nn.functional_call(net, doubled, np.ones((5, 7)))
    assert all(p.value is before[name] for name, p in net.named_parameters())


def test_an_ensemble_by_vmap() -> None:
    net = model().eval()
    many = {name: np.stack([v, 2 * v, -v]) for name, v in params_of(net).items()}
    found = minidl.vmap(lambda p: nn.functional_call(net, p, X))(many)
    for i in range(3):
        one = nn.functional_call(net, {name: v[i] for name, v in many.items()}, X)
        np.testing.assert_allclose(found[i], one, rtol=1e-12)


def test_hessian_of_a_small_model() -> None:
    layer = nn.Linear(2, 1).double()
    x = np.array([[1.0, 2.0]])
    h = minidl.hessian(lambda p: (nn.functional_call(layer, p, x) ** 2).sum())(params_of(layer))
    np.testing.assert_allclose(h["weight"]["weight"].reshape(2, 2), 2 * x.T @ x)


def test_buffers_can_be_given_too() -> None:
    net = nn.BatchNorm1d(2).double().eval()
    state = {"running_mean": np.array([1.0, 2.0]), "running_var": np.array([4.0, 4.0])}
    out = nn.functional_call(net, state, np.array([[3.0, 4.0]]))
    np.testing.assert_allclose(out.detach().numpy(), [[1.0, 1.0]], rtol=1e-5)
    net.train()
    nn.functional_call(net, state, np.array([[3.0, 4.0], [5.0, 6.0]]))
    np.testing.assert_array_equal(net.running_mean.numpy(), [0.0, 0.0])


def test_a_shared_parameter_is_replaced_at_all_its_places() -> None:
    layer = nn.Linear(3, 3, bias=False).double()
    net = nn.Sequential(layer, nn.Tanh(), layer)
    w = np.eye(3) * 0.5
    found = nn.functional_call(net, {"0.weight": w}, X)
    np.testing.assert_allclose(found, np.tanh(X @ w) @ w)


def test_errors() -> None:
    net = model()
    with pytest.raises(ValueError, match=r"Sequential has no \['5.weight'\]; it has \['0.bias'"):
        nn.functional_call(net, {"5.weight": np.ones(2)}, X)
    with pytest.raises(ValueError, match=r"0.bias has shape \(3,\), wanted \(4,\)"):
        nn.functional_call(net, {"0.bias": np.ones(3)}, X)
