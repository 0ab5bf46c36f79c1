"""Models that learn to give back what they are given."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from minidl import nn
from minidl.arguments import Size, checked
from minidl.autograd.checkpoint import generator
from minidl.nn import functional
from minidl.nn.summary import model_dtype
from minidl.ops.elementwise import exp
from minidl.ops.shape import shape_of


def _encoder(channels: int, width: int, rng: Any) -> nn.Sequential:
    """Halve the image twice."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, stride=2, padding=1, rng=rng),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, rng=rng),
        nn.ReLU(),
        nn.Flatten(),
    )


def _decoder(channels: int, width: int, rng: Any) -> nn.Sequential:
    """Double the image twice; logits of pixels."""
    return nn.Sequential(
        nn.ReLU(),
        nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1, rng=rng),
        nn.ReLU(),
        nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1, rng=rng),
    )


class Autoencoder(nn.Module):
    """Convolutions down to ``latent`` numbers, and transposed convolutions back.

    Shapes: ``(N, in_channels, size, size)`` kept; ``size`` is a multiple of 4. The output is logits
    of pixels: the sigmoid of it is the image.

    References
    ----------
    G. Hinton, R. Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks",
    Science 313 (2006).
    """

    infer: ClassVar = {"in_channels": 1, "size": -1}
    numbers: ClassVar[int] = 1  # that the encoder gives for each latent number

    @checked
    def __init__(
        self,
        in_channels: Size,
        size: Size,
        latent: Size = 32,
        width: Size = 16,
        *,
        rng: np.random.Generator | None = None,
    ) -> None:
        if size % 4:
            raise ValueError(f"{type(self).__name__}: size must be a multiple of 4, got {size}")
        self.size, self.latent = size, latent
        self.rng = np.random.default_rng() if rng is None else rng
        inner, side = 2 * width, size // 4
        self.encoder = _encoder(in_channels, width, rng)
        self.to_latent = nn.Linear(inner * side * side, self.numbers * latent, rng=rng)
        self.from_latent = nn.Linear(latent, inner * side * side, rng=rng)
        self.unflatten = nn.Unflatten(1, (inner, side, side))
        self.decoder = _decoder(in_channels, width, rng)

    def encode(self, x: Any) -> Any:
        """Return the latent numbers."""
        return self.to_latent(self.encoder(x))

    def decode(self, latent: Any) -> Any:
        """Return logits of pixels."""
        return self.decoder(self.unflatten(self.from_latent(latent)))

    def forward(self, x: Any) -> Any:
        """Return what is left of ``x`` behind the latent numbers."""
        return self.decode(self.encode(x))


class VAE(Autoencoder):
    """Variational autoencoder: the latent numbers are drawn from a normal distribution.

    ``forward`` returns logits of pixels, and mean and logarithm of the variance of the latent
    numbers. In evaluation the mean itself is decoded.

    References
    ----------
    D. P. Kingma, M. Welling, "Auto-Encoding Variational Bayes", ICLR 2014.
    """

    numbers: ClassVar = 2

    def forward(self, x: Any) -> tuple[Any, Any, Any]:
        """Return logits, mean, log-variance."""
        both = self.encode(x)
        mean, log_variance = both[:, : self.latent], both[:, self.latent :]
        z = mean
        if self.training:
            noise = generator(self.rng).standard_normal(shape_of(mean), np.float32)
            z = mean + exp(0.5 * log_variance) * noise.astype(mean.dtype)
        return self.decode(z), mean, log_variance

    def sample(self, count: int, rng: np.random.Generator) -> Any:
        """Return new images, pixels from 0 to 1."""
        noise = rng.standard_normal((count, self.latent), np.float32)
        return functional.sigmoid(self.decode(noise.astype(model_dtype(self))))
