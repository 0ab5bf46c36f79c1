"""IDX files: what is written is read back, and whatever is damaged is refused by name."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minidl.data import read_idx, write_idx

DTYPES = ["u1", "i1", "i2", "i4", "f4", "f8"]

arrays = hnp.arrays(
    dtype=st.sampled_from(DTYPES).flatmap(
        lambda code: st.sampled_from([np.dtype(f"<{code}"), np.dtype(f">{code}")])
    ),
    shape=hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=5),
)
with_files = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)


@with_files
@given(array=arrays, suffix=st.sampled_from(["", ".gz"]))
def test_round_trip_keeps_shape_dtype_and_bits(tmp_path: Path, array, suffix) -> None:
    path = tmp_path / f"array{suffix}"
    write_idx(path, array)
    back = read_idx(path)
    assert back.shape == array.shape
    assert back.dtype == array.dtype.newbyteorder("=")
    assert back.dtype.isnative
    assert back.flags.writeable
    assert back.tobytes() == array.astype(back.dtype).tobytes()


@pytest.mark.parametrize(
    ("code", "dtype", "element", "value"),
    [
        (0x08, np.uint8, b"\xfe", 254),
        (0x09, np.int8, b"\xfe", -2),
        (0x0B, np.int16, b"\xff\xfe", -2),
        (0x0C, np.int32, b"\x00\x01\x00\x02", 65538),
        (0x0D, np.float32, struct.pack(">f", 1.5), 1.5),
        (0x0E, np.float64, struct.pack(">d", -0.1), -0.1),
    ],
)
def test_bytes_mean_what_the_format_says(tmp_path: Path, code, dtype, element, value) -> None:
    content = bytes([0, 0, code, 2]) + struct.pack(">II", 1, 2) + element * 2
    (tmp_path / "a").write_bytes(content)
    array = read_idx(tmp_path / "a")
    assert array.dtype == dtype
    assert array.tolist() == [[value, value]]
    write_idx(tmp_path / "b", np.full((1, 2), value, dtype))
    assert (tmp_path / "b").read_bytes() == content


def test_content_decides_about_compression_not_the_suffix(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    write_idx(tmp_path / "a.gz", array)
    (tmp_path / "a.gz").rename(tmp_path / "plain-name")
    assert read_idx(tmp_path / "plain-name").tolist() == array.tolist()
    write_idx(tmp_path / "b", array)
    (tmp_path / "b").rename(tmp_path / "b.gz")
    assert read_idx(tmp_path / "b.gz").tolist() == array.tolist()


def test_same_array_gives_the_same_bytes_whenever_and_wherever(tmp_path: Path, monkeypatch) -> None:
    array = np.arange(100, dtype=np.uint8)
    write_idx(tmp_path / "a.gz", array)
    monkeypatch.setattr("time.time", lambda: 4_000_000_000.0)
    write_idx(tmp_path / "other.gz", array)
    content = (tmp_path / "a.gz").read_bytes()
    assert content == (tmp_path / "other.gz").read_bytes()
    # no time, no file name, maximum compression, no operating system
    assert content[:10] == bytes([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 2, 255])


def test_strided_arrays_are_written_in_row_major_order(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.int32).reshape(4, 6).T[::-1, ::2]
    write_idx(tmp_path / "a", array)
    np.testing.assert_array_equal(read_idx(tmp_path / "a"), array)


def idx(code: int = 0x08, shape: tuple[int, ...] = (2, 3), data: bytes = bytes(6)) -> bytes:
    return struct.pack(f">HBB{len(shape)}I", 0, code, len(shape), *shape) + data


HUGE = 2**32 - 1

DAMAGED = {
    "empty": (b"", "two zero bytes.*found an empty file"),
    "short magic": (b"\0\0\x08", "two zero bytes.*found 00 00 08"),
    "wrong magic": (b"\x89PNG" + bytes(20), "two zero bytes.*found 89 50 4e 47"),
    "unknown type": (idx(code=0x0A), "element type among 0x08 uint8.*found 0x0a"),
    "short sizes": (b"\0\0\x08\x02\0\0\0", "8 bytes for the sizes of 2 dimensions, found 3"),
    "no data": (idx(data=b""), r"6 bytes of data \(shape \(2, 3\), uint8\), found 0"),
    "short data": (idx(data=bytes(5)), "expected 6 bytes of data.*found 5: the file is truncated"),
    "half an element": (idx(code=0x0E, shape=(1,), data=bytes(7)), "expected 8 bytes.*found 7"),
    "trailing": (idx(data=bytes(7)), "file to end after 6 bytes.*found more"),
    "absurd size": (idx(shape=(HUGE,) * 4), f"expected {HUGE**4} bytes.*found 6"),
    "overflowing to 0": (idx(shape=(2**31, 2**31, 4)), f"expected {2**64} bytes.*found 6"),
    "0 of astronomic": (idx(shape=(0, HUGE, HUGE, HUGE), data=b""), "shape that NumPy can hold"),
    "65 dimensions": (idx(shape=(1,) * 65, data=b"\0"), "shape that NumPy can hold"),
}


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("case", DAMAGED)
def test_damage_is_refused_with_path_expectation_and_finding(
    tmp_path: Path, case: str, compressed: bool
) -> None:
    content, message = DAMAGED[case]
    path = tmp_path / "damaged"
    path.write_bytes(gzip.compress(content) if compressed else content)
    with pytest.raises(ValueError, match=message) as caught:
        read_idx(path)
    assert str(caught.value).startswith(f"{path}: expected ")


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gz"])
def test_memory_follows_the_file_not_its_header(tmp_path: Path, compressed: bool) -> None:
    content = idx(shape=(40_000, 40_000), data=bytes(100))
    path = tmp_path / "claims-1.6-GB"
    path.write_bytes(gzip.compress(content) if compressed else content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"expected 1600000000 bytes.*found 100"):
            read_idx(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


def test_a_long_stream_behind_a_small_header_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(gzip.compress(idx(data=bytes(100_000_000)), compresslevel=1))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="file to end after 6 bytes"):
            read_idx(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


@pytest.fixture
def sound(tmp_path: Path) -> tuple[Path, np.ndarray, bytes]:
    array = np.random.default_rng(0).integers(0, 256, (3, 5, 7)).astype(np.uint8)
    path = tmp_path / "sound.gz"
    write_idx(path, array)
    return path, array, path.read_bytes()


def test_every_truncation_of_a_gz_file_is_refused(sound) -> None:
    path, _, content = sound
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="expected") as caught:
            read_idx(path)
        assert str(path) in str(caught.value)


def test_no_flipped_byte_of_a_gz_file_gives_another_array(sound) -> None:
    path, array, content = sound
    refused = []
    for position in range(len(content)):
        for flip in (0x01, 0x80, 0xFF):
            damaged = bytearray(content)
            damaged[position] ^= flip
            path.write_bytes(damaged)
            try:
                # a gzip header has bytes that say nothing about the content: a time, a system
                np.testing.assert_array_equal(read_idx(path), array)
            except ValueError as error:
                refused.append(str(error))
    assert len(refused) > 2 * len(content)
    assert all(str(path) in message for message in refused)


def test_trailing_bytes_after_gzip_are_refused(sound) -> None:
    path, _, content = sound
    path.write_bytes(content + b"more")
    with pytest.raises(ValueError, match="expected a whole gzip stream"):
        read_idx(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere: expected an IDX file"):
        read_idx(tmp_path / "nowhere")


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, np.bool_, np.float16, np.complex64, object])
def test_dtypes_without_a_code_are_not_written(tmp_path: Path, dtype) -> None:
    with pytest.raises(ValueError, match=f"IDX holds uint8, .*; got {np.dtype(dtype).name}"):
        write_idx(tmp_path / "a", np.zeros(3, dtype))
    assert not (tmp_path / "a").exists()


def test_too_long_a_dimension_is_not_written(tmp_path: Path) -> None:
    array = np.broadcast_to(np.uint8(0), (2**32,))  # 4 GiB in name only
    with pytest.raises(ValueError, match=r"below 2\*\*32; got shape \(4294967296,\)"):
        write_idx(tmp_path / "a", array)
