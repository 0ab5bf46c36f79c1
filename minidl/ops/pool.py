"""Pooling over windows of an image.

Max pooling picks one element of each window, the first largest. Picking elements (`_pick`) and
putting gradients where they were picked (`_unpool`) are each other's adjoint, and where they pick
does not move with a small change of the input, so no derivative goes that way.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.autograd.primitive import Primitive, primitive
from minidl.kernels import pool as kernel
from minidl.ops.arithmetic import eq, where
from minidl.ops.batching import folded
from minidl.ops.padding import pad_constant
from minidl.ops.patches import patches, sizes
from minidl.ops.reduce import argmax, pick_along, sum
from minidl.ops.shape import broadcast_to, reshape, shape_of, unsqueeze

__all__ = [
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
]

_max_pool2d: Primitive = primitive(
    "max_pool2d",
    kernel.max_pool2d,
    vjp=(lambda g, out, x, **how: _unpool(g, x, out, **how),),
    jvp=(lambda t, out, x, **how: _pick(t, x, out, **how),),
    batch=folded,
)
_unpool: Primitive = primitive(
    "max_unpool2d",
    kernel.unpool,
    vjp=(lambda g, _out, _y, x, top, **how: _pick(g, x, top, **how), None, None),
    jvp=(lambda t, out, y, x, top, **how: _unpool(t, x, top, **how), None, None),
    batch=folded,
)
_pick: Primitive = primitive(
    "pick_maximum",
    kernel.pick,
    vjp=(lambda g, _out, _t, x, top, **how: _unpool(g, x, top, **how), None, None),
    jvp=(lambda t, out, _t, x, top, **how: _pick(t, x, top, **how), None, None),
    batch=folded,
)

_avg_pool2d: Primitive = primitive(
    "avg_pool2d",
    kernel.avg_pool2d,
    vjp=(lambda g, _out, x, **how: _spread(g, image=x.shape[2:], **how),),
    jvp=(lambda t, out, x, **how: _avg_pool2d(t, **how),),
    batch=folded,
)
_spread: Primitive = primitive(
    "avg_unpool2d",
    kernel.spread,
    vjp=(lambda g, _out, _y, *, image, **how: _avg_pool2d(g, **how),),
    jvp=(lambda t, out, y, **how: _spread(t, **how),),
    batch=folded,
)


def _window(
    name: str, n: int, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
    ceil_mode: bool,
) -> tuple[Any, bool, dict[str, Any], list[tuple[int, int]]]:  # fmt: skip
    """Check what is asked for; ``ceil_mode`` is more padding behind, so that a last part counts."""
    shape = shape_of(x)
    layout = ", ".join(("L",) if n == 1 else ("H", "W") if n == 2 else ("D", "H", "W"))
    if len(shape) not in (n + 1, n + 2):
        what = {1: "sequences", 2: "images", 3: "volumes"}[n]
        raise ValueError(f"{name}: {what} of shape (N, C, {layout}) are wanted, got {shape}")
    single = len(shape) == n + 1
    x = reshape(x, (1, *shape)) if single else x
    size = sizes(f"{name}: kernel_size", kernel_size, n)
    steps = size if stride is None else sizes(f"{name}: stride", stride, n)
    around = sizes(f"{name}: padding", padding, n)
    holes = sizes(f"{name}: dilation", dilation, n)
    if min(size) < 1:
        raise ValueError(f"{name}: kernel_size must be at least 1, got {size}")
    if min(steps) < 1 or min(holes) < 1 or min(around) < 0:
        raise ValueError(
            f"{name}: stride and dilation must be at least 1, padding at least 0; got stride "
            f"{steps}, padding {around}, dilation {holes}"
        )
    if any(a > k // 2 for a, k in zip(around, size, strict=True)):
        raise ValueError(f"{name}: padding {around} is more than half of the window {size}")
    amounts = []
    for length, k, s, a, d in zip(shape_of(x)[2:], size, steps, around, holes, strict=True):
        room = length + 2 * a - d * (k - 1) - 1
        if room < 0:
            raise ValueError(
                f"{name}: the kernel {size} reaches beyond the image {shape_of(x)[2:]} with "
                f"padding {around}"
            )
        more = -room % s if ceil_mode else 0
        # A window that would begin in the padding behind does not count.
        if more and (room + more) // s * s >= length + a:
            more = 0
        amounts.append((a, a + more))
    how = {"kernel": size, "stride": steps, "dilation": holes}
    return x, single, how, amounts


def _batched_again(x: Any, single: bool) -> Any:
    return reshape(x, shape_of(x)[1:]) if single else x


def _max_pool(
    n: int, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool,
    return_indices: bool,
) -> Any:  # fmt: skip
    name = f"max_pool{n}d"
    x, single, how, amounts = _window(name, n, x, kernel_size, stride, padding, dilation, ceil_mode)
    plain = all(low == high for low, high in amounts) and set(how["dilation"]) == {1}
    if n == 2 and plain and not return_indices:
        around = tuple(low for low, _ in amounts)
        out = _max_pool2d(x, size=how["kernel"], stride=how["stride"], padding=around)
        return _batched_again(out, single)
    values, indices = _largest(x, how, amounts)
    values = _batched_again(values, single)
    return (values, _batched_again(indices, single)) if return_indices else values


def _largest(x: Any, how: dict[str, Any], amounts: list[tuple[int, int]]) -> tuple[Any, Any]:
    """The first largest element of each window, and its place in the flat plane."""
    n, space = len(amounts), shape_of(x)[2:]
    padded = pad_constant(x, [(0, 0), (0, 0), *amounts], -np.inf)
    windows = patches(padded, **how)
    flat = reshape(windows, (*shape_of(windows)[: 2 + n], math.prod(how["kernel"])))
    chosen = unsqueeze(argmax(flat, -1), -1)
    values = pick_along(flat, chosen, dim=2 + n)
    # Where each element of a window lies in the image, as one number.
    grid = np.arange(math.prod(space)).reshape(1, 1, *space)
    numbers = pad_constant(grid, [(0, 0), (0, 0), *amounts], 0)
    places = patches(numbers, **how).reshape((1, 1, *shape_of(flat)[2:]))
    places = broadcast_to(places, shape_of(flat))
    return reshape(values, shape_of(values)[:-1]), reshape(
        pick_along(places, chosen, dim=2 + n), shape_of(values)[:-1]
    )


def _avg_pool(
    n: int, x: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool,
    count_include_pad: bool, divisor_override: int | None,
) -> Any:  # fmt: skip
    name = f"avg_pool{n}d"
    x, single, how, amounts = _window(name, n, x, kernel_size, stride, padding, 1, ceil_mode)
    plain = all(low == high for low, high in amounts) and divisor_override is None
    if n == 2 and plain:
        around = tuple(low for low, _ in amounts)
        out = _avg_pool2d(
            x,
            count_include_pad=count_include_pad,
            size=how["kernel"],
            stride=how["stride"],
            padding=around,
        )
        return _batched_again(out, single)
    last = tuple(range(2 + n, 2 + 2 * n))
    total = sum(patches(pad_constant(x, [(0, 0), (0, 0), *amounts]), **how), last)
    if divisor_override is not None:
        return _batched_again(total / divisor_override, single)
    # Padding counts, but not what ceil_mode added behind it.
    counted = np.ones((1, 1, *shape_of(x)[2:]), x.dtype)
    around = sizes(f"{name}: padding", padding, n)
    if count_include_pad:
        counted = np.pad(counted, [(0, 0), (0, 0), *((a, a) for a in around)], constant_values=1)
        rest = [(0, high - low) for low, high in amounts]
    else:
        rest = amounts
    counted = pad_constant(counted, [(0, 0), (0, 0), *rest])
    return _batched_again(total / sum(patches(counted, **how), last), single)


def max_pool1d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the largest element of each window of sequences ``(N, C, L)``; see `max_pool2d`."""
    return _max_pool(1, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the largest element of each window.

    Shapes: ``(N, C, H, W) -> (N, C, OH, OW)``, ``OH = (H + 2·padding - size) // stride + 1``;
    ``(C, H, W)`` likewise.

    Parameters
    ----------
    kernel_size, stride, padding, dilation
        A number or a pair; the stride is the kernel's size unless given. Padding never wins.
    ceil_mode
        Count a last window that is not whole.
    return_indices
        Return also where each lies in the flat plane, as `max_unpool2d` wants it.

    Raises
    ------
    ValueError
        The shape has other axes, or the window does not fit.
    """
    return _max_pool(2, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the largest element of each window of volumes; see `max_pool2d`."""
    return _max_pool(3, x, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def avg_pool1d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """Return the mean of each window of sequences ``(N, C, L)``; see `avg_pool2d`."""
    return _avg_pool(1, x, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """Return the mean of each window; padding counts as zeros unless ``count_include_pad=False``.

    ``divisor_override`` divides the sums in place of the number of elements. Shapes, parameters
    and errors: see `max_pool2d`.
    """
    return _avg_pool(
        2, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def avg_pool3d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """Return the mean of each window of volumes; see `avg_pool2d`."""
    return _avg_pool(
        3, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def _lp_pool(n: int, x: Any, norm_type: float, kernel_size: Any, stride: Any, ceil: bool) -> Any:
    x, single, how, amounts = _window(f"lp_pool{n}d", n, x, kernel_size, stride, 0, 1, ceil)
    windows = patches(pad_constant(x, [(0, 0), (0, 0), *amounts]), **how)
    last = tuple(range(2 + n, 2 + 2 * n))
    total = sum(windows**norm_type, last)
    zero = eq(total, 0)  # where the derivative is taken as 0
    root = where(zero, 1.0, total) ** (1.0 / norm_type)
    return _batched_again(where(zero, 0.0, root), single)


def lp_pool1d(
    x: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Any:
    """Return (Σ xᵖ)^(1/p) of each window of sequences."""
    return _lp_pool(1, x, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    x: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Any:
    """Return (Σ xᵖ)^(1/p) of each window of images."""
    return _lp_pool(2, x, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    x: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Any:
    """Return (Σ xᵖ)^(1/p) of each window of volumes."""
    return _lp_pool(3, x, norm_type, kernel_size, stride, ceil_mode)
