"""Calls of every kernel that has a compiled version, over odd shapes, settings and layouts.

A case is a function that takes a generator and a dtype and returns a call without arguments: to be
run with NumPy's kernels and with compiled ones, on the same data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.kernels import (
    affine,
    attention,
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
    summing,
    winograd,
)

Call = Callable[[], tuple[np.ndarray, ...]]
Case = Callable[[np.random.Generator, Any], Call]

#: What kernels must not stumble over.
SPECIAL = (np.nan, -np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-40)


def images(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any, layout: str) -> Any:
    """Normal values ``(N, C, H, W)``, half of them cut to 0 as a ReLU leaves them."""
    n, c, h, w = shape
    values = np.maximum(rng.standard_normal((n, h, w, c)), 0).astype(dtype)
    if layout == "channels last":
        return values.transpose(0, 3, 1, 2)
    if layout == "channels first":
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2))
    if layout == "cropped":
        wide = np.zeros((n, h + 2, w + 3, c), dtype)
        wide[:, 1:-1, 2:-1] = values
        return wide[:, 1:-1, 2:-1].transpose(0, 3, 1, 2)
    assert layout == "read-only"
    values.flags.writeable = False
    return values.transpose(0, 3, 1, 2)


def pooled(shape: Any, size: Any, stride: Any, padding: Any = (0, 0), *, layout: str) -> Case:
    """Max pooling, and its gradient with ``g`` in the same layout."""

    def make(rng: np.random.Generator, dtype: Any) -> Call:
        x = images(rng, shape, dtype, layout)
        how = {"size": size, "stride": stride, "padding": padding}
        g = images(rng, pool.max_pool2d(x, **how).shape, dtype, layout)

        def call() -> tuple[np.ndarray, ...]:
            top = pool.max_pool2d(x, **how)
            back = (pool.unpool(g, x, top, **how, rectified=which) for which in (False, True))
            return top, *back

        return call

    return make


def averaged(shape: Any, size: Any, stride: Any, padding: Any = (0, 0), *, layout: str) -> Case:
    """Average pooling with padding counted or not, and the gradients."""

    def make(rng: np.random.Generator, dtype: Any) -> Call:
        x = images(rng, shape, dtype, layout)
        how = {"size": size, "stride": stride, "padding": padding}
        g = images(rng, pool.max_pool2d(x, **how).shape, dtype, layout) - dtype(0.5)

        def call() -> tuple[np.ndarray, ...]:
            return tuple(
                found
                for count in (True, False)
                for found in (
                    pool.avg_pool2d(x, **how, count_include_pad=count),
                    pool.spread(g, image=shape[2:], **how, count_include_pad=count),
                )
            )

        return call

    return make


def each_channel(
    shape: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, layout: str
) -> Case:
    """Depthwise convolution, and the gradients of its input and its weight."""

    def make(rng: np.random.Generator, dtype: Any) -> Call:
        size = conv.output_size("conv2d", shape[2:], kernel, stride, padding, dilation)
        x = images(rng, shape, dtype, layout)
        g = images(rng, (*shape[:2], *size), dtype, layout)
        weight = rng.standard_normal((shape[1], 1, *kernel)).astype(dtype)
        how = {"stride": stride, "padding": padding, "dilation": dilation}
        return lambda: (
            depthwise.conv2d(x, weight, **how),
            depthwise.conv2d_input(g, weight, size=shape[2:], **how),
            depthwise.conv2d_weight(g, x, size=kernel, **how),
        )

    return make


def spread(
    shape: Any, outputs: int, kernel: Any, stride: Any, padding: Any, dilation: Any, layout: str
) -> Case:
    """The gradient of a convolution's input."""

    def make(rng: np.random.Generator, dtype: Any) -> Call:
        size = conv.output_size("conv2d", shape[2:], kernel, stride, padding, dilation)
        g = images(rng, (shape[0], outputs, *size), dtype, layout)
        weight = rng.standard_normal((outputs, shape[1], *kernel)).astype(dtype)
        how = {"stride": stride, "padding": padding, "dilation": dilation}
        return lambda: (conv.conv2d_input(g, weight, size=shape[2:], **how),)

    return make


