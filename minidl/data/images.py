"""One image from a file, in the form in which datasets hold theirs.

For prediction: a ``.npy`` array, or a picture that Pillow (the optional extra ``plot``) can read.
The image is fitted to the model's input, never interpreted: MNIST has white ink on black, and
whoever scans black ink on white has to invert the image first.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

# Pillow can read dozens of formats, some of which start other programs (EPS: Ghostscript)
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM", "WEBP")


def read_image(
    path: str | os.PathLike[str], *, sample_shape: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """Read an image file as a sample.

    A ``.npy`` file must have the wanted size: ``(C, H, W)``, or ``(H, W)`` where C is 1. It holds
    uint8, or floating values in 0..1 (none above 1: multiplied by 255) or 0..255.

    Any other file is read as a picture: turned as its EXIF orientation says, converted to grayscale
    (C = 1) or RGB (C = 3) with transparency dropped, and resized to H x W, without regard to its
    proportions, where its size differs. Ink and paper are not exchanged: invert a picture of black
    ink on white paper before giving it to a model that learned from white on black.

    Parameters
    ----------
    path
        The file.
    sample_shape
        ``(C, H, W)``, what the model takes.

    Returns
    -------
    numpy.ndarray
        ``(C, H, W)``, uint8.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ModuleNotFoundError
        The file is a picture, and Pillow is not installed.
    ValueError
        The file is damaged, larger than Pillow's limit, or cannot be fitted to ``sample_shape``.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected an image or a .npy file, found no such file")
    if path.suffix.lower() == ".npy":
        return _as_uint8(_load_array(path, sample_shape), path)
    return _load_picture(path, sample_shape)


def _load_array(path: Path, sample_shape: tuple[int, int, int]) -> NDArray[Any]:
    try:
        # mapped, not loaded: a header that claims terabytes is refused before they are allocated,
        # and neither pickles nor archives are read
        array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    except (
        Exception
    ) as error:  # a damaged header surfaces as errors of NumPy's and Python's parsers
        raise ValueError(f"{path}: expected an array in .npy format; {error}") from error
    channels, height, width = sample_shape
    if channels == 1 and array.shape == (height, width):
        array = array[np.newaxis]
    if array.shape != sample_shape:
        without = f" or {(height, width)}" if channels == 1 else ""
        raise ValueError(
            f"{path}: expected an array of shape {sample_shape}{without}, found {array.shape}"
        )
    return np.array(array)


def _as_uint8(array: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(
            f"{path}: expected uint8, or floating values in 0..1 or 0..255, found {array.dtype}"
        )
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 255):  # written so that NaN fails it too
        raise ValueError(f"{path}: expected values in 0..1 or 0..255, found {low:g} to {high:g}")
    scale = 255 if high <= 1 else 1
    return np.rint(array.astype(np.float64) * scale).astype(np.uint8)


def _load_picture(path: Path, sample_shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    try:
        return decode_image(path, sample_shape=sample_shape)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{path}: {error}, or give a .npy file", name=error.name
        ) from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def decode_image(
    file: str | os.PathLike[str] | BinaryIO,
    *,
    sample_shape: tuple[int, int, int],
    formats: tuple[str, ...] = FORMATS,
    max_pixels: int | None = None,
) -> NDArray[np.uint8]:
    """Read a picture as a sample, as `read_image` does, from a file or from memory.

    Parameters
    ----------
    file
        A path, or a binary file.
    sample_shape
        ``(C, H, W)``, what the model takes.
    formats
        Which formats, by Pillow's names, may be read.
    max_pixels
        The largest picture that is decoded; beyond Pillow's own limit there is none by default.

    Returns
    -------
    numpy.ndarray
        ``(C, H, W)``, uint8.

    Raises
    ------
    ModuleNotFoundError
        Pillow is not installed.
    ValueError
        The picture is damaged or too large, or cannot be fitted to ``sample_shape``.
    """
    channels, height, width = sample_shape
    if channels not in (1, 3):
        raise ValueError(
            f"pictures give 1 or 3 channels, the model takes {channels}; give a .npy file"
        )
    try:
        from PIL import Image, ImageOps
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "reading pictures needs Pillow: pip install 'minidl[plot]'", name=error.name
        ) from error
    try:
        with Image.open(file, formats=formats) as picture:
            mode, size = picture.mode, picture.size  # from the header: nothing is decoded yet
            if max_pixels is not None and size[0] * size[1] > max_pixels:
                raise ValueError(f"it has {size[0]} x {size[1]} pixels, the limit is {max_pixels}")
            if not mode.startswith(("I", "F")):  # convert() would clip 16 bits to 8, not scale them
                upright = ImageOps.exif_transpose(picture).convert("L" if channels == 1 else "RGB")
                if upright.size != (width, height):
                    upright = upright.resize((width, height), Image.Resampling.BILINEAR)
                pixels = np.array(upright, dtype=np.uint8)
    except Exception as error:
        # each decoder fails in its own way on damaged bytes; oversized pictures end here as well
        raise ValueError(f"expected a readable picture; {error}") from error
    if mode.startswith(("I", "F")):
        raise ValueError(
            f"expected 8 bits a channel, found mode {mode}; "
            "save it with 8 bits, or give a .npy file"
        )
    return pixels.reshape(height, width, channels).transpose(2, 0, 1).copy()
