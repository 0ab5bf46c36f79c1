"""The user's own files, and the published datasets' formats written by the tests."""

# ruff: noqa: RUF043
from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidl import nn
from minidl.data import (
    CIFAR10,
    CIFAR100,
    CSV,
    EMNIST,
    KMNIST,
    NPZ,
    USPS,
    FashionMNIST,
    ImageFolder,
    write_idx,
)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# ---- NPZ, CSV, ImageFolder -----------------------------------------------------------------


def test_npz_with_and_without_a_test_part(tmp_path: Path) -> None:
    x, y = rng().random((20, 3), np.float32), np.arange(20) % 4
    np.savez(tmp_path / "mine.npz", x=x, y=y)
    data = NPZ(tmp_path / "mine.npz", test_fraction=0.25)
    assert (len(data.train), len(data.test), data.classes) == (15, 5, ("0", "1", "2", "3"))
    assert (data.name, data.sample_shape) == ("mine", (3,))
    np.testing.assert_allclose(data.mean, data.train.inputs.mean(0), atol=1e-5)
    np.savez(tmp_path / "two.npz", x_train=x, y_train=y / 2, x_test=x[:3], y_test=y[:3] / 2)
    numbers = NPZ(tmp_path / "two.npz")
    assert (len(numbers.train), len(numbers.test), numbers.classes) == (20, 3, ())
    named = NPZ(tmp_path / "mine.npz", classes=["a", "b", "c", "d"])
    assert named.test.classes == ("a", "b", "c", "d")


def test_npz_of_numpys_own_dtype_can_be_learned_from(tmp_path: Path) -> None:
    x = rng().random((20, 3))
    assert x.dtype == np.float64
    np.savez(tmp_path / "mine.npz", x=x, y=x.sum(1))
    data = NPZ(tmp_path / "mine.npz")
    assert {a.dtype.name for a in (data.train.inputs, data.test.targets)} == {"float32"}
    nn.Linear(3, 1)(data.train.inputs)