def masked(shape: Any, layout: str) -> Case:
    """Values with infinities and NaN among them, a random mask."""

    def make(rng: np.random.Generator, dtype: Any) -> Call:
        x = images(rng, shape, dtype, layout)
        if layout != "read-only":
            x[rng.random(shape) < 0.1] = np.inf
            x[rng.random(shape) < 0.1] = np.nan
        keep = images(rng, shape, dtype, layout) > 0
        return lambda: (masking.masked(x, keep),)

    return make


def rectified(shape: Any, layout: str, *, here: bool) -> Case:
    """ReLU and its gradient, with infinities, NaN and both zeros among the values."""

    def make(rng: np.random.Generator, dtype: Any) -> Call:
        x, g = (images(rng, shape, dtype, layout) for _ in range(2))
        x -= dtype(0.5)
        x.flat[: len(SPECIAL)] = SPECIAL[: x.size]

        def call() -> tuple[np.ndarray, ...]:
            top = rectifying.relu(x)
            if not here:
                return top, rectifying.relu_gradient(g, top), rectifying.relu_gradient(g, x)
            one, two = x.copy("K"), g.copy("K")
            three = np.empty_like(g)
            rectifying.relu_gradient(g, top, three)
            return rectifying.relu(one, one), rectifying.relu_gradient(two, top, two), three

        return call

    return make


def affine_map(rows: int, *, here: bool) -> Case:
    """A bias added to rows, and to columns that become rows, with ReLU and without."""

    def make(rng: np.random.Generator, dtype: Any) -> Call:
        x, bias = (rng.standard_normal(shape).astype(dtype) for shape in ((rows, 13), 13))
        x[0, : len(SPECIAL)] = SPECIAL
        columns = np.ascontiguousarray(x.T)

        def call() -> tuple[np.ndarray, ...]:
            if here:
                one, two = x.copy(), np.empty_like(x)
                return affine.add_relu(one, bias, one), affine.add_relu(x, bias, two)
            plain, rectified = (affine.add_turned(columns, bias, how) for how in (False, True))
            return plain, rectified, affine.add_relu(x, bias)

        return call

    return make


def entropy_of(shape: tuple[int, int], smoothing: float = 0.0, *, odd: bool = False) -> Case:
    """The cross-entropy of rows, and its gradient."""

    def make(rng: np.random.Generator, dtype: Any) -> Call:
        x = rng.standard_normal(shape).astype(dtype) * dtype(20)
        if odd:
            x[0, 0], x[1, 1], x[2, :2] = np.nan, np.inf, (-np.inf, np.inf)
            x[3] = -np.inf
        g = rng.standard_normal(shape[0]).astype(dtype)
        labels = rng.integers(0, shape[1], shape[0])
        return lambda: (
            entropy.cross_entropy(x, labels, smoothing=smoothing),
            entropy.by_logits(g, x, labels.astype(np.uint8), smoothing=smoothing),
        )

    return make


def lstm_along(length: int, count: int, width: int) -> Case:
    """An LSTM along a sequence, and backward."""

    def make(rng: np.random.Generator, dtype: Any) -> Call:
        shapes = [(length, count, 4 * width), (count, width), (count, width), (4 * width, width)]
        shares, hidden, cell, weight = (rng.standard_normal(s).astype(dtype) for s in shapes)
        bias = rng.standard_normal(4 * width).astype(dtype)
        g = rng.standard_normal((length + 1, count, width)).astype(dtype)

        def call() -> tuple[np.ndarray, ...]:
            course = lstm.states(shares, hidden, cell, weight, bias)
            gates = lstm.parts(course, shares.shape).gates
            given = g, gates, cell, weight, course
            return course, lstm.by_gates(*given), lstm.by_cell(*given)

        return call

    return make


def adam(length: int, **changes: Any) -> Case:
    """Three steps from the same state."""

    def make(rng: np.random.Generator, dtype: Any) -> Call:
        start = [rng.standard_normal(length).astype(dtype) for _ in range(2)]
        settings = {
            "lr": 1e-2,
            "beta1": 0.9,
            "beta2": 0.999,
            "eps": 1e-8,
            "weight_decay": 0.0,
            "decoupled": False,
        } | changes

        def call() -> tuple[np.ndarray, ...]:
            value, grad = (array.copy() for array in start)
            mean, square = np.zeros_like(value), np.zeros_like(value)
            for step in (1, 2, 3):
                optimizers.adam(value, grad, mean, square, step=step, **settings)
            return value, mean, square

        return call

    return make


