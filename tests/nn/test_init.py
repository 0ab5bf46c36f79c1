"""Initializers: distributions, against PyTorch's moments and their own formulas."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

import minidl
from minidl.nn import init


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


SHAPE = (60, 50, 3, 2)
FAN_IN, FAN_OUT = 300, 360
DRAWN = [
    ("uniform", {"a": -1.0, "b": 3.0}, stats.uniform(-1.0, 4.0)),
    ("normal", {"mean": 1.0, "std": 2.0}, stats.norm(1.0, 2.0)),
    ("trunc_normal", {"std": 2.0, "a": -1.0, "b": 3.0}, stats.truncnorm(-0.5, 1.5, 0.0, 2.0)),
    ("xavier_uniform", {"gain": 2.0}, (2 * math.sqrt(6 / 660), "uniform")),
    ("xavier_normal", {}, (math.sqrt(2 / 660), "normal")),
    ("kaiming_uniform", {}, (math.sqrt(6 / FAN_IN), "uniform")),
    ("kaiming_uniform", {"a": 1.0, "mode": "fan_out"}, (math.sqrt(3 / FAN_OUT), "uniform")),
    ("kaiming_normal", {"nonlinearity": "relu"}, (math.sqrt(2 / FAN_IN), "normal")),
    (
        "kaiming_normal",
        {"nonlinearity": "tanh", "mode": "fan_out"},
        (5 / 3 / FAN_OUT**0.5, "normal"),
    ),
]


@pytest.mark.parametrize(("name", "settings", "law"), DRAWN)
def test_distribution(torch: Any, name: str, settings: Any, law: Any) -> None:
    if isinstance(law, tuple):
        size, kind = law
        law = stats.norm(0, size) if kind == "normal" else stats.uniform(-size, 2 * size)
    values = getattr(init, name)(SHAPE, **settings, rng=rng())
    assert (values.shape, values.dtype) == (SHAPE, np.float32)
    assert stats.kstest(values.reshape(-1), law.cdf).pvalue > 0.01
    torch.manual_seed(0)
    theirs = getattr(torch.nn.init, f"{name}_")(torch.empty(SHAPE), **settings)
    assert stats.ks_2samp(values.reshape(-1), theirs.numpy().reshape(-1)).pvalue > 0.01
    np.testing.assert_array_equal(values, getattr(init, name)(SHAPE, **settings, rng=rng()))


def test_lecun_normal_has_the_wanted_variance() -> None:
    values = init.lecun_normal(SHAPE, rng=rng(), dtype=np.float64)
    assert values.std() == pytest.approx(1 / math.sqrt(FAN_IN), rel=0.02)
    assert np.abs(values).max() <= 2 / math.sqrt(FAN_IN) / 0.87962566 + 1e-12


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (3, 2, 2), (5, 5)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    matrix = init.orthogonal(shape, 2.0, rng=rng(), dtype=np.float64).reshape(shape[0], -1)
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(gram, 4.0 * np.eye(len(gram)), atol=1e-12)


def test_sparse() -> None:
    values = init.sparse((10, 7), 0.35, 0.5, rng=rng())
    np.testing.assert_array_equal((values == 0).sum(0), np.full(7, 4))


def test_fixed_ones_are_those_of_torch(torch: Any) -> None:
    for name, shape, settings in [
        ("constant", (2, 3), {"val": 0.3}),
        ("zeros", (2, 3), {}),
        ("ones", (2, 3), {}),
        ("eye", (3, 4), {}),
        ("dirac", (4, 2, 3), {"groups": 2}),
        ("dirac", (3, 4, 3, 2), {}),
    ]:
        theirs = getattr(torch.nn.init, f"{name}_")(torch.empty(shape), **settings)
        ours = getattr(init, name)(shape, *settings.values())
        np.testing.assert_array_equal(ours, theirs.numpy())
        tensor = minidl.zeros(*shape)
        assert getattr(init, f"{name}_")(tensor, *settings.values()) is tensor
        np.testing.assert_array_equal(tensor.numpy(), ours)


def test_identity_lets_inputs_through() -> None:
    np.testing.assert_array_equal(init.identity((3, 3), 2.0), 2 * np.eye(3))
    x = np.random.default_rng(0).normal(size=(1, 2, 5, 5)).astype("f4")
    kernel = init.identity((2, 2, 3, 3))
    np.testing.assert_array_equal(minidl.nn.functional.conv2d(x, kernel, padding=1), x)
    np.testing.assert_array_equal(init.identity((3,)), np.zeros(3))


def test_in_place_forms_cover_torch_and_draw_from_the_generator(torch: Any) -> None:
    for name in dir(torch.nn.init):
        if name.endswith("_") and not name.startswith("_"):
            assert hasattr(init, name), name
    a, b = minidl.zeros(4, 3), minidl.zeros(4, 3)
    init.xavier_normal_(a, 2.0, generator=rng())
    init.xavier_normal_(b, gain=2.0, generator=rng())
    np.testing.assert_array_equal(a.numpy(), b.numpy())
    np.testing.assert_array_equal(a.numpy(), init.xavier_normal((4, 3), 2.0, rng=rng()))
    init.uniform_(a, 2.0, 3.0, generator=rng())
    assert 2.0 <= a.numpy().min() <= a.numpy().max() <= 3.0


def test_gains_are_those_of_torch(torch: Any) -> None:
    names = ["linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"]
    for name in names:
        assert init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))
    assert init.calculate_gain("leaky_relu", 0.3) == torch.nn.init.calculate_gain("leaky_relu", 0.3)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: init.xavier_uniform((3,)), "xavier_uniform: a weight has at least two axes"),
        (lambda: init.kaiming_normal((3, 3), mode="fan"), "'fan_in' or 'fan_out', got 'fan'"),
        (lambda: init.calculate_gain("sin"), "'sin' is not one of"),
        (lambda: init.trunc_normal((3,), 0.0, 1.0, 50.0, 60.0), "holds nothing"),
        (lambda: init.sparse((3, 3, 3), 0.5), "a matrix and a share"),
        (lambda: init.eye((3,)), "a matrix is wanted"),
        (lambda: init.dirac((3, 3)), "3 to 5 axes"),
    ],
)
def test_refuses(action: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        action()
