"""Pixels overwritten, and noise."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from minidl.arguments import Fraction, NonNegative, Positive, Size, checked
from minidl.data.augment.base import Array, Augment


class RandomErasing(Augment):
    """Overwrite a rectangle of an image, with probability ``p``.

    Parameters
    ----------
    scale
        Smallest and largest share of the image's area.
    ratio
        Smallest and largest ratio of height to width.
    value
        What to write.

    References
    ----------
    Z. Zhong et al., "Random Erasing Data Augmentation", AAAI 2020.
    """

    @checked
    def __init__(
        self,
        p: Fraction = 0.5,
        *,
        scale: tuple[Fraction, Fraction] = (0.02, 0.33),
        ratio: tuple[Positive, Positive] = (0.3, 3.3),
        value: float = 0.0,
    ) -> None:
        if scale[0] > scale[1] or ratio[0] > ratio[1]:
            raise ValueError(
                f"RandomErasing: scale and ratio must go from small to large, got {scale}, {ratio}"
            )
        self.p = p
        self.scale = (scale[0], scale[1])
        self.ratio = (ratio[0], ratio[1])
        self.value = value

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the images, some of them with a hole."""
        n, _, h, w = images.shape
        area = rng.uniform(*self.scale, n) * h * w
        ratio = np.exp(rng.uniform(math.log(self.ratio[0]), math.log(self.ratio[1]), n))
        height = np.clip(np.rint(np.sqrt(area * ratio)), 1, h)
        width = np.clip(np.rint(np.sqrt(area / ratio)), 1, w)
        holes = rectangles(height, width, h, w, rng)
        holes &= np.less(rng.random(n), self.p)[:, None, None]
        return np.where(holes[:, None], images.dtype.type(self.value), images)


class Cutout(Augment):
    """Overwrite a square of ``size`` pixels with zeros; it may reach beyond the border.

    References
    ----------
    T. DeVries, G. Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout",
    2017.
    """

    @checked
    def __init__(self, size: Size) -> None:
        self.size = size

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the images, each with a hole."""
        n, _, h, w = images.shape
        rows = _near(h, rng.uniform(0, h, (n, 1)), self.size)
        columns = _near(w, rng.uniform(0, w, (n, 1)), self.size)
        holes = rows[:, None, :, None] & columns[:, None, None, :]
        return np.where(holes, images.dtype.type(0.0), images)


def _near(length: int, middles: Array, size: int) -> NDArray[np.bool_]:
    """Return masks ``(N, length)`` of the pixels at most size / 2 from the ``middles (N, 1)``."""
    distance = np.arange(length)[None] + 0.5 - middles
    masks: NDArray[np.bool_] = np.abs(distance) <= size / 2
    return masks


def rectangles(
    height: Array, width: Array, h: int, w: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Return masks ``(N, h, w)`` of rectangles that lie inside."""
    top = np.floor(rng.random(len(height)) * (h - height + 1))
    left = np.floor(rng.random(len(width)) * (w - width + 1))
    rows, columns = np.arange(h)[None], np.arange(w)[None]
    inside_rows = (rows >= top[:, None]) & (rows < (top + height)[:, None])
    inside_columns = (columns >= left[:, None]) & (columns < (left + width)[:, None])
    masks: NDArray[np.bool_] = inside_rows[:, :, None] & inside_columns[:, None, :]
    return masks


class GaussianNoise(Augment):
    """Add normal noise of deviation ``std`` (pixels go from 0 to 1)."""

    @checked
    def __init__(self, std: NonNegative) -> None:
        self.std = std

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the images with noise."""
        noise: Array = rng.standard_normal(images.shape, np.float32)
        noise *= self.std
        noisy: Array = images + noise.astype(images.dtype)
        return noisy