def adam_fading(length: int) -> Case:
    """Moments that become too small for normal numbers, over a step at which they are flushed."""

    def make(rng: np.random.Generator, dtype: Any) -> Call:
        start = [rng.standard_normal(length).astype(dtype) for _ in range(3)]
        settings = {"lr": 1e-2, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0}

        def call() -> tuple[np.ndarray, ...]:
            value, grad, mean = (array.copy() for array in start)
            grad[::2] = 0
            mean[::2] *= np.finfo(dtype).tiny
            square = np.abs(mean)
            for step in (optimizers.FLUSHED - 1, optimizers.FLUSHED):
                optimizers.adam(value, grad, mean, square, step=step, decoupled=False, **settings)
            return value, mean, square

        return call

    return make


def convolved(
    shape: Any, outputs: int, kernel: Any, stride: Any, padding: Any, dilation: Any, layout: str
) -> Case:
    """A convolution, and the gradient of its weight."""

    def make(rng: np.random.Generator, dtype: Any) -> Call:
        x = images(rng, shape, dtype, layout)
        weight = rng.standard_normal((outputs, shape[1], *kernel)).astype(dtype)
        bias = rng.standard_normal(outputs).astype(dtype)
        how = {"stride": stride, "padding": padding, "dilation": dilation}
        size = conv.output_size("conv2d", shape[2:], kernel, stride, padding, dilation)
        g = images(rng, (shape[0], outputs, *size), dtype, layout)

        def call() -> tuple[np.ndarray, ...]:
            return (
                conv.conv2d(x, weight, bias, **how),
                conv.conv2d(x, weight, bias, **how, rectify=True),
                conv.conv2d_weight(g, x, size=kernel, **how),
            )

        return call

    return make


def batch_norm(shape: Any, layout: str, *, affine: bool = True) -> Case:
    """Moments, normalized images, and the three gradients."""

    def make(rng: np.random.Generator, dtype: Any) -> Call:
        x, g = (images(rng, shape, dtype, layout) for _ in range(2))
        weight, bias = (
            rng.standard_normal(shape[1]).astype(dtype) if affine else None for _ in range(2)
        )

        def call() -> tuple[np.ndarray, ...]:
            found = norm.moments(x)
            given, how = (x, weight, bias, found), {"eps": 1e-5}
            return (
                found,
                norm.batch_norm(*given, **how),
                norm.batch_norm(*given, **how, rectify=True),
                norm.scaled(x, found[0], found[1], bias),
                norm.by_input(g, *given, **how),
                norm.by_weight(g, *given, **how),
                norm.by_bias(g, *given, **how),
            )

        return call

    return make


def layer_norm(shape: Any, *, affine: bool = True) -> Case:
    """Normalized rows, and the three gradients."""

    def make(rng: np.random.Generator, dtype: Any) -> Call:
        x, g = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
        weight, bias = (rng.standard_normal(shape[-1]).astype(dtype) for _ in range(2))
        how = {"length": shape[-1], "eps": 1e-5}

        def call() -> tuple[np.ndarray, ...]:
            found = rows.moments(x, **how)
            given = (x, weight, bias, found) if affine else (x, None, None, found)
            made = found, rows.layer_norm(*given, **how), rows.by_input(g, *given, **how)
            if not affine:
                return made
            return (*made, rows.by_weight(g, *given, **how), rows.by_bias(g, *given, **how))

        return call

    return make


def softmax(shape: Any, *, odd: bool = False) -> Case:
    """Probabilities and their gradient; ``odd`` are rows of -inf, of inf and of NaN."""

    def make(rng: np.random.Generator, dtype: Any) -> Call:
        scores, g = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
        if odd:
            flat = scores.reshape(-1, shape[-1])
            flat[0], flat[1, 0], flat[2, -1], flat[3, 0] = -np.inf, -np.inf, np.nan, np.inf

        def call() -> tuple[np.ndarray, ...]:
            found = rows.softmax(scores)
            return found, rows.softmax_gradient(g, found)

        return call

    return make


