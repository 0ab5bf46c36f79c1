"""Pictures within a page: pixels as PNG, written into the address itself."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np

from minidl.autograd.primitive import Array


def is_picture(sample_shape: tuple[int, ...]) -> bool:
    """Whether samples of this shape can be looked at: one channel or three, rows, columns."""
    return len(sample_shape) == 3 and sample_shape[0] in (1, 3)


def picture(sample: Array) -> str:
    """Return the address of a sample's picture.

    Shapes: ``(1 or 3, H, W)``, uint8 or floats from 0 to 1.
    """
    from PIL import Image

    pixels: Any = sample
    if pixels.dtype != np.uint8:
        pixels = np.round(255 * np.clip(np.nan_to_num(pixels), 0.0, 1.0)).astype(np.uint8)
    pixels = pixels.transpose(1, 2, 0)
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(stream, "PNG")
    return _address(stream.getvalue())


def picture_file(path: Path) -> str:
    """Return the address of a PNG that lies in a file."""
    return _address(path.read_bytes())


def _address(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
