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


@kernel
def lstm_halved(shares: Array, bias: Array, gates: Array, work: Array) -> None:
    """Add ``shares`` and ``bias`` to ``gates``, and write what tanh is to be taken of.

    ``gates (N, 4 H)`` in the order i, f, g, o. A sigmoid is made of the tanh of half its argument.
    """
    count, width = gates.shape
    n = width // 4
    half = gates.dtype.type(0.5)
    for i in range(count):
        into, share, row = gates[i], shares[i], work[i]
        for j in range(width):
            into[j] = into[j] + share[j] + bias[j]
        for j in range(width):
            row[j] = into[j] * half
        plain, new = into[2 * n : 3 * n], row[2 * n : 3 * n]
        for j in range(n):
            new[j] = plain[j]


@kernel
def lstm_of_tanh(gates: Array, work: Array) -> None:
    """Write what tanh is to be taken of, as `lstm_halved`, of gates that are whole."""
    count, width = gates.shape
    n = width // 4
    half = gates.dtype.type(0.5)
    for i in range(count):
        whole, row = gates[i], work[i]
        for j in range(width):
            row[j] = whole[j] * half
        plain, new = whole[2 * n : 3 * n], row[2 * n : 3 * n]
        for j in range(n):
            new[j] = plain[j]


@kernel
def lstm_cell(work: Array, before: Array, cell: Array) -> None:
    """Write the next cell state, from the tanh of ``work``."""
    count, n = cell.shape
    half = cell.dtype.type(0.5)
    for i in range(count):
        for j in range(n):
            enter, forget = work[i, j] * half + half, work[i, n + j] * half + half
            cell[i, j] = enter * work[i, 2 * n + j] + forget * before[i, j]


@kernel
def lstm_hidden(work: Array, shade: Array, hidden: Array) -> None:
    """Write the hidden state; ``shade`` is the tanh of the cell state."""
    count, n = hidden.shape
    half = hidden.dtype.type(0.5)
    for i in range(count):
        for j in range(n):
            hidden[i, j] = (work[i, 3 * n + j] * half + half) * shade[i, j]


@kernel
def lstm_back(
    work: Array,
    before: Array,
    shade: Array,
    above: Array,
    later: Array,
    memory: Array,
    out: Array,
) -> None:
    """Write the cotangent of the gates, and turn ``memory``, that of the cell, into the one before.

    ``above`` and ``later`` are what the hidden state's cotangent is the sum of. ``work`` and
    ``later`` are used up. The loops are many, since LLVM looks for overlaps between few arrays only
    before it gives a loop up; a row stays in the nearest cache through all of them.
    """
    count, n = memory.shape
    half, one = memory.dtype.type(0.5), memory.dtype.type(1)
    for i in range(count):
        both, new = work[i, : 2 * n], work[i, 2 * n : 3 * n]
        enter, forget = both[:n], both[n:]
        show, dark, hidden, cell, up = work[i, 3 * n :], shade[i], later[i], memory[i], above[i]
        first, second, last = out[i, :n], out[i, n : 2 * n], before[i]
        third, fourth = out[i, 2 * n : 3 * n], out[i, 3 * n :]
        for j in range(2 * n):
            both[j] = both[j] * half + half
        for j in range(n):
            show[j] = show[j] * half + half
        for j in range(n):
            hidden[j] = up[j] + hidden[j]
        for j in range(n):
            cell[j] = hidden[j] * show[j] * (one - dark[j] * dark[j]) + cell[j]
        for j in range(n):
            fourth[j] = hidden[j] * dark[j] * show[j] * (one - show[j])
        for j in range(n):
            first[j] = cell[j] * new[j] * enter[j] * (one - enter[j])
        for j in range(n):
            third[j] = cell[j] * enter[j] * (one - new[j] * new[j])
        for j in range(n):
            second[j] = cell[j] * last[j] * forget[j] * (one - forget[j])
        for j in range(n):
            cell[j] = cell[j] * forget[j]
