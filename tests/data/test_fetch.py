"""fetch: what is asked of torchvision, what it leaves, and what is said without it.

A stand-in takes torchvision's place: it records how it is called and writes files where the real
one would.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from urllib.error import URLError

import numpy as np
import pytest

from minidl.data import MNIST, fetch, write_idx


def write_raw(root: str) -> None:
    raw = Path(root) / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, n in (("train", 6), ("t10k", 2)):
        for suffix in ("", ".gz"):  # torchvision keeps the archives beside what it unpacks
            images, labels = np.zeros((n, 28, 28), np.uint8), np.arange(n).astype(np.uint8)
            write_idx(raw / f"{part}-images-idx3-ubyte{suffix}", images)
            write_idx(raw / f"{part}-labels-idx1-ubyte{suffix}", labels)


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], None]], list]:
    """Install a torchvision whose download does as told; gives the list of calls."""

    def install(download: Callable[[str], None]) -> list:
        calls: list = []

        class StandIn:
            def __init__(
                self, root, train=True, transform=None, target_transform=None, download=False
            ):
                calls.append((root, download))
                act(root)

        act = download
        module, datasets = ModuleType("torchvision"), ModuleType("torchvision.datasets")
        datasets.MNIST = StandIn
        module.datasets = datasets
        monkeypatch.setitem(sys.modules, "torchvision", module)
        monkeypatch.setitem(sys.modules, "torchvision.datasets", datasets)
        return calls

    return install


def test_fetch_downloads_what_mnist_reads(tmp_path: Path, torchvision) -> None:
    calls = torchvision(write_raw)
    root = tmp_path / "new" / "data"
    paths = fetch("mnist", root)
    assert calls == [(str(root), True)]
    assert [path.name for path in paths] == [
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ]
    assert all(path.parent == root / "MNIST" / "raw" and path.is_file() for path in paths)
    assert (len(MNIST(root).train), len(MNIST(root).test)) == (6, 2)


def fail_with(error: Exception) -> Callable[[str], None]:
    def download(root: str) -> None:
        raise error

    return download


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Error downloading train-images-idx3-ubyte.gz"),
        URLError("no route to host"),
        PermissionError(13, "Permission denied"),
        ValueError("not a valid archive"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failed_download_names_root_and_cause(tmp_path: Path, torchvision, error) -> None:
    torchvision(fail_with(error))
    with pytest.raises(RuntimeError, match="fetching MNIST into") as caught:
        fetch("mnist", tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert f"{type(error).__name__}: {error}" in str(caught.value)
    assert caught.value.__cause__ is error


def test_a_download_that_leaves_nothing_is_a_failure(tmp_path: Path, torchvision) -> None:
    torchvision(lambda root: None)
    with pytest.raises(RuntimeError, match="FileNotFoundError: MNIST: expected four IDX files"):
        fetch("mnist", tmp_path)


def test_a_download_that_leaves_rubbish_is_a_failure(tmp_path: Path, torchvision) -> None:
    def download(root: str) -> None:
        write_raw(root)
        (Path(root) / "MNIST/raw/t10k-images-idx3-ubyte").write_text("<html>404</html>")

    torchvision(download)
    with pytest.raises(RuntimeError, match=r"ValueError: .*t10k-images-idx3-ubyte: expected"):
        fetch("mnist", tmp_path)


def test_without_torchvision_the_message_gives_all_ways(tmp_path: Path, monkeypatch) -> None:
    if importlib.util.find_spec("torchvision") is not None:
        monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        fetch("mnist", tmp_path / "data")
    message = str(caught.value)
    assert "fetching MNIST needs torchvision" in message
    assert "pip install 'minidl[torchvision]'" in message
    assert f"minidl data fetch mnist --root {tmp_path / 'data'}" in message
    assert "train-images-idx3-ubyte" in message
    assert "type: MNISTSample" in message
    assert not (tmp_path / "data").exists()


def test_an_unknown_name_is_refused_before_anything_happens(tmp_path: Path, torchvision) -> None:
    calls = torchvision(write_raw)
    with pytest.raises(ValueError, match=r"expected a dataset among .*'mnist'.*; got 'imagenet'"):
        fetch("imagenet", tmp_path)
    assert calls == []


def test_importing_minidl_data_brings_numpy_only() -> None:
    program = (
        "import sys, minidl.data; "
        "print(sorted({'torchvision', 'torch', 'PIL', 'mlflow', 'pydantic'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert result.stdout.strip() == "[]"