def attended(count: int, length: int, width: int, heads: int) -> Case:
    """Self-attention of a joint projection, and its gradient."""

    def make(rng: np.random.Generator, dtype: Any) -> Call:
        joint = rng.standard_normal((count, length, 3 * width)).astype(dtype)
        g = rng.standard_normal((count, length, width)).astype(dtype)
        how: dict[str, Any] = {"heads": heads, "scale": 0.3}

        def call() -> tuple[np.ndarray, ...]:
            found = attention.probabilities(joint, **how)
            made = attention.attend(joint, found, **how)
            return found, made, attention.by_joint(g, joint, found, **how)

        return call

    return make


def summed(shape: tuple[int, ...], over: int) -> Case:
    """The sum over the first axes, with a place for it and without."""

    def make(rng: np.random.Generator, dtype: Any) -> Call:
        x = rng.standard_normal(shape).astype(dtype)
        x[0] = x.T[0] = -0.0
        how: dict[str, Any] = {"dim": tuple(range(over)), "keepdim": False}

        def call() -> tuple[np.ndarray, ...]:
            place = np.empty(shape[over:], dtype)
            return summing.total(x, **how), summing.total(x, **how, out=place)

        return call

    return make


def bell(shape: Any, layout: str) -> Case:
    """The error function and GELU with its gradient, far out too."""

    def make(rng: np.random.Generator, dtype: Any) -> Call:
        x, g = (images(rng, shape, dtype, layout) for _ in range(2))
        if layout != "read-only":
            x -= dtype(0.5)
            x *= dtype(4)
            x[0, 0, 0, :3] = np.inf, -np.inf, np.nan
        return lambda: (special.erf(x), gelu.gelu(x), gelu.gelu_gradient(g, x))

    return make


def by_tiles(shape: Any, outputs: int, padding: tuple[int, int], *, bias: bool = True) -> Case:
    """A convolution by Winograd's method, and both gradients; images ``(N, C, H, W)``."""

    def make(rng: np.random.Generator, dtype: Any) -> Call:
        x = images(rng, shape, dtype, "channels last").transpose(0, 2, 3, 1)
        weight = rng.standard_normal((outputs, shape[1], 3, 3)).astype(dtype)
        shift = rng.standard_normal(outputs).astype(dtype) if bias else None
        size = tuple(n + 2 * p - 2 for n, p in zip(shape[2:], padding, strict=True))
        g = rng.standard_normal((shape[0], *size, outputs)).astype(dtype)

        return lambda: (
            winograd.conv2d(x, weight, shift, padding, size),
            winograd.conv2d(x, weight, shift, padding, size, True),
            winograd.conv2d_input(g, weight, padding, shape[2:]),
            winograd.conv2d_weight(g, x, padding),
        )

    return make


def directly(shape: Any, outputs: int, padding: tuple[int, int], *, layout: str) -> Case:
    """A convolution of one channel without patches, and the weight's gradient."""

    def make(rng: np.random.Generator, dtype: Any) -> Call:
        x = images(rng, (shape[0], 1, *shape[1:]), dtype, layout)
        weight = rng.standard_normal((outputs, 1, 3, 3)).astype(dtype)
        bias = rng.standard_normal(outputs).astype(dtype)
        size = tuple(n + 2 * p - 2 for n, p in zip(shape[1:], padding, strict=True))
        g = rng.standard_normal((shape[0], *size, outputs)).astype(dtype)

        return lambda: (
            direct.conv2d(x, weight, None, padding, size),
            direct.conv2d(x, weight, bias, padding, size, True),
            direct.conv2d_weight(g, x, padding),
        )

    return make


def noted(shape: Any) -> Case:
    """Max pooling that notes where the maxima were, and its gradient."""

    def make(rng: np.random.Generator, dtype: Any) -> Call:
        x = images(rng, shape, dtype, "channels last")
        x[0, 0, 0, 0], x[0, 1, 1, 2] = np.nan, np.inf
        g = pool.max_pool2d(images(rng, shape, dtype, "channels last"), **first_layer.WINDOWS)

        def call() -> tuple[np.ndarray, ...]:
            packed = first_layer.max_pool2d(x)
            top = first_layer.maxima(packed, shape=g.shape)
            return top, first_layer.unpool(g, packed, image=shape)

        return call

    return make


