"""Pooling that remembers where the maxima were, alone or right behind the first convolution.

The gradient of ReLU and max pooling goes to one place of each window, or to none. Where a step is
recorded, and so knows in its forward pass that there will be a backward one, the pooling notes the
place in a byte; then the backward pass reads neither the image that was pooled nor the maxima. And
if that image is the convolution of images of one channel (`minidl.kernels.direct`), it is made,
pooled and forgotten a few images at a time, in cache, and so is its gradient on the way back.

Maxima and places come packed in one array, since a recorded operation has one result (`maxima`).
Windows are 2x2 and do not overlap. The bits are those of the separate operations.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.autograd.primitive import Array
from minidl.kernels import conv, direct, memory, norm, parallel, pool, selection

Pair = tuple[int, int]
Shape = tuple[int, ...]
#: What a kernel asks memory for: shape, dtype, and whether it is the result.
Asked = list[tuple[Shape, Any, bool]]

#: Bytes of convolved images at a time: a part of the L2 cache of one core.
BLOCK_BYTES = 1 << 19

STEP: dict[str, Pair] = {"stride": (1, 1), "dilation": (1, 1)}
WINDOWS: dict[str, Pair] = {"size": (2, 2), "stride": (2, 2), "padding": (0, 0)}


def packed_length(size: int, dtype: Any) -> int:
    """Return the length of an array of ``size`` maxima and as many bytes."""
    return size + -(-size // np.dtype(dtype).itemsize)


def maxima(packed: Array, *, shape: Shape) -> Array:
    """View the maxima ``(N, C, OH, OW)`` in what holds them and their places."""
    return _parts(packed, shape)[0].transpose(0, 3, 1, 2)


def _parts(packed: Array, shape: Shape) -> tuple[Array, Array]:
    """View maxima and places ``(N, OH, OW, C)``, for maxima of ``shape (N, C, OH, OW)``."""
    laid, size = (shape[0], *shape[2:], shape[1]), math.prod(shape)
    return packed[:size].reshape(laid), packed[size:].view(np.uint8)[:size].reshape(laid)


# ---- pooling alone -------------------------------------------------------------------------------


def max_pool2d(x: Array) -> Array:
    """Return the maxima of windows of ``x (N, C, H, W)`` above 0, and their places, packed."""
    shape = (*x.shape[:2], x.shape[2] // 2, x.shape[3] // 2)
    packed = memory.empty((packed_length(math.prod(shape), x.dtype),), x.dtype)
    top, places = _parts(packed, shape)
    images = x.transpose(0, 2, 3, 1)
    if (fast := selection.compiled(images, packed)) is not None:
        work = lambda part: fast.pool_places(images[part], top[part], places[part])
        parallel.over(len(x), x.size, work)
        return packed
    _find_places(x, top, places)
    return packed


def unpool(g: Array, packed: Array, *, image: Shape) -> Array:
    """Put ``g (N, C, OH, OW)`` where the maxima were in images of the shape ``image``."""
    n, c, height, width = image
    out = memory.empty((n, height, width, c), g.dtype)
    top, places = _parts(packed, g.shape)
    laid = pool._laid_as(top.transpose(0, 3, 1, 2), g).transpose(0, 2, 3, 1)
    if height % 2 or width % 2:
        out.fill(0)
    if (fast := selection.compiled(out, laid)) is not None:
        work = lambda part: fast.spread_places(laid[part], places[part], out[part])
        parallel.over(n, 2 * out.size, work)
    else:
        _spread_places(laid, places, out)
    return out.transpose(0, 3, 1, 2)


def _find_places(x: Array, top: Array, places: Array) -> None:
    top[...] = pool.max_pool2d(x, **WINDOWS).transpose(0, 2, 3, 1)
    places[...] = 4
    for k, (_, hit) in enumerate(pool._hits(x, top.transpose(0, 3, 1, 2), (2, 2), (2, 2))):
        places[hit.transpose(0, 2, 3, 1) & (top > 0)] = k


def _spread_places(g: Array, places: Array, out: Array) -> None:
    _, height, width, _ = g.shape
    for k in range(4):
        i, j = divmod(k, 2)
        into = out[:, i : 2 * height : 2, j : 2 * width : 2]
        into[...] = np.where(places == k, g, g.dtype.type(0))


# ---- behind the first convolution ----------------------------------------------------------------


def _step(count: int, size: Pair, outputs: int, dtype: Any) -> int:
    """Return how many images are convolved at a time."""
    longest = -(-count // parallel.GROUPS) if count >= parallel.GROUPS else 1
    each = math.prod(size) * outputs * np.dtype(dtype).itemsize
    return max(1, min(longest, BLOCK_BYTES // each))


def forward_asks(shape: Shape, dtype: Any, placed: bool) -> Asked:
    """Say what `conv2d_relu_pool` asks for on one thread, for convolved images of ``shape``."""
    n, c, *size = shape
    scratch = (1, _step(n, (size[0], size[1]), c, dtype), *size, c)
    laid = (n, size[0] // 2, size[1] // 2, c)
    result = (packed_length(math.prod(laid), dtype),) if placed else laid
    return [(result, dtype, True), (scratch, dtype, False)]


def conv2d_relu_pool(
    x: Array, weight: Array, bias: Array | None, *, padding: Pair, placed: bool
) -> Array:
    """Convolve ``x (N, 1, H, W)`` with ``weight (O, 1, 3, 3)``, then ReLU, then max pooling.

    The result is maxima and places packed if ``placed``, else maxima alone.
    """
    size = conv.output_size("conv2d", x.shape[2:], (3, 3), (1, 1), padding, (1, 1))
    count, outputs = len(x), len(weight)
    shape = (count, outputs, size[0] // 2, size[1] // 2)
    laid = (count, *shape[2:], outputs)
    length = (packed_length(math.prod(shape), x.dtype),)
    result = memory.empty(length if placed else laid, x.dtype)
    how = parallel.split(count, 4 * math.prod(size) * count * outputs)
    step = _step(count, size, outputs, x.dtype)
    room = memory.empty((how.seats, step, *size, outputs), x.dtype)
    images, taps, shift = direct.prepared(x, weight, bias)
    top, places = _parts(result, shape) if placed else (result, result)
    fast = selection.compiled(room, images, taps, shift, result)
    if fast is None or not direct.pays(
        x, weight, (1, outputs), (3, 3), {"padding": padding, **STEP}
    ):
        made = conv.conv2d(x, weight, bias, padding=padding, rectify=True, **STEP)
        if placed:
            _find_places(made, top, places)
            return result
        return pool.max_pool2d(made, **WINDOWS)

    def work(number: int, seat: int) -> None:
        for block in parallel.blocks(how.groups[number], step):
            made = room[seat, : block.stop - block.start]
            fast.direct_conv(images[block], taps, shift, padding, True, made)
            if placed:
                fast.pool_places(made, top[block], places[block])
            else:
                fast.max_pool2d(made, top[block], (2, 2), (2, 2))

    parallel.each(work, how)
    return result if placed else result.transpose(0, 3, 1, 2)


def gradient_asks(shape: Shape, dtype: Any) -> Asked:
    """Say what `conv2d_relu_pool_gradient` asks for likewise."""
    n, c, *size = shape
    scratch = (1, _step(n, (size[0], size[1]), c, dtype), *size, c)
    groups = len(parallel.split(n, 0).groups)
    wanted = [((10, c), True), (scratch, False), ((groups, 3, 3 * c), False), ((n, c), False)]
    return [(shape, dtype, result) for shape, result in wanted]


def conv2d_relu_pool_gradient(
    g: Array, packed: Array, x: Array, *, padding: Pair, size: Pair
) -> Array:
    """Return the gradients of weight and bias from that of the maxima, packed as ``(10, O)``.

    ``size`` is that of the convolved images.
    """
    count, outputs = g.shape[:2]
    out = memory.empty((10, outputs), g.dtype)
    how = parallel.split(count, 4 * math.prod(size) * count * outputs)
    step = _step(count, size, outputs, g.dtype)
    room = memory.empty((how.seats, step, *size, outputs), g.dtype)
    sums = memory.zeros((len(how.groups), 3, 3 * outputs), g.dtype)
    biases = memory.empty((count, outputs), g.dtype)
    top, places = _parts(packed, g.shape)
    laid = pool._laid_as(top.transpose(0, 3, 1, 2), g).transpose(0, 2, 3, 1)
    images = direct._images(x)
    fast = selection.compiled(room, images, laid)
    if fast is None or not direct.pays(x, g, (1, outputs), (3, 3), {"padding": padding, **STEP}):
        whole = unpool(g, packed, image=(count, outputs, *size))
        made = conv.conv2d_weight(whole, x, size=(3, 3), padding=padding, **STEP)
        out[:9] = made.reshape(outputs, 9).T
        out[9] = norm.channel_sum(whole)
        return out
    if size[0] % 2 or size[1] % 2:
        room.fill(0)

    def work(number: int, seat: int) -> None:
        for block in parallel.blocks(how.groups[number], step):
            spread = room[seat, : block.stop - block.start]
            fast.spread_places(laid[block], places[block], spread)
            fast.direct_weight(images[block], spread, padding, sums[number])
            fast.channel_sums(spread.reshape(len(spread), -1, outputs), biases[block])

    parallel.each(work, how)
    out[:9] = parallel.added(sums).reshape(9, outputs)
    np.add.reduce(biases, axis=0, out=out[9])
    return out


def weight_of(packed: Array) -> Array:
    """View the weight's gradient ``(O, 1, 3, 3)`` in what holds both."""
    return packed[:9].reshape(3, 3, -1).transpose(2, 0, 1)[:, np.newaxis]


def bias_of(packed: Array) -> Array:
    """View the bias's gradient ``(O,)``."""
    return packed[9]
