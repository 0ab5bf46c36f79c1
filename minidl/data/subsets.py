"""Datasets made of datasets, and ways to divide one.

A dataset is anything with ``len()`` and ``dataset[i]``, which returns a tuple (input, target) or
more. Those here also answer ``batch(indices)`` with whole arrays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from minidl.arguments import Count, Size, checked
from minidl.data.dataset import shares
from minidl.tensor import Tensor

Indices = NDArray[np.intp]


class Dataset(Protocol):
    """What a loader wants: a length, and a sample for each index."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def __getitem__(self, index: int) -> Any:
        """Return one sample, a tuple of arrays or numbers."""


def _rows(dataset: Any, indices: Any) -> tuple[NDArray[Any], ...]:
    if hasattr(dataset, "batch"):
        return tuple(dataset.batch(indices))
    if hasattr(dataset, "inputs"):
        return dataset.inputs[indices], dataset.targets[indices]
    from minidl.data.loader import collate

    return collate([dataset[int(i)] for i in indices])


class TensorDataset:
    """Arrays of one length, side by side: sample i is row i of each.

    Raises
    ------
    ValueError
        There are no arrays, or their lengths differ.
    """

    def __init__(self, *tensors: Any) -> None:
        arrays = [np.asarray(t.detach() if isinstance(t, Tensor) else t) for t in tensors]
        lengths = [len(array) if array.ndim else -1 for array in arrays]
        if not arrays or len(set(lengths)) > 1 or lengths[0] < 0:
            raise ValueError(
                f"TensorDataset: arrays of one length are wanted, got {[a.shape for a in arrays]}"
            )
        self.tensors = tuple(arrays)

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        return tuple(array[index] for array in self.tensors)

    def batch(self, indices: Indices) -> tuple[NDArray[Any], ...]:
        """Return rows of all arrays."""
        return tuple(array[indices] for array in self.tensors)


class Subset:
    """Some samples of a dataset, in the order of ``indices``.

    Raises
    ------
    IndexError
        An index is not one of the dataset.
    """

    def __init__(self, dataset: Any, indices: Sequence[int] | Indices) -> None:
        chosen = np.asarray(indices, np.intp).reshape(-1)
        wrong = (chosen < -len(dataset)) | (chosen >= len(dataset))
        if wrong.any():
            raise IndexError(
                f"Subset: index {chosen[wrong.argmax()]} is not in a dataset of {len(dataset)}"
            )
        self.dataset = dataset
        self.indices = np.where(chosen < 0, chosen + len(dataset), chosen)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[int(self.indices[index])]

    def batch(self, indices: Indices) -> tuple[NDArray[Any], ...]:
        """Return rows of the dataset."""
        return _rows(self.dataset, self.indices[indices])


class ConcatDataset:
    """Several datasets, one after the other.

    Raises
    ------
    ValueError
        There are none.
    """

    def __init__(self, datasets: Sequence[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: there are no datasets")
        self.ends = list(accumulate(len(dataset) for dataset in self.datasets))

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"ConcatDataset: no sample {index}; there are {len(self)}")
        index %= len(self)
        which = int(np.searchsorted(self.ends, index, side="right"))
        return self.datasets[which][index - (self.ends[which - 1] if which else 0)]

    def batch(self, indices: Indices) -> tuple[NDArray[Any], ...]:
        """Return rows, in the order asked for."""
        which = np.searchsorted(self.ends, indices, side="right")
        starts = np.array([0, *self.ends[:-1]])
        places, parts = [], []
        for number in np.unique(which):
            mine = np.flatnonzero(which == number)
            places.append(mine)
            parts.append(_rows(self.datasets[number], indices[mine] - starts[number]))
        back = np.argsort(np.concatenate(places))
        return tuple(np.concatenate(field)[back] for field in zip(*parts, strict=True))


@checked
def random_split(
    dataset: Any, lengths: Sequence[int] | Sequence[float], *, seed: Count = 0
) -> list[Subset]:
    """Divide a dataset at random into parts of these lengths, or of these shares (sum 1).

    Raises
    ------
    ValueError
        The lengths do not sum to the number of samples, nor the shares to 1.
    """
    given = list(lengths)
    if given and all(isinstance(n, (int, np.integer)) for n in given) and sum(given) != 1:
        counts = [int(n) for n in given]
        wrong = sum(counts) != len(dataset) or min(counts) < 0
    else:
        wrong = not given or min(given) < 0 or abs(sum(given) - 1.0) > 1e-9
        counts = [] if wrong else [int(n) for n in shares(np.asarray(given), total=len(dataset))]
    if wrong:
        raise ValueError(
            f"random_split: lengths that sum to {len(dataset)}, or shares that sum to 1, are "
            f"wanted, got {given}"
        )
    order = np.random.default_rng(seed).permutation(len(dataset))
    return [Subset(dataset, part) for part in np.split(order, np.cumsum(counts)[:-1])]


@checked
def k_fold(
    dataset: Any, k: Size, *, seed: Count = 0, stratified: bool = True
) -> Iterator[tuple[Subset, Subset]]:
    """Yield k pairs (training, validation), in which each sample is once in validation.

    Parameters
    ----------
    stratified
        Every fold holds each class in (almost) equal measure; wants ``dataset.targets``.

    Raises
    ------
    ValueError
        k is below 2 or above the number of samples.
    """
    if not 2 <= k <= len(dataset):
        raise ValueError(f"k_fold: k must be from 2 to {len(dataset)}, got {k}")
    order = np.random.default_rng(seed).permutation(len(dataset))
    if stratified:
        order = order[np.argsort(np.asarray(dataset.targets)[order], kind="stable")]
    # Dealt out like cards: neighbours, which are of one class, go to different folds.
    folds = np.arange(len(dataset)) % k

    def pairs() -> Iterator[tuple[Subset, Subset]]:
        for fold in range(k):
            rest, held = np.sort(order[folds != fold]), np.sort(order[folds == fold])
            yield Subset(dataset, rest), Subset(dataset, held)

    return pairs()


def class_weights(targets: Any, num_classes: int | None = None) -> NDArray[np.float32]:
    """Return ``N / (classes · count)`` for each class, so that rare ones weigh as much as others.

    Raises
    ------
    ValueError
        A class has no sample.
    """
    counts = np.bincount(np.asarray(targets), minlength=num_classes or 0)
    if not counts.all():
        empty = np.flatnonzero(counts == 0).tolist()
        raise ValueError(f"class_weights: there are no samples of the classes {empty}")
    weights: NDArray[np.float32] = (counts.sum() / (len(counts) * counts)).astype(np.float32)
    return weights


@checked
def oversample(targets: Any, *, seed: Count = 0) -> Indices:
    """Return indices in which every class is as frequent as the most frequent one.

    All samples are there once; of the rarer classes some are repeated, drawn evenly.
    """
    targets = np.asarray(targets)
    counts = np.bincount(targets)
    rng = np.random.default_rng(seed)
    chosen = [np.arange(len(targets))]
    for label in np.flatnonzero(counts):
        members = np.flatnonzero(targets == label)
        missing = int(counts.max() - counts[label])
        whole, rest = divmod(missing, len(members))
        chosen += [np.tile(members, whole), rng.permutation(members)[:rest]]
    return np.sort(np.concatenate(chosen))
