"""In what order a loader visits its dataset.

The indices of an epoch are a pure function of ``(seed, epoch)``: no generator is carried from one
epoch to the next, so an interrupted run finds its place again by whole numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from minidl.arguments import Count, Size, checked

Indices = NDArray[np.intp]


class Sampler(Protocol):
    """What a `DataLoader` wants of a sampler."""

    def __len__(self) -> int:
        """Return how many indices an epoch has."""

    def order(self, epoch: int) -> Indices:
        """Return the indices of an epoch."""


class SequentialSampler:
    """The dataset's own order."""

    def __init__(self, dataset: Any) -> None:
        self.count = len(dataset)

    def __len__(self) -> int:
        return self.count

    def order(self, epoch: int) -> Indices:
        """Return 0, 1, 2 and so on."""
        return np.arange(self.count)


class RandomSampler:
    """An order of its own for each epoch; with ``replacement``, draws with repetition."""

    @checked
    def __init__(
        self,
        dataset: Any,
        *,
        seed: Count = 0,
        replacement: bool = False,
        num_samples: Size | None = None,
    ) -> None:
        self.count = len(dataset)
        self.seed, self.replacement = seed, replacement
        self.num_samples = self.count if num_samples is None else num_samples
        if self.num_samples > self.count and not replacement:
            raise ValueError(
                f"RandomSampler: {num_samples} of {self.count} samples want replacement=True"
            )

    def __len__(self) -> int:
        return self.num_samples

    def order(self, epoch: int) -> Indices:
        """Return the indices of an epoch."""
        rng = np.random.default_rng([self.seed, epoch])
        if self.replacement:
            return rng.integers(0, self.count, self.num_samples)
        return rng.permutation(self.count)[: self.num_samples]


class WeightedRandomSampler:
    """Draws in proportion to ``weights``, one a sample.

    Raises
    ------
    ValueError
        A weight is negative or not finite, or all are 0; or there are too few to draw without
        replacement.
    """

    @checked
    def __init__(
        self,
        weights: Sequence[float],
        num_samples: Size | None = None,
        *,
        replacement: bool = True,
        seed: Count = 0,
    ) -> None:
        given = np.asarray(weights, np.float64)
        if given.ndim != 1 or not np.isfinite(given).all() or (given < 0).any() or not given.any():
            raise ValueError(
                "WeightedRandomSampler: weights must be numbers of at least 0, not all 0, one a "
                "sample"
            )
        self.probabilities = given / given.sum()
        self.num_samples = len(given) if num_samples is None else num_samples
        if not replacement and self.num_samples > np.count_nonzero(given):
            raise ValueError(
                f"WeightedRandomSampler: {self.num_samples} samples want replacement; "
                f"{np.count_nonzero(given)} have a weight above 0"
            )
        self.replacement, self.seed = replacement, seed

    def __len__(self) -> int:
        return self.num_samples

    def order(self, epoch: int) -> Indices:
        """Return the indices of an epoch."""
        rng = np.random.default_rng([self.seed, epoch])
        return rng.choice(
            len(self.probabilities), self.num_samples, self.replacement, self.probabilities
        )


class DistributedSampler:
    """A share of another sampler's order, for one of several processes that train together.

    Of every global batch of ``rank_batch · world`` samples, process ``rank`` takes its
    ``rank_batch`` in a row: all processes together see the batches that one process would see.
    What does not fill the last global batch is shared out as evenly as it goes.
    """

    @checked
    def __init__(self, sampler: Sampler, rank: Count, world: Size, rank_batch: Size) -> None:
        if rank >= world:
            raise ValueError(f"DistributedSampler: rank must be below world {world}, got {rank}")
        self.sampler, self.rank, self.world, self.rank_batch = sampler, rank, world, rank_batch

    def order(self, epoch: int) -> Indices:
        """Return this process's indices of an epoch."""
        whole = self.sampler.order(epoch)
        step = self.rank_batch * self.world
        parts = [
            np.array_split(whole[start : start + step], self.world)[self.rank]
            for start in range(0, len(whole), step)
        ]
        return np.concatenate(parts) if parts else whole

    def __len__(self) -> int:
        full, rest = divmod(len(self.sampler), self.rank_batch * self.world)
        return full * self.rank_batch + rest // self.world + (self.rank < rest % self.world)
