"""Compile all kernels ahead, so that no training waits for it: `minidl warmup`.

Every kernel is called once on a tiny array by the function that calls it in training, so it is
compiled for just the kinds of arrays that it meets there. numba keeps the result on disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from minidl.autograd.primitive import Array
from minidl.kernels import (
    affine,
    conv,
    depthwise,
    direct,
    entropy,
    first_layer,
    gelu,
    lstm,
    masking,
    norm,
    optimizers,
    pool,
    rectifying,
    resampling,
    rows,
    special,
    winograd,
)
from minidl.kernels.selection import use_kernels


class Warmed(NamedTuple):
    """What was done."""

    #: Kernels and dtypes.
    kernels: int
    seconds: float
    #: Where numba keeps them; None where there is no such place.
    place: str | None


def _calls(dtype: Any) -> Iterator[Callable[[], Any]]:
    """Yield calls that together run every compiled kernel."""
    rng = np.random.default_rng(0)

    def images(channels: int) -> Array:
        return rng.standard_normal((2, 4, 4, channels)).astype(dtype).transpose(0, 3, 1, 2)

    x, wide = images(2), images(conv.WIDE)
    pooled: dict[str, Any] = {"size": (2, 2), "stride": (2, 2), "padding": (0, 0)}
    top = pool.max_pool2d(x, **pooled)
    yield lambda: pool.max_pool2d(x, **pooled)
    yield lambda: pool.unpool(top, x, top, **pooled)
    noted = first_layer.max_pool2d(x)
    yield lambda: first_layer.max_pool2d(x)
    yield lambda: first_layer.unpool(top, noted, image=x.shape)
    mean: dict[str, Any] = {**pooled, "count_include_pad": True}
    yield lambda: pool.avg_pool2d(x, **mean)
    yield lambda: pool.spread(top, image=(4, 4), **mean)
    yield lambda: masking.masked(x, x > 0)
    yield lambda: rectifying.relu(x)
    yield lambda: rectifying.relu_gradient(x, x)
    yield lambda: rectifying.relu(top, top)
    yield lambda: rectifying.relu_gradient(top, top, top)
    how: dict[str, Any] = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1)}
    weight = rng.standard_normal((2, conv.WIDE, 3, 3)).astype(dtype)
    yield lambda: conv.conv2d(wide, weight, None, **how)
    yield lambda: conv.conv2d(np.ascontiguousarray(x), weight[:, :2, :2, :2], None, **how)
    yield lambda: conv.conv2d_input(x, weight, size=(4, 4), **how)
    grey, taps = np.ascontiguousarray(x[:, :1]), weight[:, :1].copy()
    yield lambda: direct.conv2d(grey, taps, None, (1, 1), (4, 4))
    yield lambda: direct.conv2d_weight(np.ascontiguousarray(x.transpose(0, 2, 3, 1)), grey, (1, 1))
    each = weight[:, :1]  # (2, 1, 3, 3)
    yield lambda: depthwise.conv2d(x, each, **how)
    yield lambda: depthwise.conv2d_input(x, each, size=(4, 4), **how)
    yield lambda: depthwise.conv2d_weight(x, x, size=(3, 3), **how)
    vector = rng.random(4).astype(dtype)
    moved = [vector.copy() for _ in range(4)]
    settings: dict[str, Any] = {
        "lr": 1e-3,
        "beta1": 0.9,
        "beta2": 0.999,
        "eps": 1e-8,
        "weight_decay": 0.0,
    }
    yield lambda: optimizers.adam(*moved, step=1, decoupled=True, **settings)
    found = norm.moments(x)
    yield lambda: norm.moments(x)
    yield lambda: norm.batch_norm(x, None, None, found, eps=1e-5)
    yield lambda: norm.by_input(x, x, None, None, found, eps=1e-5)
    lines = rng.standard_normal((3, 4)).astype(dtype)
    along: dict[str, Any] = {"length": 4, "eps": 1e-5}
    pairs = rows.moments(lines, **along)
    yield lambda: rows.moments(lines, **along)
    yield lambda: rows.layer_norm(lines, None, None, pairs, **along)
    yield lambda: rows.by_input(lines, lines, None, None, pairs, **along)
    yield lambda: rows.by_weight(lines, lines, lines[0], None, pairs, **along)
    yield lambda: rows.softmax(lines)
    yield lambda: rows.softmax_gradient(lines, lines)
    classes: dict[str, Any] = {"target": np.zeros(3, np.int64), "smoothing": 0.0}
    columns = np.ascontiguousarray(lines.T)
    yield lambda: affine.add_turned(columns, lines[0])
    yield lambda: affine.add_relu(lines, lines[0])
    yield lambda: affine.add_relu(lines, lines[0], lines)
    yield lambda: entropy.cross_entropy(lines, **classes)
    yield lambda: entropy.by_logits(lines[:, 0], lines, **classes)
    steps, state = rng.random((2, 3, 4)).astype(dtype), rng.random((3, 1)).astype(dtype)
    course = lstm.states(steps, state, state, weight[0, :4, 0, :1].copy(), None)
    yield lambda: lstm.states(steps, state, state, weight[0, :4, 0, :1].copy(), None)
    yield lambda: lstm.by_gates(
        np.ones((3, 3, 1), dtype), steps, state, weight[0, :4, 0, :1].copy(), course
    )
    places = rng.random((2, 3, 3)).astype(dtype)
    yield lambda: resampling.resample(np.ascontiguousarray(x), places, places)
    maps = np.ones((2, 2, 2), dtype), np.ones((2, 2), dtype)
    yield lambda: resampling.resample_affine(np.ascontiguousarray(x), *maps)
    if dtype == np.float32:
        laid = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        yield lambda: winograd.conv2d(laid, weight[:, :2], None, (1, 1), (4, 4))
        yield lambda: winograd.conv2d_weight(laid, laid, (1, 1))
        yield lambda: special.erf(lines)
        yield lambda: gelu.gelu(lines)
        yield lambda: gelu.gelu_gradient(lines, lines)


def warm(dtypes: tuple[Any, ...] = (np.float32,)) -> Warmed:
    """Compile every kernel for ``dtypes``, or load what was compiled before.

    Raises
    ------
    ModuleNotFoundError
        numba is not installed, or does not work.
    """
    began = time.perf_counter()
    with use_kernels("compiled"):
        for dtype in dtypes:
            for call in _calls(dtype):
                call()
        from minidl.kernels import compiled

        made = compiled.compiled_so_far()
    return Warmed(made.versions, time.perf_counter() - began, made.place)
