"""read_image: arrays and pictures become samples, everything else a ValueError with its path."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minidl.data import read_image

GRAY = (1, 4, 5)
PIXELS = np.arange(20, dtype=np.uint8).reshape(4, 5) * 12
Image = pytest.importorskip("PIL.Image", reason="Pillow (the extra plot) is not installed")


def save(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


@pytest.mark.parametrize(
    ("array", "sample_shape", "expected"),
    [
        (PIXELS, GRAY, PIXELS[None]),
        (PIXELS[None], GRAY, PIXELS[None]),
        (np.asfortranarray(PIXELS), GRAY, PIXELS[None]),
        (np.stack([PIXELS] * 3), (3, 4, 5), np.stack([PIXELS] * 3)),
        (PIXELS.astype(np.float32), GRAY, PIXELS[None]),
        (PIXELS.astype(">f8"), GRAY, PIXELS[None]),
        ((PIXELS / 255).astype(np.float32), GRAY, PIXELS[None]),
        ((PIXELS / 255).astype(np.float16), GRAY, PIXELS[None]),
        (np.zeros((4, 5)), GRAY, np.zeros(GRAY)),
        (np.ones((4, 5)), GRAY, np.full(GRAY, 255)),
        (np.full((4, 5), 1.6), GRAY, np.full(GRAY, 2)),
    ],
)
def test_arrays_become_samples(tmp_path: Path, array, sample_shape, expected) -> None:
    sample = read_image(save(tmp_path / "x.npy", array), sample_shape=sample_shape)
    assert sample.dtype == np.uint8
    assert type(sample) is np.ndarray
    assert sample.flags.writeable
    np.testing.assert_array_equal(sample, expected)


@pytest.mark.parametrize(
    ("array", "sample_shape", "message"),
    [
        (PIXELS.T, GRAY, r"shape \(1, 4, 5\) or \(4, 5\), found \(5, 4\)"),
        (PIXELS, (3, 4, 5), r"shape \(3, 4, 5\), found \(4, 5\)"),
        (PIXELS[..., None], GRAY, r"found \(4, 5, 1\)"),
        (np.zeros(0), GRAY, "expected"),
        (PIXELS.astype(np.int64), GRAY, "uint8, or floating.*found int64"),
        (np.full((4, 5), -0.5), GRAY, "0..1 or 0..255, found -0.5 to -0.5"),
        (np.full((4, 5), 256.0), GRAY, "found 256 to 256"),
        (np.full((4, 5), np.nan), GRAY, "found nan to nan"),
        (np.array([[np.nan] + [0.5] * 4] * 4), GRAY, "found nan"),
        (np.full((4, 5), np.inf), GRAY, "found inf"),
    ],
)
def test_arrays_that_are_no_sample_are_refused(tmp_path, array, sample_shape, message) -> None:
    path = save(tmp_path / "x.npy", array)
    with pytest.raises(ValueError, match=message) as caught:
        read_image(path, sample_shape=sample_shape)
    assert str(caught.value).startswith(f"{path}: expected ")


def test_pickled_objects_are_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"x\.npy: expected an array"):
        read_image(path, sample_shape=GRAY)


def test_an_archive_under_the_name_npy_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, PIXELS)
    (tmp_path / "x.npy").write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match=r"x\.npy: expected an array"):
        read_image(tmp_path / "x.npy", sample_shape=GRAY)


def test_a_header_that_claims_terabytes_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "x.npy", np.zeros((1, 4, 5), np.uint8))
    content = path.read_bytes().replace(b"(1, 4, 5), }        ", b"(99999, 99999, 999)}")
    assert b"99999" in content
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.npy: expected an array"):
        read_image(path, sample_shape=(99999, 99999, 999))


files = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150
)


def contents() -> dict[str, bytes]:
    found = {}
    for suffix in ("npy", "png", "jpeg", "gif", "bmp", "tiff", "pgm"):
        buffer = io.BytesIO()
        if suffix == "npy":
            np.save(buffer, PIXELS)
        else:
            Image.fromarray(PIXELS).save(buffer, format="PPM" if suffix == "pgm" else suffix)
        found[suffix] = buffer.getvalue()
    return found


CONTENTS = contents()


@pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")  # Pillow's, about the damage that we made
@files
@given(data=st.data(), suffix=st.sampled_from(sorted(CONTENTS)))
def test_damaged_files_give_a_sample_or_a_value_error(tmp_path: Path, data, suffix) -> None:
    content = bytearray(CONTENTS[suffix])
    length = data.draw(st.integers(0, len(content)))
    if data.draw(st.booleans()):
        content = content[:length]
    elif length < len(content):
        content[length] ^= data.draw(st.integers(1, 255))
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(content)
    message = ""
    try:
        sample = read_image(path, sample_shape=GRAY)
    except ValueError as error:
        message = str(error)
    if message:
        assert message.startswith(f"{path}: expected ")
    else:
        assert (sample.shape, sample.dtype) == (GRAY, np.uint8)


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tiff", "pgm"])
def test_pictures_of_the_right_size_are_read_bit_by_bit(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(PIXELS).save(tmp_path / f"x.{suffix}")
    sample = read_image(tmp_path / f"x.{suffix}", sample_shape=GRAY)
    np.testing.assert_array_equal(sample, PIXELS[None])


def test_colours_become_gray_and_gray_becomes_colours(tmp_path: Path) -> None:
    colours = np.zeros((4, 5, 3), np.uint8)
    colours[..., 0], colours[:2, :, 1] = 255, 100
    Image.fromarray(colours).save(tmp_path / "x.png")
    sample = read_image(tmp_path / "x.png", sample_shape=(3, 4, 5))
    np.testing.assert_array_equal(sample, colours.transpose(2, 0, 1))
    gray = read_image(tmp_path / "x.png", sample_shape=GRAY)
    luma = colours @ np.array([0.299, 0.587, 0.114])  # ITU-R 601
    np.testing.assert_allclose(gray[0], luma, atol=1)
    Image.fromarray(PIXELS).save(tmp_path / "y.png")
    sample = read_image(tmp_path / "y.png", sample_shape=(3, 4, 5))
    np.testing.assert_array_equal(sample, np.stack([PIXELS] * 3))


def test_palette_transparency_and_one_bit_are_converted(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).convert("P").save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_image(tmp_path / "p.png", sample_shape=GRAY), PIXELS[None])
    Image.fromarray(np.dstack([PIXELS, PIXELS // 2])).save(tmp_path / "la.png")
    np.testing.assert_array_equal(read_image(tmp_path / "la.png", sample_shape=GRAY), PIXELS[None])
    Image.fromarray(PIXELS > 100).save(tmp_path / "1.png")
    expected = np.where(PIXELS > 100, 255, 0)[None]
    np.testing.assert_array_equal(read_image(tmp_path / "1.png", sample_shape=GRAY), expected)


def test_other_sizes_are_resized_height_before_width(tmp_path: Path) -> None:
    large = np.zeros((40, 100), np.uint8)
    large[:20, :20] = 255  # a corner that tells height from width
    Image.fromarray(large).save(tmp_path / "x.png")
    sample = read_image(tmp_path / "x.png", sample_shape=GRAY)
    assert sample.shape == GRAY
    assert sample[0, 0, 0] > 200
    assert sample[0, 3].max() == 0
    assert sample[0, :, 4].max() == 0
    assert sample.mean() == pytest.approx(large.mean(), rel=0.15)


def test_pictures_are_turned_as_exif_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to view
    Image.fromarray(PIXELS).save(tmp_path / "x.png", exif=exif)
    sample = read_image(tmp_path / "x.png", sample_shape=(1, 5, 4))
    np.testing.assert_array_equal(sample[0], np.rot90(PIXELS, -1))


def test_ink_and_paper_are_not_exchanged(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 5), 255, np.uint8)).save(tmp_path / "x.png")
    assert read_image(tmp_path / "x.png", sample_shape=GRAY).min() == 255


def test_16_bits_are_refused_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(PIXELS.astype(np.uint16) * 256).save(tmp_path / "x.png")
    with pytest.raises(ValueError, match=r"x\.png: expected 8 bits a channel, found mode I"):
        read_image(tmp_path / "x.png", sample_shape=GRAY)


@pytest.mark.parametrize("factor", [1, 3], ids=["Pillow would warn", "Pillow would raise"])
def test_pillows_limit_on_size_is_respected(tmp_path: Path, monkeypatch, factor: int) -> None:
    Image.fromarray(np.zeros((40, 50), np.uint8)).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1999 // factor)
    with pytest.raises(
        ValueError, match=r"x\.png: expected a readable picture.*decompression bomb"
    ):
        read_image(tmp_path / "x.png", sample_shape=GRAY)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"]
)
def test_what_is_no_picture_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.eps"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.eps: expected a readable picture"):
        read_image(path, sample_shape=GRAY)


def test_other_numbers_of_channels_need_an_array(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "x.png")
    with pytest.raises(ValueError, match=r"the model takes 2; give a \.npy file"):
        read_image(tmp_path / "x.png", sample_shape=(2, 4, 5))


@pytest.mark.parametrize("name", ["x.npy", "x.png"])
def test_missing_files_and_directories_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"{name}: expected an image"):
        read_image(tmp_path / name, sample_shape=GRAY)
    (tmp_path / name).mkdir()
    with pytest.raises(FileNotFoundError, match=f"{name}: expected an image"):
        read_image(tmp_path / name, sample_shape=GRAY)


def test_without_pillow_pictures_say_what_to_install_and_arrays_still_work(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "x.png")
    save(tmp_path / "x.npy", PIXELS)
    program = f"""
import sys
sys.modules["PIL"] = None
from minidl.data import read_image
print(read_image({str(tmp_path / "x.npy")!r}, sample_shape=(1, 4, 5)).sum())
try:
    read_image({str(tmp_path / "x.png")!r}, sample_shape=(1, 4, 5))
except ModuleNotFoundError as error:
    print(error)
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    total, message = result.stdout.splitlines()
    assert int(total) == PIXELS.sum()
    assert "pip install 'minidl[plot]', or give a .npy file" in message
