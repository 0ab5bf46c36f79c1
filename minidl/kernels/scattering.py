"""Adding to many places at once, where a place may be named twice."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd.arrays import others


def add_at(out: Any, places: Any, values: Any) -> None:
    """Add ``values`` to ``out[places]``, in place."""
    if type(out) in others and out.dtype.kind == "i" and out.dtype.itemsize == 8:
        # CuPy's atomic addition knows 64 bits without a sign only; the sum has the same bits.
        out, values = out.view(np.uint64), values.astype(np.int64, copy=False).view(np.uint64)
    np.add.at(out, places, values)
