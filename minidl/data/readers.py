"""What readers of datasets share: two parts, statistics, checksums, a name."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidl.data.dataset import ArrayDataset
from minidl.data.idx import read_idx

#: What to do about a damaged file, after removing it.
ADVICE = "fetch it again (minidl data fetch)"


class DatasetFiles:
    """A dataset in two parts, as the trainer wants it."""

    name: str
    train: ArrayDataset
    test: ArrayDataset
    classes: tuple[str, ...]
    mean: Any = None
    std: Any = None

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one input, for images ``(C, H, W)``."""
        return self.train.sample_shape

    def _part(self, inputs: Any, targets: Any, part: str) -> ArrayDataset:
        return ArrayDataset(inputs, targets, classes=self.classes, name=f"{self.name}/{part}")


def statistics(inputs: NDArray[Any]) -> tuple[Any, Any]:
    """Return mean and deviation of a training part's inputs, one a channel of images.

    uint8 is scaled to 0..1 first, as the loader does. A constant channel has deviation 1.
    """
    axes = (0, *range(2, inputs.ndim)) if inputs.ndim >= 3 else (0,)
    scale = 255.0 if inputs.dtype == np.uint8 else 1.0
    mean = inputs.mean(axes, dtype=np.float64) / scale
    std = inputs.std(axes, dtype=np.float64) / scale
    std[std == 0] = 1.0
    return [round(float(m), 6) for m in mean], [round(float(s), 6) or 1e-6 for s in std]


def read_published_idx(path: Path, advice: str = ADVICE) -> NDArray[Any]:
    """Read an IDX file of a published dataset.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is damaged; the message names it and says what to do.
    """
    try:
        return read_idx(path)
    except ValueError as error:
        raise ValueError(f"{error}; remove it and {advice}") from error


def verify(path: Path, md5: str, advice: str = ADVICE) -> None:
    """Hold a file against its checksum.

    Raises
    ------
    ValueError
        The file is damaged; the message names it and says what to do.
    """
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != md5:
        raise ValueError(
            f"{path}: the checksum (MD5) is {digest.hexdigest()}, expected {md5}: the file is "
            f"damaged or not what its name says; remove it and {advice}"
        )
