"""Several results in one array.

The engine records one array an operation. A decomposition gives several: they are laid end to end
along a last axis, behind their leading (batch) axes, and taken apart again by slices, which are
views. Packing costs O(n²) beside work of O(n³).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Shapes = Sequence[tuple[int, ...]]


def pack(parts: Sequence[Any], shapes: Shapes) -> Any:
    """Lay parts ``(*batch, *shape)`` end to end: ``(*batch, total)``."""
    flat = []
    for part, shape in zip(parts, shapes, strict=True):
        batch = part.shape[: len(part.shape) - len(shape)]
        flat.append(part.reshape((*batch, math.prod(shape))))
    return np.concatenate(flat, axis=-1)


def unpack(whole: Any, shapes: Shapes) -> list[Any]:
    """Take apart what `pack` joined."""
    parts, start = [], 0
    batch = whole.shape[:-1]
    for shape in shapes:
        end = start + math.prod(shape)
        parts.append(whole[..., start:end].reshape((*batch, *shape)))
        start = end
    return parts
