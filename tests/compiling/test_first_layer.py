"""Pooling that notes places, and the first convolution that is never written: eager's bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from twins import Twins, same_bits

import minidl
from minidl import nn
from minidl.kernels import conv, first_layer, norm, pool
from minidl.kernels.selection import use_kernels

Make = Callable[[np.random.Generator], nn.Module]

FIRST = ("conv2d_relu_max_pool2d", "conv2d_relu_max_pool2d_gradient", "weight_of", "bias_of")
PLACES = ("max_pool2d_places", "max_unpool2d_places")


def plain(channels: int, outputs: int, *, window: int = 2, bias: bool = True, pad: int = 1) -> Make:
    return lambda rng: nn.Sequential(
        nn.Conv2d(channels, outputs, 3, padding=pad, bias=bias, rng=rng), nn.ReLU(),
        nn.MaxPool2d(window), nn.Conv2d(outputs, 4, 3, rng=rng),
    )  # fmt: skip


class Twice(nn.Module):
    """Reads what ReLU gave a second time."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.conv, self.pool = nn.Conv2d(1, 16, 3, rng=rng), nn.MaxPool2d(2)

    def forward(self, x: Any) -> Any:
        """Return maxima and means."""
        top = nn.functional.relu(self.conv(x))
        return self.pool(top) + top.mean((2, 3), keepdim=True)


CASES: dict[str, tuple[Make, tuple[str, ...]]] = {
    "first": (plain(1, 16), FIRST),
    "first, no padding": (plain(1, 32, pad=0), FIRST),
    "two channels": (plain(2, 16), PLACES),
    "few outputs": (plain(1, 6), PLACES),
    "without bias": (plain(1, 16, bias=False), PLACES),
    "windows of 3": (plain(1, 16, window=3), ()),
    "read twice": (Twice, ()),
}


def training(model: nn.Module, optimizer: Any) -> Callable[..., Any]:
    def step(x: Any) -> Any:
        loss = (model(x) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def named(twins: Twins) -> set[str]:
    """Which of the instructions here a program has."""
    words = set(twins.compiled.explain().replace(",", " ").replace("(", " ").split())
    return words & {*FIRST, *PLACES}


def batch(rng: np.random.Generator, channels: int, dtype: Any = np.float32) -> np.ndarray:
    x = rng.standard_normal((9, channels, 17, 14)).astype(dtype)
    x[0, 0, :, :7] = 0  # windows of equals
    return x


@pytest.fixture
def compiled() -> Any:
    pytest.importorskip("numba", reason="compiled kernels: numba is not installed")
    with use_kernels("compiled"):
        yield


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES)
def test_the_bits_are_those_of_the_parts(case: str, dtype: Any, compiled: Any) -> None:
    make, names = CASES[case]
    rng = np.random.default_rng(3)
    model = make(rng).to(dtype)
    channels = next(iter(model.parameters())).shape[1]
    twins = Twins(model, training)
    for _ in range(4):
        twins.step(batch(rng, channels, dtype))
    assert named(twins) == set(names)


def test_numbers_that_are_none(compiled: Any) -> None:
    rng = np.random.default_rng(3)
    twins = Twins(plain(1, 16)(rng), training)
    for number in (0.0, 0.0, 0.0, np.inf, np.nan):
        x = batch(rng, 1)
        x[4, 0, 5, 6] = number
        with np.errstate(all="ignore"):
            twins.step(x)
    assert named(twins) == set(FIRST)


def test_replayed_with_numpys_kernels(compiled: Any) -> None:
    rng = np.random.default_rng(3)
    twins = Twins(plain(1, 16)(rng), training)
    for mode in ("compiled", "compiled", "compiled", "numpy", "compiled"):
        with use_kernels(mode):
            twins.step(batch(rng, 1))
    assert named(twins) == set(FIRST)


def test_numpys_kernels_take_the_parts() -> None:
    rng = np.random.default_rng(3)
    with use_kernels("numpy"):
        twins = Twins(plain(1, 16)(rng), training)
        for _ in range(3):
            twins.step(batch(rng, 1))
    assert not named(twins)


