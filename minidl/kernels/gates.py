"""The gates of an LSTM, on ``gates (*, 4 n)`` in the order i, f, g, o before their nonlinearities.

A step's work is small, so what counts is the number of passes and of arrays: sigmoids are made of
one tanh for neighbouring gates, and results are built in place.
"""

from __future__ import annotations

import numpy as np

from minidl.autograd.primitive import Array
from minidl.kernels.memory import empty, zeros


def _sigmoid(x: Array) -> Array:
    """(1 + tanh(x/2)) / 2, which does not overflow."""
    half = np.multiply(x, 0.5, out=empty(x.shape, x.dtype))
    np.tanh(half, out=half)
    half *= 0.5
    half += 0.5
    return half


def memory(gates: Array, cell: Array) -> Array:
    """Return the next cell state: f · cell + i · g."""
    n = cell.shape[-1]
    both = _sigmoid(gates[..., : 2 * n])
    new = np.tanh(gates[..., 2 * n : 3 * n], out=empty(cell.shape, gates.dtype))
    new *= both[..., :n]
    kept = both[..., n:]
    kept *= cell
    new += kept
    return new


def memory_by_gates(grad: Array, gates: Array, cell: Array) -> Array:
    """Return the cotangent of ``gates`` from that of `memory`."""
    n = cell.shape[-1]
    out = empty(gates.shape, gates.dtype)
    both = _sigmoid(gates[..., : 2 * n])
    new = np.tanh(gates[..., 2 * n : 3 * n], out=empty(cell.shape, gates.dtype))
    into = out[..., : 2 * n]
    np.subtract(1.0, both, out=into)
    into *= both
    into[..., :n] *= new
    into[..., n:] *= cell
    into[..., :n] *= grad
    into[..., n:] *= grad
    new *= new
    np.subtract(1.0, new, out=new)
    new *= both[..., :n]
    np.multiply(new, grad, out=out[..., 2 * n : 3 * n])
    out[..., 3 * n :] = 0.0
    return out


def memory_by_cell(grad: Array, gates: Array, cell: Array) -> Array:
    """Return the cotangent of the cell state before: grad · f."""
    n = cell.shape[-1]
    forget = _sigmoid(gates[..., n : 2 * n])
    forget *= grad
    return forget


def shown(gates: Array, cell: Array) -> Array:
    """Return the hidden state: o · tanh(cell)."""
    hidden = _sigmoid(gates[..., 3 * cell.shape[-1] :])
    hidden *= np.tanh(cell)
    return hidden


def shown_by_gates(grad: Array, gates: Array, cell: Array) -> Array:
    """Return the cotangent of ``gates`` from that of `shown`."""
    n = cell.shape[-1]
    out = zeros(gates.shape, gates.dtype)
    open_ = _sigmoid(gates[..., 3 * n :])
    into = out[..., 3 * n :]
    np.subtract(1.0, open_, out=into)
    into *= open_
    into *= np.tanh(cell)
    into *= grad
    return out


def shown_by_cell(grad: Array, gates: Array, cell: Array) -> Array:
    """Return the cotangent of the cell state from that of `shown`."""
    slope = np.tanh(cell, out=empty(cell.shape, cell.dtype))
    slope *= slope
    np.subtract(1.0, slope, out=slope)
    slope *= _sigmoid(gates[..., 3 * cell.shape[-1] :])
    slope *= grad
    return slope
