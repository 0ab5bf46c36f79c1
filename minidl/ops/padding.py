"""Padding: constant, reflected, replicated, circular. Negative amounts cut off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from minidl.autograd.primitive import Array
from minidl.ops.indexing import setitem
from minidl.ops.shape import shape_of

__all__ = [
    "pad",
]

Mode = Literal["constant", "reflect", "replicate", "circular"]


def pad_constant(x: Any, widths: Sequence[tuple[int, int]], value: float = 0.0) -> Any:
    """Add ``value`` before and behind each axis; ``widths`` has one pair an axis."""
    cut = tuple(
        slice(max(-low, 0), n - max(-high, 0))
        for n, (low, high) in zip(shape_of(x), widths, strict=True)
    )
    if any(low < 0 or high < 0 for low, high in widths):
        x = x[cut]
    if all(low <= 0 and high <= 0 for low, high in widths):
        return x
    grown = [
        n + max(low, 0) + max(high, 0) for n, (low, high) in zip(shape_of(x), widths, strict=True)
    ]
    middle = tuple(
        slice(max(low, 0), max(low, 0) + n) for n, (low, _) in zip(shape_of(x), widths, strict=True)
    )
    return setitem(np.full(grown, value, x.dtype), middle, x)


def _source(length: int, low: int, high: int, mode: str) -> Array:
    """Which element stands at each place of a padded axis."""
    places = np.arange(-low, length + high)
    if mode == "replicate":
        return np.clip(places, 0, length - 1)
    if mode == "circular":
        return places % length
    period = 2 * (length - 1)
    folded = places % period if period else places * 0
    return np.where(folded < length, folded, period - folded)


def pad(x: Any, pad: Sequence[int], mode: Mode = "constant", value: float | None = None) -> Any:
    """Pad the last axes.

    Parameters
    ----------
    pad
        ``(before last axis, behind it, before the one before it, behind that, …)``.
    mode
        ``"constant"`` (``value``, 0 by default), ``"reflect"`` (mirrored at the outermost
        elements), ``"replicate"`` (the outermost elements again), ``"circular"``.

    Raises
    ------
    ValueError
        ``pad`` has an odd length or speaks of too many axes, ``mode`` is unknown, or there is not
        enough to reflect or repeat.
    """
    shape = shape_of(x)
    if len(pad) % 2 or len(pad) > 2 * len(shape):
        raise ValueError(f"pad: pairs for at most {len(shape)} axes are wanted, got {tuple(pad)}")
    if mode not in ("constant", "reflect", "replicate", "circular"):
        raise ValueError(
            f"pad: mode must be 'constant', 'reflect', 'replicate' or 'circular', got {mode!r}"
        )
    widths = [(0, 0)] * (len(shape) - len(pad) // 2)
    widths += [(pad[i], pad[i + 1]) for i in range(len(pad) - 2, -1, -2)]
    if mode == "constant":
        return pad_constant(x, widths, 0.0 if value is None else value)
    x = pad_constant(x, [(min(low, 0), min(high, 0)) for low, high in widths])  # cut first
    for axis, pair in enumerate(widths):
        low, high = max(pair[0], 0), max(pair[1], 0)
        if not low and not high:
            continue
        length = shape_of(x)[axis]
        enough = {"reflect": length - 1, "circular": length, "replicate": low + high}[mode]
        if not length or max(low, high) > enough:
            raise ValueError(f"pad: {mode} of {(low, high)} needs more than the {length} there are")
        x = x[(slice(None),) * axis + (_source(length, low, high, mode),)]
    return x
