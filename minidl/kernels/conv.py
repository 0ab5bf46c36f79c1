"""Convolution as matrix products, over images that lie channels-last in memory.

Users see ``(N, C, H, W)``; here the same memory is viewed as ``(N, H, W, C)``. The patches under
the kernel are copied out as rows (im2col) for a few images at a time, so that they are still in
cache when BLAS multiplies them, and never all exist at once. Results are views that are
channels-last again, so a chain of convolutions reorders nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.autograd.arrays import others
from minidl.autograd.primitive import Array
from minidl.kernels import direct, memory, parallel, selection, winograd
from minidl.kernels.rectifying import relu

Pair = tuple[int, int]

#: Bytes of patches at a time: about half the L2 cache of one core of a current CPU.
BLOCK_BYTES = 1 << 20
#: On a device there is no such cache to keep to, and a block costs the start of its kernels.
DEVICE_BLOCK_BYTES = 1 << 28

#: Numbers in a row of the kernel, over all channels, from which they are copied as a run.
WIDE = 32

#: Channels up to which patches of an image that lies channels-first are laid as columns.
FEW = 4


def output_size(
    name: str, size: Any, kernel: Any, stride: Pair, padding: Pair, dilation: Pair
) -> Pair:
    """Height and width of the result.

    Raises
    ------
    ValueError
        The kernel reaches beyond the padded image, or a stride or dilation is below 1.
    """
    if min(stride) < 1 or min(dilation) < 1 or min(padding) < 0:
        raise ValueError(
            f"{name}: stride and dilation must be at least 1, padding at least 0; got stride "
            f"{stride}, padding {padding}, dilation {dilation}"
        )
    lengths = []
    for length, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True):
        room = length + 2 * p - d * (k - 1) - 1
        if room < 0:
            raise ValueError(
                f"{name}: the kernel {tuple(kernel)} (dilation {dilation}) reaches beyond the "
                f"image {tuple(size)} with padding {padding}"
            )
        lengths.append(room // s + 1)
    return lengths[0], lengths[1]


def channels_last(x: Array) -> Array:
    """View or copy ``(N, C, H, W)`` as contiguous ``(N, H, W, C)``."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1), like=x)


def _padded(x: Array, padding: Pair) -> Array:
    images = x.transpose(0, 2, 3, 1)
    if padding == (0, 0):
        return np.ascontiguousarray(images, like=x)
    n, h, w, c = images.shape
    out = memory.zeros((n, h + 2 * padding[0], w + 2 * padding[1], c), x.dtype, x)
    out[:, padding[0] : padding[0] + h, padding[1] : padding[1] + w] = images
    return out


def _patches(images: Array, kernel: Pair, stride: Pair, dilation: Pair, out: Pair) -> Array:
    """View every patch: ``(N, OH, OW, KH, KW, C)``, overlapping in memory."""
    n, _, _, c = images.shape
    if type(images) in others:
        reach = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
        every: Array = np.lib.stride_tricks.sliding_window_view(images, reach, (1, 2))
        windows = every[:, :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]
        return windows.transpose(0, 1, 2, 4, 5, 3)
    sn, sh, sw, sc = images.strides
    return np.lib.stride_tricks.as_strided(
        images,
        (n, *out, *kernel, c),
        (sn, sh * stride[0], sw * stride[1], sh * dilation[0], sw * dilation[1], sc),
        writeable=False,
    )


class _Columns:
    """The patches of images, a few images at a time; threads have room of their own."""

    def __init__(
        self, x: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, out: Pair
    ) -> None:
        self.how = (out, kernel, stride, dilation, padding)
        self.length = kernel[0] * kernel[1] * x.shape[1]
        self.rows = out[0] * out[1]
        self.alone = _pixels(kernel, padding)
        if self.alone:
            self.images = channels_last(x[:, :, :: stride[0], :: stride[1]])
            self.split = _whole(x)  # one large product, which BLAS has its own threads for
            return
        self.images = channels_last(x)
        self.split, self.step = _shared(x, self.rows * self.length)
        room = (self.split.seats, self.step * self.rows, self.length)
        self.room = memory.empty(room, x.dtype, x)
        pays = kernel[1] * x.shape[1] >= WIDE
        self.fast = selection.compiled(self.images, self.room) if pays else None
        if self.fast is None:
            self.patches = _patches(_padded(x, padding), kernel, stride, dilation, out)

    def blocks(self, number: int, seat: int) -> Iterator[tuple[slice, Array]]:
        """Yield which images of a group, and their patches as rows; the next overwrite them."""
        if self.alone:  # the images are their patches
            yield slice(0, len(self.images)), self.images.reshape(-1, self.length)
            return
        for block in parallel.blocks(self.split.groups[number], self.step):
            columns = self.room[seat, : (block.stop - block.start) * self.rows]
            if self.fast is None:
                columns.reshape(self.patches[block].shape)[...] = self.patches[block]
            else:
                self.fast.im2col(self.images[block], columns, *self.how)
            yield block, columns


