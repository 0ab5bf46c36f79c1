"""From a dataset to batches: an order, a gather, augmentation, one normalization.

The order of an epoch is a pure function of ``(seed, epoch)`` and of nothing else, and what is drawn
for a batch one of ``(seed, epoch, batch)``: no generator is carried along, so an interrupted run
finds its place again by two integers. Images stay uint8 until they are in a batch, a quarter of
float32's memory and traffic.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from minidl.arguments import Count, Positive, Size, checked
from minidl.data.augment.base import Augmentation
from minidl.data.dataset import ArrayDataset
from minidl.data.prefetch import Prefetch
from minidl.data.samplers import RandomSampler, Sampler, SequentialSampler
from minidl.tensor import Tensor

Statistic: TypeAlias = float | Sequence[float]


def _batch(array: NDArray[Any]) -> Tensor:
    """Wrap an array as users of a loader get it."""
    return Tensor(array)


def collate(samples: Sequence[Any]) -> tuple[Any, ...]:
    """Stack samples ``(input, target, …)`` into arrays, field by field.

    Raises
    ------
    ValueError
        The samples' shapes differ.
    """
    fields = zip(*samples, strict=True) if isinstance(samples[0], tuple) else [samples]
    stacked = []
    for i, field in enumerate(fields):
        arrays = [
            np.asarray(value.detach() if isinstance(value, Tensor) else value) for value in field
        ]
        shapes = {array.shape for array in arrays}
        if len(shapes) > 1:
            raise ValueError(
                f"collate: field {i} of the samples has shapes {sorted(shapes)}; give a `collate` "
                "that makes them alike"
            )
        array = np.stack(arrays)
        stacked.append(array.astype(np.float32) if isinstance(field[0], float) else array)
    return tuple(stacked)


class DataLoader:
    """Iterates over a dataset in batches ``(inputs, targets)``.

    uint8 inputs become float32, ``(x / 255 - mean) / std``. Floating inputs keep their dtype and
    become ``(x - mean) / std``. Every batch owns its arrays.

    Parameters
    ----------
    dataset
        What to iterate over, of N samples: an `ArrayDataset`, or anything with ``len()`` and
        ``dataset[i]`` (a tuple of arrays or numbers); with a method ``batch(indices)`` it is asked
        for whole batches.
    batch_size
        Samples a batch; the last one has fewer where N is no multiple.
    shuffle
        Whether each epoch has an order of its own; otherwise the dataset's.
    seed
        With the epoch, decides the order; with the batch too, the augmentation.
    drop_last
        Whether to leave out a last batch that is not full.
    mean, std
        Statistics of the inputs (of uint8 ones: scaled to 0..1), one or one a channel. None stands
        for 0 and for 1.
    sampler
        Says which samples an epoch visits, in place of ``shuffle``; see `minidl.data.samplers`.
    augment
        Changes a batch before it is normalized; see `minidl.data.augment`.
    collate
        Makes a batch of a list of samples; `collate` by default.
    prefetch
        How many batches are made ahead, in a thread.
    rank, world
        Of ``world`` processes that train together this is number ``rank``: of every batch it gets
        its share in a row, the first processes one sample more where it does not go up evenly.
        There are as many batches for each; of a small one a share may be empty. A batch is
        augmented whole, so its samples do not depend on the number of processes.

    Attributes
    ----------
    epoch : int
        Which epoch the next iteration is, from 0. Set by `set_epoch`; iterating does not change it.

    Raises
    ------
    ValueError
        A number out of its bounds, an empty dataset, ``shuffle`` beside a sampler, ``drop_last``
        that leaves no batch, or a ``rank`` that is not below ``world``.

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
        dataset: Any,
        batch_size: Size,
        *,
        shuffle: bool = False,
        seed: Count = 0,
        drop_last: bool = False,
        mean: Statistic | None = None,
        std: Positive | Sequence[Positive] | None = None,
        sampler: Sampler | None = None,
        augment: Augmentation | None = None,
        collate: Callable[[Sequence[Any]], Any] = collate,
        prefetch: Count = 0,
        rank: Count = 0,
        world: Size = 1,
    ) -> None:
        name = getattr(dataset, "name", type(dataset).__name__)
        if len(dataset) == 0:
            raise ValueError(f"DataLoader: dataset {name!r} is empty; no batch to make")
        if sampler is not None and shuffle:
            raise ValueError("DataLoader: a sampler decides the order; shuffle must be False")
        if sampler is None:
            sampler = RandomSampler(dataset, seed=seed) if shuffle else SequentialSampler(dataset)
        if drop_last and len(sampler) < batch_size:
            raise ValueError(
                f"DataLoader: drop_last leaves no batch: dataset {name!r} has {len(sampler)} "
                f"samples, batch_size is {batch_size}; "
                f"use drop_last=False or a batch_size of at most {len(sampler)}"
            )
        if rank >= world:
            raise ValueError(f"DataLoader: rank must be below world {world}, got {rank}")
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.mean = mean
        self.std = std
        self.sampler = sampler
        self.augment = augment
        self.collate = collate
        self.prefetch = prefetch
        self.rank, self.world = rank, world
        self.epoch = 0
        self._begin = self._delivered = 0

    @checked
    def set_epoch(self, epoch: Count) -> None:
        """Choose the epoch, and thereby the order, of iterations that begin from now on."""
        if epoch != self.epoch:
            self._begin = self._delivered = 0
        self.epoch = epoch

    def state_dict(self) -> dict[str, int]:
        """Return the epoch, and how many of its batches have been handed out."""
        return {"epoch": self.epoch, "batch": self._delivered}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on behind the batches that had been handed out, at the next iteration.

        Raises
        ------
        ValueError
            The epoch has not so many batches.
        """
        epoch, batch = int(state["epoch"]), int(state["batch"])
        if epoch < 0 or not 0 <= batch <= len(self):
            raise ValueError(
                f"DataLoader: the state says batch {batch} of epoch {epoch}; an epoch has "
                f"{len(self)} batches"
            )
        self.epoch = epoch
        self._begin = self._delivered = batch

    def __len__(self) -> int:
        """Batches an epoch."""
        full, remainder = divmod(len(self.sampler), self.batch_size)
        return full + (remainder > 0 and not self.drop_last)

    def __iter__(self) -> Generator[Any]:
        # not a generator itself: its body would wait for the first next(), and a set_epoch() in
        # between would change an iteration that had begun
        begin, self._begin = self._begin, 0
        self._delivered = begin
        batches = self._batches(self.order(), self.epoch, begin)
        return self._handed_out(batches, begin)

    def order(self) -> NDArray[np.intp]:
        """Indices of the dataset in the order in which this epoch visits them, ``(N,)``."""
        return self.sampler.order(self.epoch)

    def _handed_out(self, batches: Iterator[Any], begin: int) -> Generator[Any]:
        ahead = Prefetch(batches, self.prefetch) if self.prefetch else None
        try:
            for number, batch in enumerate(batches if ahead is None else ahead, begin + 1):
                self._delivered = number
                yield tuple(_batch(array) for array in batch)
        finally:
            if ahead is not None:
                ahead.close()

    def _batches(self, order: NDArray[np.intp], epoch: int, begin: int) -> Iterator[Any]:
        for number in range(begin, len(self)):
            chosen = order[number * self.batch_size : (number + 1) * self.batch_size]
            own = share_of(len(chosen), rank=self.rank, world=self.world)
            # What is drawn for a sample must not depend on who trains on it, and some augmentations
            # mix samples of a batch: so it is changed whole, and cut then.
            inputs, *others = self._gather(chosen if self.augment is not None else chosen[own])
            if self.augment is not None:
                if inputs.dtype == np.uint8:
                    inputs = normalize(inputs)
                rng = np.random.default_rng([self.seed, epoch, number, _AUGMENT])
                targets = others[0] if others else np.zeros(len(inputs), np.int64)
                inputs, targets = self.augment(inputs, targets, rng)
                others[:1] = [targets] if others else []
                if self.world > 1:
                    inputs, others = inputs[own], [other[own] for other in others]
            yield (normalize(inputs, mean=self.mean, std=self.std), *others)

    def _gather(self, chosen: NDArray[np.intp]) -> tuple[NDArray[Any], ...]:
        dataset = self.dataset
        if isinstance(dataset, ArrayDataset) and self.collate is collate:
            return dataset.inputs.take(chosen, axis=0), dataset.targets.take(chosen, axis=0)
        if hasattr(dataset, "batch") and self.collate is collate:
            return tuple(dataset.batch(chosen))
        made = self.collate([dataset[int(i)] for i in chosen])
        return tuple(made) if isinstance(made, (tuple, list)) else (made,)


def share_of(count: int, *, rank: int, world: int) -> slice:
    """Return which of ``count`` samples in a row process ``rank`` of ``world`` takes.

    Examples
    --------
    >>> [share_of(10, rank=rank, world=4) for rank in range(4)]
    [slice(0, 3, None), slice(3, 6, None), slice(6, 8, None), slice(8, 10, None)]
    """
    each, over = divmod(count, world)
    begin = rank * each + min(rank, over)
    return slice(begin, begin + each + (rank < over))


#: Tells the generator of a batch's augmentation from that of an epoch's order.
_AUGMENT = 0xA06


@checked
def normalize(
    inputs: NDArray[Any],
    *,
    mean: Statistic | None = None,
    std: Positive | Sequence[Positive] | None = None,
) -> NDArray[Any]:
    """Scale and shift inputs as a model expects them.

    Parameters
    ----------
    inputs
        uint8, which gives ``(x / 255 - mean) / std`` in float32, or floating, which gives
        ``(x - mean) / std`` in its own dtype. Never written to.
    mean, std
        One number, or one a channel (axis -3 of images, the last axis of anything else). None
        stands for 0 and for 1.

    Returns
    -------
    numpy.ndarray
        Of the shape of ``inputs``; ``inputs`` itself where there is nothing to do.

    Examples
    --------
    >>> normalize(np.array([0, 255], np.uint8), mean=0.5, std=0.25)
    array([-2.,  2.], dtype=float32)
    """
    if mean is None and std is None and inputs.dtype != np.uint8:
        return inputs
    dtype = np.dtype(np.float32) if inputs.dtype == np.uint8 else inputs.dtype
    offset, spread = _along(mean, 0.0, inputs), _along(std, 1.0, inputs)
    scale = 1.0 / spread / (255.0 if inputs.dtype == np.uint8 else 1.0)
    # x * scale - mean / std: two passes over a batch that the copy has just brought into cache.
    # Medians for a batch of 128x1x28x28 uint8, gather included, on two cores of a server:
    #   astype, *=, += (this)                   35 us
    #   np.multiply(x, scale, dtype=float32)    39 us   casts through small buffers
    #   table of 256 float32, np.take           105 us  (136 us without mode="clip")
    #   (x / 255 - mean) / std as written       83 us
    outputs = inputs.astype(dtype)
    outputs *= scale.astype(dtype) if isinstance(scale, np.ndarray) else scale
    shift = offset / spread
    if isinstance(shift, np.ndarray) or shift:
        outputs -= shift.astype(dtype) if isinstance(shift, np.ndarray) else shift
    return outputs


def _along(value: Any, usual: float, inputs: NDArray[Any]) -> Any:
    """Return a number, or an array that lies along the channels."""
    if value is None or isinstance(value, (int, float)):
        return usual if value is None else float(value)
    axis = inputs.ndim - 3 if inputs.ndim >= 3 else inputs.ndim - 1
    array = np.asarray(value, np.float64)
    if array.ndim != 1 or len(array) not in (1, inputs.shape[axis]):
        raise ValueError(
            f"normalize: one number or {inputs.shape[axis]} (one a channel of "
            f"{tuple(inputs.shape)}) are wanted, got {value!r}"
        )
    return array.reshape(-1, *(1,) * (inputs.ndim - 1 - axis))
