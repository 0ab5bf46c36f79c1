"""Sliding windows as columns: unfold and its adjoint, fold."""

from __future__ import annotations

import math
from typing import Any

from minidl.ops.padding import pad_constant
from minidl.ops.patches import add_patches, patches, sizes, window_count
from minidl.ops.shape import permute, reshape, shape_of

__all__ = [
    "fold",
    "unfold",
]


def _how(name: str, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    kernel, holes, around, steps = (
        sizes(f"{name}: {what}", value, 2)
        for what, value in [
            ("kernel_size", kernel_size),
            ("dilation", dilation),
            ("padding", padding),
            ("stride", stride),
        ]
    )
    return {"kernel": kernel, "stride": steps, "dilation": holes}, around


def unfold(x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """Return every window as a column: ``(N, C, H, W) -> (N, C · KH · KW, windows)``.

    Raises
    ------
    ValueError
        The shape is not ``(N, C, H, W)`` or ``(C, H, W)``, or no window fits.
    """
    shape = shape_of(x)
    if len(shape) not in (3, 4):
        raise ValueError(f"unfold: (N, C, H, W) or (C, H, W) is wanted, got {shape}")
    if len(shape) == 3:
        found = unfold(reshape(x, (1, *shape)), kernel_size, dilation, padding, stride)
        return reshape(found, shape_of(found)[1:])
    how, around = _how("unfold", kernel_size, dilation, padding, stride)
    x = pad_constant(x, [(0, 0), (0, 0), *((p, p) for p in around)])
    counts = _counts("unfold", shape_of(x)[2:], how)
    windows = permute(patches(x, **how), (0, 1, 4, 5, 2, 3))
    return reshape(windows, (shape[0], shape[1] * math.prod(how["kernel"]), math.prod(counts)))


def _counts(name: str, space: tuple[int, ...], how: Any) -> list[int]:
    rows = zip(space, how["kernel"], how["stride"], how["dilation"], strict=True)
    counts = [window_count(*row) for row in rows]
    if min(counts) < 1:
        raise ValueError(f"{name}: the kernel {how['kernel']} does not fit in {space}")
    return counts


def fold(
    x: Any,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Any:
    """Add columns back to where `unfold` took them: ``(N, C · KH · KW, windows) -> (N, C, H, W)``.

    Raises
    ------
    ValueError
        The columns do not fit ``output_size``.
    """
    shape = shape_of(x)
    if len(shape) == 2:
        found = fold(reshape(x, (1, *shape)), output_size, kernel_size, dilation, padding, stride)
        return reshape(found, shape_of(found)[1:])
    how, around = _how("fold", kernel_size, dilation, padding, stride)
    size = sizes("fold: output_size", output_size, 2)
    space = tuple(n + 2 * p for n, p in zip(size, around, strict=True))
    counts, area = _counts("fold", space, how), math.prod(how["kernel"])
    if len(shape) != 3 or shape[1] % area or shape[2] != math.prod(counts):
        raise ValueError(
            f"fold: columns {shape} do not fit: (N, C · {area}, {math.prod(counts)}) is wanted"
        )
    windows = reshape(x, (shape[0], shape[1] // area, *how["kernel"], *counts))
    out = add_patches(permute(windows, (0, 1, 4, 5, 2, 3)), space=space, **how)
    return pad_constant(out, [(0, 0), (0, 0), *((-p, -p) for p in around)])
