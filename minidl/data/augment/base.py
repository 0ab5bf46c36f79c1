"""What augmentations have in common, and several of them in a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Batch: TypeAlias = tuple[Array, Array]
Augmentation: TypeAlias = Callable[[Array, Array, np.random.Generator], Batch]


def settings(self: Any) -> str:
    """Return a repr that shows an augmentation's settings."""
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

    __repr__ = settings


class Compose:
    """Several augmentations, one after the other."""

    def __init__(self, augmentations: Sequence[Augmentation]) -> None:
        self.augmentations = list(augmentations)

    def __call__(self, inputs: Array, targets: Array, rng: np.random.Generator) -> Batch:
        """Return the batch, changed by each in turn."""
        for augmentation in self.augmentations:
            inputs, targets = augmentation(inputs, targets, rng)
        return inputs, targets

    __repr__ = settings
