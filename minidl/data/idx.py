"""IDX, the file format in which MNIST is published: one array a file.

Four bytes open it: two zeros, a code for the element type, the number of dimensions. One 32-bit
size a dimension follows, then the elements in row-major order; all numbers are big-endian. Files
are often gzip-compressed, and not always named so: the content decides, not the suffix.

A header is a claim. What it declares is allocated only as the file proves to hold it, so that
twelve damaged bytes cannot ask for terabytes.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

GZIP_MAGIC = b"\x1f\x8b"
CHUNK = 1 << 20

DTYPE_OF_CODE: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
CODE_OF_DTYPE = {dtype: code for code, dtype in DTYPE_OF_CODE.items()}


def read_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read the array in an IDX file, plain or gzip-compressed.

    Parameters
    ----------
    path
        The file. Whether it is compressed is seen from its first bytes.

    Returns
    -------
    numpy.ndarray
        Of the declared shape, in native byte order: uint8, int8, int16, int32, float32 or float64.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is truncated, corrupt, no IDX file, or longer than its header declares.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            compressed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
            file.seek(0)
            if not compressed:
                return _parse(file, path)
            with gzip.GzipFile(fileobj=file, mode="rb") as stream:
                return _parse(stream, path)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path}: expected an IDX file (plain or .gz), found no such file"
        ) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path}: expected a whole gzip stream, found a corrupt or truncated one ({error})"
        ) from error


def _parse(stream: BinaryIO | gzip.GzipFile, path: Path) -> NDArray[Any]:
    """Read one array from ``stream``, which must end where the array ends."""
    dtype, shape = _parse_header(stream, path)
    size = math.prod(shape) * dtype.itemsize  # Python integers: no overflow, whatever is claimed
    data = _read_up_to(stream, size)
    declared = f"{size} bytes of data (shape {shape}, {dtype.name})"
    if len(data) < size:
        raise ValueError(f"{path}: expected {declared}, found {len(data)}: the file is truncated")
    if stream.read(1):  # reading to the end is also what makes gzip verify its checksum
        raise ValueError(f"{path}: expected the file to end after {declared}, found more bytes")
    try:
        array: NDArray[Any] = np.ndarray(shape, dtype, buffer=data)
    except ValueError as error:  # more than NumPy's 64 dimensions, or 0 times something astronomic
        raise ValueError(
            f"{path}: expected a shape that NumPy can hold, found {shape} ({error})"
        ) from error
    return array.astype(dtype.newbyteorder("="), copy=False)


def _parse_header(
    stream: BinaryIO | gzip.GzipFile, path: Path
) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise ValueError(
            f"{path}: expected an IDX file to open with two zero bytes, an element type and a "
            f"number of dimensions, found {magic.hex(' ') or 'an empty file'}"
        )
    code, ndim = magic[2], magic[3]
    if code not in DTYPE_OF_CODE:
        known = ", ".join(f"0x{key:02x} {dtype.name}" for key, dtype in DTYPE_OF_CODE.items())
        raise ValueError(f"{path}: expected an element type among {known}, found 0x{code:02x}")
    sizes = stream.read(4 * ndim)
    if len(sizes) < 4 * ndim:
        raise ValueError(
            f"{path}: expected {4 * ndim} bytes for the sizes of {ndim} dimensions, "
            f"found {len(sizes)}: the file is truncated"
        )
    return DTYPE_OF_CODE[code], struct.unpack(f">{ndim}I", sizes)


def _read_up_to(stream: BinaryIO | gzip.GzipFile, size: int) -> bytearray:
    """Read ``size`` bytes, or as many as there are, growing with what really arrives."""
    data = bytearray()
    while len(data) < size:
        chunk = stream.read(min(CHUNK, size - len(data)))
        if not chunk:
            break
        data += chunk
    return data


def write_idx(path: str | os.PathLike[str], array: NDArray[Any]) -> None:
    """Write ``array`` as an IDX file, gzip-compressed where ``path`` ends in ``.gz``.

    The same array gives the same bytes: neither a time nor a file name goes into the gzip header.

    Parameters
    ----------
    path
        The file to write; one that exists is replaced.
    array
        uint8, int8, int16, int32, float32 or float64, of any shape and byte order.

    Raises
    ------
    ValueError
        IDX has no code for the array's dtype, or a dimension does not fit into 32 bits.
    """
    path, array = Path(path), np.asarray(array)
    code = CODE_OF_DTYPE.get(array.dtype.newbyteorder(">"))
    if code is None:
        known = ", ".join(dtype.name for dtype in CODE_OF_DTYPE)
        raise ValueError(f"{path}: IDX holds {known}; got {array.dtype.name}")
    if any(length >= 1 << 32 for length in array.shape):
        raise ValueError(f"{path}: IDX holds dimensions below 2**32; got shape {array.shape}")
    content = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    content += array.astype(DTYPE_OF_CODE[code]).tobytes()
    if path.suffix == ".gz":
        buffer = io.BytesIO()
        # not gzip.compress: the operating system's code in its header depends on Python's version
        with gzip.GzipFile("", "wb", compresslevel=9, fileobj=buffer, mtime=0) as stream:
            stream.write(content)
        content = buffer.getvalue()
    path.write_bytes(content)
