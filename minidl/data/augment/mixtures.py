"""Samples mixed with each other, targets too."""

from __future__ import annotations

import numpy as np

from minidl.arguments import Positive, Size, checked
from minidl.data.augment.base import Array, Batch, settings
from minidl.data.augment.pixels import rectangles


def one_hot(targets: Array, num_classes: int) -> Array:
    """Return class indices ``(N,)`` as float32 rows ``(N, num_classes)``; rows stay as they are."""
    if targets.ndim == 2:
        return targets
    rows: Array = np.eye(num_classes, dtype=np.float32)[targets]
    return rows


class _Mixture:
    @checked
    def __init__(self, alpha: Positive = 1.0, *, num_classes: Size | None = None) -> None:
        self.alpha = alpha
        self.num_classes = num_classes

    def _pair(self, targets: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        if self.num_classes is None:
            if targets.ndim != 2:
                raise ValueError(
                    f"{type(self).__name__}: num_classes is wanted to mix class indices "
                    "(a config takes it from the data)"
                )
            return targets, rng.permutation(len(targets))
        return one_hot(targets, self.num_classes), rng.permutation(len(targets))

    __repr__ = settings


class Mixup(_Mixture):
    """Mix each sample with another one, inputs and targets alike.

    Targets become probabilities ``(N, num_classes)``. Each sample has a share of its own, from
    the distribution Beta(alpha, alpha).

    References
    ----------
    H. Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018.
    """

    def __call__(self, inputs: Array, targets: Array, rng: np.random.Generator) -> Batch:
        """Return the mixed batch."""
        soft, partner = self._pair(targets, rng)
        share = np.asarray(rng.beta(self.alpha, self.alpha, len(inputs)), np.float32)
        factor = share.reshape(-1, *(1,) * (inputs.ndim - 1)).astype(inputs.dtype)
        mixed = factor * inputs + (1 - factor) * inputs[partner]
        return mixed, share[:, None] * soft + (1 - share[:, None]) * soft[partner]


class CutMix(_Mixture):
    """Put a rectangle of another image into each image; targets mix by area.

    Targets become probabilities ``(N, num_classes)``.

    References
    ----------
    S. Yun et al., "CutMix", ICCV 2019.
    """

    def __call__(self, inputs: Array, targets: Array, rng: np.random.Generator) -> Batch:
        """Return the mixed batch.

        Raises
        ------
        ValueError
            The inputs are no images.
        """
        if inputs.ndim != 4:
            raise ValueError(f"CutMix: images (N, C, H, W) are wanted, got {inputs.shape}")
        soft, partner = self._pair(targets, rng)
        n, _, h, w = inputs.shape
        side = np.sqrt(1.0 - rng.beta(self.alpha, self.alpha, n))
        masks = rectangles(np.rint(side * h), np.rint(side * w), h, w, rng)
        share = np.asarray(masks.mean((1, 2)), np.float32)[:, None]
        mixed = np.where(masks[:, None], inputs[partner], inputs)
        return mixed, (1 - share) * soft + share * soft[partner]
