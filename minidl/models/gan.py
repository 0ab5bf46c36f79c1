"""A generative adversarial network, small."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from minidl import nn
from minidl.arguments import Size, checked
from minidl.nn.summary import model_dtype


class DCGANSmall(nn.Module):
    """A generator of 28x28 images and a discriminator, both convolutional.

    Called with images it judges them: ``(N, in_channels, 28, 28) -> (N, 1)``, logits of being real.

    References
    ----------
    A. Radford et al., "Unsupervised Representation Learning with Deep Convolutional Generative
    Adversarial Networks", ICLR 2016.
    """

    infer: ClassVar = {"in_channels": 1}

    @checked
    def __init__(
        self,
        in_channels: Size,
        latent: Size = 64,
        width: Size = 16,
        *,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.latent = latent
        self.generator = nn.Sequential(
            nn.Linear(latent, 4 * width * 7 * 7, bias=False, rng=rng),
            nn.BatchNorm1d(4 * width * 7 * 7),
            nn.ReLU(),
            nn.Unflatten(1, (4 * width, 7, 7)),
            nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1, bias=False, rng=rng),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * width, in_channels, 4, 2, 1, rng=rng),
            nn.Sigmoid(),
        )
        self.discriminator = nn.Sequential(
            nn.Conv2d(in_channels, 2 * width, 4, 2, 1, rng=rng),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 4 * width, 4, 2, 1, bias=False, rng=rng),
            nn.BatchNorm2d(4 * width),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.LazyLinear(1, rng=rng),
        )

    def forward(self, x: Any) -> Any:
        """Return logits of being real."""
        return self.discriminator(x)

    def sample(self, count: int, rng: np.random.Generator) -> Any:
        """Return new images ``(count, in_channels, 28, 28)``, pixels from 0 to 1."""
        noise = rng.standard_normal((count, self.latent), np.float32)
        return self.generator(noise.astype(model_dtype(self)))
