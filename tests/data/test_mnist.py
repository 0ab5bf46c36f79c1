"""MNIST from files, whole and broken, and the sample that comes with minidl."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import os
import re
from importlib import resources
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from minidl.data import MNIST, MNISTSample, write_idx
from minidl.data.mnist import FILES, locate

MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "make_sample.py"


@pytest.fixture(scope="module")
def whole_directory() -> Path:
    root = os.environ.get("MINIDL_DATA")
    if not root:
        pytest.skip("MINIDL_DATA is not set: no directory with the four files of the whole MNIST")
    return Path(root)


@pytest.fixture(scope="module")
def whole(whole_directory: Path) -> MNIST:
    return MNIST(whole_directory)


def write_digits(directory: Path, *, suffix: str = "", train: int = 20, test: int = 10) -> Path:
    """A tiny database in MNIST's layout; the first pixel of an image is its label."""
    directory.mkdir(parents=True, exist_ok=True)
    for part, n in (("train", train), ("t10k", test)):
        labels = (np.arange(n) % 10).astype(np.uint8)
        images = np.zeros((n, 28, 28), np.uint8)
        images[:, 0, 0] = labels
        write_idx(directory / f"{part}-images-idx3-ubyte{suffix}", images)
        write_idx(directory / f"{part}-labels-idx1-ubyte{suffix}", labels)
    return directory


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("below", ["", "MNIST/raw"])
def test_reads_plain_and_gz_here_and_in_torchvisions_layout(tmp_path, suffix, below) -> None:
    write_digits(tmp_path / below, suffix=suffix)
    digits = MNIST(str(tmp_path))
    assert digits.train.inputs.shape == (20, 1, 28, 28)
    assert digits.test.inputs.shape == (10, 1, 28, 28)
    assert digits.train.inputs.dtype == np.uint8
    np.testing.assert_array_equal(digits.train.inputs[:, 0, 0, 0], digits.train.targets)
    assert digits.train.targets.tolist() == list(range(10)) * 2
    assert (digits.name, digits.train.name, digits.test.name) == (
        "MNIST",
        "MNIST/train",
        "MNIST/test",
    )
    assert digits.classes == digits.train.classes == tuple("0123456789")
    assert digits.sample_shape == digits.train.sample_shape == (1, 28, 28)


def test_files_of_two_directories_are_not_mixed(tmp_path: Path) -> None:
    write_digits(tmp_path, train=20)
    write_digits(tmp_path / "MNIST/raw", train=30)
    assert len(MNIST(tmp_path).train) == 20
    (tmp_path / FILES[3]).unlink()
    assert len(MNIST(tmp_path).train) == 30
    assert {path.parent for path in locate(tmp_path)} == {tmp_path / "MNIST/raw"}


def test_a_missing_directory_says_where_it_looked_and_what_to_do(tmp_path: Path) -> None:
    root = tmp_path / "nowhere"
    with pytest.raises(FileNotFoundError) as caught:
        MNIST(root)
    message = str(caught.value)
    assert f"{root}: no such directory" in message
    assert f"{root / 'MNIST' / 'raw'}: no such directory" in message
    assert f"minidl data fetch mnist --root {root}" in message
    assert "pip install 'minidl[torchvision]'" in message
    assert "type: MNISTSample" in message
    for name in FILES:
        assert name in message


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    write_digits(tmp_path, suffix=".gz")
    (tmp_path / f"{name}.gz").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        MNIST(tmp_path)
    assert f"{tmp_path}: without {name}\n" in str(caught.value)


WRONG = {
    "count": (FILES[0], np.zeros((19, 28, 28), np.uint8), "ubyte has labels, 20; found 19"),
    "label": (FILES[1], np.array([3] * 19 + [10], np.uint8), "in 0..9; found 10 at index 19"),
    "size": (FILES[2], np.zeros((10, 28, 27), np.uint8), r"\(N, 28, 28\).*found \(10, 28, 27\)"),
    "flat": (FILES[2], np.zeros((10, 784), np.uint8), r"\(N, 28, 28\), uint8; found \(10, 784\)"),
    "dtype": (FILES[0], np.zeros((20, 28, 28), np.float32), "uint8; found .*float32"),
    "images for labels": (FILES[3], np.zeros((10, 28, 28), np.uint8), r"\(N,\).*found \(10, 28"),
    "wide labels": (FILES[3], np.zeros(10, np.int32), r"\(N,\), uint8; found \(10,\), int32"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_not_mnist_is_refused_by_path(tmp_path: Path, case: str) -> None:
    name, array, message = WRONG[case]
    write_digits(tmp_path)
    write_idx(tmp_path / name, array)
    with pytest.raises(ValueError, match=message) as caught:
        MNIST(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / name}: expected ")


def test_a_damaged_file_is_refused_by_path(tmp_path: Path) -> None:
    write_digits(tmp_path, suffix=".gz")
    path = tmp_path / f"{FILES[2]}.gz"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match=re.escape(f"{path}: expected a whole gzip stream")) as e:
        MNIST(tmp_path)
    assert str(e.value).endswith("remove it and fetch it again (minidl data fetch)")


def test_a_plain_file_of_the_published_size_is_held_against_its_checksum(
    tmp_path: Path, whole_directory: Path
) -> None:
    name = FILES[2]
    for other in FILES:
        source = next(p for p in (whole_directory / f"{other}.gz", whole_directory / other)
                      if p.is_file())  # fmt: skip
        (tmp_path / source.name).symlink_to(source)
    content = (whole_directory / f"{name}.gz").read_bytes()
    content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).write_bytes(content)
    assert len(MNIST(tmp_path).test) == 10_000
    damaged = bytearray(content)
    damaged[5_000_000] ^= 1  # one bit of a pixel: nothing else would tell
    (tmp_path / name).write_bytes(damaged)
    with pytest.raises(ValueError, match=rf"{name}: the checksum \(MD5\) is .*remove it and fetch"):
        MNIST(tmp_path)


