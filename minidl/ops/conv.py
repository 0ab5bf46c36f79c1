"""Two-dimensional convolution (cross-correlation, as every framework calls it).

The operation is linear in the input and in the weight. Its two adjoints are operations of the
same family, so each of the three has the other two for derivatives and any order is reached.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd.primitive import Primitive, primitive
from minidl.kernels import conv as kernel
from minidl.ops.batching import folded_if_only_first
from minidl.ops.reduce import sum
from minidl.ops.shape import reshape, shape_of

__all__ = [
    "conv2d",
]

Pair = int | tuple[int, int]


def pair(value: Any, name: str) -> tuple[int, int]:
    """Take one number for both height and width.

    Raises
    ------
    ValueError
        It is neither a number nor two.
    """
    if isinstance(value, (int, np.integer)):
        return int(value), int(value)
    if len(value) != 2:
        raise ValueError(f"{name} must be a whole number or two (height, width), got {value!r}")
    return int(value[0]), int(value[1])


_conv2d: Primitive = primitive(
    "conv2d",
    kernel.conv2d,
    vjp=(
        lambda g, _out, x, weight, _bias, **how: _conv2d_input(g, weight, size=x.shape[2:], **how),
        lambda g, _out, x, weight, _bias, **how: _conv2d_weight(g, x, size=weight.shape[2:], **how),
        lambda g, _out, _x, _weight, _bias, **how: sum(g, (0, 2, 3)),
    ),
    jvp=(
        lambda t, out, x, weight, bias, **how: _conv2d(t, weight, None, **how),
        lambda t, out, x, weight, bias, **how: _conv2d(x, t, None, **how),
        lambda t, out, x, weight, bias, **how: reshape(t, (-1, 1, 1)),
    ),
    batch=folded_if_only_first,
)

# The gradient that reaches the input: the transposed convolution of g.
_conv2d_input: Primitive = primitive(
    "conv2d_input",
    kernel.conv2d_input,
    vjp=(
        lambda g, _out, _y, weight, *, size, **how: _conv2d(g, weight, None, **how),
        lambda g, _out, y, weight, *, size, **how: _conv2d_weight(
            y, g, size=weight.shape[2:], **how
        ),
    ),
    jvp=(
        lambda t, out, y, weight, **how: _conv2d_input(t, weight, **how),
        lambda t, out, y, weight, **how: _conv2d_input(y, t, **how),
    ),
    batch=folded_if_only_first,
)

# The gradient that reaches the weight: the correlation of the input with g.
_conv2d_weight: Primitive = primitive(
    "conv2d_weight",
    kernel.conv2d_weight,
    vjp=(
        lambda g, _out, _y, x, *, size, **how: _conv2d(x, g, None, **how),
        lambda g, _out, y, x, *, size, **how: _conv2d_input(y, g, size=x.shape[2:], **how),
    ),
    jvp=(
        lambda t, out, y, x, **how: _conv2d_weight(t, x, **how),
        lambda t, out, y, x, **how: _conv2d_weight(y, t, **how),
    ),
)


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
) -> Any:
    """Return the cross-correlation of a batch of images with a bank of kernels.

    Shapes: ``x (N, C, H, W)``, ``weight (O, C, KH, KW)``, ``bias (O,)`` -> ``(N, O, OH, OW)``
    with ``OH = (H + 2·padding - dilation·(KH - 1) - 1) // stride + 1``, OW alike.

    Parameters
    ----------
    padding
        Zeros added on each side: a number, a pair, ``"valid"`` (none) or ``"same"`` (output as
        large as the input; wants stride 1).

    Raises
    ------
    ValueError
        The shapes do not fit, or the kernel is larger than the padded image.
    """
    shape, wanted = shape_of(x), shape_of(weight)
    if len(shape) != 4 or len(wanted) != 4 or shape[1] != wanted[1]:
        raise ValueError(
            f"conv2d: input {shape} does not fit weight {wanted}: wanted (N, C, H, W) and "
            "(O, C, KH, KW) with the same number of channels C"
        )
    if bias is not None and shape_of(bias) != wanted[:1]:
        raise ValueError(f"conv2d: bias {shape_of(bias)} does not fit weight {wanted}")
    steps, holes = pair(stride, "conv2d: stride"), pair(dilation, "conv2d: dilation")
    around = _padding(padding, wanted[2:], steps, holes)
    kernel.output_size("conv2d", shape[2:], wanted[2:], steps, around, holes)
    return _conv2d(x, weight, bias, stride=steps, padding=around, dilation=holes)


def _padding(
    padding: Any, size: tuple[int, ...], stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int]:
    if padding == "valid":
        return 0, 0
    if padding == "same":
        reach = [d * (k - 1) for d, k in zip(dilation, size, strict=True)]
        if stride != (1, 1) or any(r % 2 for r in reach):
            raise ValueError(
                f"conv2d: padding='same' wants stride 1 and a kernel of odd reach, got stride "
                f"{stride}, kernel {size}, dilation {dilation}"
            )
        return reach[0] // 2, reach[1] // 2
    if isinstance(padding, str):
        raise ValueError(f"conv2d: padding must be numbers, 'same' or 'valid', got {padding!r}")
    return pair(padding, "conv2d: padding")
