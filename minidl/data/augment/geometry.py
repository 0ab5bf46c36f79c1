"""Images moved, turned, cut, mirrored, deformed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.arguments import Count, Fraction, NonNegative, Positive, Size, checked
from minidl.data.augment.base import Array, Augment
from minidl.kernels.resampling import resample, resample_affine


def affine(images: Array, matrices: Array, shifts: Array) -> Array:
    """Map each image by a matrix about its middle, then shift it.

    Parameters
    ----------
    images
        ``(N, C, H, W)``.
    matrices
        ``(N, 2, 2)``, acting on ``(y, x)``: where the image goes.
    shifts
        ``(N, 2)``, down and right, in pixels.
    """
    h, w = images.shape[2:]
    middle = np.array([(h - 1) / 2, (w - 1) / 2], np.float32)
    back = np.linalg.inv(matrices).astype(np.float32)
    return resample_affine(images, back, middle + shifts.astype(np.float32))


class RandomAffine(Augment):
    """Turn, shift, scale and shear each image.

    Parameters
    ----------
    degrees
        Angles are drawn from -degrees to degrees.
    translate
        Largest shift down and right, as a share of height and width.
    scale
        Smallest and largest factor.
    shear
        Largest shear angle along x, in degrees.
    """

    @checked
    def __init__(
        self,
        degrees: NonNegative = 0.0,
        *,
        translate: tuple[Fraction, Fraction] = (0.0, 0.0),
        scale: tuple[Positive, Positive] = (1.0, 1.0),
        shear: NonNegative = 0.0,
    ) -> None:
        if scale[0] > scale[1]:
            raise ValueError(f"{type(self).__name__}: scale must go from small to large, {scale}")
        self.degrees = degrees
        self.translate = (translate[0], translate[1])
        self.scale = (scale[0], scale[1])
        self.shear = shear

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the images, mapped."""
        n, _, h, w = images.shape
        angle = np.radians(rng.uniform(-self.degrees, self.degrees, n))
        factor = rng.uniform(*self.scale, n)
        slant = np.tan(np.radians(rng.uniform(-self.shear, self.shear, n)))
        shifts = rng.uniform(-1.0, 1.0, (n, 2)) * (self.translate[0] * h, self.translate[1] * w)
        cos, sin = np.cos(angle) * factor, np.sin(angle) * factor
        # On (y, x); a positive angle turns counterclockwise, with y downward.
        turn = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)
        lean = np.zeros((n, 2, 2))
        lean[:, 0, 0] = lean[:, 1, 1] = 1.0
        lean[:, 1, 0] = slant
        return affine(images, turn @ lean, shifts)


class RandomRotation(RandomAffine):
    """Turn each image by an angle from -degrees to degrees."""

    @checked
    def __init__(self, degrees: NonNegative) -> None:
        super().__init__(degrees)


class RandomShift(Augment):
    """Shift each image by whole pixels, at most ``pixels`` along each axis."""

    @checked
    def __init__(self, pixels: Count) -> None:
        self.pixels = pixels

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the images, shifted."""
        return _cut(images, self.pixels, images.shape[2:], rng)


class RandomCrop(Augment):
    """Cut a window of ``size`` out of each image, after ``padding`` it with zeros.

    Parameters
    ----------
    size
        Height and width of the window; those of the image by default.
    """

    @checked
    def __init__(self, size: Size | tuple[Size, Size] | None = None, *, padding: Count = 0) -> None:
        self.size = size
        self.padding = padding

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the windows.

        Raises
        ------
        ValueError
            The window is larger than the padded image.
        """
        given = images.shape[2:] if self.size is None else self.size
        size = (given, given) if isinstance(given, int) else (given[0], given[1])
        room = tuple(n + 2 * self.padding for n in images.shape[2:])
        if size[0] > room[0] or size[1] > room[1]:
            raise ValueError(
                f"RandomCrop: size {size} does not fit an image of {room} with padding"
            )
        return _cut(images, self.padding, size, rng)


def _cut(images: Array, padding: int, size: Any, rng: np.random.Generator) -> Array:
    n = len(images)
    framed = np.pad(images, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    top = rng.integers(0, framed.shape[2] - size[0] + 1, n)
    left = rng.integers(0, framed.shape[3] - size[1] + 1, n)
    windows = np.lib.stride_tricks.sliding_window_view(framed, tuple(size), (2, 3))
    cut: Array = windows[np.arange(n), :, top, left]
    return np.ascontiguousarray(cut)


class _RandomFlip(Augment):
    axis: int

    @checked
    def __init__(self, p: Fraction = 0.5) -> None:
        self.p = p

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the images, some of them mirrored."""
        flipped = rng.random(len(images)) < self.p
        out = images.copy()
        out[flipped] = np.flip(images[flipped], self.axis)
        return out


class RandomHorizontalFlip(_RandomFlip):
    """Mirror an image left to right, with probability ``p``."""

    axis = 3


class RandomVerticalFlip(_RandomFlip):
    """Mirror an image top to bottom, with probability ``p``."""

    axis = 2


class ElasticTransform(Augment):
    """Move each pixel by a smooth random field.

    Parameters
    ----------
    alpha
        Size of the movement: the noise, from -1 to 1, is smoothed and multiplied by this, in
        pixels.
    sigma
        Standard deviation of the smoothing, in pixels.

    References
    ----------
    P. Simard et al., "Best Practices for Convolutional Neural Networks Applied to Visual Document
    Analysis", ICDAR 2003.
    """

    @checked
    def __init__(self, alpha: NonNegative = 34.0, sigma: Positive = 4.0) -> None:
        self.alpha = alpha
        self.sigma = sigma

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the images, deformed."""
        n, _, h, w = images.shape
        noise = rng.uniform(-1.0, 1.0, (2, n, h, w)).astype(np.float32)
        field = self.alpha * (_smoothing(h, self.sigma) @ noise @ _smoothing(w, self.sigma).T)
        rows, columns = np.arange(h, dtype=np.float32), np.arange(w, dtype=np.float32)
        return resample(images, field[0] + rows[:, None], field[1] + columns)


def _smoothing(length: int, sigma: float) -> Array:
    """Return the matrix that smooths an axis by a Gaussian, with zeros beyond the border."""
    reach = max(1, math.ceil(4.0 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    distance = np.arange(length)[:, None] - np.arange(length)
    inside = np.abs(distance) <= reach
    matrix = np.where(inside, kernel[np.clip(distance + reach, 0, 2 * reach)], 0.0)
    return matrix.astype(np.float32)