def test_inference(compiled: Any) -> None:
    rng = np.random.default_rng(3)
    model = nn.Sequential(plain(1, 16)(rng), nn.Flatten()).eval()
    predict = minidl.compile(lambda x: model(x))
    for _ in range(3):
        x = batch(rng, 1)
        with minidl.no_grad():
            assert same_bits(model(x), predict(x))
    text = predict.explain()
    assert " conv2d_relu_max_pool2d" in text
    assert "placed=False" in text


def test_an_input_that_lies_outside(compiled: Any) -> None:
    rng = np.random.default_rng(3)
    source = minidl.tensor(batch(rng, 1))

    def make_step(model: nn.Module, optimizer: Any) -> Callable[..., Any]:
        def step(x: Any) -> Any:
            optimizer.zero_grad()
            loss = (model(source) ** 2).mean() + x.mean()
            loss.backward()
            optimizer.step()
            return loss

        return step

    twins = Twins(plain(1, 16)(rng), make_step)
    for _ in range(4):
        twins.step(batch(rng, 1))
    assert named(twins) == set(FIRST)


@pytest.mark.parametrize("threads", [1, 3])
def test_kernels_give_the_bits_of_the_parts_with_any_number_of_threads(
    threads: int, compiled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_layer.parallel, "WORTHWHILE", 0)
    monkeypatch.setattr(first_layer, "BLOCK_BYTES", 1)
    monkeypatch.setattr(minidl.threads._Chosen, "number", threads)
    rng = np.random.default_rng(5)
    x, weight = batch(rng, 1), rng.standard_normal((16, 1, 3, 3)).astype(np.float32)
    bias = rng.standard_normal(16).astype(np.float32)
    how: dict[str, Any] = {"padding": (1, 1), **first_layer.STEP}
    whole = conv.conv2d(x, weight, bias, rectify=True, **how)
    top = pool.max_pool2d(whole, **first_layer.WINDOWS)
    g = rng.standard_normal(top.shape).astype(np.float32)
    back = pool.unpool(g, whole, top, rectified=True, **first_layer.WINDOWS)
    one = first_layer.conv2d_relu_pool(x, weight, bias, padding=(1, 1), placed=False)
    packed = first_layer.conv2d_relu_pool(x, weight, bias, padding=(1, 1), placed=True)
    two = first_layer.maxima(packed, shape=top.shape)
    alone = first_layer.max_pool2d(whole)
    both = first_layer.conv2d_relu_pool_gradient(g, packed, x, padding=(1, 1), size=(17, 14))
    wanted = conv.conv2d_weight(back, x, size=(3, 3), **how)
    assert same_bits([one, two, packed], [top, top, alone])
    assert same_bits(first_layer.unpool(g, packed, image=whole.shape), back)
    found = first_layer.weight_of(both), first_layer.bias_of(both)
    assert same_bits(list(found), [wanted, norm.channel_sum(back)])


def test_what_is_asked_for_is_what_is_planned(
    compiled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory that a replay lends to a kernel must be what the kernel asks for, in its order."""
    monkeypatch.setattr(minidl.threads._Chosen, "number", 1)
    x, weight = np.ones((9, 1, 17, 14), np.float32), np.ones((16, 1, 3, 3), np.float32)
    shape, kind = (9, 16, 17, 14), np.dtype(np.float32)
    how: dict[str, Any] = {"padding": (1, 1)}
    for placed in (False, True):
        asked: list[np.ndarray] = []
        with first_layer.memory.noting(asked):
            made = first_layer.conv2d_relu_pool(x, weight, None, placed=placed, **how)
        planned = first_layer.forward_asks(shape, kind, placed)
        assert [(a.shape, a.dtype) for a in asked] == [one[:2] for one in planned]
    asked = []
    g = np.ones((9, 16, 8, 7), np.float32).transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
    with first_layer.memory.noting(asked):
        first_layer.conv2d_relu_pool_gradient(g, made, x, size=(17, 14), **how)
    planned = first_layer.gradient_asks(shape, kind)
    assert [(a.shape, a.dtype) for a in asked] == [one[:2] for one in planned]
