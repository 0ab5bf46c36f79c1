"""The user's own data: arrays in a .npz, rows of a .csv, pictures in folders."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from minidl.arguments import Count, Fraction, Size, checked
from minidl.data.dataset import ArrayDataset, split
from minidl.data.images import read_image
from minidl.data.readers import DatasetFiles, statistics


def _named(path: str | os.PathLike[str]) -> str:
    return Path(path).name.partition(".")[0]


class _Own(DatasetFiles):
    def _divide(self, inputs: Any, targets: Any, fraction: float, seed: int) -> None:
        """Make both parts of one, class by class."""
        whole = ArrayDataset(inputs, targets, classes=self.classes, name=self.name)
        self.train, self.test = split(whole, fraction=fraction, seed=seed)
        if not (len(self.train) and len(self.test)):
            raise ValueError(
                f"{self.name}: {fraction} of {len(whole)} samples leaves {len(self.train)} to "
                f"train on and {len(self.test)} to test; both want some"
            )


class NPZ(_Own):
    """Arrays in a NumPy archive: ``x_train``, ``y_train``, ``x_test``, ``y_test``, or ``x``, ``y``.

    Parameters
    ----------
    path
        A .npz file. Inputs ``(N, *)`` are uint8 or floating; targets ``(N,)`` whole numbers
        (classes) or floating ones. Floating ones, which NumPy makes float64 where nobody says
        otherwise, are held as float32, the dtype of models.
    classes
        Names of the classes; numbers by default.
    test_fraction
        Share of ``x`` and ``y`` that is the test part, where the file has no such part.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        Arrays are missing, of wrong shapes, or pickled objects (which are never loaded).
    """

    @checked
    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        classes: Sequence[str] | None = None,
        test_fraction: Fraction = 0.2,
        seed: Count = 0,
    ) -> None:
        self.name = _named(path)
        arrays = _load(Path(path))
        parts = {"x_train", "y_train", "x_test", "y_test"}
        whole = {"x", "y"}
        if not (parts <= arrays.keys() or whole <= arrays.keys()):
            raise ValueError(
                f"{path}: expected arrays {sorted(parts)}, or x and y; found {sorted(arrays)}"
            )
        apart = parts <= arrays.keys()
        targets = arrays["y_train" if apart else "y"]
        self.classes = _classes(targets, classes)
        if apart:
            self.train = self._part(arrays["x_train"], arrays["y_train"], "train")
            self.test = self._part(arrays["x_test"], arrays["y_test"], "test")
            if self.train.sample_shape != self.test.sample_shape:
                raise ValueError(
                    f"{path}: x_train has samples of shape {self.train.sample_shape}, x_test of "
                    f"{self.test.sample_shape}"
                )
        else:
            self._divide(arrays["x"], arrays["y"], test_fraction, seed)
        self.mean, self.std = statistics(self.train.inputs)


def _load(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # damaged archives end in errors of zipfile, zlib and NumPy
        raise ValueError(f"{path}: not a readable .npz of plain arrays: {error}") from error
    return {
        name: array.astype(np.float32) if array.dtype.kind == "f" else array
        for name, array in arrays.items()
    }


def _classes(targets: NDArray[Any], names: Sequence[str] | None) -> tuple[str, ...]:
    if targets.dtype.kind not in "iu":
        return ()
    count = int(targets.max(initial=-1)) + 1
    if names is None:
        return tuple(str(i) for i in range(count))
    if len(names) < count:
        raise ValueError(f"{len(names)} names for {count} classes: {list(names)}")
    return tuple(names)


class CSV(_Own):
    """Rows of a table: numbers in columns, one of which is to be predicted.

    Parameters
    ----------
    path
        A text file whose first line names the columns.
    target
        The column to predict.
    columns
        The input columns, in this order; all others by default.
    task
        ``"classification"``: each text in the target column is a class, in sorted order;
        ``"regression"``: numbers.
    test_path
        A file of the same columns for the test part; else ``test_fraction`` of the rows.
    delimiter
        What stands between columns.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        A column is missing, or a value is missing or no number: the message names row and column.
    """

    @checked
    def __init__(
        self,
        path: str | os.PathLike[str],
        target: str,
        *,
        columns: Sequence[str] | None = None,
        task: Literal["classification", "regression"] = "classification",
        test_path: str | None = None,
        test_fraction: Fraction = 0.2,
        delimiter: str = ",",
        standardize: bool = True,
        seed: Count = 0,
    ) -> None:
        if task not in ("classification", "regression"):
            raise ValueError(f"CSV: task must be 'classification' or 'regression', got {task!r}")
        self.name = _named(path)
        rows, words, names = _read_table(Path(path), target, columns, delimiter)
        labels = words
        if test_path is not None:
            more, more_words, _ = _read_table(Path(test_path), target, names, delimiter)
            labels = words + more_words
        self.columns = tuple(names)
        if task == "classification":
            self.classes = tuple(sorted(set(labels)))
            places = {word: i for i, word in enumerate(self.classes)}
            targets: Any = np.array([places[word] for word in labels], np.int64)
        else:
            self.classes = ()
            first = [(Path(path), i) for i in range(len(words))]
            second = [(Path(test_path or path), i) for i in range(len(labels) - len(words))]
            places_of = first + second
            numbers = [_number(w, *at, target) for w, at in zip(labels, places_of, strict=True)]
            targets = np.array(numbers, np.float32)
        if test_path is not None:
            self.train = self._part(rows, targets[: len(rows)], "train")
            self.test = self._part(more, targets[len(rows) :], "test")
        else:
            self._divide(rows, targets, test_fraction, seed)
        if standardize:
            self.mean, self.std = statistics(self.train.inputs)


def _number(word: str, path: Path, row: int, column: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        what = "is missing" if not word.strip() else f"is {word!r}, a number is wanted"
        raise ValueError(f"{path}: row {row + 2}, column {column!r} {what}")
    return value


def _read_table(
    path: Path, target: str, columns: Sequence[str] | None, delimiter: str
) -> tuple[NDArray[np.float32], list[str], list[str]]:
    """Return the inputs, the words of the target column, and the input columns' names."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = csv.reader(file, delimiter=delimiter)
        head = [name.strip() for name in next(lines, [])]
        names = [name for name in head if name != target] if columns is None else list(columns)
        for name in [target, *names]:
            if name not in head:
                raise ValueError(f"{path}: there is no column {name!r}; there are {head}")
        if target in names:
            raise ValueError(f"{path}: the target {target!r} is among the input columns")
        places, place = [head.index(name) for name in names], head.index(target)
        rows, words = [], []
        for i, line in enumerate(line for line in lines if line):
            if len(line) != len(head):
                raise ValueError(
                    f"{path}: row {i + 2} has {len(line)} columns, the first row has {len(head)}"
                )
            if not line[place].strip():
                raise ValueError(f"{path}: row {i + 2}, column {target!r} is missing")
            words.append(line[place].strip())
            pairs = zip(places, names, strict=True)
            rows.append([_number(line[p], path, i, name) for p, name in pairs])
    if not rows:
        raise ValueError(f"{path}: there are no rows below the names of the columns")
    return np.array(rows, np.float32), words, names


