"""Resampling images: interpolation, grids, shuffled pixels.

Interpolation is linear in the image, axis by axis: each axis is multiplied by a small matrix that
depends on sizes only.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from minidl.autograd.primitive import Array
from minidl.ops.arithmetic import ge, le, logical_and, where
from minidl.ops.elementwise import abs
from minidl.ops.indexing import getitem
from minidl.ops.products import matmul
from minidl.ops.rounding import clamp, floor, remainder, round
from minidl.ops.shape import cast, movedim, permute, reshape, shape_of, unsqueeze

__all__ = [
    "affine_grid",
    "channel_shuffle",
    "grid_sample",
    "interpolate",
    "pixel_shuffle",
    "pixel_unshuffle",
    "upsample",
]

_AXES = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}


def _cubic(distance: Any) -> Any:
    """Keys's kernel with a = -3/4, at distances below 2."""
    a, d = -0.75, abs(distance)
    near = ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0
    far = ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a
    return where(le(d, 1.0), near, where(le(d, 2.0), far, 0.0))


def _nearest(length: int, wanted: int, mode: str, scale: float | None) -> Array:
    """Which old element each new one is."""
    step = 1.0 / scale if scale else length / wanted
    shift = 0.5 if mode == "nearest-exact" else 0.0
    return np.minimum(np.floor((np.arange(wanted) + shift) * step).astype(int), length - 1)


def _matrix(length: int, wanted: int, mode: str, align: bool, scale: float | None) -> Array:
    """What each new element takes from each old one, ``(wanted, length)``."""
    new, old = np.arange(wanted), np.arange(length)
    step = 1.0 / scale if scale else length / wanted
    if mode == "area":
        start, end = new * length // wanted, -(-(new + 1) * length // wanted)
        inside = (old >= start[:, None]) & (old < end[:, None])
        return inside / (end - start)[:, None]
    if align:
        place = new * ((length - 1) / (wanted - 1)) if wanted > 1 else new * 0.0
    else:
        place = (new + 0.5) * step - 0.5
        place = place if mode == "bicubic" else np.maximum(place, 0.0)
    first = np.floor(place)
    out = np.zeros((wanted, length))
    for offset in range(-1, 3) if mode == "bicubic" else range(2):
        at = first + offset
        if mode == "bicubic":
            weight = _cubic(place - at)
        else:
            weight = 1.0 - np.abs(place - at)
        np.add.at(out, (new, np.clip(at, 0, length - 1).astype(int)), weight)
    return out


def interpolate(
    x: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
) -> Any:
    """Resample ``(N, C, …)`` to another size.

    Parameters
    ----------
    size, scale_factor
        One of them: the new sizes, or factors; a number, or one an axis.
    mode
        ``"nearest"``, ``"nearest-exact"``, ``"linear"`` (3-d arrays), ``"bilinear"``,
        ``"bicubic"`` (4-d), ``"trilinear"`` (5-d), ``"area"``.
    align_corners
        The outermost elements keep their places (linear and cubic modes).
    recompute_scale_factor
        Take the factor from the rounded size.

    Raises
    ------
    ValueError
        Not one of size and factor is given, or the mode does not fit the shape.
    """
    shape = shape_of(x)
    count = len(shape) - 2
    known = ("nearest", "nearest-exact", "area", *_AXES)
    if mode not in known or count < 1 or _AXES.get(mode, count) != count:
        raise ValueError(f"interpolate: mode {mode!r} does not fit shape {shape}; known: {known}")
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: either size or scale_factor is wanted")
    if align_corners is not None and mode not in _AXES:
        raise ValueError(f"interpolate: align_corners is for linear and cubic modes, not {mode!r}")
    scales: list[Any] = [None] * count
    if size is not None:
        sizes = [size] * count if isinstance(size, int) else list(size)
    else:
        factors = [scale_factor] * count if np.ndim(scale_factor) == 0 else list(scale_factor)
        sizes = [math.floor(n * f) for n, f in zip(shape[2:], factors, strict=True)]
        scales = scales if recompute_scale_factor or mode == "area" else factors
    for axis, (wanted, scale) in enumerate(zip(sizes, scales, strict=True), 2):
        if wanted < 1:
            raise ValueError(f"interpolate: sizes must be positive, got {sizes}")
        if mode in ("nearest", "nearest-exact"):
            source = _nearest(shape[axis], wanted, mode, scale)
            x = x[(slice(None),) * axis + (source,)]
            continue
        matrix = _matrix(shape[axis], wanted, mode, bool(align_corners), scale).astype(x.dtype)
        x = movedim(matmul(movedim(x, axis, -1), matrix.T), -1, axis)
    return x