def resampled(shape: Any, size: tuple[int, int]) -> Case:
    """Images read within and far beyond their border."""

    def make(rng: np.random.Generator, dtype: Any) -> Call:
        x = images(rng, shape, dtype, "channels first") - dtype(0.3)
        y, z = (
            (rng.standard_normal((shape[0], *size)) * length).astype(dtype) for length in shape[2:]
        )
        y[0, 0, :3], z[0, 0, :3] = (0, shape[2] - 1, shape[2]), (0, shape[3] - 1, shape[3])
        return lambda: (resampling.resample(x, y, z),)

    return make


def mapped(shape: Any) -> Case:
    """Images turned, cut and moved, some of them out of sight."""

    def make(rng: np.random.Generator, dtype: Any) -> Call:
        x = images(rng, shape, dtype, "channels first") - dtype(0.3)
        back = rng.standard_normal((shape[0], 2, 2)).astype(dtype)
        start = (rng.standard_normal((shape[0], 2)) * shape[2:]).astype(dtype)
        back[0], start[0] = np.eye(2), 0.5 * (np.array(shape[2:]) - 1)
        start[-1] = 1e6
        return lambda: (resampling.resample_affine(x, back, start),)

    return make


#: What the compiled version is expected to take, and its name there.
COMPILED: dict[str, tuple[str, Case]] = {
    "pool 2x2": ("unpool", pooled((3, 5, 8, 6), (2, 2), (2, 2), layout="channels last")),
    "pool 3x2": ("unpool", pooled((2, 33, 9, 8), (3, 2), (3, 2), layout="channels last")),
    "pool with a margin": ("unpool", pooled((2, 4, 7, 5), (2, 2), (2, 2), layout="channels last")),
    "pool 1x1": ("unpool", pooled((1, 1, 1, 1), (1, 1), (1, 1), layout="channels last")),
    "pool padded": (
        "unpool",
        pooled((2, 3, 6, 7), (3, 3), (3, 3), (1, 1), layout="channels last"),
    ),
    "pool of no images": ("unpool", pooled((0, 3, 4, 4), (2, 2), (2, 2), layout="channels last")),
    "pool overlapping": (
        "max_pool2d",
        pooled((2, 3, 7, 9), (3, 3), (2, 1), (1, 0), layout="channels last"),
    ),
    "pool noting places": ("spread_places", noted((3, 5, 8, 6))),
    "pool noting places, with a margin": ("pool_places", noted((2, 33, 7, 5))),
    "average": (
        "avg_pool2d",
        averaged((3, 5, 8, 6), (2, 2), (2, 2), layout="channels last"),
    ),
    "average 3x2": (
        "avg_pool2d",
        averaged((2, 33, 9, 8), (3, 2), (3, 2), layout="channels last"),
    ),
    "average spread": (
        "avg_spread",
        averaged((3, 6, 8, 6), (2, 2), (2, 2), layout="channels last"),
    ),
    "average, channels first": (
        "avg_spread",
        averaged((3, 6, 8, 6), (2, 2), (2, 2), layout="channels first"),
    ),
    "average with a margin": (
        "avg_spread",
        averaged((2, 4, 7, 5), (2, 2), (2, 2), layout="channels last"),
    ),
    "average padded": (
        "avg_pool2d",
        averaged((2, 3, 6, 7), (3, 3), (3, 3), (1, 1), layout="channels last"),
    ),
    "average overlapping": (
        "avg_pool2d",
        averaged((2, 3, 7, 9), (3, 3), (2, 1), (1, 0), layout="channels last"),
    ),
    "pool one channel": ("unpool", pooled((3, 1, 8, 8), (2, 2), (2, 2), layout="channels first")),
    "conv 3x3": (
        "col2im",
        spread((2, 5, 9, 8), 4, (3, 3), (1, 1), (1, 1), (1, 1), layout="channels last"),
    ),
    "conv one channel": (
        "col2im",
        spread((3, 1, 7, 7), 2, (3, 3), (1, 1), (0, 0), (1, 1), layout="channels first"),
    ),
    "conv strided": (
        "col2im",
        spread((2, 3, 11, 10), 4, (3, 2), (2, 3), (1, 0), (1, 1), layout="cropped"),
    ),
    "conv dilated": (
        "col2im",
        spread((2, 3, 12, 13), 4, (2, 3), (2, 1), (2, 3), (3, 2), layout="channels last"),
    ),
    "conv 1x1": (
        "col2im",
        spread((2, 3, 5, 4), 6, (1, 1), (1, 2), (0, 1), (1, 1), layout="channels last"),
    ),
    "conv padded beyond the image": (
        "col2im",
        spread((2, 3, 2, 2), 2, (3, 3), (1, 1), (4, 5), (1, 1), layout="channels last"),
    ),
    "depthwise 3x3": (
        "depthwise",
        each_channel((2, 20, 19, 18), (3, 3), (1, 1), (1, 1), (1, 1), layout="channels last"),
    ),
    "depthwise strided": (
        "depthwise_input",
        each_channel((3, 20, 21, 18), (3, 3), (2, 2), (1, 1), (1, 1), layout="channels last"),
    ),
    "depthwise dilated": (
        "depthwise_weight",
        each_channel((2, 24, 22, 21), (3, 3), (1, 1), (3, 1), (2, 3), layout="channels first"),
    ),
    "depthwise wide": (
        "depthwise",
        each_channel((2, 18, 18, 21), (5, 2), (2, 3), (0, 4), (1, 2), layout="cropped"),
    ),
    "depthwise padded beyond the image": (
        "depthwise_input",
        each_channel((64, 20, 2, 2), (3, 3), (1, 1), (4, 5), (1, 1), layout="channels last"),
    ),
    "conv of few channels": (
        "im2row",
        convolved((2, 4, 9, 8), 4, (2, 2), (1, 1), (1, 1), (1, 1), layout="channels first"),
    ),
    "conv of one channel": (
        "im2row",
        convolved((40, 1, 28, 28), 6, (5, 5), (1, 1), (2, 2), (1, 1), layout="channels last"),
    ),
    "conv of few channels, strided": (
        "im2row",
        convolved((2, 2, 11, 10), 4, (3, 2), (2, 3), (1, 0), (1, 1), layout="channels first"),
    ),
    "conv of few channels, dilated": (
        "im2row",
        convolved((2, 2, 12, 13), 4, (2, 3), (2, 1), (2, 3), (3, 2), layout="channels first"),
    ),
    "conv of one channel, cropped": (
        "im2row",
        convolved((2, 1, 9, 8), 3, (3, 3), (1, 1), (1, 1), (1, 1), layout="cropped"),
    ),
    "conv of one channel, padded beyond the image": (
        "im2row",
        convolved((2, 1, 2, 2), 2, (3, 3), (2, 3), (4, 5), (1, 1), layout="channels last"),
    ),
    "conv of one channel, directly": (
        "direct_weight",
        directly((9, 8, 11), 32, (1, 1), layout="channels first"),
    ),
    "conv of one channel, directly, cropped": (
        "direct_conv",
        directly((3, 5, 4), 16, (0, 2), layout="cropped"),
    ),
    "conv of one channel, directly, read-only": (
        "direct_conv",
        directly((2, 1, 3), 3, (1, 0), layout="read-only"),
    ),
    "conv wide": (
        "im2col",
        convolved((3, 11, 9, 8), 4, (3, 3), (1, 1), (1, 1), (1, 1), layout="channels last"),
    ),
    "conv wide, strided": (
        "im2col",
        convolved((2, 16, 11, 10), 4, (3, 2), (2, 3), (1, 0), (1, 1), layout="cropped"),
    ),
    "conv wide, dilated": (
        "im2col",
        convolved((2, 11, 12, 13), 4, (2, 3), (2, 1), (2, 3), (3, 2), layout="channels first"),
    ),
    "conv wide, padded beyond the image": (
        "im2col",
        convolved((2, 32, 2, 2), 2, (3, 3), (1, 1), (4, 5), (1, 1), layout="channels last"),
    ),
    "conv wide, many images": (
        "im2col",
        convolved((40, 16, 14, 14), 3, (3, 3), (1, 1), (1, 1), (1, 1), layout="channels last"),
    ),
    "batch norm": ("normalized_back", batch_norm((5, 7, 4, 6), "channels last")),
    "batch norm of many": ("channel_squares", batch_norm((70, 16, 9, 9), "channels last")),
    "batch norm, channels first": ("scale_channels", batch_norm((5, 7, 4, 6), "channels first")),
    "batch norm, read-only": ("scale_channels", batch_norm((5, 7, 4, 6), "cropped")),
    "batch norm of pixels": ("channel_products", batch_norm((9, 5, 1, 1), "channels last")),
    "batch norm alone": (
        "normalized_back",
        batch_norm((5, 3, 4, 6), "channels last", affine=False),
    ),
    "layer norm": ("scale_rows_back", layer_norm((3, 5, 12))),
    "layer norm of many": ("scale_rows_back", layer_norm((3001, 64))),
    "layer norm alone": ("scale_rows", layer_norm((7, 5), affine=False)),
    "layer norm of one": ("scale_rows", layer_norm((4, 1))),
    "layer norm of whole lanes": ("row_moments", layer_norm((300, 128))),
    "layer norm of odd length": ("rows_by_weight", layer_norm((9, 61, 147))),
    "softmax": ("weigh_rows", softmax((2, 3, 5, 7))),
    "softmax of odd rows": ("below_top", softmax((5, 6), odd=True)),
    "softmax of one": ("divide_rows", softmax((4, 1))),
    "sum of rows": ("channel_sums", summed((3001, 13), 1)),
    "sum of pairs": ("channel_sums", summed((5000, 2), 1)),
    "sum over two axes": ("channel_sums", summed((7, 30, 5, 3), 2)),
    "softmax of long rows": ("divide_rows", softmax((300, 147))),
    "attention": ("weigh_rows", attended(3, 7, 10, 2)),
    "attention of many": ("below_top", attended(37, 65, 8, 4)),
    "attention to itself alone": ("divide_rows", attended(5, 1, 3, 3)),
    "resampled": ("resample", resampled((5, 3, 9, 7), (6, 11))),
    "resampled, one channel": ("resample", resampled((40, 1, 28, 28), (28, 28))),
    "affine images": ("resample_affine", mapped((40, 1, 28, 28))),
    "affine images of 3 channels": ("resample_affine", mapped((5, 3, 9, 7))),
    "masked channels last": ("masked", masked((3, 5, 4, 7), "channels last")),
    "masked channels first": ("masked", masked((3, 5, 4, 7), "channels first")),
    "masked of nothing": ("masked", masked((0, 5, 4, 7), "channels last")),
    "relu": ("relu_gradient", rectified((3, 5, 4, 7), "channels first", here=False)),
    "relu channels last": ("relu", rectified((3, 5, 4, 7), "channels last", here=False)),
    "relu in place": ("relu_here", rectified((3, 5, 4, 7), "channels last", here=True)),
    "relu's gradient in place": (
        "relu_gradient_here",
        rectified((3, 5, 4, 7), "channels first", here=True),
    ),
    "relu of one": ("relu", rectified((1, 1, 1, 1), "channels first", here=False)),
    "affine": ("turn", affine_map(5, here=False)),
    "affine with relu": ("add_relu", affine_map(70, here=False)),
    "affine with relu in place": ("add_relu_here", affine_map(7, here=True)),
    "cross-entropy": ("entropy_gradient", entropy_of((7, 10))),
    "cross-entropy of many": ("entropy_top", entropy_of((1100, 33))),
    "cross-entropy, smoothed": ("entropy_gradient", entropy_of((9, 5), 0.1)),
    "cross-entropy of odd rows": ("entropy_top", entropy_of((6, 4), odd=True)),
    "cross-entropy of one class": ("entropy_top", entropy_of((4, 1))),
    "lstm": ("lstm_back", lstm_along(3, 5, 37)),
    "lstm of one": ("lstm_of_tanh", lstm_along(1, 1, 1)),
    "lstm of many": ("lstm_halved", lstm_along(2, 40, 8)),
    "lstm of odd width": ("lstm_cell", lstm_along(2, 3, 13)),
    "adam": ("adam", adam(1001)),
    "adam, weight decay": ("adam", adam(1001, weight_decay=0.1)),
    "adamw": ("adam", adam(1001, weight_decay=0.1, decoupled=True)),
    "adam of fading moments": ("adam", adam_fading(5000)),
    "adam of one": ("adam", adam(1, eps=1e-3, beta1=0.0)),
    "adam of NumPy's numbers": ("adam", adam(100, lr=np.float64(1e-2))),
    "adam of nothing": ("adam", adam(0)),
}

