"""MNIST: 70,000 handwritten digits, and a sample of 7,000 that comes with minidl.

`MNIST` reads the four IDX files from a directory. `MNISTSample` needs no files and no network: it
holds a tenth of the set, for first runs, tests and machines that are cut off. Both offer the same:
``train``, ``test``, ``classes``, ``mean``, ``std``, ``sample_shape`` and ``name``.

The database is by Yann LeCun and Corinna Cortes, under CC BY-SA 3.0; see ``sample/NOTICE.md``.
"""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minidl.data.dataset import ArrayDataset
from minidl.data.readers import ADVICE, DatasetFiles, read_published_idx, verify

TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"
FILES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)

#: Size and MD5 of the database's files, plain. Compressed ones carry a checksum of their own, and
#: their bytes differ with the compressor.
PUBLISHED = {
    TRAIN_IMAGES: (47_040_016, "6bbc9ace898e44ae57da46a324031adb"),
    TRAIN_LABELS: (60_008, "a25bea736e30d166cdddb491f175f624"),
    TEST_IMAGES: (7_840_016, "2646ac647ad5339dbf082846283269ea"),
    TEST_LABELS: (10_008, "27ae3e4e09519cfbb04c329615203637"),
}


class IDXFiles(NamedTuple):
    """Where the four files of the database lie."""

    train_images: Path
    train_labels: Path
    test_images: Path
    test_labels: Path


class _Digits(DatasetFiles):
    """What the whole database and its sample have in common."""

    name: str
    train: ArrayDataset
    test: ArrayDataset
    classes: tuple[str, ...] = tuple("0123456789")
    #: Mean and standard deviation of the 60,000 training images' pixels, scaled to 0..1. The sample
    #: uses them too, so that a model trained on one can be evaluated on the other.
    mean: float = 0.1307
    std: float = 0.3081
    #: What to do about a damaged file, after removing it.
    advice: str = ADVICE

    def _read(self, files: IDXFiles) -> None:
        self.train = self._read_pair(files.train_images, files.train_labels, part="train")
        self.test = self._read_pair(files.test_images, files.test_labels, part="test")

    def _read_pair(self, images: Path, labels: Path, *, part: str) -> ArrayDataset:
        pixels, digits = _read_images(images, self.advice), _read_labels(labels, self.advice)
        if len(pixels) != len(digits):
            raise ValueError(
                f"{images}: expected as many images as {labels} has labels, {len(digits)}; "
                f"found {len(pixels)}"
            )
        return ArrayDataset(
            pixels[:, np.newaxis], digits, classes=self.classes, name=f"{self.name}/{part}"
        )


class MNIST(_Digits):
    """The MNIST database, read from a directory.

    Parameters
    ----------
    root
        Directory of the four IDX files, plain or .gz, lying in it or in ``MNIST/raw`` below it
        (where torchvision puts them).

    Attributes
    ----------
    train, test : ArrayDataset
        60,000 and 10,000 images ``(N, 1, 28, 28)`` uint8, white ink (255) on black (0).

    Raises
    ------
    FileNotFoundError
        The directory or some of the files are missing; the message says how to get them.
    ValueError
        A file is damaged (it does not end where it should, or its checksum is another), images are
        not 28x28, labels not in 0..9, or their numbers differ.
    """

    name = "MNIST"

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._read(locate(root))


class MNISTSample(_Digits):
    """A tenth of MNIST that comes with minidl: 6,000 training and 1,000 test images.

    Each class has the share it has in the whole database. How the sample was drawn, and by which
    seed, is written in ``minidl/data/sample/NOTICE.md``. The interface is that of `MNIST`.

    Examples
    --------
    >>> digits = MNISTSample()
    >>> len(digits.train), len(digits.test), digits.train.inputs.dtype
    (6000, 1000, dtype('uint8'))
    """

    name = "MNISTSample"
    advice = "install minidl again"

    def __init__(self) -> None:
        with resources.as_file(resources.files("minidl.data") / "sample") as directory:
            self._read(locate(directory))


def locate(root: str | os.PathLike[str]) -> IDXFiles:
    """Find the four IDX files in ``root`` or in ``root/MNIST/raw``, plain before .gz.

    All four are taken from one directory, so that halves of two downloads never mix.

    Raises
    ------
    FileNotFoundError
        Neither directory has all four.
    """
    directories = [Path(root), Path(root) / "MNIST" / "raw"]
    for directory in directories:
        found = [_plain_or_gz(directory / name) for name in FILES]
        present = [path for path in found if path is not None]
        if len(present) == len(FILES):
            return IDXFiles(*present)
    raise FileNotFoundError(
        "MNIST: expected four IDX files (plain or .gz) in one directory\n"
        + "\n".join(_what_is_missing(directory) for directory in directories)
        + f"\n{how_to_get_mnist(root)}"
    )


def how_to_get_mnist(root: str | os.PathLike[str]) -> str:
    """Say, for an error message, which ways lead to the data."""
    return (
        "Either download them: pip install 'minidl[torchvision]' and "
        f"minidl data fetch mnist --root {os.fspath(root)}\n"
        f"or put the four files ({', '.join(FILES)}) into {os.fspath(root)}\n"
        "or use type: MNISTSample, which comes with minidl and needs no files."
    )


def _plain_or_gz(path: Path) -> Path | None:
    candidates = (path, path.with_name(f"{path.name}.gz"))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _what_is_missing(directory: Path) -> str:
    if not directory.is_dir():
        return f"  {directory}: no such directory"
    missing = [name for name in FILES if _plain_or_gz(directory / name) is None]
    return f"  {directory}: without {', '.join(missing)}"


def _read_file(path: Path, advice: str) -> NDArray[Any]:
    array = read_published_idx(path, advice)
    size, md5 = PUBLISHED[path.name.removesuffix(".gz")]
    if path.stat().st_size == size:  # plain and whole; smaller sets in this format have none
        verify(path, md5, advice)
    return array


def _read_images(path: Path, advice: str) -> NDArray[Any]:
    images = _read_file(path, advice)
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (28, 28):
        raise ValueError(
            f"{path}: expected images of shape (N, 28, 28), uint8; "
            f"found {images.shape}, {images.dtype}"
        )
    return images


def _read_labels(path: Path, advice: str) -> NDArray[Any]:
    labels = _read_file(path, advice)
    if labels.dtype != np.uint8 or labels.ndim != 1:
        raise ValueError(
            f"{path}: expected labels of shape (N,), uint8; found {labels.shape}, {labels.dtype}"
        )
    if (labels > 9).any():
        first = int((labels > 9).argmax())
        raise ValueError(f"{path}: expected labels in 0..9; found {labels[first]} at index {first}")
    return labels
