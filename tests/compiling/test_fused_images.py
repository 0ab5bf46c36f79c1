"""Convolution or batch norm and the ReLU behind it, pooling's gradient and ReLU's: one each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from twins import Twins

from minidl import nn
from minidl.kernels.selection import use_kernels


class Branching(nn.Module):
    """Reads what the convolution gave, and what ReLU gave, a second time."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.conv = nn.Conv2d(2, 3, 3, padding=1, rng=rng)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Any) -> Any:
        """Return maxima of ReLU and means of both."""
        found = self.conv(x)
        top = nn.functional.relu(found)
        return self.pool(top) + found.mean((2, 3), keepdim=True) + top.mean((2, 3), keepdim=True)


def plain(size: int, stride: int) -> Callable[[np.random.Generator], nn.Module]:
    return lambda rng: nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1, rng=rng), nn.ReLU(), nn.MaxPool2d(size, stride),
        nn.Conv2d(8, 9, 3, padding=1, rng=rng), nn.ReLU(), nn.MaxPool2d(2),
    )  # fmt: skip


def normalized(rng: np.random.Generator) -> nn.Module:
    """Batch norm between the convolution and ReLU, and a 1x1 convolution of every other pixel."""
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1, rng=rng), nn.BatchNorm2d(8), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(8, 5, 1, stride=2, rng=rng), nn.Flatten(),
    )  # fmt: skip


class Still(nn.BatchNorm2d):
    """Batch norm by statistics that stay, whatever the mode."""

    def train(self, mode: bool = True) -> Any:
        """Stay as it is in evaluation."""
        return super().train(False)


def evaluated(rng: np.random.Generator) -> nn.Module:
    """Batch norm as in evaluation, with and without a bias."""
    still = [Still(8), Still(8, bias=False)]
    for layer in still:
        layer.train()
        layer.running_mean.value[:] = rng.standard_normal(8)
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1, rng=rng), still[0], nn.ReLU(), still[1], nn.AvgPool2d(2)
    )


#: Looked for in each program; the cases say which ones are there, with NumPy and compiled.
NAMES = ("conv2d_relu", "max_unpool2d_relu", "max_unpool2d_places", "batch_norm_relu")
NAMES += ("scale_channels_relu",)


@pytest.mark.parametrize("mode", ["numpy", "compiled"])
@pytest.mark.parametrize(
    ("make", "fused"),
    [
        (
            plain(2, 2),
            [["conv2d_relu", "max_unpool2d_relu"], ["conv2d_relu", "max_unpool2d_places"]],
        ),
        (plain(3, 2), [["conv2d_relu", "max_unpool2d_relu"], [*NAMES[:3]]]),  # windows that overlap
        (normalized, [["batch_norm_relu"]] * 2),
        (evaluated, [["scale_channels_relu"]] * 2),
        (Branching, [[], []]),
    ],
    ids=["windows side by side", "windows that overlap", "normalized", "evaluated", "read twice"],
)
def test_the_bits_are_those_of_both(
    make: Callable[[np.random.Generator], nn.Module], fused: list[list[str]], mode: str
) -> None:
    if mode == "compiled":
        pytest.importorskip("numba", reason="compiled kernels: numba is not installed")
    rng = np.random.default_rng(8)

    def stepping(model: nn.Module, optimizer: Any) -> Callable[..., Any]:
        def step(x: Any) -> Any:
            optimizer.zero_grad()
            loss = (model(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        return step

    with use_kernels(mode):
        twins = Twins(make(rng), stepping)
        for _ in range(4):
            x = rng.standard_normal((4, 2, 26, 27)).astype(np.float32)
            x[0, 0, :, :9] = 0  # windows of equals
            twins.step(x)
    text = twins.compiled.explain()
    for name in NAMES:
        assert (f" {name}" in text) == (name in fused[mode == "compiled"])