def test_npz_refuses(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    with pytest.raises(FileNotFoundError, match="no such file"):
        NPZ(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="not a readable .npz"):
        NPZ(path)
    np.savez(path, a=np.ones(3))
    with pytest.raises(ValueError, match=r"found \['a'\]"):
        NPZ(path)
    np.savez(path, x=np.ones((2, 2)), y=np.array([{}, {}], object))
    with pytest.raises(ValueError, match="plain arrays"):
        NPZ(path)
    np.savez(path, x=np.ones((4, 2)), y=np.arange(4))
    with pytest.raises(ValueError, match="2 names for 4 classes"):
        NPZ(path, classes=["a", "b"])
    with pytest.raises(ValueError, match="both want some"):
        NPZ(path, test_fraction=0.0)


TABLE = "sepal,petal,kind\n1,2.5,a\n2,3.5,b\n3,4.5,a\n4,5.5,b\n5,6.5,a\n6,7.5,b\n"


def test_csv_classes_and_numbers(tmp_path: Path) -> None:
    path = tmp_path / "iris.csv"
    path.write_text(TABLE)
    data = CSV(path, "kind", test_fraction=0.34)
    assert (data.classes, data.columns) == (("a", "b"), ("sepal", "petal"))
    assert (len(data.train), len(data.test)) == (4, 2)
    np.testing.assert_allclose(data.mean, data.train.inputs.mean(0), atol=1e-5)
    assert sorted([*data.train.inputs[:, 0], *data.test.inputs[:, 0]]) == [1, 2, 3, 4, 5, 6]
    numbers = CSV(path, "petal", columns=["sepal"], task="regression", standardize=False)
    assert numbers.classes == ()
    assert numbers.train.targets.dtype == np.float32
    assert numbers.mean is None
    (tmp_path / "test.csv").write_text("petal;kind;sepal\n9;b;8\n")
    path.write_text(TABLE.replace(",", ";"))
    apart = CSV(path, "kind", test_path=str(tmp_path / "test.csv"), delimiter=";")
    np.testing.assert_array_equal(apart.test.inputs, [[8.0, 9.0]])
    assert apart.test.targets.tolist() == [1]


@pytest.mark.parametrize(
    ("text", "how", "message"),
    [
        (TABLE.replace("3.5", ""), {}, "row 3, column 'petal' is missing"),
        (TABLE.replace("3.5", "NA"), {}, "row 3, column 'petal' is 'NA', a number is wanted"),
        (TABLE.replace("3.5", "nan"), {}, "row 3, column 'petal' is 'nan'"),
        (TABLE.replace(",a\n4", ",\n4"), {}, "row 4, column 'kind' is missing"),
        (TABLE.replace("4,5.5,b", "4,5.5"), {}, "row 5 has 2 columns, the first row has 3"),
        (TABLE, {"target": "sort"}, "no column 'sort'; there are"),
        (TABLE, {"columns": ["petal", "width"]}, "no column 'width'"),
        (TABLE, {"columns": ["kind"]}, "among the input columns"),
        (TABLE, {"task": "regression"}, "row 2, column 'kind' is 'a', a number is wanted"),
        ("sepal,kind\n", {}, "no rows"),
        (TABLE, {"task": "clustering"}, "got 'clustering'"),
    ],
)
def test_csv_refuses(tmp_path: Path, text: str, how: Any, message: str) -> None:
    path = tmp_path / "iris.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        CSV(path, how.pop("target", "kind"), **how)


def test_image_folder(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is wanted")
    for name, value in (("cat", 10), ("dog", 200)):
        folder = tmp_path / "pets" / name
        folder.mkdir(parents=True)
        for i in range(5):
            image.new("RGB", (9, 7), (value, i, 0)).save(folder / f"{i}.png")
    data = ImageFolder(tmp_path / "pets", size=(4, 5))
    assert (data.name, data.classes, data.sample_shape) == ("pets", ("cat", "dog"), (3, 4, 5))
    assert (len(data.train), len(data.test)) == (8, 2)
    for inputs, label in (
        (data.test.inputs, data.test.targets),
        (data.train.inputs, data.train.targets),
    ):
        np.testing.assert_array_equal(inputs[:, 0, 0, 0], np.where(label == 0, 10, 200))
    gray = ImageFolder(tmp_path / "pets", channels=1)
    assert gray.sample_shape == (1, 32, 32)
    (tmp_path / "pets" / "cat" / "5.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="5.png: expected a readable picture"):
        ImageFolder(tmp_path / "pets")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        ImageFolder(tmp_path / "none")
    (tmp_path / "empty" / "a").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="no pictures"):
        ImageFolder(tmp_path / "empty")


def test_image_folder_with_a_test_part(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is wanted")
    for part, names in (("train", ("a", "b")), ("test", ("a",))):
        for name in names:
            (tmp_path / part / name).mkdir(parents=True)
            image.new("L", (4, 4), 7).save(tmp_path / part / name / "x.png")
    data = ImageFolder(tmp_path, size=4, channels=1)
    assert (len(data.train), len(data.test)) == (2, 1)
    (tmp_path / "test" / "z").mkdir()
    with pytest.raises(ValueError, match=r"classes \['z'\] are not in train"):
        ImageFolder(tmp_path)


# ---- published formats ---------------------------------------------------------------------


def idx_files(folder: Path, prefix: tuple[str, str] = ("train", "t10k"), first: int = 0) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for part, count in zip(prefix, (6, 4), strict=True):
        pixels = rng().integers(0, 256, (count, 28, 28), np.uint8)
        labels = (np.arange(count) % 3 + first).astype(np.uint8)
        write_idx(folder / f"{part}-images-idx3-ubyte", pixels)
        write_idx(folder / f"{part}-labels-idx1-ubyte", labels)
        made.append((pixels, labels))
    return made


@pytest.mark.parametrize("kind", [FashionMNIST, KMNIST])
def test_idx_relatives_of_mnist(tmp_path: Path, kind: Any) -> None:
    (pixels, labels), _ = idx_files(tmp_path / kind.name / "raw")
    data = kind(tmp_path)
    np.testing.assert_array_equal(data.train.inputs[:, 0], pixels)
    np.testing.assert_array_equal(data.train.targets, labels)
    assert (len(data.classes), data.sample_shape, data.train.name) == (
        10, (1, 28, 28), f"{kind.name}/train",
    )  # fmt: skip
    with pytest.raises(FileNotFoundError, match=f"{kind.name}: expected 4 files(.|\n)*data fetch"):
        kind(tmp_path / "nowhere")


def test_a_damaged_published_file_is_named(tmp_path: Path) -> None:
    idx_files(tmp_path)
    name = "train-images-idx3-ubyte"
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
    (tmp_path / name).unlink()
    with pytest.raises(
        ValueError, match=rf"{name}.gz: the checksum \(MD5\) is .*remove it and fetch"
    ):
        FashionMNIST(tmp_path)


def test_the_compressed_form_is_read_where_both_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    idx_files(tmp_path)
    md5 = {}
    for path in list(tmp_path.iterdir()):
        packed = gzip.compress(path.read_bytes(), mtime=0)
        path.with_name(f"{path.name}.gz").write_bytes(packed)
        md5[f"{path.name}.gz"] = hashlib.md5(packed, usedforsecurity=False).hexdigest()
        path.write_bytes(path.read_bytes()[:-1] + b"\7")  # damaged, which nothing would tell
    monkeypatch.setattr(KMNIST, "checksums", md5)
    assert KMNIST(tmp_path).train.targets.tolist() == [0, 1, 2, 0, 1, 2]


def test_a_damaged_plain_file_says_what_to_do(tmp_path: Path) -> None:
    idx_files(tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match="t10k-images.*truncated; remove it and fetch it again"):
        KMNIST(tmp_path)


def test_emnist_is_turned_upright_and_counts_from_zero(tmp_path: Path) -> None:
    prefix = ("emnist-letters-train", "emnist-letters-test")
    (pixels, labels), _ = idx_files(tmp_path, prefix, first=1)
    data = EMNIST(tmp_path, "letters")
    np.testing.assert_array_equal(data.train.inputs[:, 0], pixels.transpose(0, 2, 1))
    np.testing.assert_array_equal(data.train.targets, labels - 1)
    assert data.classes[0] == "a"
    with pytest.raises(ValueError, match="split must be one of"):
        EMNIST(tmp_path, "words")  # type: ignore[arg-type]


def test_usps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(USPS, "checksums", {})
    rows = ["3 1:-1 2:0.5 256:1", "10 5:0"]
    for name in ("usps.bz2", "usps.t.bz2"):
        (tmp_path / name).write_bytes(bz2.compress("\n".join(rows).encode()))
    data = USPS(tmp_path)
    assert data.train.targets.tolist() == [2, 9]
    assert data.train.inputs[0, 0, 0, :2].tolist() == [0, 191]
    assert data.train.inputs[0, 0, 15, 15] == 255
    (tmp_path / "usps.bz2").write_bytes(bz2.compress(b"3 1:x"))
    with pytest.raises(ValueError, match="line 1 is not LIBSVM's format .* fetch it again"):
        USPS(tmp_path)
    (tmp_path / "usps.bz2").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="usps.bz2: damaged"):
        USPS(tmp_path)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"usps.bz2: the checksum .* expected ec16c51d"):
        USPS(tmp_path)


def cifar_part(i: int, classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(i)
    return draw.integers(0, 256, (4, 3, 32, 32), np.uint8), draw.integers(0, classes, 4)


CIFAR10_PARTS = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]


def test_cifar10_in_all_forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CIFAR10, "checksums", {})
    forms: dict[str, Path] = {}
    binary, pickled = (
        tmp_path / "a" / "cifar-10-batches-bin",
        tmp_path / "b" / "cifar-10-batches-py",
    )
    binary.mkdir(parents=True)
    pickled.mkdir(parents=True)
    for i, name in enumerate(CIFAR10_PARTS):
        pixels, labels = cifar_part(i)
        rows = np.concatenate([labels[:, None].astype(np.uint8), pixels.reshape(4, -1)], 1)
        (binary / f"{name}.bin").write_bytes(rows.tobytes())
        batch = {"data": pixels.reshape(4, -1), "labels": labels.tolist()}
        (pickled / name).write_bytes(pickle.dumps(batch, protocol=2))
    for form, folder, name in (
        ("c", binary, "cifar-10-binary.tar.gz"), ("d", pickled, "cifar-10-python.tar.gz"),
    ):  # fmt: skip
        (tmp_path / form).mkdir()
        with tarfile.open(tmp_path / form / name, "w:gz") as tar:
            tar.add(folder, folder.name)
        forms[form] = tmp_path / form
    for root in (tmp_path / "a", tmp_path / "b", binary, *forms.values()):
        data = CIFAR10(root)
        np.testing.assert_array_equal(data.train.inputs[4:8], cifar_part(1)[0])
        np.testing.assert_array_equal(data.test.targets, cifar_part(5)[1])
        assert (len(data.train), data.sample_shape) == (20, (3, 32, 32))
    (binary / "test_batch.bin").write_bytes(b"xx")
    with pytest.raises(ValueError, match="test_batch.bin: expected rows of 3073 bytes"):
        CIFAR10(tmp_path / "a")
    (tmp_path / "c" / "cifar-10-binary.tar.gz").write_bytes(b"xx")
    with pytest.raises(ValueError, match="damaged"):
        CIFAR10(tmp_path / "c")
    with pytest.raises(FileNotFoundError, match="data fetch cifar10"):
        CIFAR10(tmp_path / "e")
    monkeypatch.undo()
    for damaged, named in (("b", "data_batch_1"), ("d", "cifar-10-python.tar.gz")):
        with pytest.raises(ValueError, match=rf"{named}: the checksum \(MD5\) is .*fetch it again"):
            CIFAR10(tmp_path / damaged)


