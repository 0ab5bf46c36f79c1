"""Optimizer updates on flat arrays, in place.

The arrays are taken in blocks that stay in cache through all the passes of a formula: NumPy makes
one pass over memory for each operation, and a model's parameters do not fit the cache at once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minidl.autograd.arrays import others
from minidl.autograd.primitive import Array
from minidl.kernels import selection

#: Elements in a block: five arrays of this many float32 fit half an L2 cache of 1 MB.
BLOCK = 1 << 15

#: Steps from one flush of tiny moments to the next.
FLUSHED = 64


def _length(array: Array) -> int:
    """Elements in a block of this array: on a device, which has no such cache, all."""
    return len(array) or 1 if type(array) in others else BLOCK


def _blocks(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    length = _length(arrays[0])
    for start in range(0, len(arrays[0]), length):
        yield tuple(array[start : start + length] for array in arrays)


def sgd(
    value: Array,
    grad: Array,
    velocity: Array | None,
    *,
    first: bool,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
) -> None:
    """Stochastic gradient descent; ``velocity`` is None without momentum."""
    for p, g, b in _blocks(value, grad, value if velocity is None else velocity):
        step = g + weight_decay * p if weight_decay else g.copy()
        if velocity is not None:
            if first:
                b[...] = step
            else:
                b *= momentum
                b += (1.0 - dampening) * step
            step = step + momentum * b if nesterov else b.copy()
        step *= lr
        p -= step


def adam(
    value: Array,
    grad: Array,
    mean: Array,
    square: Array,
    *,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
) -> None:
    """Adam, and AdamW where weight decay is ``decoupled`` from the gradient.

    Every so many steps moments too small for a normal number become 0. Those of a parameter whose
    gradient has become 0 for good, as behind a ReLU that no longer opens, fade to such numbers in
    some 800 steps and stay there, and processors take a hundred cycles for each.
    """
    rate = float(lr / (1.0 - beta1**step))
    scale = float(1.0 / np.sqrt(1.0 - beta2**step))
    tiny = float(np.finfo(value.dtype).tiny) if step % FLUSHED == 0 else 0.0
    if (fast := selection.compiled(value, grad, mean, square)) is not None:
        shrink, decay = (1.0 - lr * weight_decay, 0.0) if decoupled else (1.0, weight_decay)
        constants = (shrink, decay, 1.0 - beta1, beta2, 1.0 - beta2, scale, eps, rate, tiny)
        fast.adam(value, grad, mean, square, *map(value.dtype.type, constants))
        return
    scratch = np.empty(min(_length(value), len(value)), value.dtype, like=value)
    for p, g, m, v in _blocks(value, grad, mean, square):
        work = scratch[: len(p)]
        if weight_decay and decoupled:
            p *= 1.0 - lr * weight_decay
        elif weight_decay:
            g = g + weight_decay * p
        np.subtract(g, m, out=work)
        work *= 1.0 - beta1
        m += work
        np.multiply(g, g, out=work)
        work *= 1.0 - beta2
        v *= beta2
        v += work
        np.sqrt(v, out=work)
        work *= scale
        work += eps
        np.divide(m, work, out=work)
        work *= rate
        p -= work
        if tiny:
            for moment in (m, v):
                np.abs(moment, out=work)
                moment[work < tiny] = 0.0
