"""Datasets of small images, read from the files in which they are published.

What torchvision downloads is found where it puts it; nothing is downloaded here. Files whose
checksums are published (as torchvision knows them) are held against them: of FashionMNIST and
KMNIST those are the compressed ones, which are read where both are there.
"""

from __future__ import annotations

import bz2
import os
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from minidl.data.readers import ADVICE, DatasetFiles, read_published_idx, verify


def _find(
    name: str, root: Path, folders: list[Path], files: list[str], *, packed_first: bool = False
) -> list[Path]:
    """Return the files, all in one folder, each as it is or compressed (.gz).

    Raises
    ------
    FileNotFoundError
        No folder has all; the message says what is missing and how to get it.
    """
    lines = []
    for folder in folders:
        found = []
        for file in files:
            forms = [folder / file, folder / f"{file}.gz"]
            forms = forms[::-1] if packed_first else forms
            found.append(next((form for form in forms if form.is_file()), None))
        present = [path for path in found if path is not None]
        if len(present) == len(files):
            return present
        missing = [file for file, path in zip(files, found, strict=True) if path is None]
        lines.append(
            f"  {folder}: " + (f"without {', '.join(missing)}" if folder.is_dir() else "no folder")
        )
    raise FileNotFoundError(
        f"{name}: expected {len(files)} files in one folder\n"
        + "\n".join(lines)
        + f"\ndownload them: pip install 'minidl[torchvision]' and minidl data fetch "
        f"{name.lower()} --root {root}"
    )


class _IDXImages(DatasetFiles):
    """Images like MNIST's, 28x28, in four IDX files."""

    prefix: ClassVar[tuple[str, str]] = ("train", "t10k")
    #: MD5 of the published .gz files, by their names.
    checksums: ClassVar[dict[str, str]] = {}

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._read(Path(root), Path(root) / self.name / "raw")

    def _read(self, *folders: Path, first: int = 0) -> None:
        files = [
            f"{part}-{kind}-ubyte"
            for part in self.prefix
            for kind in ("images-idx3", "labels-idx1")
        ]
        paths = _find(
            self.name, folders[0], list(folders), files, packed_first=bool(self.checksums)
        )
        for path in paths:
            if expected := self.checksums.get(path.name):
                verify(path, expected)
        arrays = [read_published_idx(path) for path in paths]
        for path, array, rank in zip(paths, arrays, (3, 1, 3, 1), strict=True):
            if array.dtype != np.uint8 or array.ndim != rank:
                raise ValueError(
                    f"{path}: expected uint8 with {rank} axes, found {array.dtype}{array.shape}"
                )
        images, labels, test_images, test_labels = arrays
        self.train = self._part(images[:, None], labels.astype(np.int64) - first, "train")
        self.test = self._part(test_images[:, None], test_labels.astype(np.int64) - first, "test")


class FashionMNIST(_IDXImages):
    """70,000 pictures of clothes, 28x28 (H. Xiao et al., 2017; MIT licence).

    Parameters
    ----------
    root
        The folder of the four IDX files, or the one above ``FashionMNIST/raw``.

    Raises
    ------
    FileNotFoundError
        Files are missing; the message says which and how to get them.
    ValueError
        A file is damaged.
    """

    name = "FashionMNIST"
    classes = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
        "Ankle boot",
    )  # fmt: skip
    mean, std = 0.2860, 0.3530
    checksums: ClassVar = {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    }


class KMNIST(_IDXImages):
    """70,000 handwritten hiragana, 28x28 (T. Clanuwat et al., 2018; CC BY-SA 4.0).

    Parameters
    ----------
    root
        The folder of the four IDX files, or the one above ``KMNIST/raw``.

    Raises
    ------
    FileNotFoundError
        Files are missing; the message says which and how to get them.
    ValueError
        A file is damaged.
    """

    name = "KMNIST"
    classes = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    mean, std = 0.1918, 0.3483
    checksums: ClassVar = {
        "train-images-idx3-ubyte.gz": "bdb82020997e1d708af4cf47b453dcf7",
        "train-labels-idx1-ubyte.gz": "e144d726b3acfaa3e44228e80efcd344",
        "t10k-images-idx3-ubyte.gz": "5c965bf0a639b31b8f53240b1b52f4d7",
        "t10k-labels-idx1-ubyte.gz": "7320c461ea6c1c855c0b718fb2a4b134",
    }


_LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_MERGED = tuple("abdefghnqrt")
_DIGITS = tuple("0123456789")
_EMNIST = {
    "balanced": (_DIGITS + _LETTERS + _MERGED, 0),
    "bymerge": (_DIGITS + _LETTERS + _MERGED, 0),
    "byclass": (_DIGITS + _LETTERS + tuple("abcdefghijklmnopqrstuvwxyz"), 0),
    "letters": (tuple("abcdefghijklmnopqrstuvwxyz"), 1),
    "digits": (_DIGITS, 0),
    "mnist": (_DIGITS, 0),
}


class EMNIST(_IDXImages):
    """Handwritten letters and digits, 28x28 (G. Cohen et al., 2017; public domain).

    The published images lie on their sides (rows and columns exchanged), and torchvision leaves
    them so; here they are turned upright.

    Parameters
    ----------
    root
        The folder of the IDX files ``emnist-SPLIT-train-images-idx3-ubyte`` and so on, or the one
        above ``EMNIST/raw``.
    split
        Which of the published divisions; ``letters`` counts its classes from 1, here from 0.

    Raises
    ------
    FileNotFoundError
        Files are missing; the message says which and how to get them.
    ValueError
        A file is damaged, or there is no such split.
    """

    name = "EMNIST"
    mean, std = 0.1736, 0.3317

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: Literal["balanced", "byclass", "bymerge", "letters", "digits", "mnist"] = "balanced",
    ) -> None:
        if split not in _EMNIST:
            raise ValueError(f"EMNIST: split must be one of {sorted(_EMNIST)}, got {split!r}")
        self.classes, first = _EMNIST[split]
        self.prefix = (f"emnist-{split}-train", f"emnist-{split}-test")  # type: ignore[misc]
        raw = Path(root) / "EMNIST" / "raw"
        self._read(Path(root), raw, raw / "gzip", first=first)

    def _part(self, inputs: Any, targets: Any, part: str) -> Any:
        return super()._part(inputs.transpose(0, 1, 3, 2).copy(), targets, part)


class USPS(DatasetFiles):
    """9,298 handwritten digits of postal codes, 16x16 (J. Hull, 1994).

    Parameters
    ----------
    root
        The folder of ``usps.bz2`` and ``usps.t.bz2`` (LIBSVM's format).

    Raises
    ------
    FileNotFoundError
        Files are missing.
    ValueError
        A file is damaged; the message names it, and the line.
    """

    name = "USPS"
    classes = _DIGITS
    mean, std = 0.2469, 0.2989
    #: MD5 of the published files.
    checksums: ClassVar = {
        "usps.bz2": "ec16c51db3855ca6c91edd34d0e9b197",
        "usps.t.bz2": "8ea070ee2aca1ac39742fdd1ef5ed118",
    }

    def __init__(self, root: str | os.PathLike[str]) -> None:
        folder = Path(root)
        paths = _find(self.name, folder, [folder, folder / "USPS"], ["usps.bz2", "usps.t.bz2"])
        for path in paths:
            if expected := self.checksums.get(path.name):
                verify(path, expected)
        self.train, self.test = (
            self._part(*_libsvm(path), part)
            for path, part in zip(paths, ("train", "test"), strict=True)
        )


def _libsvm(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    try:
        text = bz2.decompress(path.read_bytes()).decode("ascii")
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"{path}: damaged ({error}); remove it and {ADVICE}") from error
    images, labels = [], []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            label, *pairs = line.split()
            row = np.zeros(256)
            for pair in pairs:
                index, _, value = pair.partition(":")
                row[int(index) - 1] = float(value)
            labels.append(int(float(label)) - 1)
        except (ValueError, IndexError) as error:
            raise ValueError(
                f"{path}: line {number} is not LIBSVM's format ({error}); remove it and {ADVICE}"
            ) from error
        images.append(row)
    pixels = np.rint((np.stack(images) + 1.0) / 2.0 * 255.0).astype(np.uint8)
    return pixels.reshape(-1, 1, 16, 16), np.asarray(labels, np.int64)
