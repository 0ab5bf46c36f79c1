"""Every window of an array with n spatial axes, as one array; what convolutions and pools share.

Reading the windows and adding them back to where they lie are each other's adjoint. The reading is
a view; nothing is copied before it is needed.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from minidl.autograd.arrays import others
from minidl.autograd.primitive import Array, Primitive, linear, primitive
from minidl.ops.batching import folded

__all__: list[str] = []

Sizes = tuple[int, ...]


def sizes(name: str, value: Any, count: int) -> Sizes:
    """Take one number for all spatial axes.

    Raises
    ------
    ValueError
        It is neither a number nor one an axis.
    """
    if isinstance(value, (int, np.integer)):
        return (int(value),) * count
    if len(value) != count:
        axes = {1: "one (length)", 2: "two (height, width)", 3: "three (depth, height, width)"}
        raise ValueError(f"{name} must be a whole number or {axes[count]}, got {value!r}")
    return tuple(int(v) for v in value)


def window_count(length: int, kernel: int, stride: int, dilation: int) -> int:
    """How many windows fit in an axis."""
    return (length - dilation * (kernel - 1) - 1) // stride + 1


def _view(x: Array, *, kernel: Sizes, stride: Sizes, dilation: Sizes) -> Array:
    n = len(kernel)
    counts = [window_count(*row) for row in zip(x.shape[2:], kernel, stride, dilation, strict=True)]
    if type(x) in others:
        return _slid(x, kernel=kernel, stride=stride, dilation=dilation)
    steps = x.strides[2:]
    return np.lib.stride_tricks.as_strided(
        x,
        (*x.shape[:2], *counts, *kernel),
        (
            *x.strides[:2],
            *(steps[i] * stride[i] for i in range(n)),
            *(steps[i] * dilation[i] for i in range(n)),
        ),
        writeable=False,
    )


def _slid(x: Any, *, kernel: Sizes, stride: Sizes, dilation: Sizes) -> Any:
    """The same view, by a function that other array types have."""
    n = len(kernel)
    reach = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    every = np.lib.stride_tricks.sliding_window_view(x, reach, tuple(range(2, 2 + n)))
    steps = (slice(None, None, step) for step in (*stride, *dilation))
    return every[(slice(None), slice(None), *steps)]


def _add_back(g: Array, *, space: Sizes, kernel: Sizes, stride: Sizes, dilation: Sizes) -> Array:
    out = np.zeros((*g.shape[:2], *space), g.dtype, like=g)
    counts = g.shape[2 : 2 + len(kernel)]
    for offset in itertools.product(*map(range, kernel)):
        places = tuple(
            slice(o * d, o * d + s * (count - 1) + 1, s)
            for o, d, s, count in zip(offset, dilation, stride, counts, strict=True)
        )
        if all(counts):
            where: Any = (slice(None), slice(None), *places)
            out[where] += np.moveaxis(g, range(-len(kernel), 0), range(len(kernel)))[offset]
    return out


#: ``(N, C, *space) -> (N, C, *windows, *kernel)``.
patches: Primitive = primitive(
    "patches",
    _view,
    vjp=(lambda g, _out, x, **how: add_patches(g, space=x.shape[2:], **how),),
    jvp=(linear,),
    view=True,
    batch=folded,
)
#: The adjoint: ``(N, C, *windows, *kernel) -> (N, C, *space)``.
add_patches: Primitive = primitive(
    "add_patches",
    _add_back,
    vjp=(lambda g, _out, _x, *, space, **how: patches(g, **how),),
    jvp=(linear,),
    batch=folded,
)
