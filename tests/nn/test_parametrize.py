"""Weight and spectral normalization against PyTorch's, and parametrizations of one's own."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from layertable import ones

import minidl
from minidl import nn, optim
from minidl.nn.utils import parametrizations, parametrize

LAYERS = [
    pytest.param(lambda n: n.Linear(4, 3), (5, 4), id="Linear"),
    pytest.param(lambda n: n.Conv2d(2, 3, 3), (2, 2, 5, 5), id="Conv2d"),
    pytest.param(lambda n: n.ConvTranspose2d(2, 3, 3), (2, 2, 5, 5), id="ConvTranspose2d"),
]


@pytest.mark.parametrize(("build", "shape"), LAYERS)
@pytest.mark.parametrize("name", ["weight_norm", "spectral_norm"])
def test_normalizations_are_those_of_torch(torch: Any, build: Any, shape: Any, name: str) -> None:
    torch.manual_seed(0)
    theirs = getattr(torch.nn.utils.parametrizations, name)(build(torch.nn).double())
    ours = getattr(parametrizations, name)(build(nn).double())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    x = np.random.default_rng(0).normal(size=shape)
    for training in (True, False):
        ours.train(training)
        theirs.train(training)
        ours.zero_grad()
        theirs.zero_grad()
        a, b = ours(x), theirs(torch.from_numpy(x))
        np.testing.assert_allclose(a.detach(), b.detach().numpy(), rtol=1e-9, atol=1e-12)
        (a * a).sum().backward()
        (b * b).sum().backward()
        grads = {key: value.grad.numpy() for key, value in theirs.named_parameters()}
        for key, value in ours.named_parameters():
            np.testing.assert_allclose(value.grad.numpy(), grads[key], rtol=1e-8, atol=1e-11)


def test_spectral_norm_makes_the_largest_singular_value_one() -> None:
    layer = parametrizations.spectral_norm(nn.Linear(6, 5), rng=np.random.default_rng(0))
    for _ in range(60):
        layer(ones(1, 6))
    assert float(np.linalg.svd(layer.weight.detach().numpy())[1][0]) == pytest.approx(1.0, rel=1e-4)


class Symmetric(nn.Module):
    def forward(self, x: Any) -> Any:
        return (x + x.T) * 0.5


def test_a_parametrization_of_ones_own_learns_and_copies() -> None:
    layer = parametrize.register_parametrization(nn.Linear(3, 3), "weight", Symmetric())
    assert isinstance(layer, nn.Linear)
    assert [name for name, _ in layer.named_parameters()] == [
        "bias",
        "parametrizations.weight.original",
    ]
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    layer(ones(2, 3)).sum().backward()
    optimizer.step()
    weight = layer.weight.detach().numpy()
    np.testing.assert_array_equal(weight, weight.T)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(other.weight.detach(), weight)
        assert parametrize.is_parametrized(other, "weight")
    assert parametrize.remove_parametrizations(layer, "weight") is layer
    assert type(layer) is nn.Linear
    np.testing.assert_array_equal(layer.weight.detach(), weight)
    assert [name for name, _ in layer.named_parameters()] == ["bias", "weight"]
    assert not parametrize.is_parametrized(layer)


def test_two_parametrizations_one_after_the_other() -> None:
    class Double(nn.Module):
        def forward(self, x: Any) -> Any:
            return x * 2.0

    layer = nn.Linear(3, 3)
    before = layer.weight.detach().numpy().copy()
    parametrize.register_parametrization(layer, "weight", Symmetric())
    parametrize.register_parametrization(layer, "weight", Double())
    np.testing.assert_allclose(layer.weight.detach(), before + before.T, rtol=1e-6)
    parametrize.register_parametrization(layer, "bias", Double())
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    np.testing.assert_array_equal(layer.weight.detach(), before)
    assert parametrize.is_parametrized(layer, "bias")
    assert not parametrize.is_parametrized(layer, "weight")


def test_refusals() -> None:
    with pytest.raises(ValueError, match="Linear has no parameter 'wait'"):
        parametrize.register_parametrization(nn.Linear(2, 2), "wait", Symmetric())
    with pytest.raises(ValueError, match="ReLU has no parameter 'weight'"):
        parametrizations.spectral_norm(nn.ReLU())

    class Cut(nn.Module):
        def forward(self, x: Any) -> Any:
            return x[:1]

    with pytest.raises(ValueError, match=r"change its shape from \(2, 2\) to \(1, 2\)"):
        parametrize.register_parametrization(nn.Linear(2, 2), "weight", Cut())
    with pytest.raises(ValueError, match="'weight' of Linear has none"):
        parametrize.remove_parametrizations(nn.Linear(2, 2), "weight")
    normed = parametrizations.weight_norm(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="several tensors"):
        parametrize.remove_parametrizations(normed, "weight", leave_parametrized=False)


def test_parameters_as_a_vector() -> None:
    layer = nn.Linear(2, 3)
    vector = nn.utils.parameters_to_vector(layer.parameters())
    assert vector.shape == (9,)
    (vector * vector).sum().backward()
    np.testing.assert_allclose(layer.bias.grad, 2 * layer.bias.detach())
    nn.utils.vector_to_parameters(np.arange(9.0), layer.parameters())
    np.testing.assert_array_equal(layer.bias.detach(), [6.0, 7.0, 8.0])
    with pytest.raises(ValueError, match="a vector of 9 is wanted"):
        nn.utils.vector_to_parameters(np.arange(8.0), layer.parameters())
    assert isinstance(vector, minidl.Tensor)
