"""Table of `minidl.ops.image`: resampling against PyTorch and definitions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, grid, shaped


def sizes(rng: Rng) -> Iterator[Sample]:
    for shape, mode in [
        ((1, 2, 4), "linear"),
        ((1, 1, 3, 4), "bilinear"),
        ((1, 1, 4, 4), "bicubic"),
        ((1, 1, 2, 3, 2), "trilinear"),
    ]:
        for corners in (True, False):
            yield call(grid(rng, *shape), 5, mode=mode, align_corners=corners)
    for mode in ("nearest", "nearest-exact"):
        yield call(grid(rng, 1, 2, 3, 4), (5, 2), mode=mode)
        yield call(grid(rng, 2, 1, 3), scale_factor=2.5, mode=mode)
    yield call(grid(rng, 1, 1, 5, 4), (2, 3), mode="area")
    yield call(grid(rng, 1, 1, 3, 4), scale_factor=(1.7, 0.6), mode="bilinear")
    yield call(grid(rng, 1, 1, 3), scale_factor=1.7, mode="linear", recompute_scale_factor=True)


def cubic(d: float) -> float:
    a, d = -0.75, abs(d)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def resampled(
    x: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: Any = None,
    recompute_scale_factor: Any = None,
) -> Any:  # fmt: skip
    """Axis by axis, element by element."""
    count = x.ndim - 2
    factors = [None] * count
    if size is None:
        factors = list(np.broadcast_to(scale_factor, count))
        size = [int(np.floor(n * f)) for n, f in zip(x.shape[2:], factors, strict=True)]
        factors = [None] * count if recompute_scale_factor else factors
    for axis, (m, factor) in enumerate(zip(np.broadcast_to(size, count), factors, strict=True), 2):
        n = x.shape[axis]
        step = 1 / factor if factor else n / m
        rows = []
        for i in range(m):
            get = lambda k, axis=axis, n=n, x=x: np.take(x, min(max(k, 0), n - 1), axis)
            if mode == "area":
                part = range(i * n // m, -(-(i + 1) * n // m))
                rows.append(sum(get(k) for k in part) / len(part))
            elif mode.startswith("nearest"):
                rows.append(get(int((i + (0.5 if "exact" in mode else 0)) * step)))
            else:
                place = i * (n - 1) / (m - 1) if align_corners else (i + 0.5) * step - 0.5
                place = place if mode == "bicubic" else max(place, 0.0)
                first = int(np.floor(place))
                weigh = cubic if mode == "bicubic" else (lambda d: max(0.0, 1 - abs(d)))
                rows.append(sum(weigh(place - k) * get(k) for k in range(first - 1, first + 3)))
        x = np.stack(rows, axis)
    return x


def points(rng: Rng) -> Iterator[Sample]:
    x, g = grid(rng, 1, 2, 3, 4), grid(rng, 1, 2, 3, 2, low=-0.93, high=0.87)
    far = grid(rng, 1, 2, 2, 2, low=-1.43, high=1.37)
    for mode in ("bilinear", "nearest", "bicubic"):
        yield call(x, g, mode, "zeros", False)
        for padding in ("zeros", "border", "reflection"):
            yield call(x, far, mode, padding, mode != "bicubic")
    yield call(
        grid(rng, 1, 1, 2, 3, 2), grid(rng, 1, 1, 2, 1, 3, low=-0.8, high=0.7), align_corners=True
    )


def held(place: float, n: int, padding: str, corners: bool) -> float:
    if padding == "reflection":
        low, high = (0.0, n - 1.0) if corners else (-0.5, n - 0.5)
        while not low <= place <= high:
            place = 2 * (low if place < low else high) - place
    return place if padding == "zeros" else min(max(place, 0.0), n - 1.0)


def read(
    x: Any, g: Any, mode: str = "bilinear", padding: str = "zeros", align_corners: bool = False
) -> Any:
    corners = align_corners
    n, space = x.ndim - 2, x.shape[2:]
    out = np.zeros((*x.shape[:2], *g.shape[1:-1]), x.dtype)
    for sample, *place in np.ndindex(*g.shape[:-1]):
        ats = []
        for axis, length in enumerate(space):
            u = g[(sample, *place)][n - 1 - axis]
            at = (u + 1) * (length - 1) / 2 if corners else ((u + 1) * length - 1) / 2
            ats.append(at if mode == "bicubic" else held(at, length, padding, corners))
        weigh = cubic if mode == "bicubic" else (lambda d: max(0.0, 1 - abs(d)))
        for offset in np.ndindex(*(4,) * n):
            weight, index = 1.0, []
            for at, o, length in zip(ats, offset, space, strict=True):
                k = int(np.round(at)) + o - 1 if mode == "nearest" else int(np.floor(at)) + o - 1
                weight *= float(o == 1) if mode == "nearest" else weigh(at - k)
                k = int(held(k, length, padding, corners)) if mode == "bicubic" else k
                index.append(k)
            if weight and all(0 <= k < length for k, length in zip(index, space, strict=True)):
                out[(sample, slice(None), *place)] += weight * x[(sample, slice(None), *index)]
    return out


def shuffled(x: Any, r: int) -> Any:
    *batch, c, h, w = x.shape
    out = np.zeros((*batch, c // r**2, h * r, w * r), x.dtype)
    for k, i, j in np.ndindex(c // r**2, h * r, w * r):
        out[..., k, i, j] = x[..., k * r**2 + i % r * r + j % r, i // r, j // r]
    return out


def unshuffled(x: Any, r: int) -> Any:
    *batch, c, h, w = x.shape
    out = np.zeros((*batch, c * r**2, h // r, w // r), x.dtype)
    for k, i, j in np.ndindex(c, h, w):
        out[..., k * r**2 + i % r * r + j % r, i // r, j // r] = x[..., k, i, j]
    return out


def dealt(x: Any, groups: int) -> Any:
    order = np.arange(x.shape[1]).reshape(groups, -1).T.reshape(-1)
    return x[:, order]


def maps(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 2, 2, 3), (2, 1, 2, 3), False)
    yield call(grid(rng, 1, 2, 3), (1, 1, 3, 2), True)
    yield call(grid(rng, 1, 3, 4), (1, 1, 2, 1, 2), False)


def affine(theta: Any, size: Any, corners: bool = False) -> Any:
    space = size[2:]
    out = np.zeros((len(theta), *space, len(space)), theta.dtype)
    for n, *place in np.ndindex(*out.shape[:-1]):
        at = []
        for i, length in zip(place, space, strict=True):
            u = 0.0 if length == 1 else 2 * i / (length - 1) - 1
            at.append(u if corners else u * (length - 1) / length)
        out[(n, *place)] = theta[n] @ np.array([*at[::-1], 1.0])
    return out


OPS = [
    Op(
        "interpolate",
        sizes,
        resampled,
        "nn.functional.interpolate",
        (
            bad(of((1, 1, 2)), raises=ValueError, match="either size or scale_factor"),
            bad(
                of((1, 1, 2)),
                3,
                mode="bilinear",
                raises=ValueError,
                match="'bilinear' does not fit",
            ),
            bad(
                of((1, 1, 2)),
                3,
                align_corners=True,
                raises=ValueError,
                match="for linear and cubic",
            ),
        ),
        rtol=1e-10,
    ),
    Op(
        "grid_sample",
        points,
        read,
        "nn.functional.grid_sample",
        (
            bad(of((1, 1, 2, 2)), of((1, 2, 2, 3)), raises=ValueError, match="do not fit a grid"),
            bad(
                of((1, 1, 2, 2)),
                of((1, 2, 2, 2)),
                "cubic",
                raises=ValueError,
                match="unknown mode 'cubic'",
            ),
        ),
        rtol=1e-9,
        float32_rtol=1e-3,
    ),
    Op(
        "affine_grid",
        maps,
        affine,
        "nn.functional.affine_grid",
        (bad(of((1, 2, 2)), (1, 1, 2, 2), raises=ValueError, match="do not fit size"),),
    ),
    Op(
        "pixel_shuffle",
        shaped(((2, 8, 1, 2), 2), ((4, 2, 1), 2)),
        shuffled,
        "nn.functional.pixel_shuffle",
        (bad(of((3, 2, 2)), 2, raises=ValueError, match="cannot be divided by 2"),),
    ),
    Op(
        "pixel_unshuffle",
        shaped(((1, 2, 2, 4), 2), ((1, 4, 2), 2)),
        unshuffled,
        "nn.functional.pixel_unshuffle",
        (bad(of((1, 3, 2)), 2, raises=ValueError, match="cannot be divided by 2"),),
    ),
    Op(
        "channel_shuffle",
        shaped(((2, 6, 2), 2), ((1, 4, 1, 2), 4)),
        dealt,
        "nn.functional.channel_shuffle",
        (bad(of((1, 3, 2)), 2, raises=ValueError, match="cannot be divided by 2"),),
    ),
]
