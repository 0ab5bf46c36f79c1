"""Pooling to a size that is given, and undoing max pooling.

Window i of an axis of length n that becomes m reaches from ⌊i n / m⌋ to ⌈(i + 1) n / m⌉.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.autograd.primitive import Array
from minidl.ops.patches import sizes
from minidl.ops.products import matmul
from minidl.ops.reduce import argmax, pick_along
from minidl.ops.scatter import scatter
from minidl.ops.shape import broadcast_to, movedim, reshape, shape_of, unsqueeze

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
]


def _wanted(name: str, n: int, x: Any, output_size: Any) -> tuple[Any, bool, list[int]]:
    shape = shape_of(x)
    if len(shape) not in (n + 1, n + 2):
        raise ValueError(f"{name}: {n + 1} or {n + 2} dimensions are wanted, got {shape}")
    single = len(shape) == n + 1
    x = reshape(x, (1, *shape)) if single else x
    given = [output_size] * n if isinstance(output_size, int) else list(output_size)
    if len(given) != n or any(m is not None and m < 1 for m in given):
        raise ValueError(f"{name}: output_size must be {n} positive numbers, got {output_size!r}")
    space = shape_of(x)[2:]
    return x, single, [length if m is None else m for m, length in zip(given, space, strict=True)]


def _reach(length: int, wanted: int) -> tuple[Array, Array]:
    parts = np.arange(wanted)
    return parts * length // wanted, -(-(parts + 1) * length // wanted)


def _adaptive_avg(n: int, x: Any, output_size: Any) -> Any:
    name = f"adaptive_avg_pool{n}d"
    x, single, wanted = _wanted(name, n, x, output_size)
    for axis, count in enumerate(wanted, 2):
        length = shape_of(x)[axis]
        start, end = _reach(length, count)
        places = np.arange(length)
        inside = (places >= start[:, None]) & (places < end[:, None])
        means = (inside / (end - start)[:, None]).astype(x.dtype)
        x = movedim(matmul(movedim(x, axis, -1), means.T), -1, axis)
    return reshape(x, shape_of(x)[1:]) if single else x


def _adaptive_max(n: int, x: Any, output_size: Any, return_indices: bool) -> Any:
    name = f"adaptive_max_pool{n}d"
    x, single, wanted = _wanted(name, n, x, output_size)
    space = shape_of(x)[2:]
    numbers: Any = np.arange(math.prod(space)).reshape(1, 1, *space)
    for k, count in enumerate(wanted):
        axis = 2 + 2 * k
        start, end = _reach(space[k], count)
        # Windows of one length: the last element of a short one stands several times.
        places = np.minimum(start[:, None] + np.arange((end - start).max()), end[:, None] - 1)
        index = (*(slice(None),) * axis, places)
        x, numbers = x[index], numbers[index]
    order = (0, 1, *range(2, 2 + 2 * n, 2), *range(3, 3 + 2 * n, 2))
    flat, places = (
        reshape(np.transpose(v, order), (*shape_of(v)[:2], *wanted, -1)) for v in (x, numbers)
    )
    chosen = unsqueeze(argmax(flat, -1), -1)
    values = pick_along(flat, chosen, dim=2 + n)
    indices = pick_along(broadcast_to(places, shape_of(flat)), chosen, dim=2 + n)
    shape = shape_of(values)[1:-1] if single else shape_of(values)[:-1]
    values, indices = reshape(values, shape), reshape(indices, shape)
    return (values, indices) if return_indices else values


def adaptive_avg_pool1d(x: Any, output_size: Any) -> Any:
    """Return means of so many parts of sequences ``(N, C, L)``; see `adaptive_avg_pool2d`."""
    return _adaptive_avg(1, x, output_size)


def adaptive_avg_pool2d(x: Any, output_size: Any) -> Any:
    """Return means of parts of images, so that the result has ``output_size``.

    ``output_size`` is a number or a pair; None keeps an axis as it is.

    Raises
    ------
    ValueError
        The shape or ``output_size`` has another number of axes.
    """
    return _adaptive_avg(2, x, output_size)


def adaptive_avg_pool3d(x: Any, output_size: Any) -> Any:
    """Return means of parts of volumes; see `adaptive_avg_pool2d`."""
    return _adaptive_avg(3, x, output_size)


def adaptive_max_pool1d(x: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Return the largest elements of so many parts of sequences; see `adaptive_max_pool2d`."""
    return _adaptive_max(1, x, output_size, return_indices)


def adaptive_max_pool2d(x: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Return the largest elements of parts of images, so that the result has ``output_size``.

    With ``return_indices`` also where each lies in the flat plane. See `adaptive_avg_pool2d`.
    """
    return _adaptive_max(2, x, output_size, return_indices)


def adaptive_max_pool3d(x: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Return the largest elements of parts of volumes; see `adaptive_max_pool2d`."""
    return _adaptive_max(3, x, output_size, return_indices)


def _unpool(
    n: int, x: Any, indices: Any, kernel_size: Any, stride: Any, padding: Any, output_size: Any
) -> Any:
    name = f"max_unpool{n}d"
    shape = shape_of(x)
    if shape_of(indices) != shape or len(shape) not in (n + 1, n + 2):
        raise ValueError(
            f"{name}: values {shape} and indices {shape_of(indices)} must be of one shape of "
            f"{n + 1} or {n + 2} dimensions"
        )
    kernel = sizes(f"{name}: kernel_size", kernel_size, n)
    steps = kernel if stride is None else sizes(f"{name}: stride", stride, n)
    around = sizes(f"{name}: padding", padding, n)
    space = tuple(
        (length - 1) * s + k - 2 * p
        for length, s, k, p in zip(shape[-n:], steps, kernel, around, strict=True)
    )
    if output_size is not None:
        space = tuple(output_size)[-n:]
    rows = (*shape[:-n], math.prod(shape[-n:]))
    zeros = np.zeros((*shape[:-n], math.prod(space)), x.dtype)
    out = scatter(zeros, len(rows) - 1, reshape(indices, rows), reshape(x, rows))
    return reshape(out, (*shape[:-n], *space))


def max_unpool1d(
    x: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
    output_size: Any = None,
) -> Any:  # fmt: skip
    """Put elements back where `max_pool1d` found them; see `max_unpool2d`."""
    return _unpool(1, x, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    x: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
    output_size: Any = None,
) -> Any:  # fmt: skip
    """Put elements back where `max_pool2d` found them, zeros elsewhere.

    Parameters
    ----------
    indices
        As ``return_indices`` gives them.
    output_size
        Of the result; by default what the window, stride and padding imply.

    Raises
    ------
    ValueError
        Values and indices differ in shape.
    """
    return _unpool(2, x, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    x: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
    output_size: Any = None,
) -> Any:  # fmt: skip
    """Put elements back where `max_pool3d` found them; see `max_unpool2d`."""
    return _unpool(3, x, indices, kernel_size, stride, padding, output_size)
