"""ReLU and its gradient, one pass each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.autograd.arrays import others
from minidl.autograd.primitive import Array
from minidl.kernels import memory, parallel, selection
from minidl.kernels.masking import masked


def relu(x: Any, out: Array | None = None) -> Array:
    """Return ``max(x, 0)``.

    NumPy takes 0.57 ns an element for a maximum with a number, the compiled version 0.1 where the
    cache holds it all.
    """
    laid = _alike(x, out)
    if laid is None or (fast := selection.compiled(*laid)) is None:
        found: Array = np.maximum(x, 0, out=out)
        return found
    source = laid[0]
    if out is x:
        _split(fast.relu_here, source)
        return out
    target = memory.empty(source.shape, source.dtype) if out is None else laid[1]
    _split(fast.relu, source, target)
    return _shaped(target, x) if out is None else out


def relu_gradient(grad: Any, top: Any, out: Array | None = None) -> Array:
    """Return ``grad`` where ``top``, what ReLU gave, is above 0, and 0 elsewhere, exactly."""
    laid = _alike(grad, top, out)
    if laid is None or (fast := selection.compiled(*laid)) is None:
        return masked(grad, top > 0, out)
    source, gates = laid[:2]
    if out is grad:
        _split(fast.relu_gradient_here, source, gates)
        return out
    target = memory.empty(laid[0].shape, laid[0].dtype) if out is None else laid[2]
    _split(fast.relu_gradient, source, gates, target)
    return _shaped(target, grad) if out is None else out


def _split(kernel: Callable[..., None], *arrays: Array) -> None:
    """Call ``kernel`` on arrays made 1-d, in parts where there is enough for threads."""
    flat = [array.reshape(-1) for array in arrays]
    if flat[0].size < parallel.WORTHWHILE:
        kernel(*flat)
        return
    parallel.over(flat[0].size, flat[0].size, lambda part: kernel(*(array[part] for array in flat)))


def _alike(*arrays: Any) -> list[Array] | None:
    """View arrays as C-contiguous ones, where all have one shape and lie alike without gaps."""
    given = [array for array in arrays if array is not None]
    first = given[0]
    if type(first) in others or not isinstance(first, np.ndarray):
        return None
    if any(getattr(array, "shape", None) != first.shape for array in given):
        return None
    if first.ndim == 4 and not first.flags.c_contiguous:  # channels-last, if without gaps
        return [array.transpose(0, 2, 3, 1) for array in given]
    return given


def _shaped(laid: Array, like: Array) -> Array:
    """Undo what `_alike` did to the axes."""
    images = like.ndim == 4 and not like.flags.c_contiguous
    return laid.transpose(0, 3, 1, 2) if images else laid
