"""The compiled versions of kernels, each one pass over memory where NumPy makes several.

Imported by `minidl.kernels.selection` alone, since it brings numba. Each function stands for a
NumPy version of the same name in a file beside this one, and does the same operations in the same
order, so that both give the same bits (the sign of a zero is free where a window's maximum is
-0.0 and 0.0 at once). All arrays are C-contiguous and of one dtype.

Traps that made the code so:

- A Python number is 64 bits wide to numba, and float32 with it becomes float64: constants come
  in as scalars of the arrays' dtype.
- An index that may be negative wraps around, and the check for it keeps loops from being
  vectorized: where numba cannot see that it is not, it is made unsigned (10 times in `col2im`).
- ``parallel=True`` would put threads beside those of BLAS, which then spin against each other.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba.core import event

from minidl.autograd.primitive import Array

Function = TypeVar("Function", bound=Callable[..., None])
Pair = tuple[int, int]


class Announcer(event.Listener):  # type: ignore[misc, unused-ignore]
    """Say once in a process that kernels are being compiled: it takes seconds."""

    def __init__(self) -> None:
        self.said = False

    def on_start(self, event: Any) -> None:
        """Hear that numba compiles something, and speak up if it is ours."""
        dispatcher = event.data["dispatcher"]
        if self.said or getattr(dispatcher, "py_func", None) not in _ours:
            return
        self.said = True
        place = getattr(dispatcher.stats, "cache_path", None)
        when = (
            f"once on this machine (some seconds; kept in {place})"
            if place
            else ("again in each process, as there is no place to keep them (set NUMBA_CACHE_DIR)")
        )
        print(f"minidl: compiling kernels, {when}", file=sys.stderr, flush=True)

    def on_end(self, event: Any) -> None:
        """Nothing to say."""


_ours: set[Callable[..., None]] = set()
announcer = Announcer()
event.register("numba:compile", announcer)  # type: ignore[no-untyped-call, unused-ignore]


def kernel(function: Function) -> Function:
    """Compile at the first call with a dtype; other threads run during calls."""
    _ours.add(function)
    # Division by zero is NumPy's (inf, NaN), not an exception; the check also costs vectorization.
    made: Any
    try:
        made = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # neither the package's directory nor the user's cache can be written
        made = numba.njit(nogil=True, error_model="numpy")(function)
    return cast(Function, made)


@kernel
def max_pool2d(images: Array, out: Array, size: Pair, stride: Pair) -> None:
    """Write the maxima of windows of ``images (N, H, W, C)`` to ``out (N, OH, OW, C)``."""
    count, height, width, channels = out.shape
    for n in range(count):
        for y in range(height):
            for x in range(width):
                top, left = y * stride[0], x * stride[1]
                for c in range(channels):
                    out[n, y, x, c] = images[n, top, left, c]
                for i in range(size[0]):
                    for j in range(size[1]):
                        for c in range(channels):
                            best, value = out[n, y, x, c], images[n, top + i, left + j, c]
                            wins = (value > best) | (value != value)  # NaN wins
                            out[n, y, x, c] = value if wins else best


@kernel
def unpool(g: Array, images: Array, top: Array, out: Array, size: Pair) -> None:
    """Fill windows of ``out (N, H, W, C)`` that do not overlap: ``g`` at the first maximum, else 0.

    ``g`` and ``top`` are ``(N, OH, OW, C)``, ``images`` is as ``out``.
    """
    count, height, width, channels = g.shape
    zero = g.dtype.type(0)
    free = np.empty(channels, np.bool_)
    for n in range(count):
        for y in range(height):
            for x in range(width):
                free[:] = True
                for i in range(size[0]):
                    for j in range(size[1]):
                        row, column = y * size[0] + i, x * size[1] + j
                        for c in range(channels):
                            hit = (images[n, row, column, c] == top[n, y, x, c]) & free[c]
                            out[n, row, column, c] = g[n, y, x, c] if hit else zero
                            free[c] &= not hit


@kernel
def masked(x: Array, keep: Array, out: Array) -> None:
    """Write ``x`` where ``keep`` holds and 0 elsewhere; all three 1-d."""
    zero = x.dtype.type(0)
    for i in range(x.size):
        out[i] = x[i] if keep[i] else zero


@kernel
def col2im(
    patches: Array,
    images: Array,
    outputs: Pair,
    size: Pair,
    stride: Pair,
    dilation: Pair,
    padding: Pair,
) -> None:
    """Add ``patches (N·OH·OW, KH·KW·C)`` to where they lie in ``images (N, H, W, C)``.

    From the last patch to the first: then an element of the image receives its terms by
    increasing place in the kernel, which is NumPy's order.
    """
    count, height, width, channels = images.shape
    source, target = patches.reshape(-1), images.reshape(-1)
    # Without dilation a row of a patch is one run of memory, in the patch and in the image.
    runs, length = (1, size[1] * channels) if dilation[1] == 1 else (size[1], channels)
    line = width * channels
    for n in range(count):
        for y in range(outputs[0] - 1, -1, -1):
            for x in range(outputs[1] - 1, -1, -1):
                patch = ((n * outputs[0] + y) * outputs[1] + x) * size[0]
                for i in range(size[0]):
                    row = y * stride[0] + i * dilation[0] - padding[0]
                    if row < 0 or row >= height:
                        continue
                    for j in range(runs):
                        start = (x * stride[1] + j * dilation[1] - padding[1]) * channels
                        into = (n * height + row) * line + start
                        out_of = ((patch + i) * runs + j) * length
                        for k in range(max(0, -start), min(length, line - start)):
                            target[np.uintp(into + k)] += source[np.uintp(out_of + k)]


@kernel
def adam(
    value: Array,
    grad: Array,
    mean: Array,
    square: Array,
    shrink: Any,
    decay: Any,
    mean_rate: Any,
    square_kept: Any,
    square_rate: Any,
    scale: Any,
    eps: Any,
    rate: Any,
) -> None:
    """Update ``value``, ``mean`` and ``square``, all 1-d; settings are scalars of their dtype."""
    for i in range(value.size):
        p, g = value[i] * shrink, grad[i]
        if decay != 0:
            g = g + decay * p
        m = mean[i] + (g - mean[i]) * mean_rate
        v = square[i] * square_kept + g * g * square_rate
        mean[i] = m
        square[i] = v
        value[i] = p - m / (np.sqrt(v) * scale + eps) * rate
