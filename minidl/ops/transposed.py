"""Transposed convolutions: the adjoints of convolutions, which make images larger.

An output of ``(L - 1) · stride - 2 · padding + dilation · (K - 1) + output_padding + 1`` is what a
convolution with the same parameters would bring back to ``L``.
"""

from __future__ import annotations

import math
from typing import Any

from minidl.ops.conv import conv_input_2d
from minidl.ops.padding import pad_constant
from minidl.ops.patches import add_patches, sizes
from minidl.ops.products import matmul
from minidl.ops.shape import permute, reshape, shape_of

__all__ = [
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
]


def _transposed(
    n: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any,
    groups: int, dilation: Any,
) -> Any:  # fmt: skip
    name = f"conv_transpose{n}d"
    shape, wanted = shape_of(x), shape_of(weight)
    single = len(shape) == n + 1
    x = reshape(x, (1, *shape)) if single else x
    full = shape_of(x)
    if len(full) != n + 2 or len(wanted) != n + 2 or full[1] != wanted[0]:
        raise ValueError(
            f"{name}: input {shape} does not fit weight {wanted}: wanted (N, C, …) and "
            "(C, O / groups, …) with the same number of channels C"
        )
    outputs = wanted[1] * groups
    if groups < 1 or wanted[0] % groups or (bias is not None and shape_of(bias) != (outputs,)):
        raise ValueError(
            f"{name}: {groups} groups and a bias of {outputs} are wanted to fit weight {wanted}"
        )
    steps, holes = sizes(f"{name}: stride", stride, n), sizes(f"{name}: dilation", dilation, n)
    around = sizes(f"{name}: padding", padding, n)
    more = sizes(f"{name}: output_padding", output_padding, n)
    if any(m >= max(s, d) for m, s, d in zip(more, steps, holes, strict=True)):
        raise ValueError(
            f"{name}: output_padding {more} must be smaller than stride {steps} or dilation {holes}"
        )
    whole = [
        (length - 1) * s + d * (k - 1) + 1
        for length, s, d, k in zip(full[2:], steps, holes, wanted[2:], strict=True)
    ]
    if groups == 1 and n == 2:
        out = conv_input_2d(
            x, weight, size=tuple(whole), stride=steps, padding=(0, 0), dilation=holes
        )
    else:
        out = _by_patches(x, weight, tuple(whole), steps, holes, groups)
    out = pad_constant(
        out, [(0, 0), (0, 0), *((-p, m - p) for p, m in zip(around, more, strict=True))]
    )
    out = out if bias is None else out + reshape(bias, (-1, *(1,) * n))
    return reshape(out, shape_of(out)[1:]) if single else out


def _by_patches(
    x: Any, weight: Any, space: tuple[int, ...], stride: Any, dilation: Any, groups: int
) -> Any:
    batch, channels, *counts = shape_of(x)
    size, outputs = shape_of(weight)[2:], shape_of(weight)[1]
    n, places = len(size), math.prod(counts)
    rows = reshape(x, (batch, groups, channels // groups, places))
    rows = reshape(permute(rows, (1, 0, 3, 2)), (groups, batch * places, channels // groups))
    matrix = reshape(weight, (groups, channels // groups, outputs * math.prod(size)))
    windows = reshape(matmul(rows, matrix), (groups, batch, *counts, outputs, *size))
    order = (1, 0, 2 + n, *range(2, 2 + n), *range(3 + n, 3 + 2 * n))
    windows = reshape(permute(windows, order), (batch, groups * outputs, *counts, *size))
    return add_patches(windows, space=space, kernel=size, stride=stride, dilation=dilation)


def conv_transpose1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """Return the transposed convolution of sequences; see `conv_transpose2d`."""
    return _transposed(1, x, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """Return the transposed convolution of images, the adjoint of `conv2d`.

    Shapes: ``x (N, C, H, W)`` or ``(C, H, W)``, ``weight (C, O / groups, KH, KW)``, ``bias (O,)``.

    Raises
    ------
    ValueError
        The shapes do not fit, or ``output_padding`` is not smaller than stride or dilation.
    """
    return _transposed(2, x, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """Return the transposed convolution of volumes; see `conv_transpose2d`."""
    return _transposed(3, x, weight, bias, stride, padding, output_padding, groups, dilation)
