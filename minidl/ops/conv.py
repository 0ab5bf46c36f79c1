"""Convolution (cross-correlation, as every framework calls it) over one, two or three axes.

In two dimensions the operation is a primitive of its own, linear in the input and in the weight.
Its two adjoints are operations of the same family, so each of the three has the other two for
derivatives and any order is reached. So does `minidl.ops.depthwise` for channels that have a kernel
each; the other cases are products of `minidl.ops.patches` with the weights.
"""

from __future__ import annotations

import math
from typing import Any

from minidl.autograd.primitive import Primitive, linear, primitive
from minidl.kernels import conv as kernel
from minidl.kernels.norm import channel_sum
from minidl.ops.batching import folded_if_only_first
from minidl.ops.depthwise import depthwise_conv2d
from minidl.ops.padding import pad_constant
from minidl.ops.patches import Sizes, patches, sizes
from minidl.ops.products import matmul
from minidl.ops.shape import broadcast_to, permute, reshape, shape_of, unsqueeze

__all__ = [
    "conv1d",
    "conv2d",
    "conv3d",
]

# Σ over all but the channels: the gradient that reaches the bias.
_channel_sum: Primitive = primitive(
    "channel_sum",
    channel_sum,
    vjp=(lambda g, _out, x: broadcast_to(reshape(g, (1, -1, *(1,) * (x.ndim - 2))), x.shape),),
    jvp=linear,
)
_channel_sum.elsewhere = lambda x: x.sum(axis=(0, *range(2, x.ndim)))

