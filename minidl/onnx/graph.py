"""The graph being written: nodes, constants, sizes that depend on the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from minidl.autograd.primitive import Array, Box, plain
from minidl.onnx.tracing import Ref, Step


class Pair:
    """One step of both traces: ``a`` at the first batch size, ``b`` at the second."""

    def __init__(self, a: Step, b: Step) -> None:
        self.a, self.b = a, b
        self.params = a.params

    def arg(self, i: int) -> Any:
        """Argument ``i``: a `Ref`, or the constants of both traces."""
        first = self.a.args[i]
        return first if isinstance(first, Ref) else (first, self.b.args[i])

    def __len__(self) -> int:
        return len(self.a.args)


class Graph:
    """Nodes and initializers, in the order in which they were added."""

    def __init__(self, batches: tuple[int, int], names: dict[int, str]) -> None:
        self.batches = batches
        self.nodes: list[NodeProto] = []
        self.initializers: dict[str, TensorProto] = {}
        self.named = names
        self.values: dict[int, str] = {}
        self.count = 0
        self.batch_name: str | None = None
        self.input_name = ""

    # ---- nodes -----------------------------------------------------------------------------

    def fresh(self, stem: str) -> str:
        """Return a name not used before."""
        self.count += 1
        return f"{stem.lower()}_{self.count}"

    def node(self, kind: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> Any:
        """Add a node; return the name of its output (or a list of several)."""
        names = [self.fresh(kind) for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=names[0], **attributes))
        return names[0] if outputs == 1 else names

    # ---- constants -------------------------------------------------------------------------

    def const(self, value: Any, dtype: Any = None) -> str:
        """Return the name of a constant."""
        array = np.ascontiguousarray(np.asarray(value, dtype)).reshape(np.shape(value))
        name = self.fresh("const")
        self.initializers[name] = numpy_helper.from_array(array, name)
        return name

    def ints(self, values: Sequence[int]) -> str:
        """Return the name of whole numbers, for shapes and axes."""
        return self.const(np.asarray(list(values), np.int64))

    def parameter(self, tensor: Any) -> str:
        """Return the name of a parameter or buffer: its name in the model's state."""
        array = np.ascontiguousarray(plain(tensor, "export()"))
        name = self.named[id(tensor)]
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(array, name)
        return name

    def value(self, arg: Any, dtype: Any = None, like: Any = None) -> str:
        """Return the name of an argument: a value of the trace, a parameter, or a constant.

        ``like`` is what a Python number takes its dtype from.
        """
        if isinstance(arg, Ref):
            return self.values[arg.number]
        first, second = arg
        if isinstance(first, Box):
            if id(first) in self.named:
                return self.parameter(first)
            first, second = plain(first, "export()"), plain(second, "export()")
        if isinstance(first, (bool, int, float)):
            return self.const(first, dtype or (like.dtype if like is not None else None))
        a, b = np.asarray(first), np.asarray(second)
        if a.shape == b.shape:
            if not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
                raise TypeError("export: a constant has other values at another batch size")
            return self.const(a)
        return self._repeated(a, b)

    def _repeated(self, a: Array, b: Array) -> str:
        """Return a constant that is alike for all samples, as many as there are."""
        axes = [i for i, (n, m) in enumerate(zip(a.shape, b.shape, strict=True)) if n != m]
        index = tuple(slice(0, 1) if i in axes else slice(None) for i in range(a.ndim))
        row = a[index]
        if not (np.array_equal(np.broadcast_to(row, a.shape), a)):
            raise TypeError(
                f"export: a constant of shape {a.shape} differs from sample to sample; make it an "
                "input of the model"
            )
        return str(self.node("Expand", [self.const(row), self.dims(a.shape, b.shape)]))

    # ---- sizes -----------------------------------------------------------------------------

    def batch(self) -> str:
        """Return the name of the number of samples, as a vector of one."""
        if self.batch_name is None:
            self.batch_name = str(self.node("Shape", [self.input_name], start=0, end=1))
        return self.batch_name

    def dims(self, first: Sequence[int], second: Sequence[int]) -> str:
        """Return the name of a shape, computed where it depends on the batch.

        Raises
        ------
        TypeError
            A length is no multiple of the number of samples.
        """
        if tuple(first) == tuple(second):
            return self.ints(first)
        parts: list[str] = []
        for a, b in zip(first, second, strict=True):
            if a == b:
                parts.append(self.ints([a]))
                continue
            factor, rest = divmod(a, self.batches[0])
            if rest or factor * self.batches[1] != b:
                raise TypeError(
                    f"export: a length is {a} for {self.batches[0]} samples and {b} for "
                    f"{self.batches[1]}: no multiple of the batch; try dynamic_batch=False"
                )
            name = self.batch()
            parts.append(name if factor == 1 else self.node("Mul", [name, self.ints([factor])]))
        return str(self.node("Concat", parts, axis=0)) if len(parts) > 1 else parts[0]

    def same(self, a: Any, b: Any, what: str) -> Any:
        """Return ``a``, which must not depend on the batch."""
        if a != b:
            raise TypeError(f"export: {what} depends on the batch; try dynamic_batch=False")
        return a
