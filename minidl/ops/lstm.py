"""An LSTM along a sequence in three operations, whose gradients are few large products.

The recurrence is z_t = x_t + W h_(t-1) + b, (h_t, c_t) = cell(z_t, c_(t-1)). It is run once,
`_course`, which keeps all z, h and c as constants, as `batch_norm` does with its moments. Then it
is written with the kept hidden states H as

    z = x + W [h_0, H] + b                                    (`_gates`)
    h_t, c_t = cell(z_t + W (h_(t-1) - H_(t-1)), c_(t-1))     (`_outputs`)

which is the same function, whatever H is, and to all orders. But as H has the value of h, the
difference is 0, and with it W's gradient in `_outputs`; and what `_outputs` gives as gradient of z
is the one that `_gates` makes the gradient of W of: in one product over all steps.
"""

from __future__ import annotations

from typing import Any

from minidl.autograd.fused import fused, gradient
from minidl.autograd.primitive import Primitive, primitive
from minidl.kernels import lstm as kernel
from minidl.ops.elementwise import sigmoid, tanh
from minidl.ops.joining import cat, stack
from minidl.ops.products import linear, matmul
from minidl.ops.reduce import sum
from minidl.ops.shape import broadcast_to, reshape, shape_of

__all__: list[str] = []


def _cell(gates: Any, cell: Any) -> tuple[Any, Any]:
    n = shape_of(cell)[-1]
    both = sigmoid(gates[..., : 2 * n])
    cell = both[..., n:] * cell + both[..., :n] * tanh(gates[..., 2 * n : 3 * n])
    return sigmoid(gates[..., 3 * n :]) * tanh(cell), cell


def _course_composed(shares: Any, hidden: Any, cell: Any, weight: Any, bias: Any) -> Any:
    gates: list[Any] = []
    hiddens, cells = [hidden], list[Any]()
    for t in range(shape_of(shares)[0]):
        gates.append(shares[t] + linear(hidden, weight, bias))
        hidden, cell = _cell(gates[-1], cell)
        hiddens.append(hidden)
        cells.insert(0, cell)
    return cat([reshape(stack(part), (-1,)) for part in (gates, hiddens, cells)])


def _hiddens(course: Any, shape: tuple[int, ...]) -> Any:
    """The hidden states in a course, from the first state on."""
    length, count, width = shape
    start, step = length * count * width, count * (width // 4)
    return reshape(course[start : start + (length + 1) * step], (length + 1, count, width // 4))


def _gates_composed(shares: Any, hidden: Any, weight: Any, bias: Any, course: Any) -> Any:
    kept = _hiddens(course, shape_of(shares))
    return shares + linear(cat([hidden[None], kept[1:-1]]), weight, bias)


def _outputs_composed(gates: Any, cell: Any, weight: Any, course: Any) -> Any:
    kept = _hiddens(course, shape_of(gates))
    hidden, cell = _cell(gates[0], cell)
    hiddens = [hidden]
    for t in range(1, shape_of(gates)[0]):
        pre = gates[t] + linear(hiddens[-1] - kept[t], weight)
        hidden, cell = _cell(pre, cell)
        hiddens.append(hidden)
    return stack([*hiddens, cell])


_course: Primitive = primitive("lstm_course", kernel.states)
_course.composed = _course.elsewhere = _course_composed


_weight_gradient = gradient("lstm_gates_gradient", kernel.gates_by_weight, _gates_composed, 2)

# Not `fused`: what its other rules do are single operations.
_gates: Primitive = primitive(
    "lstm_gates",
    kernel.gates,
    vjp=(
        lambda g, _out, _x, _h, _w, _b, _c: g,
        lambda g, _out, _x, _h, weight, _b, _c: matmul(g[0], weight),
        lambda g, _out, x, h, w, b, course: _weight_gradient(g, x, h, w, b, course),
        lambda g, _out, _x, _h, _w, _b, _c: sum(g, (0, 1)),
        None,
    ),
    jvp=(
        lambda t, out, x, h, w, b, c: t,
        lambda t, out, x, h, w, b, c: cat([linear(t, w)[None], 0.0 * out[1:]]),
        lambda t, out, x, h, w, b, c: linear(cat([h[None], _hiddens(c, shape_of(x))[1:-1]]), t),
        lambda t, out, x, h, w, b, c: broadcast_to(t, shape_of(out)),
        None,
    ),
    view=True,
)
_gates.composed = _gates.elsewhere = _gates_composed

_outputs: Primitive = fused(
    "lstm_outputs",
    kernel.outputs,
    _outputs_composed,
    (kernel.by_gates, kernel.by_cell, kernel.by_weight, None),
)
_outputs.view = True


def lstm(shares: Any, hidden: Any, cell: Any, weight: Any, bias: Any) -> tuple[Any, Any, Any]:
    """Run an LSTM along ``shares (T, N, 4 H)``, what the inputs give to the gates i, f, g, o.

    Shapes: ``hidden``, ``cell (N, H)``; ``weight (4 H, H)``, ``bias (4 H,)`` or None. Returns the
    hidden states ``(T, N, H)``, and the last hidden and cell state.
    """
    course = _course(shares, hidden, cell, weight, bias)
    gates = _gates(shares, hidden, weight, bias, course)
    found = _outputs(gates, cell, weight, course)
    return found[:-1], found[-2], found[-1]
