"""From a dataset to batches: an order, a gather, one normalization.

The order of an epoch is a pure function of ``(seed, epoch)`` and of nothing else: no generator is
carried from one epoch to the next, so an interrupted run finds its place again by two integers.
Images stay uint8 until they are in a batch, a quarter of float32's memory and traffic.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.arguments import Count, Positive, Size, checked
from minidl.data.dataset import ArrayDataset
from minidl.tensor import Tensor


def _batch(array: NDArray[Any]) -> Tensor:
    """Wrap an array as users of a loader get it."""
    return Tensor(array)


class DataLoader:
    """Iterates over a dataset in batches ``(inputs, targets)``.

    uint8 inputs become float32, ``(x / 255 - mean) / std``. Floating inputs keep their dtype and
    become ``(x - mean) / std``. Every batch owns its arrays.

    Parameters
    ----------
    dataset
        What to iterate over, of N samples.
    batch_size
        Samples a batch; the last one has fewer where N is no multiple.
    shuffle
        Whether each epoch has an order of its own; otherwise the dataset's.
    seed
        With the epoch, decides the order.
    drop_last
        Whether to leave out a last batch that is not full.
    mean, std
        Statistics of the inputs (of uint8 ones: scaled to 0..1). None stands for 0 and for 1.

    Attributes
    ----------
    epoch : int
        Which epoch the next iteration is, from 0. Set by `set_epoch`; iterating does not change it.

    Raises
    ------
    ValueError
        A number out of its bounds, an empty dataset, or ``drop_last`` that leaves no batch.

    Examples
    --------
    >>> pixels = np.full((5, 1, 2, 2), 255, np.uint8)
    >>> loader = DataLoader(ArrayDataset(pixels, np.arange(5)), 2, mean=0.5, std=0.5)
    >>> [(inputs.shape, targets.tolist()) for inputs, targets in loader]
    [((2, 1, 2, 2), [0, 1]), ((2, 1, 2, 2), [2, 3]), ((1, 1, 2, 2), [4])]
    """

    @checked
    def __init__(
        self,
        dataset: ArrayDataset,
        batch_size: Size,
        *,
        shuffle: bool = False,
        seed: Count = 0,
        drop_last: bool = False,
        mean: float | None = None,
        std: Positive | None = None,
    ) -> None:
        if len(dataset) == 0:
            raise ValueError(f"DataLoader: dataset {dataset.name!r} is empty; no batch to make")
        if drop_last and len(dataset) < batch_size:
            raise ValueError(
                f"DataLoader: drop_last leaves no batch: dataset {dataset.name!r} has "
                f"{len(dataset)} samples, batch_size is {batch_size}; "
                f"use drop_last=False or a batch_size of at most {len(dataset)}"
            )
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.mean = mean
        self.std = std
        self.epoch = 0

    @checked
    def set_epoch(self, epoch: Count) -> None:
        """Choose the epoch, and thereby the order, of iterations that begin from now on."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches an epoch."""
        full, remainder = divmod(len(self.dataset), self.batch_size)
        return full + (remainder > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        # not a generator itself: its body would wait for the first next(), and a set_epoch() in
        # between would change an iteration that had begun
        return self._batches(self.order())

    def order(self) -> NDArray[np.intp]:
        """Indices of the dataset in the order in which this epoch visits them, ``(N,)``."""
        if self.shuffle:
            return np.random.default_rng([self.seed, self.epoch]).permutation(len(self.dataset))
        return np.arange(len(self.dataset))

    def _batches(self, order: NDArray[np.intp]) -> Iterator[tuple[Tensor, Tensor]]:
        inputs, targets = self.dataset.inputs, self.dataset.targets
        for batch in range(len(self)):
            chosen = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield (
                _batch(normalize(inputs.take(chosen, axis=0), mean=self.mean, std=self.std)),
                _batch(targets.take(chosen)),
            )


@checked
def normalize(
    inputs: NDArray[Any], *, mean: float | None = None, std: Positive | None = None
) -> NDArray[Any]:
    """Scale and shift inputs as a model expects them.

    Parameters
    ----------
    inputs
        uint8, which gives ``(x / 255 - mean) / std`` in float32, or floating, which gives
        ``(x - mean) / std`` in its own dtype. Never written to.
    mean, std
        None stands for 0 and for 1.

    Returns
    -------
    numpy.ndarray
        Of the shape of ``inputs``; ``inputs`` itself where there is nothing to do.

    Examples
    --------
    >>> normalize(np.array([0, 255], np.uint8), mean=0.5, std=0.25)
    array([-2.,  2.], dtype=float32)
    """
    offset, scale = mean or 0.0, 1.0 / (std or 1.0)
    if inputs.dtype == np.uint8:
        scale /= 255.0
    elif mean is None and std is None:
        return inputs
    # x * scale - mean / std: two passes over a batch that the copy has just brought into cache.
    # Medians for a batch of 128x1x28x28 uint8, gather included, on two cores of a server:
    #   astype, *=, += (this)                   35 us
    #   np.multiply(x, scale, dtype=float32)    39 us   casts through small buffers
    #   table of 256 float32, np.take           105 us  (136 us without mode="clip")
    #   (x / 255 - mean) / std as written       83 us
    dtype = np.dtype(np.float32) if inputs.dtype == np.uint8 else inputs.dtype
    outputs = inputs.astype(dtype)
    outputs *= scale
    if offset:
        outputs -= offset / (std or 1.0)
    return outputs