class ImageFolder(_Own):
    """Pictures in folders, a folder a class.

    Parameters
    ----------
    root
        Folders of pictures; or two folders, ``train`` and ``test``, that hold them.
    size
        Height and width that pictures are resized to.
    channels
        1 (gray) or 3 (color).
    test_fraction
        Share of each class that is the test part, where there is no folder ``test``.

    Raises
    ------
    FileNotFoundError
        There is no such folder, or there are no pictures in it.
    ModuleNotFoundError
        Pillow is not installed (the extra ``plot``).
    ValueError
        A picture cannot be read: the message names it.
    """

    @checked
    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        size: Size | tuple[Size, Size] = 32,
        channels: Literal[1, 3] = 3,
        test_fraction: Fraction = 0.2,
        seed: Count = 0,
    ) -> None:
        folder = Path(root)
        self.name = folder.name
        height, width = (size, size) if isinstance(size, int) else (size[0], size[1])
        shape = (channels, height, width)
        apart = (folder / "train").is_dir() and (folder / "test").is_dir()
        first = folder / "train" if apart else folder
        self.classes = _folders(first)
        inputs, targets = _pictures(first, self.classes, shape)
        if apart:
            self.train = self._part(inputs, targets, "train")
            strange = set(_folders(folder / "test")) - set(self.classes)
            if strange:
                raise ValueError(f"{folder / 'test'}: classes {sorted(strange)} are not in train")
            self.test = self._part(*_pictures(folder / "test", self.classes, shape), "test")
        else:
            self._divide(inputs, targets, test_fraction, seed)
        self.mean, self.std = statistics(self.train.inputs)


_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".webp", ".npy")


def _folders(root: Path) -> tuple[str, ...]:
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder")
    found = tuple(sorted(path.name for path in root.iterdir() if path.is_dir()))
    if not found:
        raise FileNotFoundError(f"{root}: expected a folder for each class, found none")
    return found


def _pictures(
    root: Path, classes: Sequence[str], shape: tuple[int, int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    images, labels = [], []
    for label, name in enumerate(classes):
        files = (root / name).rglob("*") if (root / name).is_dir() else ()
        for path in sorted(p for p in files if p.suffix.lower() in _SUFFIXES):
            images.append(read_image(path, sample_shape=shape))
            labels.append(label)
    if not images:
        raise FileNotFoundError(f"{root}: there are no pictures ({', '.join(_SUFFIXES)})")
    return np.stack(images), np.asarray(labels, np.int64)