def _pixels(kernel: Pair, padding: Pair) -> bool:
    """Whether each patch is a pixel."""
    return tuple(kernel) == (1, 1) and padding == (0, 0)


def _few(x: Array) -> bool:
    """Whether patches are laid as columns: rows of them would be too short to copy as runs."""
    if type(x) in others or not x.size:
        return False
    return x.shape[1] == 1 or (x.shape[1] <= FEW and x.flags.c_contiguous)


class _Turned:
    """The patches of images of few channels as columns ``(C·KH·KW, patches)``, likewise.

    ``more`` rows of ones come behind them, to be multiplied with a bias.
    """

    def __init__(
        self,
        x: Array,
        kernel: Pair,
        stride: Pair,
        padding: Pair,
        dilation: Pair,
        out: Pair,
        more: int = 0,
    ) -> None:
        self.how = (out, kernel, stride, dilation, padding)
        self.images = np.ascontiguousarray(x)
        self.length, self.rows = kernel[0] * kernel[1] * x.shape[1], out[0] * out[1]
        each = self.rows * (self.length + more)
        self.split, self.step = _shared(x, each)
        self.room = memory.empty((self.split.seats, self.step * each), x.dtype)
        self.more = more
        self.fast = selection.compiled(self.images, self.room)
        if self.fast is None:
            self.patches = _patches(_padded(x, padding), kernel, stride, dilation, out)

    def blocks(self, number: int, seat: int) -> Iterator[tuple[slice, Array]]:
        """Yield which images of a group, and their patches; the next overwrite them."""
        for block in parallel.blocks(self.split.groups[number], self.step):
            count = (block.stop - block.start) * self.rows
            whole = self.length + self.more
            columns = self.room[seat, : whole * count].reshape(whole, count)
            if self.fast is None:
                laid = self.patches[block].transpose(5, 3, 4, 0, 1, 2)
                columns[: self.length].reshape(laid.shape)[...] = laid
            else:
                self.fast.im2row(self.images[block], columns, *self.how)
            columns[self.length :] = 1
            yield block, columns


