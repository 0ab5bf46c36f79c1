"""Residual networks for small images."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from minidl import nn
from minidl.arguments import Size, checked
from minidl.nn import functional


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, and the input added before the last ReLU.

    Where the size changes, the input goes through a 1x1 convolution with the same stride.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, rng: Any) -> None:
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False, rng=rng)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False, rng=rng)
        self.bn2 = nn.BatchNorm2d(outputs)
        changes = stride != 1 or inputs != outputs
        self.downsample = (
            nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False, rng=rng),
                nn.BatchNorm2d(outputs),
            )
            if changes
            else None
        )

    def forward(self, x: Any) -> Any:
        """Return the sum of both ways."""
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return functional.relu(out + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Three stages of ``blocks`` residual blocks with 16, 32 and 64 times ``width`` / 16 channels.

    Shapes: ``(N, in_channels, H, W) -> (N, num_classes)``. Depth is 6 · blocks + 2.

    References
    ----------
    K. He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2; with
    projections where the size changes.
    """

    infer: ClassVar = {"in_channels": 1}

    @checked
    def __init__(
        self,
        in_channels: Size,
        num_classes: Size = 10,
        blocks: Size = 1,
        width: Size = 16,
        *,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1, bias=False, rng=rng)
        self.bn1 = nn.BatchNorm2d(width)
        channels = width
        for stage in range(3):
            outputs, made = width * 2**stage, []
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                made.append(ResidualBlock(channels, outputs, stride, rng))
                channels = outputs
            setattr(self, f"layer{stage + 1}", nn.Sequential(*made))
        self.pool = nn.GlobalAvgPool()
        self.fc = nn.Linear(channels, num_classes, rng=rng)

    def forward(self, x: Any) -> Any:
        """Return logits."""
        x = functional.relu(self.bn1(self.conv1(x)))
        for name in ("layer1", "layer2", "layer3"):
            x = self.get_submodule(name)(x)
        return self.fc(self.pool(x))


class ResNet8(ResNet):
    """`ResNet` of depth 8: one block a stage."""

    @checked
    def __init__(
        self,
        in_channels: Size,
        num_classes: Size = 10,
        width: Size = 16,
        *,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__(in_channels, num_classes, 1, width, rng=rng)


class ResNet20(ResNet):
    """`ResNet` of depth 20: three blocks a stage."""

    @checked
    def __init__(
        self,
        in_channels: Size,
        num_classes: Size = 10,
        width: Size = 16,
        *,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__(in_channels, num_classes, 3, width, rng=rng)