#: What it is expected to take of float32 alone.
FLOAT32: dict[str, tuple[str, Case]] = {
    "tiles": ("spread_tiles", by_tiles((3, 8, 8, 12), 9, (1, 1))),
    "tiles without padding": ("gather_tiles", by_tiles((2, 9, 10, 7), 8, (0, 0), bias=False)),
    "tiles with much padding": ("spread_gradients", by_tiles((2, 3, 5, 3), 2, (2, 1))),
    "tiles of one pixel": ("gather_tiles", by_tiles((1, 2, 1, 1), 1, (1, 2))),
    "tiles of many": ("spread_gradients", by_tiles((70, 17, 14, 14), 33, (1, 1))),
    "bell channels last": ("gelu_gradient", bell((3, 5, 4, 7), "channels last")),
    "bell channels first": ("gelu", bell((3, 5, 4, 7), "channels first")),
    "bell cropped": ("erf", bell((3, 5, 4, 7), "cropped")),
    "bell of many": ("gelu_gradient", bell((5, 32, 31, 17), "channels last")),
}

#: What the compiled version leaves to NumPy's, and its name there.
LEFT: dict[str, tuple[str, Case]] = {
    "pool channels first": (
        "max_pool2d",
        pooled((2, 3, 8, 6), (2, 2), (2, 2), layout="channels first"),
    ),
    "pool cropped": ("max_pool2d", pooled((2, 3, 8, 6), (2, 2), (2, 2), layout="cropped")),
    "pool read-only": ("max_pool2d", pooled((2, 3, 8, 6), (2, 2), (2, 2), layout="read-only")),
    "unpool overlapping": (
        "unpool",
        pooled((2, 3, 7, 7), (3, 3), (2, 2), layout="channels last"),
    ),
    "batch norm of one channel": ("channel_sums", batch_norm((3, 1, 8, 8), "channels last")),
    "conv of few channels, channels last": (
        "im2col",
        convolved((2, 3, 9, 8), 4, (3, 3), (1, 1), (1, 1), (1, 1), layout="channels last"),
    ),
    "sum of one row": ("channel_sums", summed((1, 13), 1)),
    "sum of numbers": ("channel_sums", summed((3001, 1), 1)),
    "relu cropped": ("relu", rectified((3, 5, 4, 7), "cropped", here=False)),
    "cross-entropy of no rows": ("entropy_top", entropy_of((0, 4))),
    "conv of some pixels": (
        "col2im",
        spread((2, 3, 5, 4), 6, (1, 1), (2, 3), (0, 0), (1, 1), layout="channels last"),
    ),
    "conv of some pixels, forward": (
        "im2col",
        convolved((2, 33, 5, 4), 6, (1, 1), (3, 2), (0, 0), (1, 1), layout="channels last"),
    ),
    # every pixel is a patch of its own
    "conv of pixels": (
        "col2im",
        spread((2, 3, 5, 4), 6, (1, 1), (1, 1), (0, 0), (1, 1), layout="channels last"),
    ),
    "conv of pixels, forward": (
        "im2col",
        convolved((2, 33, 5, 4), 6, (1, 1), (1, 1), (0, 0), (1, 1), layout="channels last"),
    ),
    "masked cropped": ("masked", masked((3, 5, 4, 7), "cropped")),
    "masked read-only": ("masked", masked((3, 5, 4, 7), "read-only")),
    # no image, so no patch to add
    "conv of no images": (
        "col2im",
        spread((0, 3, 5, 5), 2, (3, 3), (1, 1), (1, 1), (1, 1), layout="channels last"),
    ),
}
