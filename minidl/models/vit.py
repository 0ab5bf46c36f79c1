"""The vision transformer, small."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from minidl import nn
from minidl.arguments import Fraction, Size, checked
from minidl.ops.shape import reshape, shape_of, transpose


class ViTTiny(nn.Module):
    """Patches as words of a sequence, a class token in front, a transformer encoder over all.

    Shapes: ``(N, in_channels, H, W) -> (N, num_classes)``; ``patch_size`` divides H and W.

    References
    ----------
    A. Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021; norms stand first.
    """

    infer: ClassVar = {"in_channels": 1}

    @checked
    def __init__(
        self,
        in_channels: Size,
        num_classes: Size = 10,
        *,
        patch_size: Size = 4,
        width: Size = 64,
        depth: Size = 4,
        heads: Size = 4,
        mlp_ratio: Size = 2,
        dropout: Fraction = 0.0,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.patches = nn.Conv2d(in_channels, width, patch_size, stride=patch_size, rng=rng)
        self.token = nn.ClassToken(width, rng=rng)
        self.positions: nn.Module = nn.Lazy(nn.LearnedPositions, d_model=width, rng=rng)
        self.layers = nn.ModuleList(
            [
                nn.TransformerEncoderLayer(
                    width, heads, mlp_ratio * width, dropout, "gelu", batch_first=True,
                    norm_first=True, rng=rng,
                )
                for _ in range(depth)
            ]
        )  # fmt: skip
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes, rng=rng)

    def forward(self, x: Any) -> Any:
        """Return logits."""
        x = self.patches(x)
        n, width = shape_of(x)[:2]
        words = self.positions(self.token(transpose(reshape(x, (n, width, -1)), 1, 2)))
        for layer in self.layers:
            words = layer(words)
        return self.head(self.norm(words[:, 0]))
