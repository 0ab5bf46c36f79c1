"""What an LSTM does with its gates, two fused operations a step.

``gates (*, 4 n)`` lie in PyTorch's order i, f, g, o and come before their nonlinearities.
"""

from __future__ import annotations

from typing import Any

from minidl.autograd.fused import fused
from minidl.autograd.primitive import Primitive
from minidl.kernels import gates as kernel
from minidl.ops.batching import all_with_examples
from minidl.ops.elementwise import sigmoid, tanh
from minidl.ops.shape import shape_of

__all__: list[str] = []


def _memory(gates: Any, cell: Any) -> Any:
    n = shape_of(cell)[-1]
    both = sigmoid(gates[..., : 2 * n])
    return both[..., n:] * cell + both[..., :n] * tanh(gates[..., 2 * n : 3 * n])


def _shown(gates: Any, cell: Any) -> Any:
    return sigmoid(gates[..., 3 * shape_of(cell)[-1] :]) * tanh(cell)


#: ``(gates, cell)``: the next cell state, f · cell + i · g.
lstm_memory: Primitive = fused(
    "lstm_memory",
    kernel.memory,
    _memory,
    (kernel.memory_by_gates, kernel.memory_by_cell),
    batch=all_with_examples,
)

#: ``(gates, cell)``: the hidden state, o · tanh(cell).
lstm_shown: Primitive = fused(
    "lstm_shown",
    kernel.shown,
    _shown,
    (kernel.shown_by_gates, kernel.shown_by_cell),
    batch=all_with_examples,
)
