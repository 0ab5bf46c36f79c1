"""CIFAR-10 and CIFAR-100, in the forms in which they are published.

Parts of the Python version and both archives have published checksums, and are held against them;
the unpacked parts of the binary version have none.
"""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from minidl.data.readers import ADVICE, DatasetFiles, verify


class _CIFAR(DatasetFiles):
    folder: ClassVar[str]
    binary: ClassVar[str]
    label: ClassVar[str]
    skip: ClassVar[int]
    train_files: ClassVar[tuple[str, ...]]
    test_file: ClassVar[str]
    #: MD5 of published files, by their names.
    checksums: ClassVar[dict[str, str]]

    def __init__(self, root: str | os.PathLike[str]) -> None:
        reader = self._reader(Path(root))
        images, labels = zip(*(reader(name) for name in self.train_files), strict=True)
        self.train = self._part(np.concatenate(images), np.concatenate(labels), "train")
        self.test = self._part(*reader(self.test_file), "test")

    def _reader(self, root: Path) -> Callable[[str], tuple[Any, Any]]:
        """Return what reads a part, from whichever form of the dataset is there."""
        last = self.test_file
        for folder in (root / self.binary, root):
            if (folder / f"{last}.bin").is_file():
                return lambda name: self._binary(
                    folder / f"{name}.bin", _bytes(folder / f"{name}.bin")
                )
        for folder in (root / self.folder, root):
            if (folder / last).is_file():
                return lambda name: self._verified(folder / name)
        for archive, pickled in ((f"{self.binary}.tar.gz", False), (f"{self.folder}.tar.gz", True)):
            packed = root / self._archive(archive)
            if packed.is_file():
                self._verify(packed)
                return lambda name: self._from_archive(packed, name, pickled)
        raise FileNotFoundError(
            f"{self.name}: expected {self.test_file} or {self.test_file}.bin in "
            f"{root / self.folder} or {root / self.binary}, or an archive of them in {root}\n"
            "download it: pip install "
            f"'minidl[torchvision]' and minidl data fetch {self.name.lower()} --root {root}"
        )

    def _verify(self, path: Path) -> None:
        if expected := self.checksums.get(path.name):
            verify(path, expected)

    def _verified(self, path: Path) -> tuple[Any, Any]:
        content = _bytes(path)
        self._verify(path)
        return self._pickled(path, content)

    def _archive(self, name: str) -> str:
        published = {
            "cifar-10-batches-bin.tar.gz": "cifar-10-binary.tar.gz",
            "cifar-10-batches-py.tar.gz": "cifar-10-python.tar.gz",
        }
        return published.get(name, name)

    def _from_archive(self, archive: Path, name: str, pickled: bool) -> tuple[Any, Any]:
        wanted = name if pickled else f"{name}.bin"
        try:
            with tarfile.open(archive) as tar:
                for member in tar:
                    if member.isfile() and Path(member.name).name == wanted:
                        file = tar.extractfile(member)
                        assert file is not None
                        place = archive / member.name
                        read = self._pickled if pickled else self._binary
                        return read(place, file.read())
        except (tarfile.TarError, OSError, EOFError) as error:
            raise ValueError(f"{archive}: damaged ({error}); remove it and {ADVICE}") from error
        raise ValueError(f"{archive}: there is no {wanted} in it; remove it and {ADVICE}")

    def _binary(self, path: Path, content: bytes) -> tuple[Any, Any]:
        """Rows of labels (one byte each, the fine one last) and 3,072 pixels."""
        width = self.skip + 3072
        if not content or len(content) % width:
            raise ValueError(
                f"{path}: expected rows of {width} bytes, found {len(content)} bytes in all; "
                f"remove it and {ADVICE}"
            )
        rows = np.frombuffer(content, np.uint8).reshape(-1, width)
        return rows[:, self.skip :].reshape(-1, 3, 32, 32), rows[:, self.skip - 1].astype(np.int64)

    def _pickled(self, path: Path, content: bytes) -> tuple[Any, Any]:
        try:
            batch = _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
            pixels = np.asarray(batch["data"], np.uint8).reshape(-1, 3, 32, 32)
            labels = np.asarray(batch[self.label], np.int64)
        except Exception as error:  # damaged pickles end in errors of every kind
            raise ValueError(
                f"{path}: damaged, or not what its name says ({error}); remove it and {ADVICE}"
            ) from error
        return pixels, labels


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: missing; {ADVICE}") from error


class _ArraysOnly(pickle.Unpickler):
    """Unpickle dictionaries, lists, text, numbers and arrays; a file can name nothing else."""

    _known: ClassVar = {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
    }

    def find_class(self, module: str, name: str) -> Any:
        """Return one of the few functions that rebuild arrays."""
        if (module, name) not in self._known:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a dataset")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


class CIFAR10(_CIFAR):
    """60,000 color pictures of ten classes, 32x32 (A. Krizhevsky, 2009).

    Parameters
    ----------
    root
        The folder of the binary or the Python version, unpacked or as the published archive.

    Raises
    ------
    FileNotFoundError
        Files are missing; the message says how to get them.
    ValueError
        A file is damaged.
    """

    name = "CIFAR10"
    classes = (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip
    mean, std = [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]
    folder, binary = "cifar-10-batches-py", "cifar-10-batches-bin"
    label, skip = "labels", 1
    train_files = tuple(f"data_batch_{i}" for i in range(1, 6))
    test_file = "test_batch"
    checksums: ClassVar = {
        "cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a",
        "cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530",
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    }


class CIFAR100(_CIFAR):
    """60,000 color pictures of a hundred classes, 32x32 (A. Krizhevsky, 2009).

    Classes are named by their numbers, which are in alphabetical order of their names.

    Parameters
    ----------
    root
        The folder of the binary or the Python version, unpacked or as the published archive.

    Raises
    ------
    FileNotFoundError
        Files are missing; the message says how to get them.
    ValueError
        A file is damaged.
    """

    name = "CIFAR100"
    classes = tuple(str(i) for i in range(100))
    mean, std = [0.5071, 0.4866, 0.4409], [0.2673, 0.2564, 0.2762]
    folder, binary = "cifar-100-python", "cifar-100-binary"
    label, skip = "fine_labels", 2
    train_files = ("train",)
    test_file = "test"
    checksums: ClassVar = {
        "cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85",
        "cifar-100-binary.tar.gz": "03b5dce01913d631647c71ecec9e9cb8",
        "train": "16019d7e3df5f24257cddd939b257f8d",
        "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    }
