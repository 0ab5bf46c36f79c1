"""Compiled kernels of what lies around matrix products: activations, losses, gates, updates.

The rules for them are those of `minidl.kernels.compiled`, which hands them on. One trap more:

- LLVM looks whether arrays overlap before it takes a vectorized loop, and where an array is given
  twice, as source and as target, it takes the other: 12 µs for 2. So what works in place stands
  beside, as ``…_here``. And what is read behind a condition is read one by one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd.primitive import Array
from minidl.kernels.jit import kernel


@kernel
def relu(x: Array, out: Array) -> None:
    """Write ``max(x, 0)``; NaN stays NaN. Both 1-d, and not in one place."""
    zero = x.dtype.type(0)
    for i in range(x.size):
        value = x[i]
        out[i] = value if (value > zero) | (value != value) else zero


@kernel
def relu_here(x: Array) -> None:
    """Turn ``x`` into that."""
    zero = x.dtype.type(0)
    for i in range(x.size):
        value = x[i]
        x[i] = value if (value > zero) | (value != value) else zero


@kernel
def relu_gradient(grad: Array, top: Array, out: Array) -> None:
    """Write ``grad`` where ``top``, what ReLU gave, is above 0, and 0 elsewhere. All 1-d."""
    zero = grad.dtype.type(0)
    for i in range(grad.size):
        value, gate = grad[i], top[i]
        out[i] = value if gate > zero else zero


@kernel
def relu_gradient_here(grad: Array, top: Array) -> None:
    """Turn ``grad`` into that."""
    zero = grad.dtype.type(0)
    for i in range(grad.size):
        value, gate = grad[i], top[i]
        grad[i] = value if gate > zero else zero


@kernel
def add_relu(rows: Array, bias: Array, out: Array) -> None:
    """Write ``max(rows + bias, 0)``, ``bias`` along the rows."""
    count, length = rows.shape
    zero = rows.dtype.type(0)
    for i in range(count):
        for j in range(length):
            value = rows[i, j] + bias[j]
            out[i, j] = value if (value > zero) | (value != value) else zero


@kernel
def add_relu_here(rows: Array, bias: Array) -> None:
    """Turn ``rows`` into that."""
    count, length = rows.shape
    zero = rows.dtype.type(0)
    for i in range(count):
        for j in range(length):
            value = rows[i, j] + bias[j]
            rows[i, j] = value if (value > zero) | (value != value) else zero


@kernel
def turn(columns: Array, bias: Array, rectify: bool, out: Array) -> None:
    """Write columns as rows, plus ``bias``, and through ReLU where asked for."""
    count, length = out.shape
    zero = out.dtype.type(0)
    for i in range(count):
        for j in range(length):
            value = columns[j, i] + bias[j]
            keep = (value > zero) | (value != value) | (not rectify)
            out[i, j] = value if keep else zero


@kernel
def entropy_top(rows: Array, target: Array, out: Array, picked: Array) -> None:
    """Write each row minus its maximum, and the number at the row's ``target`` of that."""
    count, length = rows.shape
    for i in range(count):
        top = rows[i, 0]
        for j in range(1, length):
            value = rows[i, j]
            top = value if (value > top) | (value != value) else top
        for j in range(length):
            out[i, j] = rows[i, j] - top
        picked[i] = out[i, np.uintp(target[i])]


@kernel
def entropy_gradient(
    rows: Array, total: Array, target: Array, grad: Array, spread: Any, peak: Any
) -> None:
    """Turn exponentials into ``(rows / total - goal) · grad``, one ``total`` and ``grad`` a row.

    The goal is ``spread`` everywhere and ``peak`` more at the target.
    """
    count, length = rows.shape
    for i in range(count):
        for j in range(length):
            rows[i, j] = rows[i, j] / total[i] - spread
        rows[i, np.uintp(target[i])] -= peak
        for j in range(length):
            rows[i, j] = rows[i, j] * grad[i]
