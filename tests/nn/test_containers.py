"""Containers as PyTorch users handle them, and pooling undone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from layertable import ones

import minidl
from minidl import nn


def test_module_list() -> None:
    layers = nn.ModuleList([nn.Linear(2, 3)])
    layers.append(nn.ReLU()).extend([nn.Linear(3, 1)])
    assert [type(layer).__name__ for layer in layers] == ["Linear", "ReLU", "Linear"]
    assert len(layers) == 3
    assert isinstance(layers[1:], nn.ModuleList)
    assert layers[-1] is layers[2]
    layers[1] = nn.Tanh()
    assert [name for name, _ in layers.named_children()] == ["0", "1", "2"]
    assert [n for n, _ in layers.named_parameters()] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert isinstance(layers[1], nn.Tanh)
    with pytest.raises(IndexError, match="no module 5; there are 3"):
        layers[5] = nn.Tanh()


def test_module_dict() -> None:
    heads = nn.ModuleDict({"a": nn.Linear(2, 3), "b": nn.ReLU()})
    heads["c"] = nn.Tanh()
    del heads["b"]
    assert list(heads) == list(heads.keys()) == ["a", "c"]
    assert "a" in heads
    assert "b" not in heads
    assert len(heads) == 2
    assert [type(module) for module in heads.values()] == [nn.Linear, nn.Tanh]
    assert dict(heads.items())["a"] is heads["a"]
    assert list(heads.state_dict()) == ["a.weight", "a.bias"]


def test_parameter_list_and_dict() -> None:
    values = nn.ParameterList([ones(2), nn.Parameter(ones(3))])
    values.append(ones(1))
    assert [p.shape for p in values] == [(2,), (3,), (1,)]
    assert all(isinstance(p, nn.Parameter) for p in values)
    assert values[-1].shape == (1,)
    named = nn.ParameterDict({"left": ones(2)})
    named["right"] = ones(3)
    assert list(named) == ["left", "right"]
    assert "left" in named
    assert len(named) == 2
    assert [name for name, _ in named.named_parameters()] == ["left", "right"]
    assert dict(named.items())["right"].shape == (3,)


def test_sequential_by_names_and_changes() -> None:
    model = nn.Sequential({"first": nn.Linear(2, 3), "second": nn.ReLU()})
    assert list(model.state_dict()) == ["first.weight", "first.bias"]
    model = nn.Sequential(nn.Linear(2, 3))
    model.append(nn.Linear(3, 4)).extend([nn.ReLU()])
    assert model(ones(1, 2)).shape == (1, 4)


def test_get_submodule_parameter_apply_and_registering() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 3)), nn.BatchNorm1d(3))
    assert model.get_submodule("0.0") is model[0][0]  # type: ignore[index]
    assert model.get_submodule("") is model
    assert model.get_parameter("0.0.bias") is model[0][0].bias  # type: ignore[index]
    with pytest.raises(AttributeError, match=r"no module '0.3'.*has \['0'\], not '3'"):
        model.get_submodule("0.3")
    with pytest.raises(AttributeError, match=r"no parameter '0.0.mean'"):
        model.get_parameter("0.0.mean")
    seen: list[str] = []
    assert model.apply(lambda module: seen.append(type(module).__name__)) is model
    assert seen == ["Linear", "Sequential", "BatchNorm1d", "Sequential"]
    model.add_module("head", nn.ReLU())
    model.register_parameter("scale", nn.Parameter(ones(1)))
    model.register_buffer("count", ones(1))
    model.register_buffer("table", ones(2), persistent=False)
    model.register_buffer("nothing", None)
    assert "scale" in model.state_dict()
    assert "count" in model.state_dict()
    assert "table" not in model.state_dict()
    assert [name for name, _ in model.named_buffers()][:2] == ["count", "table"]
    assert model.double().table.dtype == np.float64  # type: ignore[attr-defined]
    assert model.float().table.dtype == np.float32  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="without dots"):
        model.add_module("a.b", nn.ReLU())


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_max_unpool_undoes_max_pool(torch: Any, axes: int) -> None:
    x = np.random.default_rng(0).permutation(2 * 4**axes).reshape(1, 2, *(4,) * axes).astype("f8")

    def both(n: Any, x: Any) -> Any:
        pooled, places = getattr(n, f"MaxPool{axes}d")(2, return_indices=True)(x)
        return getattr(n, f"MaxUnpool{axes}d")(2)(pooled, places)

    a, b = minidl.Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    ours, theirs = both(nn, a), both(torch.nn, b)
    np.testing.assert_array_equal(ours.detach().numpy(), theirs.detach().numpy())
    (ours * ours).sum().backward()
    (theirs * theirs).sum().backward()
    np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy())


def test_combinators_compute_what_flux_says() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3)).astype("f4")
    a, b = nn.Linear(3, 3), nn.Linear(3, 3)
    np.testing.assert_allclose(nn.SkipConnection(a, "sub")(x).detach(), (a(x) - x).detach())
    np.testing.assert_allclose(
        nn.SkipConnection(a, lambda y, z: y * z + 1.0)(x).detach(), (a(x) * x + 1.0).detach()
    )
    np.testing.assert_allclose(
        nn.Parallel("mean", a, b)(x).detach(), ((a(x) + b(x)) * 0.5).detach(), rtol=1e-6
    )
    first, second = nn.PairwiseFusion("add", a, b)(x, 2 * x)
    np.testing.assert_allclose(first.detach(), a(x).detach())
    np.testing.assert_allclose(second.detach(), b(a(x) + 2 * x).detach())
    np.testing.assert_allclose(nn.Maxout(a, b)(x).detach(), np.maximum(a(x), b(x)).detach())


def test_attention_masks_are_those_of_torch(torch: Any) -> None:
    ours, theirs = nn.MultiheadAttention(4, 2).double(), torch.nn.MultiheadAttention(4, 2).double()
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    q = np.random.default_rng(0).normal(size=(3, 2, 4))
    padding = np.array([[False, False, True], [False, True, False]])
    causal = np.triu(np.ones((3, 3), bool), 1)
    numbers = np.random.default_rng(1).normal(size=(4, 3, 3))
    for settings in (
        {"key_padding_mask": padding},
        {"attn_mask": causal},
        {"attn_mask": causal, "is_causal": True, "need_weights": False},
        {"attn_mask": numbers, "average_attn_weights": False},
        {"key_padding_mask": padding, "attn_mask": numbers},
    ):
        a, weights = ours(q, q, q, **settings)
        tensors = {
            k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in settings.items()
        }
        x = torch.from_numpy(q)
        if settings.get("attn_mask") is numbers and "key_padding_mask" in settings:
            tensors["key_padding_mask"] = (
                torch.zeros(2, 3).double().masked_fill(torch.from_numpy(padding), -np.inf)
            )
        b, others = theirs(x, x, x, **tensors)
        np.testing.assert_allclose(a.detach(), b.detach().numpy(), atol=1e-12)
        if others is not None:
            np.testing.assert_allclose(weights.detach(), others.detach().numpy(), atol=1e-12)


def test_rotary_products_depend_on_distances_only() -> None:
    turn = nn.RotaryPositions(8, dtype=np.float64)
    rng = np.random.default_rng(0)
    q, k = rng.normal(size=8), rng.normal(size=8)
    rows = turn(np.broadcast_to(q, (6, 8))) @ turn(np.broadcast_to(k, (6, 8))).T
    for distance in range(1, 5):
        np.testing.assert_allclose(np.diff(np.diagonal(rows, distance)), 0.0, atol=1e-12)


def test_sinusoidal_positions() -> None:
    table = nn.SinusoidalPositions(6, 10, dtype=np.float64)(np.zeros((1, 10, 6)))[0].numpy()
    for place in range(10):
        for i in range(3):
            angle = place / 10000 ** (2 * i / 6)
            np.testing.assert_allclose(table[place, 2 * i], np.sin(angle), atol=1e-12)
            np.testing.assert_allclose(table[place, 2 * i + 1], np.cos(angle), atol=1e-12)