def test_the_whole_database_is_byte_for_byte_the_published_one(whole: MNIST) -> None:
    header = {60_000: bytes.fromhex("0000ea60"), 10_000: bytes.fromhex("00002710")}
    size = bytes.fromhex("0000001c")
    parts = zip(FILES, (whole.train, whole.train, whole.test, whole.test), strict=True)
    for name, part in parts:
        if "images" in name:
            content = b"\0\0\x08\x03" + header[len(part)] + size + size + part.inputs.tobytes()
        else:
            labels = part.targets.astype(np.uint8).tobytes()
            content = b"\0\0\x08\x01" + header[len(part)] + labels
        assert hashlib.md5(content).hexdigest() == MD5[name]


def test_mean_and_std_are_those_of_the_training_images(whole: MNIST) -> None:
    counts = np.bincount(whole.train.inputs.reshape(-1), minlength=256)
    values = np.arange(256) / 255
    mean = (counts * values).sum() / counts.sum()
    std = np.sqrt((counts * (values - mean) ** 2).sum() / counts.sum())
    assert (whole.mean, whole.std) == (round(mean, 4), round(std, 4))


def test_the_sample_has_the_interface_of_the_whole() -> None:
    sample = MNISTSample()
    assert (len(sample.train), len(sample.test)) == (6000, 1000)
    assert sample.train.inputs.shape[1:] == sample.sample_shape == (1, 28, 28)
    assert sample.train.inputs.dtype == np.uint8
    assert (sample.mean, sample.std, sample.classes) == (MNIST.mean, MNIST.std, MNIST.classes)
    assert (sample.name, sample.train.name) == ("MNISTSample", "MNISTSample/train")
    assert np.bincount(sample.train.targets).min() > 500
    # images are images, not noise or blanks: the statistics of the whole fit the tenth
    pixels = sample.train.inputs / np.float32(255)
    assert float(pixels.mean(dtype=np.float64)) == pytest.approx(sample.mean, abs=0.002)
    assert float(pixels.std(dtype=np.float64)) == pytest.approx(sample.std, abs=0.002)


def test_the_notice_tells_the_truth_about_the_files() -> None:
    directory = resources.files("minidl.data") / "sample"
    notice = (directory / "NOTICE.md").read_text(encoding="utf-8")
    for phrase in ("Yann LeCun", "Corinna Cortes", "CC BY-SA 3.0", "--seed 0", "proportional"):
        assert phrase in notice
    recorded = dict(re.findall(r"\| `(\S+\.gz)` \| `([0-9a-f]{64})` \|", notice))
    assert sorted(recorded) == sorted(f"{name}.gz" for name in FILES)
    for name, digest in recorded.items():
        assert hashlib.sha256((directory / name).read_bytes()).hexdigest() == digest
    sample = MNISTSample()
    for line, part in (("training", sample.train), ("test", sample.test)):
        counts = " | ".join(map(str, np.bincount(part.targets)))
        assert f"| {line} | {counts} |" in notice


@pytest.fixture
def make_sample() -> ModuleType:
    if not SCRIPT.is_file():
        pytest.skip("scripts/make_sample.py is not here: tests run outside a source tree")
    spec = importlib.util.spec_from_file_location("make_sample", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_sample_is_drawn_from_the_whole_as_the_notice_says(
    make_sample: ModuleType, whole_directory: Path, whole: MNIST
) -> None:
    sample = MNISTSample()
    for kept, drawn, source in zip(
        (sample.train, sample.test),
        make_sample.draw(whole_directory, seed=0),
        (whole.train, whole.test),
        strict=True,
    ):
        np.testing.assert_array_equal(kept.inputs, drawn.inputs)
        np.testing.assert_array_equal(kept.targets, drawn.targets)
        shares = np.bincount(source.targets) / 10
        assert (abs(np.bincount(kept.targets) - shares) < 1).all()


def test_the_script_writes_files_that_are_read_as_mnist(
    make_sample: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_digits(tmp_path / "source", train=200, test=100)
    output = tmp_path / "sample"
    make_sample.main(["--source", str(source), "--seed", "3", "--output", str(output)])
    drawn = MNIST(output)
    assert np.bincount(drawn.train.targets).tolist() == [2] * 10
    assert np.bincount(drawn.test.targets).tolist() == [1] * 10
    np.testing.assert_array_equal(drawn.train.inputs[:, 0, 0, 0], drawn.train.targets)
    assert "20 training and 10 test images" in capsys.readouterr().out
    notice = (output / "NOTICE.md").read_text(encoding="utf-8")
    assert "seed 3" in notice
    first = {path.name: path.read_bytes() for path in output.iterdir()}
    make_sample.main(["--source", str(source), "--seed", "3", "--output", str(output)])
    assert first == {path.name: path.read_bytes() for path in output.iterdir()}
