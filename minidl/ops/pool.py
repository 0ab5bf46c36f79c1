"""Pooling over windows of an image.

Max pooling picks one element of each window, the first largest. Picking elements (`_pick`) and
putting gradients where they were picked (`_unpool`) are each other's adjoint, and where they pick
does not move with a small change of the input, so no derivative goes that way.
"""

from __future__ import annotations

from typing import Any

from minidl.autograd.primitive import Primitive, primitive
from minidl.kernels import pool as kernel
from minidl.kernels.conv import output_size
from minidl.ops.batching import folded
from minidl.ops.conv import Pair, pair
from minidl.ops.shape import shape_of

__all__ = [
    "avg_pool2d",
    "max_pool2d",
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
    name: str, x: Any, kernel_size: Pair, stride: Pair | None, padding: Pair
) -> dict[str, Any]:
    shape = shape_of(x)
    if len(shape) != 4:
        raise ValueError(f"{name}: images of shape (N, C, H, W) are wanted, got {shape}")
    size = pair(kernel_size, f"{name}: kernel_size")
    steps = size if stride is None else pair(stride, f"{name}: stride")
    around = pair(padding, f"{name}: padding")
    if min(size) < 1:
        raise ValueError(f"{name}: kernel_size must be at least 1, got {size}")
    if around[0] > size[0] // 2 or around[1] > size[1] // 2:
        raise ValueError(f"{name}: padding {around} is more than half of the window {size}")
    output_size(name, shape[2:], size, steps, around, (1, 1))
    return {"size": size, "stride": steps, "padding": around}


def max_pool2d(x: Any, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> Any:
    """Return the largest element of each window.

    Shapes: ``(N, C, H, W) -> (N, C, OH, OW)``, ``OH = (H + 2·padding - size) // stride + 1``.

    Parameters
    ----------
    kernel_size, stride, padding
        A number or a pair; the stride is the kernel's size unless given. Padding never wins.

    Raises
    ------
    ValueError
        The shape is not 4-d, or the window does not fit.
    """
    return _max_pool2d(x, **_window("max_pool2d", x, kernel_size, stride, padding))


def avg_pool2d(
    x: Any,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    *,
    count_include_pad: bool = True,
) -> Any:
    """Return the mean of each window; padding counts as zeros unless ``count_include_pad=False``.

    Shapes, parameters and errors: see `max_pool2d`.
    """
    how = _window("avg_pool2d", x, kernel_size, stride, padding)
    return _avg_pool2d(x, count_include_pad=count_include_pad, **how)
