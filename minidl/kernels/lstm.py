"""An LSTM along a whole sequence, forward and backward.

Only what one step needs of the one before is done step by step: one product and what follows it.
All else (the inputs' share, the gradients of both weights) is one product for all steps, elsewhere.

What is computed lies in one array, the *course*: gates before their nonlinearities
``(T, N, 4 H)``, hidden states ``(T + 1, N, H)`` from the first state on, and cell states
``(T, N, H)``, the last one first.
Backward takes the nonlinearities again, as that costs no more than to write and to read them. tanh
is NumPy's in both versions.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from minidl.autograd.primitive import Array
from minidl.kernels import memory, selection

Shape = tuple[int, int, int]


class Course(NamedTuple):
    """The parts of a course; ``hiddens[t + 1]`` and ``cells[-1 - t]`` belong to step t."""

    gates: Array
    hiddens: Array
    cells: Array


def parts(course: Array, shape: tuple[int, ...]) -> Course:
    """Take a course apart, for gates of ``shape (T, N, 4 H)``."""
    length, count, width = shape
    gates, step = length * count * width, count * (width // 4)
    cells = gates + (length + 1) * step
    return Course(
        course[:gates].reshape(shape),
        course[gates:cells].reshape(length + 1, count, width // 4),
        course[cells:].reshape(length, count, width // 4),
    )


def states(shares: Array, hidden: Array, cell: Array, weight: Array, bias: Array | None) -> Array:
    """Run along ``shares (T, N, 4 H)``, the inputs' share of the gates; return the course.

    ``hidden`` and ``cell (N, H)`` are the first states; ``weight (4 H, H)``, ``bias (4 H,)``.
    """
    shares, cell = map(np.ascontiguousarray, (shares, cell))
    dtype = shares.dtype
    course = memory.empty((shares.size + (2 * len(shares) + 1) * cell.size,), dtype)
    gates, hiddens, cells = parts(course, shares.shape)
    hiddens[0] = hidden
    turned = memory.empty(weight.shape[::-1], dtype)
    np.copyto(turned, weight.T)
    bias = np.zeros(len(weight), dtype) if bias is None else np.ascontiguousarray(bias, dtype)
    work = memory.empty(shares.shape[1:], dtype)
    shade = memory.empty(cell.shape, dtype)
    fast = selection.compiled(shares, course, small=True)
    for t in range(len(shares)):
        np.matmul(hiddens[t], turned, out=gates[t])
        now = cells[-1 - t]
        _halved(fast, shares[t], bias, gates[t], work)
        np.tanh(work, out=work)
        _cell(fast, work, cell, now)
        np.tanh(now, out=shade)
        _hidden(fast, work, shade, hiddens[t + 1])
        cell = now
    return course


def gates(shares: Array, hidden: Array, weight: Array, bias: Array | None, course: Array) -> Array:
    """Return the gates before their nonlinearities."""
    return parts(course, shares.shape).gates


def gates_by_weight(
    grad: Array, shares: Array, hidden: Array, weight: Array, bias: Any, course: Array
) -> Array:
    """Return the cotangent of ``weight`` from that of the gates: one product for all steps."""
    before = parts(course, shares.shape).hiddens[:-1]
    rows = grad.reshape(-1, grad.shape[2])
    out = memory.empty(weight.shape, weight.dtype)
    return np.matmul(rows.T, before.reshape(len(rows), -1), out=out)


def outputs(gates: Array, cell: Array, weight: Array, course: Array) -> Array:
    """Return ``(T + 1, N, H)``: the hidden states, and the last cell state."""
    length, count, width = gates.shape
    step = count * (width // 4)
    start = (4 * length + 1) * step
    return course[start : start + (length + 1) * step].reshape(length + 1, count, width // 4)


def _backward(
    grad: Array, gates: Array, cell: Array, weight: Array, course: Array, out: Array | None
) -> Array:
    """Write the cotangents of all gates to ``out``; return that of the first cell state."""
    grad, cell = map(np.ascontiguousarray, (grad, cell))
    found = parts(course, gates.shape)
    work = memory.empty(gates.shape[1:], gates.dtype)
    shade = memory.empty(cell.shape, gates.dtype)
    later = memory.zeros(cell.shape, gates.dtype)
    kept = grad[-1].copy()
    scratch = memory.empty(gates.shape[1:], gates.dtype) if out is None else None
    fast = selection.compiled(found.gates[0], work, grad, small=True)
    for t in reversed(range(len(gates))):
        into = scratch if out is None else out[t]
        assert into is not None
        _tanhs(fast, found.gates[t], work)
        np.tanh(found.cells[-1 - t], out=shade)
        before = found.cells[-t] if t else cell
        _back(fast, work, before, shade, grad[t], later, kept, into)
        np.matmul(into, weight, out=later)
    return kept


def by_gates(grad: Array, gates: Array, cell: Array, weight: Array, course: Array) -> Array:
    """Return the cotangent of the gates from that of `outputs`, with all that follows from them."""
    out = memory.empty(gates.shape, gates.dtype)
    _backward(grad, gates, cell, weight, course, out)
    return out


def by_cell(grad: Array, gates: Array, cell: Array, weight: Array, course: Array) -> Array:
    """Return the cotangent of the first cell state."""
    return _backward(grad, gates, cell, weight, course, None)


def by_weight(grad: Array, gates: Array, cell: Array, weight: Array, course: Array) -> Array:
    """Return zeros: ``weight`` stands before a difference that is 0, see `minidl.ops.lstm`."""
    return memory.zeros(weight.shape, weight.dtype, like=weight)


# ---- one step, in either version ---------------------------------------------------------------


def _halved(fast: ModuleType | None, shares: Array, bias: Array, gates: Array, work: Array) -> None:
    if fast is not None:
        fast.lstm_halved(shares, bias, gates, work)
        return
    gates += shares
    gates += bias
    _of_tanh(gates, work)


def _of_tanh(gates: Array, work: Array) -> None:
    n = work.shape[1] // 4
    np.multiply(gates, gates.dtype.type(0.5), out=work)
    work[:, 2 * n : 3 * n] = gates[:, 2 * n : 3 * n]


def _tanhs(fast: ModuleType | None, gates: Array, work: Array) -> None:
    """Write tanh of the gates, of half of those that are sigmoids."""
    if fast is not None:
        fast.lstm_of_tanh(gates, work)
    else:
        _of_tanh(gates, work)
    np.tanh(work, out=work)


def _sigmoids(work: Array, *places: int) -> Iterator[Array]:
    n, half = work.shape[1] // 4, work.dtype.type(0.5)
    for place in places:
        found = work[:, place * n : (place + 1) * n] * half
        found += half
        yield found


def _cell(fast: ModuleType | None, work: Array, before: Array, cell: Array) -> None:
    if fast is not None:
        fast.lstm_cell(work, before, cell)
        return
    n = cell.shape[1]
    enter, forget = _sigmoids(work, 0, 1)
    np.multiply(enter, work[:, 2 * n : 3 * n], out=cell)
    forget *= before
    cell += forget


def _hidden(fast: ModuleType | None, work: Array, shade: Array, hidden: Array) -> None:
    if fast is not None:
        fast.lstm_hidden(work, shade, hidden)
        return
    (show,) = _sigmoids(work, 3)
    np.multiply(show, shade, out=hidden)


def _back(
    fast: ModuleType | None,
    work: Array,
    before: Array,
    shade: Array,
    above: Array,
    later: Array,
    kept: Array,
    out: Array,
) -> None:
    """As `minidl.kernels.compiled_steps.lstm_back`."""
    if fast is not None:
        fast.lstm_back(work, before, shade, above, later, kept, out)
        return
    n, one = kept.shape[1], kept.dtype.type(1)
    enter, forget, show = _sigmoids(work, 0, 1, 3)
    new, hidden = work[:, 2 * n : 3 * n], above + later
    cell = hidden * show
    cell *= one - shade * shade
    cell += kept
    out[:, :n] = cell * new * enter * (one - enter)
    out[:, n : 2 * n] = cell * before * forget * (one - forget)
    out[:, 2 * n : 3 * n] = cell * enter * (one - new * new)
    out[:, 3 * n :] = hidden * shade * show * (one - show)
    np.multiply(cell, forget, out=kept)