_conv2d: Primitive = primitive(
    "conv2d",
    kernel.conv2d,
    vjp=(
        lambda g, _out, x, weight, _bias, **how: _conv2d_input(g, weight, size=x.shape[2:], **how),
        lambda g, _out, x, weight, _bias, **how: _conv2d_weight(g, x, size=weight.shape[2:], **how),
        lambda g, _out, _x, _weight, _bias, **how: _channel_sum(g),
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


def _checked(name: str, n: int, x: Any, weight: Any, bias: Any, groups: int) -> tuple[Any, Any]:
    """Give an unbatched input an axis in front, and check shapes."""
    shape, wanted = shape_of(x), shape_of(weight)
    space = ("L",) if n == 1 else ("H", "W") if n == 2 else ("D", "H", "W")
    inputs = wanted[1] * groups if len(wanted) == n + 2 else -1
    batched = reshape(x, (1, *shape)) if len(shape) == n + 1 else x
    full = shape_of(batched)
    if len(full) != n + 2 or full[1] != inputs:
        layout = ", ".join(space)
        kernel_layout = ", ".join(f"K{s}" if n > 1 else "K" for s in space)
        raise ValueError(
            f"{name}: input {shape} does not fit weight {wanted} (groups {groups}): wanted "
            f"(N, C, {layout}) and (O, C / groups, {kernel_layout}) with the same number of "
            "channels C"
        )
    if groups < 1 or wanted[0] % groups:
        raise ValueError(f"{name}: {groups} groups do not divide {wanted[0]} outputs")
    if bias is not None and shape_of(bias) != wanted[:1]:
        raise ValueError(f"{name}: bias {shape_of(bias)} does not fit weight {wanted}")
    return batched, len(shape) == n + 1


def _amounts(
    name: str, n: int, padding: Any, size: Sizes, stride: Sizes, dilation: Sizes
) -> list[tuple[int, int]]:
    """Padding before and behind each axis."""
    if padding == "valid":
        return [(0, 0)] * n
    if padding == "same":
        if any(s != 1 for s in stride):
            raise ValueError(f"{name}: padding='same' wants stride 1, got stride {stride}")
        reach = [d * (k - 1) for d, k in zip(dilation, size, strict=True)]
        return [(r // 2, r - r // 2) for r in reach]
    if isinstance(padding, str):
        raise ValueError(f"{name}: padding must be numbers, 'same' or 'valid', got {padding!r}")
    return [(p, p) for p in sizes(f"{name}: padding", padding, n)]


def _require_room(
    name: str, space: Sizes, size: Sizes, stride: Sizes, dilation: Sizes, around: Any
) -> None:
    padding = tuple(low for low, _ in around)
    if min(stride) < 1 or min(dilation) < 1 or min(min(pair) for pair in around) < 0:
        raise ValueError(
            f"{name}: stride and dilation must be at least 1, padding at least 0; got stride "
            f"{stride}, padding {padding}, dilation {dilation}"
        )
    for length, k, d, (low, high) in zip(space, size, dilation, around, strict=True):
        if length + low + high < d * (k - 1) + 1:
            raise ValueError(
                f"{name}: the kernel {size} (dilation {dilation}) reaches beyond the image {space} "
                f"with padding {padding}"
            )


def _by_patches(x: Any, weight: Any, stride: Sizes, dilation: Sizes, groups: int) -> Any:
    """Correlate by one batched matrix product of all windows; any number of axes, any groups."""
    n, size = len(stride), shape_of(weight)[2:]
    windows = patches(x, kernel=size, stride=stride, dilation=dilation)
    batch, channels = shape_of(x)[:2]
    out = shape_of(windows)[2 : 2 + n]
    outputs, inner = shape_of(weight)[0], channels // groups * math.prod(size)
    order = (0, *range(2, 2 + n), 1, *range(2 + n, 2 + 2 * n))
    rows = reshape(permute(windows, order), (batch, math.prod(out), groups, inner))
    rows = permute(rows, (2, 0, 1, 3))
    rows = reshape(rows, (groups, batch * math.prod(out), inner))
    matrix = permute(reshape(weight, (groups, outputs // groups, inner)), (0, 2, 1))
    product = reshape(matmul(rows, matrix), (groups, batch, math.prod(out), outputs // groups))
    return reshape(permute(product, (1, 0, 3, 2)), (batch, outputs, *out))


def _convolve(
    name: str, n: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any,
    groups: int,
) -> Any:  # fmt: skip
    x, single = _checked(name, n, x, weight, bias, groups)
    steps = sizes(f"{name}: stride", stride, n)
    holes = sizes(f"{name}: dilation", dilation, n)
    size = shape_of(weight)[2:]
    around = _amounts(name, n, padding, size, steps, holes)
    _require_room(name, shape_of(x)[2:], size, steps, holes, around)
    depthwise = 1 < groups == shape_of(x)[1] == shape_of(weight)[0]
    if n < 3 and (groups == 1 or depthwise):
        out = _fast(n, x, weight, bias, steps, around, holes, depthwise)
    else:
        out = _by_patches(pad_constant(x, [(0, 0), (0, 0), *around]), weight, steps, holes, groups)
        out = out if bias is None else out + reshape(bias, (-1, *(1,) * n))
    return reshape(out, shape_of(out)[1:]) if single else out


def _fast(
    n: int, x: Any, weight: Any, bias: Any, stride: Sizes, around: Any, dilation: Sizes,
    depthwise: bool,
) -> Any:  # fmt: skip
    """One or two axes, and one group or a channel each: those that have kernels of their own."""
    if any(low != high for low, high in around):
        x = pad_constant(x, [(0, 0), (0, 0), *around])
        around = [(0, 0)] * n
    padding = tuple(low for low, _ in around)
    if n == 1:
        x, weight = unsqueeze(x, 2), unsqueeze(weight, 2)
        stride, padding, dilation = (1, *stride), (0, *padding), (1, *dilation)
    how = {"stride": stride, "padding": padding, "dilation": dilation}
    if depthwise:
        out = depthwise_conv2d(x, weight, **how)
        out = out if bias is None else out + reshape(bias, (-1, 1, 1))
    else:
        out = _conv2d(x, weight, bias, **how)
    return out if n == 2 else reshape(out, (*shape_of(out)[:2], shape_of(out)[3]))


def conv1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Return the cross-correlation of sequences with a bank of kernels; see `conv2d`.

    Shapes: ``x (N, C, L)`` or ``(C, L)``, ``weight (O, C / groups, K)``, ``bias (O,)``.
    """
    return _convolve("conv1d", 1, x, weight, bias, stride, padding, dilation, groups)


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Return the cross-correlation of images with a bank of kernels.

    Shapes: ``x (N, C, H, W)`` or ``(C, H, W)``, ``weight (O, C / groups, KH, KW)``, ``bias (O,)``
    -> ``(N, O, OH, OW)`` with ``OH = (H + 2·padding - dilation·(KH - 1) - 1) // stride + 1``, OW
    alike.

    Parameters
    ----------
    padding
        Zeros added on each side: a number, a pair, ``"valid"`` (none) or ``"same"`` (output as
        large as the input; wants stride 1).
    groups
        The channels are divided into so many parts, each with its own outputs.

    Raises
    ------
    ValueError
        The shapes do not fit, or the kernel is larger than the padded image.
    """
    return _convolve("conv2d", 2, x, weight, bias, stride, padding, dilation, groups)


def conv3d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Return the cross-correlation of volumes with a bank of kernels; see `conv2d`.

    Shapes: ``x (N, C, D, H, W)`` or ``(C, D, H, W)``, ``weight (O, C / groups, KD, KH, KW)``.
    """
    return _convolve("conv3d", 3, x, weight, bias, stride, padding, dilation, groups)


def conv_input_2d(y: Any, weight: Any, **how: Any) -> Any:
    """Spread ``y`` over the images it might be the convolution of; see `conv_transpose2d`."""
    return _conv2d_input(y, weight, **how)
