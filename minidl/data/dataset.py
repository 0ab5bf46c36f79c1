"""A dataset that fits into memory: two arrays, one row a sample.

`ArrayDataset` holds inputs and class indices side by side and hands out read-only views of them, so
that its `digest`, which names the data in an experiment's records, stays true. `split` takes a
validation set out of a training set, class by class.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from minidl.arguments import Count, Probability, checked

Index = SupportsIndex | slice | Sequence[int] | NDArray[Any]


@dataclass(frozen=True, eq=False)
class ArrayDataset:
    """Inputs and the class of each, in memory.

    Parameters
    ----------
    inputs
        ``(N, *sample_shape)``, for images ``(N, C, H, W)``; uint8 (0..255) or floating.
    targets
        ``(N,)``, the index of each sample's class; any integer dtype, held as int64. Or floating
        numbers ``(N,)`` or ``(N, K)``, to be predicted as they are; then there are no classes.
    classes
        The name of each class, in the order of the indices; empty where classes have no names.
    name
        What the dataset is called in messages and experiment records.

    Raises
    ------
    TypeError
        Inputs that are neither uint8 nor floating, or targets that are not integers.
    ValueError
        Lengths differ, targets are not one-dimensional, or a target has no class.

    Examples
    --------
    >>> blank = np.zeros((3, 1, 2, 2), np.uint8)
    >>> data = ArrayDataset(blank, np.array([0, 1, 0]), classes=("cat", "dog"), name="pets")
    >>> len(data), data.sample_shape
    (3, (1, 2, 2))
    >>> inputs, targets = data[1:]
    >>> inputs.shape, targets
    ((2, 1, 2, 2), array([1, 0]))
    """

    inputs: NDArray[Any]
    targets: NDArray[Any]
    classes: tuple[str, ...] = field(default=(), kw_only=True)
    name: str = field(default="data", kw_only=True)

    def __post_init__(self) -> None:
        inputs, targets = np.asarray(self.inputs), np.asarray(self.targets)
        if inputs.dtype != np.uint8 and not np.issubdtype(inputs.dtype, np.floating):
            raise TypeError(f"{self.name}: inputs must be uint8 or floating, got {inputs.dtype}")
        numbers = np.issubdtype(targets.dtype, np.floating)
        if not numbers and not np.issubdtype(targets.dtype, np.integer):
            raise TypeError(
                f"{self.name}: targets must be integers (classes) or floating, got {targets.dtype}"
            )
        ranks = (1, 2) if numbers else (1,)
        if inputs.ndim < 1 or targets.ndim not in ranks or len(inputs) != len(targets):
            raise ValueError(
                f"{self.name}: expected inputs (N, *sample_shape) and targets (N,) of one length, "
                f"got inputs {inputs.shape} and targets {targets.shape}"
            )
        if numbers and self.classes:
            raise ValueError(f"{self.name}: floating targets have no classes, got {self.classes}")
        if not numbers:
            targets = targets.astype(np.int64, copy=False)
            _check_targets(targets, classes=len(self.classes), name=self.name)
        object.__setattr__(self, "inputs", _read_only(inputs))
        object.__setattr__(self, "targets", _read_only(targets))
        object.__setattr__(self, "classes", tuple(self.classes))

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one input, for images ``(C, H, W)``."""
        return self.inputs.shape[1:]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: Index) -> tuple[NDArray[Any], NDArray[Any]]:
        """Inputs and targets at an index, a slice (read-only views) or an index array (copies)."""
        return np.asarray(self.inputs[index]), np.asarray(self.targets[index])

    def digest(self) -> str:
        """SHA-256, in hex, over shape, dtype and every value of inputs and targets.

        Names are not part of it, nor is the memory layout or the machine's byte order.
        """
        return self._digest

    @cached_property
    def _digest(self) -> str:
        sha256 = hashlib.sha256()
        for array in (self.inputs, self.targets):
            little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
            sha256.update(f"{little.dtype.str} {little.shape}\n".encode())
            sha256.update(little.reshape(-1).view(np.uint8).data)  # the bytes, not a copy of them
        return sha256.hexdigest()


def _check_targets(targets: NDArray[np.int64], *, classes: int, name: str) -> None:
    wrong = targets < 0
    if classes:
        wrong |= targets >= classes
    if wrong.any():
        first = int(wrong.argmax())
        limit = f"in 0..{classes - 1}, one of {classes} classes" if classes else "at least 0"
        raise ValueError(f"{name}: targets must be {limit}; got {targets[first]} at index {first}")


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


@checked
def split(
    dataset: ArrayDataset, *, fraction: Probability, seed: Count
) -> tuple[ArrayDataset, ArrayDataset]:
    """Hold out a fraction of a dataset, in equal measure from every class.

    ``round(fraction * N)`` samples are held out. Each class gives its proportional share, rounded
    down; the classes that lost most by rounding give one more, until the number is reached. Which
    samples of a class go is drawn by ``seed``. Both parts keep the order of the whole.

    Parameters
    ----------
    dataset
        The whole, of N samples.
    fraction
        Share to hold out, at least 0 and below 1.
    seed
        The same seed gives the same split.

    Returns
    -------
    rest, held_out
        Two datasets that together hold each sample once.

    Examples
    --------
    >>> digits = ArrayDataset(np.zeros((100, 1, 2, 2)), np.arange(100) % 10)
    >>> rest, held_out = split(digits, fraction=0.2, seed=0)
    >>> len(rest), np.bincount(held_out.targets)
    (80, array([2, 2, 2, 2, 2, 2, 2, 2, 2, 2]))
    """
    rng = np.random.default_rng(seed)
    if dataset.targets.dtype.kind == "f":  # numbers have no classes
        held = np.zeros(len(dataset), dtype=bool)
        held[rng.permutation(len(dataset))[: round(fraction * len(dataset))]] = True
        return _part(dataset, ~held, name="rest"), _part(dataset, held, name="held_out")
    sizes = np.bincount(dataset.targets)
    held = np.zeros(len(dataset), dtype=bool)
    for label, share in enumerate(shares(sizes, total=round(fraction * len(dataset)))):
        members = np.flatnonzero(dataset.targets == label)
        held[rng.permutation(members)[:share]] = True
    return _part(dataset, ~held, name="rest"), _part(dataset, held, name="held_out")


def shares(sizes: NDArray[Any], *, total: int) -> NDArray[Any]:
    """``total`` divided in proportion to ``sizes``, by the method of largest remainders."""
    # in whole numbers: floating-point remainders would break ties differently from class to class
    whole, remainders = np.divmod(sizes * total, max(1, sizes.sum()))
    most_lost = np.argsort(-remainders, kind="stable")
    whole[most_lost[: total - int(whole.sum())]] += 1
    return whole


def _part(dataset: ArrayDataset, chosen: NDArray[np.bool_], *, name: str) -> ArrayDataset:
    return replace(
        dataset,
        inputs=dataset.inputs[chosen],
        targets=dataset.targets[chosen],
        name=f"{dataset.name}/{name}",
    )
