"""Augmentation of whole batches: each image is changed by numbers drawn for it.

An augmentation is called with a batch ``(inputs, targets, rng)`` and returns inputs and targets.
Inputs are float32 images ``(N, C, H, W)``, pixels from 0 to 1, before they are normalized, so that
what comes in at the border is black (0). Everything is drawn from the generator that the caller
passes: the loader's is a function of seed, epoch and batch. No Python loop runs over images.

A batch of 128 images of 28x28 takes 4 ms (affine), 0.1 ms (crop), 6 ms (elastic) on one core.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from minidl.arguments import Count, Fraction, NonNegative, Positive, Size, checked

__all__ = [
    "Augment",
    "Compose",
    "CutMix",
    "Cutout",
    "ElasticTransform",
    "GaussianNoise",
    "Mixup",
    "RandomAffine",
    "RandomCrop",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomRotation",
    "RandomShift",
    "RandomVerticalFlip",
]

Array: TypeAlias = NDArray[Any]
Batch: TypeAlias = tuple[Array, Array]
Augmentation: TypeAlias = Callable[[Array, Array, np.random.Generator], Batch]


def _settings(self: Any) -> str:
    return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"


class Augment:
    """Base of augmentations that change inputs only."""

    def __call__(self, inputs: Array, targets: Array, rng: np.random.Generator) -> Batch:
        """Return the batch, changed.

        Raises
        ------
        ValueError
            The inputs are no images.
        """
        if inputs.ndim != 4 or inputs.dtype.kind != "f":
            raise ValueError(
                f"{type(self).__name__}: floating images (N, C, H, W) are wanted, got "
                f"{inputs.dtype}{list(inputs.shape)}"
            )
        return self.change(inputs, rng), targets

    def change(self, images: Array, rng: np.random.Generator) -> Array:
        """Return the images, changed; what subclasses define."""
        raise NotImplementedError

    __repr__ = _settings


class Compose:
    """Several augmentations, one after the other."""

    def __init__(self, augmentations: Sequence[Augmentation]) -> None:
        self.augmentations = list(augmentations)

    def __call__(self, inputs: Array, targets: Array, rng: np.random.Generator) -> Batch:
        """Return the batch, changed by each in turn."""
        for augmentation in self.augmentations:
            inputs, targets = augmentation(inputs, targets, rng)
        return inputs, targets

    __repr__ = _settings


# ---- geometry ------------------------------------------------------------------------------


def resample(images: Array, y: Array, x: Array) -> Array:
    """Read each image at places between its pixels, bilinearly; 0 beyond its border.

    Parameters
    ----------
    images
        ``(N, C, H, W)``.
    y, x
        ``(N, H', W')``: where each new pixel is read, in pixels of the old image.
    """
    n, c, h, w = images.shape
    framed = np.zeros((n, c, h + 2, w + 2), images.dtype)  # a border of zeros spares all masks
    framed[:, :, 1:-1, 1:-1] = images
    flat = framed.reshape(n, c, -1)
    y, x = np.clip(y + 1.0, 0.0, h + 1.0), np.clip(x + 1.0, 0.0, w + 1.0)
    top, left = np.minimum(y.astype(np.int32), h), np.minimum(x.astype(np.int32), w)
    down, right = (y - top).astype(images.dtype), (x - left).astype(images.dtype)
    corner = (top * (w + 2) + left).reshape(n, 1, -1)
    shape = (n, 1, corner.shape[2])
    down, right = down.reshape(shape), right.reshape(shape)
    out = np.zeros((n, c, corner.shape[2]), images.dtype)
    for step, weight in (
        (0, (1 - down) * (1 - right)),
        (1, (1 - down) * right),
        (w + 2, down * (1 - right)),
        (w + 3, down * right),
    ):
        out += weight * np.take_along_axis(flat, corner + step, 2)
    return out.reshape(n, c, *top.shape[1:])


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
    rows, columns = np.arange(h, dtype=np.float32), np.arange(w, dtype=np.float32)
    back = np.linalg.inv(matrices).astype(np.float32)
    start = middle + shifts.astype(np.float32)
    dy = rows[None, :, None] - start[:, 0, None, None]
    dx = columns[None, None, :] - start[:, 1, None, None]
    a, b, c, d = (back[:, i, j, None, None] for i in (0, 1) for j in (0, 1))
    return resample(images, a * dy + b * dx + middle[0], c * dy + d * dx + middle[1])


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


# ---- pixels --------------------------------------------------------------------------------


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
        holes = _rectangles(height, width, h, w, rng)
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


def _rectangles(
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


# ---- mixtures ------------------------------------------------------------------------------


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

    __repr__ = _settings


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
        masks = _rectangles(np.rint(side * h), np.rint(side * w), h, w, rng)
        share = np.asarray(masks.mean((1, 2)), np.float32)[:, None]
        mixed = np.where(masks[:, None], inputs[partner], inputs)
        return mixed, (1 - share) * soft + share * soft[partner]