def python_2_pickle(pixels: np.ndarray, labels: list[int]) -> bytes:
    """The bytes that Python 2 wrote into the published files: byte strings, NumPy's old names."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    count, width = pixels.shape
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85" + text(b"b") + b"tR"
        b"(K\x01K" + bytes([count]) + b"M" + width.to_bytes(2, "little") + b"\x86"
        b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R(K\x03" + text(b"|") + b"NNN"
        b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"T" + pixels.size.to_bytes(4, "little") + pixels.tobytes() + b"tb"
    )  # fmt: skip
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return (
        b"\x80\x02}(" + text(b"batch_label") + text(b"testing batch 1 of 1")
        + text(b"labels") + numbers + text(b"fine_labels") + numbers + text(b"data") + array + b"u."
    )  # fmt: skip


@pytest.mark.parametrize("kind", [CIFAR10, CIFAR100])
def test_cifar_as_python_2_wrote_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    made = {}
    for i, name in enumerate((*kind.train_files, kind.test_file)):
        pixels, labels = cifar_part(i)
        content = python_2_pickle(pixels.reshape(4, -1), labels.tolist())
        made[name] = hashlib.md5(content, usedforsecurity=False).hexdigest()
        (tmp_path / kind.folder).mkdir(exist_ok=True)
        (tmp_path / kind.folder / name).write_bytes(content)
    monkeypatch.setattr(kind, "checksums", made)
    data = kind(tmp_path)
    np.testing.assert_array_equal(data.test.inputs, cifar_part(i)[0])
    np.testing.assert_array_equal(data.test.targets, cifar_part(i)[1])


def test_cifar100_and_a_pickle_that_wants_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CIFAR100, "checksums", {})
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for i, name in enumerate(("train", "test")):
        pixels, labels = cifar_part(i, 100)
        batch = {"data": pixels.reshape(4, -1), "fine_labels": labels.tolist()}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    np.testing.assert_array_equal(CIFAR100(tmp_path).test.targets, cifar_part(1, 100)[1])

    class Evil:
        def __reduce__(self) -> Any:
            return print, ("run",)

    out = io.BytesIO()
    pickle.dump({"data": Evil()}, out)
    (folder / "test").write_bytes(out.getvalue())
    with pytest.raises(ValueError, match="builtins.print has no place in a dataset"):
        CIFAR100(tmp_path)
