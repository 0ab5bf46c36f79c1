"""The multilayer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl import nn
from minidl.arguments import Fraction, Size, checked


class MLP(nn.Module):
    """Linear layers with ReLU between them, and dropout behind each.

    Shapes: ``(N, *) -> (N, num_classes)``; the input is flattened.
    """

    @checked
    def __init__(
        self,
        hidden: Sequence[Size] = (256, 128),
        num_classes: Size = 10,
        dropout: Fraction = 0.0,
        *,
        rng: np.random.Generator | None = None,
    ) -> None:
        layers: list[nn.Module] = [nn.Flatten()]
        for width in hidden:
            layers += [nn.LazyLinear(width, rng=rng), nn.ReLU()]
            layers += [nn.Dropout(dropout, rng=rng)] if dropout else []
        self.layers = nn.Sequential(*layers, nn.LazyLinear(num_classes, rng=rng))

    def forward(self, x: Any) -> Any:
        """Return logits."""
        return self.layers(x)
