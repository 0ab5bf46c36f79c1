"""Convolutional networks without skip connections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from minidl import nn
from minidl.arguments import Fraction, Size, checked


class LeNet5(nn.Module):
    """LeNet-5 for 28x28 images, with average pooling and tanh.

    Shapes: ``(N, in_channels, 28, 28) -> (N, num_classes)``.

    References
    ----------
    Y. LeCun et al., "Gradient-Based Learning Applied to Document Recognition", Proc. IEEE 86
    (1998); the last layer is a plain one, and C3 sees all of S2.
    """

    infer: ClassVar = {"in_channels": 1}

    @checked
    def __init__(
        self,
        in_channels: Size,
        num_classes: Size = 10,
        *,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, 6, 5, padding=2, rng=rng),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 16, 5, rng=rng),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.LazyLinear(120, rng=rng),
            nn.Tanh(),
            nn.Linear(120, 84, rng=rng),
            nn.Tanh(),
            nn.Linear(84, num_classes, rng=rng),
        )

    def forward(self, x: Any) -> Any:
        """Return logits."""
        return self.layers(x)


class CNN(nn.Module):
    """3x3 convolutions with batch norm and ReLU, two a stage, each stage ended by max pooling.

    Shapes: ``(N, in_channels, H, W) -> (N, num_classes)``.
    """

    infer: ClassVar = {"in_channels": 1}

    @checked
    def __init__(
        self,
        in_channels: Size,
        num_classes: Size = 10,
        widths: Sequence[Size] = (32, 64),
        hidden: Size = 128,
        dropout: Fraction = 0.25,
        *,
        rng: np.random.Generator | None = None,
    ) -> None:
        layers: list[nn.Module] = []
        channels = in_channels
        for width in widths:
            for _ in range(2):
                layers += [
                    nn.Conv2d(channels, width, 3, padding=1, bias=False, rng=rng),
                    nn.BatchNorm2d(width),
                    nn.ReLU(),
                ]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.LazyLinear(hidden, rng=rng),
            nn.ReLU(),
            nn.Dropout(dropout, rng=rng),
            nn.Linear(hidden, num_classes, rng=rng),
        )

    def forward(self, x: Any) -> Any:
        """Return logits."""
        return self.head(self.features(x))


class VGGSmall(nn.Module):
    """A small VGG with batch norm: three stages of 3x3 convolutions, then a mean over space.

    Shapes: ``(N, in_channels, H, W) -> (N, num_classes)``.

    References
    ----------
    K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
    Recognition", ICLR 2015.
    """

    infer: ClassVar = {"in_channels": 1}

    @checked
    def __init__(
        self,
        in_channels: Size,
        num_classes: Size = 10,
        *,
        rng: np.random.Generator | None = None,
    ) -> None:
        layers: list[nn.Module] = []
        channels = in_channels
        for width, count in ((16, 1), (32, 2), (64, 2)):
            for _ in range(count):
                layers += [
                    nn.Conv2d(channels, width, 3, padding=1, bias=False, rng=rng),
                    nn.BatchNorm2d(width),
                    nn.ReLU(),
                ]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.pool = nn.GlobalAvgPool()
        self.classifier = nn.Linear(64, num_classes, rng=rng)

    def forward(self, x: Any) -> Any:
        """Return logits."""
        return self.classifier(self.pool(self.features(x)))
