"""Whole small trainings: they learn, and the same seed gives the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl
from minidl import nn, optim
from minidl.nn import functional


def blobs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Three clouds of points in the plane, far enough apart for straight borders."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 300)
    centers = np.array([[0.0, 2.0], [-2.0, -1.0], [2.0, -1.0]])
    return (centers[labels] + 0.6 * rng.normal(size=(300, 2))).astype(np.float32), labels


def rings(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A cloud in a ring: no straight border will do."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 300)
    radius = 2.0 * labels + 0.3 * rng.normal(size=300)
    angle = rng.uniform(0, 2 * np.pi, 300)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    return points.astype(np.float32), labels


def train(model: nn.Module, optimizer: optim.Optimizer, data: Any, steps: int, seed: int) -> None:
    x, y = data
    rng = np.random.default_rng(seed)
    schedule = optim.CosineAnnealingLR(optimizer, steps, warmup_steps=5)
    for _ in range(steps):
        batch = rng.integers(0, len(x), 64)
        optimizer.zero_grad()
        functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optim.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        schedule.step()


def accuracy(model: nn.Module, data: Any) -> float:
    model.eval()
    with minidl.no_grad():
        return float((model(data[0]).argmax(1).numpy() == data[1]).mean())


def logistic(rng: np.random.Generator) -> nn.Module:
    return nn.Linear(2, 3, rng=rng)


def two_layers(rng: np.random.Generator) -> nn.Module:
    return nn.Sequential(
        nn.Linear(2, 32, rng=rng),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Dropout(0.1, rng=rng),
        nn.Linear(32, 2, rng=rng),
    )


TASKS = [
    pytest.param(blobs, logistic, lambda p: optim.SGD(p, lr=0.5, momentum=0.9), id="logistic"),
    pytest.param(rings, two_layers, lambda p: optim.AdamW(p, lr=0.02), id="two layers"),
]


def trained(data: Any, make: Any, optimizer: Any, seed: int) -> nn.Module:
    model: nn.Module = make(np.random.default_rng(seed))
    train(model, optimizer(model.parameters()), data(0), 150, seed)
    return model


@pytest.mark.parametrize(("data", "make", "optimizer"), TASKS)
def test_learns(data: Any, make: Any, optimizer: Any) -> None:
    untrained = make(np.random.default_rng(0))
    assert accuracy(untrained, data(1)) < 0.9
    assert accuracy(trained(data, make, optimizer, 0), data(1)) > 0.95


@pytest.mark.parametrize(("data", "make", "optimizer"), TASKS)
def test_same_seed_same_bits(data: Any, make: Any, optimizer: Any) -> None:
    first, second, other = (trained(data, make, optimizer, seed).state_dict() for seed in (1, 1, 2))
    assert list(first) == list(second)
    for name in first:
        assert first[name].numpy().tobytes() == second[name].numpy().tobytes()
    assert any(first[name].numpy().tobytes() != other[name].numpy().tobytes() for name in first)