upsample = interpolate


def _divided(name: str, x: Any, factor: int, what: str, fits: bool) -> tuple[int, ...]:
    shape = shape_of(x)
    if len(shape) < 3 or factor < 1 or not fits:
        raise ValueError(f"{name}: {what} of shape {shape} cannot be divided by {factor}")
    return shape


def pixel_shuffle(x: Any, upscale_factor: int) -> Any:
    """Turn channels into pixels: ``(*, C r², H, W) -> (*, C, H r, W r)``.

    Raises
    ------
    ValueError
        The channels cannot be divided.

    References
    ----------
    W. Shi et al., "Real-Time Single Image and Video Super-Resolution", arXiv:1609.05158.
    """
    r = upscale_factor
    fits = len(shape_of(x)) > 2 and shape_of(x)[-3] % (r * r) == 0
    *batch, c, h, w = _divided("pixel_shuffle", x, r, "the channels", fits)
    n = len(batch)
    apart = reshape(x, (*batch, c // (r * r), r, r, h, w))
    order = (*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return reshape(permute(apart, order), (*batch, c // (r * r), h * r, w * r))


def pixel_unshuffle(x: Any, downscale_factor: int) -> Any:
    """Undo `pixel_shuffle`: ``(*, C, H r, W r) -> (*, C r², H, W)``."""
    r = downscale_factor
    shape = shape_of(x)
    fits = len(shape) > 2 and shape[-2] % r == 0 and shape[-1] % r == 0
    *batch, c, h, w = _divided("pixel_unshuffle", x, r, "the image", fits)
    n = len(batch)
    apart = reshape(x, (*batch, c, h // r, r, w // r, r))
    order = (*range(n), n, n + 2, n + 4, n + 1, n + 3)
    return reshape(permute(apart, order), (*batch, c * r * r, h // r, w // r))


def channel_shuffle(x: Any, groups: int) -> Any:
    """Deal the channels of groups out in turn: ``(N, C, *)``."""
    fits = len(shape_of(x)) > 2 and shape_of(x)[1] % groups == 0
    n, c, *space = _divided("channel_shuffle", x, groups, "the channels", fits)
    apart = reshape(x, (n, groups, c // groups, *space))
    order = (0, 2, 1, *range(3, 3 + len(space)))
    return reshape(permute(apart, order), (n, c, *space))


def affine_grid(theta: Any, size: Any, align_corners: bool = False) -> Any:
    """Return the points that affine maps ``theta (N, 2, 3)`` (or ``(N, 3, 4)``) read from.

    ``size`` is that of the images to be sampled, ``(N, C, H, W)``; the result ``(N, H, W, 2)``.

    Raises
    ------
    ValueError
        The maps do not fit the size.
    """
    n = len(size) - 2
    if shape_of(theta)[1:] != (n, n + 1):
        raise ValueError(f"affine_grid: maps {shape_of(theta)} do not fit size {tuple(size)}")
    lines = []
    for length in size[2:]:
        line = np.linspace(-1, 1, length) if length > 1 else np.zeros(1)
        lines.append(line if align_corners else line * (length - 1) / length)
    points = np.stack([*np.meshgrid(*lines, indexing="ij")[::-1], np.ones(size[2:])], -1)
    flat = points.reshape(1, -1, n + 1).astype(theta.dtype)
    return reshape(matmul(flat, permute(theta, (0, 2, 1))), (shape_of(theta)[0], *size[2:], n))


def grid_sample(
    x: Any,
    grid: Any,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> Any:
    """Read images ``(N, C, H, W)`` (or volumes) at the points of ``grid (N, OH, OW, 2)``.

    Points are ``(x, y)`` from -1 (left, top) to 1.

    Parameters
    ----------
    mode
        ``"bilinear"``, ``"nearest"``, or ``"bicubic"`` (images only).
    padding_mode
        Beyond the image: ``"zeros"``, ``"border"`` or ``"reflection"``.
    align_corners
        Whether ±1 are the centres of the outermost pixels, or their outer edges.

    Raises
    ------
    ValueError
        A mode is unknown, or the shapes do not fit.
    """
    shape, points = shape_of(x), shape_of(grid)
    n = len(shape) - 2
    modes = ("bilinear", "nearest", "bicubic") if n == 2 else ("bilinear", "nearest")
    if mode not in modes or padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(f"grid_sample: unknown mode {mode!r} or padding_mode {padding_mode!r}")
    if n not in (2, 3) or len(points) != n + 2 or points[-1] != n or points[0] != shape[0]:
        raise ValueError(f"grid_sample: images {shape} do not fit a grid {points}")
    space = shape[2:]
    places = []
    for axis, length in enumerate(space):
        u = grid[..., n - 1 - axis]
        place = (u + 1.0) * ((length - 1) / 2) if align_corners else ((u + 1.0) * length - 1.0) / 2
        if mode != "bicubic":
            place = _held(place, length, padding_mode, align_corners)
        places.append(place)
    taps = [_taps(place, mode) for place in places]
    total: Any = 0.0
    for chosen in itertools.product(*taps):
        weight: Any = 1.0
        index, inside = [], None
        for (at, share), length in zip(chosen, space, strict=True):
            if mode == "bicubic":
                at = _held(at, length, padding_mode, align_corners)
            fits = logical_and(ge(at, 0), le(at, length - 1))
            inside = fits if inside is None else logical_and(inside, fits)
            index.append(cast(clamp(at, 0, length - 1), np.intp))
            weight = weight * share
        samples = np.arange(shape[0]).reshape(-1, *(1,) * n)
        found = getitem(movedim(x, 1, -1), (samples, *index))  # (N, …, C)
        total = total + found * unsqueeze(_share(inside, weight, x.dtype), -1)
    return movedim(total, -1, 1)


def _share(inside: Any, weight: Any, dtype: Any) -> Any:
    return cast(inside, dtype) if isinstance(weight, float) else where(inside, weight, 0.0)


def _held(place: Any, length: int, padding_mode: str, align_corners: bool) -> Any:
    """Bring a place back into the image, as the mode says."""
    if padding_mode == "zeros":
        return place
    if padding_mode == "reflection":
        low, high = (0.0, length - 1.0) if align_corners else (-0.5, length - 0.5)
        width = high - low
        if not width:
            return place * 0.0
        offset = remainder(abs(place - low), 2.0 * width)
        place = where(le(offset, width), offset, 2.0 * width - offset) + low
    return clamp(place, 0.0, length - 1.0)


def _taps(place: Any, mode: str) -> list[tuple[Any, Any]]:
    """Neighbours of a place along one axis, each with its share."""
    if mode == "nearest":
        return [(round(place), 1.0)]
    first = floor(place)
    rest = place - first
    if mode == "bilinear":
        return [(first, 1.0 - rest), (first + 1.0, rest)]
    return [(first + float(k), _cubic(rest - float(k))) for k in range(-1, 3)]