def _shared(x: Array, each: int) -> tuple[parallel.Split, int]:
    """Split images of ``each`` numbers of patches among threads; and so many are laid at a time."""
    if type(x) in others:
        return _whole(x), max(1, min(len(x), DEVICE_BLOCK_BYTES // max(1, each * x.itemsize)))
    how = parallel.split(len(x), 2 * len(x) * each)
    step = max(1, BLOCK_BYTES // max(1, each * x.itemsize))
    longest = max(group.stop - group.start for group in how.groups)
    return how, max(1, min(step, longest))


def _whole(x: Array) -> parallel.Split:
    return parallel.Split([slice(0, len(x))], 1)


def _as_matrix(weight: Array) -> Array:
    """``(O, C, KH, KW)`` as ``(KH·KW·C, O)``, rows in the order of a patch."""
    return np.ascontiguousarray(weight.transpose(2, 3, 1, 0), like=weight).reshape(
        -1, weight.shape[0]
    )


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None,
    *,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    rectify: bool = False,
) -> Array:
    """Correlate ``x (N, C, H, W)`` with ``weight (O, C, KH, KW)``; add ``bias (O,)``.

    ``rectify`` makes it what ReLU makes of that.
    """
    kernel = weight.shape[2], weight.shape[3]
    size = output_size("conv2d", x.shape[2:], kernel, stride, padding, dilation)
    how = {"stride": stride, "padding": padding, "dilation": dilation}
    if winograd.pays(x, weight, weight.shape[:2], kernel, how, size):
        made = winograd.conv2d(channels_last(x), weight, bias, padding, size, rectify)
        return made.transpose(0, 3, 1, 2)
    if direct.pays(x, weight, (x.shape[1], len(weight)), kernel, how):
        return direct.conv2d(x, weight, bias, padding, size, rectify).transpose(0, 3, 1, 2)
    rows, outputs = size[0] * size[1], weight.shape[0]
    out = memory.empty((len(x), rows, outputs), np.result_type(x, weight), x)
    taken: _Columns | _Turned
    if _few(x):
        matrix = np.ascontiguousarray(weight.reshape(outputs, -1).T)
        if bias is not None:
            matrix = np.concatenate([matrix, bias[np.newaxis]])
        taken = _Turned(x, kernel, stride, padding, dilation, size, 0 if bias is None else 1)
    else:
        matrix = _as_matrix(weight)
        taken = _Columns(x, kernel, stride, padding, dilation, size)

    def work(number: int, seat: int) -> None:
        for block, patches in taken.blocks(number, seat):
            part = out[block].reshape(-1, outputs)
            if isinstance(taken, _Turned):
                np.matmul(patches.T, matrix, out=part)
            else:
                np.matmul(patches, matrix, out=part)
                if bias is not None:
                    part += bias
            if rectify:
                relu(part, out=part)  # while the part is in cache

    parallel.each(work, taken.split)
    return out.reshape(len(x), *size, outputs).transpose(0, 3, 1, 2)


def conv2d_weight(
    g: Array, x: Array, *, size: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Array:
    """Correlate ``g (N, O, OH, OW)`` with ``x``: the gradient of the weight, kernel ``size``."""
    length, out = size[0] * size[1] * x.shape[1], (g.shape[2], g.shape[3])
    how = {"stride": stride, "padding": padding, "dilation": dilation}
    if winograd.pays(x, g, (x.shape[1], g.shape[1]), size, how, out):
        return winograd.conv2d_weight(channels_last(g), channels_last(x), padding)
    if direct.pays(x, g, (x.shape[1], g.shape[1]), size, how):
        return direct.conv2d_weight(channels_last(g), x, padding)
    rows = channels_last(g).reshape(len(g), out[0] * out[1], g.shape[1])
    taken: _Columns | _Turned
    laid = _few(x)
    taken = (_Turned if laid else _Columns)(x, size, stride, padding, dilation, out)
    shape = (len(taken.split.groups), length, g.shape[1])
    totals = memory.zeros(shape, np.result_type(g, x), g)

    def work(number: int, seat: int) -> None:
        for block, patches in taken.blocks(number, seat):
            turned = patches if laid else patches.T
            totals[number] += turned @ rows[block].reshape(-1, g.shape[1])

    parallel.each(work, taken.split)
    total = parallel.added(totals)
    if laid:
        return total.T.reshape(g.shape[1], x.shape[1], *size)
    return total.reshape(*size, x.shape[1], g.shape[1]).transpose(3, 2, 0, 1)


def conv2d_input(
    g: Array, weight: Array, *, size: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Array:
    """Spread ``g (N, O, OH, OW)`` back over the images of height and width ``size``."""
    o, c, kh, kw = weight.shape
    n, _, oh, ow = g.shape
    how = {"stride": stride, "padding": padding, "dilation": dilation}
    if winograd.pays(g, weight, (o, c), (kh, kw), how, size):
        made = winograd.conv2d_input(channels_last(g), weight, padding, size)
        return made.transpose(0, 3, 1, 2)
    rows = channels_last(g).reshape(n, oh * ow, o)
    matrix = np.ascontiguousarray(_as_matrix(weight).T, like=weight)
    if _pixels((kh, kw), padding):
        return _pixels_back(rows, matrix, (oh, ow), size, stride)
    out = memory.zeros((n, *size, c), np.result_type(g, weight), g)
    # A result without gaps in memory, padding or not: what comes next walks it in one run.
    fast = selection.compiled(out, rows, matrix)
    shared, step = _shared(g, oh * ow * matrix.shape[1])
    room = memory.empty((shared.seats, step * oh * ow, matrix.shape[1]), out.dtype, g)

    def work(number: int, seat: int) -> None:
        for block in parallel.blocks(shared.groups[number], step):
            patches = room[seat, : (block.stop - block.start) * oh * ow]
            np.matmul(rows[block].reshape(-1, o), matrix, out=patches)
            if fast is not None:
                fast.col2im(patches, out[block], (oh, ow), (kh, kw), stride, dilation, padding)
            else:
                _add_patches(
                    patches.reshape(-1, oh, ow, kh, kw, c), out[block], stride, dilation, padding
                )

    parallel.each(work, shared)
    return out.transpose(0, 3, 1, 2)


def _pixels_back(rows: Array, matrix: Array, out: Pair, size: Pair, stride: Pair) -> Array:
    """Multiply ``rows (N, OH·OW, O)`` with ``matrix (O, C)``: pixels of images of ``size``."""
    count, channels = len(rows), matrix.shape[1]
    dtype = np.result_type(rows, matrix)
    if out == tuple(size):  # every pixel
        whole = memory.empty((count, *size, channels), dtype, rows)
        np.matmul(rows.reshape(-1, len(matrix)), matrix, out=whole.reshape(-1, channels))
        return whole.transpose(0, 3, 1, 2)
    whole = memory.zeros((count, *size, channels), dtype, rows)
    found = np.matmul(rows.reshape(-1, len(matrix)), matrix).reshape(count, *out, channels)
    reach = (out[0] - 1) * stride[0] + 1, (out[1] - 1) * stride[1] + 1
    whole[:, : reach[0] : stride[0], : reach[1] : stride[1]] = found
    return whole.transpose(0, 3, 1, 2)


def _add_patches(patches: Array, out: Array, stride: Pair, dilation: Pair, padding: Pair) -> None:
    """Add ``patches (N, OH, OW, KH, KW, C)`` to where they lie in ``out (N, H, W, C)``."""
    _, oh, ow, kh, kw, _ = patches.shape
    n, h, w, c = out.shape
    images = np.zeros((n, h + 2 * padding[0], w + 2 * padding[1], c), out.dtype, like=out)
    for i in range(kh):
        for j in range(kw):
            top, left = i * dilation[0], j * dilation[1]
            images[
                :,
                top : top + stride[0] * (oh - 1) + 1 : stride[0],
                left : left + stride[1] * (ow - 1) + 1 : stride[1],
            ] += patches[:, :, :, i, j]
    out[...] = images[:, padding[0] : padding[0] + h, padding[1] : padding[1] + w]
