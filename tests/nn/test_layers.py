"""What single layers do beside their formula: masks, running statistics, initial values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

import minidl
from minidl import nn
from minidl.nn import init

# ---- Dropout -------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_right_share_and_the_mean(p: float) -> None:
    x = np.ones(100_000, np.float32)
    out = nn.Dropout(p, rng=np.random.default_rng(0))(x)
    kept = out[out != 0]
    np.testing.assert_allclose(kept, 1 / (1 - p), rtol=1e-6)
    # five standard deviations of a binomial share
    assert abs(len(kept) / len(x) - (1 - p)) < 5 * np.sqrt(p * (1 - p) / len(x))


def test_dropout_draws_from_its_generator() -> None:
    x = np.ones((5, 5), np.float32)
    first, second = (nn.Dropout(0.5, rng=np.random.default_rng(7)) for _ in range(2))
    a, b = first(x), first(x)
    assert (a != b).any()
    np.testing.assert_array_equal(a, second(x))
    np.testing.assert_array_equal(b, second(x))


def test_dropout_gradient_has_the_mask_of_the_output() -> None:
    x = minidl.ones(50, requires_grad=True)
    out = nn.Dropout(0.5, rng=np.random.default_rng(0))(x)
    out.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), out.detach().numpy())


def test_dropout_in_evaluation_is_the_identity_and_draws_nothing() -> None:
    layer = nn.Dropout(0.5, rng=np.random.default_rng(7)).eval()
    x = minidl.ones(3)
    assert layer(x) is x
    assert layer.rng.bit_generator.state == np.random.default_rng(7).bit_generator.state


# ---- BatchNorm -----------------------------------------------------------------------------


def test_batch_norm_by_hand() -> None:
    layer = nn.BatchNorm1d(2, momentum=0.5).double()
    x = np.array([[1.0, 0.0], [3.0, 4.0]])
    out = layer(x).detach().numpy()
    scale = 1 / np.sqrt(np.array([1.0, 4.0]) + 1e-5)
    np.testing.assert_allclose(out, np.array([[-1.0, -2.0], [1.0, 2.0]]) * scale)
    assert layer.running_mean.tolist() == [1.0, 1.0]  # half way from 0 to (2, 2)
    assert layer.running_var.tolist() == [1.5, 4.5]  # half way from 1 to the unbiased (2, 8)
    assert layer.num_batches_tracked.item() == 1


def test_batch_norm_statistics_move_in_training_only() -> None:
    layer = nn.BatchNorm2d(2)
    x = np.random.default_rng(0).normal(3, 2, size=(8, 2, 4, 4)).astype(np.float32)
    for _ in range(100):
        layer(x)
    assert layer.num_batches_tracked.item() == 100
    np.testing.assert_allclose(layer.running_mean, x.mean((0, 2, 3)), rtol=1e-3)
    np.testing.assert_allclose(layer.running_var, x.var((0, 2, 3), ddof=1), rtol=1e-3)
    state = {name: tensor.numpy().copy() for name, tensor in layer.state_dict().items()}
    layer.eval()(x * 5)
    for name, tensor in layer.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), state[name])


def test_batch_norm_in_evaluation_takes_a_single_sample() -> None:
    layer = nn.BatchNorm1d(3).eval()
    np.testing.assert_allclose(layer(minidl.ones(1, 3)).detach(), 1.0, rtol=1e-5)


def test_batch_norm_under_transforms_keeps_plain_statistics() -> None:
    layer = nn.BatchNorm1d(3).double()
    x = np.random.default_rng(0).normal(size=(4, 3))
    minidl.grad(lambda value: (layer(value) ** 3).sum())(x)
    assert isinstance(layer.running_mean.value, np.ndarray)
    np.testing.assert_allclose(layer.running_mean, 0.1 * x.mean(0))


def test_batch_norm_of_a_far_off_mean_keeps_its_digits() -> None:
    # E[x²] - E[x]² would lose them all.
    x = (1e4 + np.random.default_rng(0).normal(size=(64, 2))).astype(np.float32)
    out = nn.BatchNorm1d(2)(x).detach().numpy()
    np.testing.assert_allclose(out.std(0), 1.0, rtol=1e-3)


# ---- initial values ------------------------------------------------------------------------

Build = Callable[[Any, dict[str, Any]], Any]
INITIALIZED = [
    pytest.param(lambda nn, how: nn.Linear(150, 200, **how), 150, id="Linear"),
    pytest.param(lambda nn, how: nn.Conv2d(16, 64, (3, 5), **how), 16 * 15, id="Conv2d"),
]


@pytest.mark.parametrize(("build", "fan"), INITIALIZED)
def test_default_initialization_is_uniform_within_its_bound(build: Build, fan: int) -> None:
    layer = build(nn, {"rng": np.random.default_rng(0), "dtype": np.float64})
    bound = 1 / np.sqrt(fan)
    weight = layer.weight.detach().numpy().ravel()
    assert 0.999 * bound < np.abs(weight).max() <= bound
    assert stats.kstest(weight, "uniform", args=(-bound, 2 * bound)).pvalue > 0.01
    many = [build(nn, {"rng": np.random.default_rng(i), "dtype": "f8"}).bias for i in range(8)]
    bias = np.concatenate([b.detach().numpy() for b in many])
    assert 0.98 * bound < np.abs(bias).max() <= bound
    assert stats.kstest(bias, "uniform", args=(-bound, 2 * bound)).pvalue > 0.01


@pytest.mark.parametrize(("build", "fan"), INITIALIZED)
def test_default_initialization_is_that_of_torch(torch: Any, build: Build, fan: int) -> None:
    ours = build(nn, {"rng": np.random.default_rng(0)})
    torch.manual_seed(0)
    theirs = build(torch.nn, {})
    for name in ("weight", "bias"):
        a = getattr(ours, name).detach().numpy().ravel()
        b = getattr(theirs, name).detach().numpy().ravel()
        assert a.dtype == b.dtype
        assert stats.ks_2samp(a, b).pvalue > 0.01
        np.testing.assert_allclose(np.abs(a).max(), np.abs(b).max(), rtol=0.02)


def test_initialization_follows_the_generator() -> None:
    def weights(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        model = nn.Sequential(nn.Linear(3, 4, rng=rng), nn.Conv2d(1, 2, 3, rng=rng))
        return np.concatenate([p.detach().numpy().ravel() for p in model.parameters()])

    np.testing.assert_array_equal(weights(1), weights(1))
    assert (weights(1) != weights(2)).all()
    assert (nn.Linear(3, 4).weight.detach() != nn.Linear(3, 4).weight.detach()).numpy().all()


def test_batch_norm_begins_as_the_identity() -> None:
    layer = nn.BatchNorm1d(3)
    state = {name: tensor.tolist() for name, tensor in layer.state_dict().items()}
    zeros, ones = [0.0] * 3, [1.0] * 3
    assert list(state.values()) == [ones, zeros, zeros, ones, 0]


@pytest.mark.parametrize("a", [0.0, 0.2, np.sqrt(5)])
def test_kaiming_uniform_is_that_of_torch(torch: Any, a: float) -> None:
    theirs = torch.nn.init.kaiming_uniform_(torch.empty(200, 30, 3), a=a)
    ours = init.kaiming_uniform((200, 30, 3), a=a, rng=np.random.default_rng(0))
    assert ours.dtype == np.float32
    np.testing.assert_allclose(np.abs(ours).max(), theirs.abs().max().item(), rtol=2e-3)


def test_fan_in() -> None:
    assert init.fan_in((7, 3)) == 3
    assert init.fan_in((7, 3, 5, 2)) == 30
    with pytest.raises(ValueError, match=r"at least two axes \(out, in\), got \(7,\)"):
        init.fan_in((7,))
