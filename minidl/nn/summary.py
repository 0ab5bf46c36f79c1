"""A model as a table: shapes, parameters, arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minidl.autograd.primitive import Box, Level, Primitive, as_array, box, clock, no_grad
from minidl.nn.module import Module
from minidl.ops.shape import shape_of


@dataclass
class Row:
    """One module: what it gives, what it learns, and the arithmetic of one call of the model."""

    name: str
    kind: str
    depth: int
    shape: Any = None
    parameters: int = 0
    trainable: int = 0
    flops: int = 0


@dataclass
class Summary:
    """What `summary` found; ``print`` it."""

    rows: list[Row]
    parameters: int
    trainable: int
    bytes: int
    flops: int
    input_shapes: list[Any] = field(default_factory=list)

    def __str__(self) -> str:
        head = ["module", "output", "parameters", "FLOPs"]
        table = [head]
        for row in self.rows:
            label = f"{'  ' * row.depth}{row.name}: {row.kind}" if row.name else row.kind
            count = f"{row.parameters:,}" if row.parameters else ""
            shape = "" if row.shape is None else str(row.shape)
            table.append([label, shape, count, _scaled(row.flops) if row.flops else ""])
        widths = [max(len(line[i]) for line in table) for i in range(4)]
        lines = [
            f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}".rstrip()
            for a, b, c, d in table
        ]
        lines.insert(1, "-" * len(lines[0]))
        frozen = self.parameters - self.trainable
        lines += [
            lines[1],
            f"input {', '.join(map(str, self.input_shapes))}",
            f"{self.parameters:,} parameters ({self.bytes / 1e6:.2f} MB)"
            + (f", {frozen:,} of them frozen" if frozen else ""),
            f"{_scaled(self.flops)}FLOP forward (a multiplication and an addition are two)",
        ]
        return "\n".join(lines)


def _scaled(count: int) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count} "


class _Counting(Level):
    """Run every operation one level down, and count its arithmetic."""

    __slots__ = ("note",)

    def __init__(self, note: Callable[[int], None]) -> None:
        super().__init__(clock())
        self.note = note

    def run(self, primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        values = [a.value if isinstance(a, Box) and a.level is self else a for a in args]
        out = as_array(primitive(*values, **params))
        self.note(_flops(primitive.name, values, out))
        return box(out, self, None)


def _flops(name: str, args: list[Any], out: Any) -> int:
    """Arithmetic of one operation; products count by their inner lengths, others by elements."""
    size = math.prod(out.shape)
    if name == "matmul":
        return int(2 * size * shape_of(args[0])[-1])
    if name in ("linear", "conv2d"):
        inner = math.prod(shape_of(args[1])[1:])
        return int(size * (2 * inner + (len(args) > 2 and args[2] is not None)))
    if name == "conv2d_input":  # a transposed convolution: each input meets a whole kernel
        return int(2 * math.prod(shape_of(args[0])) * math.prod(shape_of(args[1])[1:]))
    if name == "lstm_course":
        return int(2 * math.prod(shape_of(args[0])) * shape_of(args[3])[1] + size)
    return int(size) if out.dtype.kind == "f" and name not in _MOVES else 0


#: Operations that move numbers and compute nothing.
_MOVES = frozenset(
    [
        *("add_patches", "broadcast_to", "cast", "cat", "clone", "diagonal", "getitem", "masked"),
        *(
            "lstm_gates",
            "lstm_outputs",
            "patches",
            "permute",
            "put_along_dim",
            "reshape",
            "setitem",
            "take_along_dim",
        ),
    ]
)


def summary(model: Module, *inputs: Any) -> Summary:
    """Run a model on ``inputs`` in evaluation mode, and return a table of its modules.

    Parameters
    ----------
    inputs
        Arrays, or the shape of a single float32 input: ``summary(model, (1, 1, 28, 28))``.

    Examples
    --------
    >>> from minidl import nn
    >>> print(nn.summary(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), (2, 4)))
    module       output  parameters  FLOPs
    --------------------------------------
    Sequential   (2, 3)          15
      0: Linear  (2, 3)          15    54
      1: ReLU    (2, 3)                 6
    --------------------------------------
    input (2, 4)
    15 parameters (0.00 MB)
    60 FLOP forward (a multiplication and an addition are two)
    """
    if len(inputs) == 1 and isinstance(inputs[0], tuple):
        inputs = (np.zeros(inputs[0], model_dtype(model)),)
    stack: list[Row] = []
    rows: dict[int, Row] = {}

    def note(count: int) -> None:
        if stack:
            stack[-1].flops += count

    def enter(module: Module, _: Any) -> None:
        stack.append(rows[id(module)])

    def leave(module: Module, _: Any, output: Any) -> None:
        rows[id(module)].shape = _shapes(output)
        stack.pop()

    handles = []
    for name, module in model.named_modules():
        rows[id(module)] = Row(
            name.rpartition(".")[2], type(module).__name__, name.count(".") + 1 if name else 0
        )
        handles.append(module.register_forward_pre_hook(enter))
        handles.append(module.register_forward_hook(leave))
    level, training = _Counting(note), model.training
    arrays = [np.asarray(x.detach() if isinstance(x, Box) else x) for x in inputs]  # type: ignore[attr-defined]
    try:
        with no_grad():
            model.eval()(*(box(x, level, None) for x in arrays))
    finally:
        level.closed = True
        model.train(training)
        for handle in handles:
            handle.remove()
    for module in model.modules():  # lazy layers have become what they are by now
        row, own = rows[id(module)], list(module.parameters())
        row.kind = type(module).__name__
        row.parameters = int(np.sum([p.numel() for p in own], dtype=int))
        row.trainable = int(np.sum([p.numel() for p in own if p.requires_grad], dtype=int))
    top = rows[id(model)]
    size = int(np.sum([p.numel() * p.dtype.itemsize for p in model.parameters()], dtype=int))
    total = int(np.sum([row.flops for row in rows.values()], dtype=int))
    shapes = [x.shape for x in arrays]
    return Summary(list(rows.values()), top.parameters, top.trainable, size, total, shapes)


def model_dtype(model: Module) -> Any:
    """Return the dtype of a model's parameters, float32 where it has none (yet)."""
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, Box):
                return value.dtype if value.dtype.kind == "f" else np.dtype(np.float32)  # type: ignore[attr-defined]
    return np.dtype(np.float32)


def _shapes(output: Any) -> Any:
    if isinstance(output, (tuple, list)):
        return tuple(_shapes(part) for part in output)
    return tuple(output.shape) if hasattr(output, "shape") else None
