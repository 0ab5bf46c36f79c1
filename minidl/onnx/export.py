"""`export`: from a module and an example to a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from minidl import __version__
from minidl.autograd.primitive import Array
from minidl.nn.module import Module
from minidl.onnx.graph import Graph, Pair
from minidl.onnx.layers import LAYERS, handled
from minidl.onnx.operations import CONVERTERS
from minidl.onnx.tracing import Ref, Step, Trace, trace
from minidl.tensor import Tensor


def export(
    model: Module,
    input: Any,
    path: str | os.PathLike[str],
    *,
    opset: int = 18,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    dynamic_batch: bool = True,
) -> None:
    """Write a model as ONNX, in evaluation mode.

    Parameters
    ----------
    model
        Any module; parameters keep the names they have in ``state_dict``.
    input
        An example, or a tuple of them; the first axis counts the samples.
    path
        The file to write. It is whole or not there.
    opset
        Version of ONNX's operators, at least 18.
    input_names, output_names
        By default ``input`` and ``output``, numbered where there are several.
    dynamic_batch
        Let the number of samples be free; otherwise it is that of the example.

    Raises
    ------
    TypeError
        The model does what ONNX cannot say; the message names operation and layer.
    ValueError
        The output does not depend on the input, or ``opset`` is too old.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from minidl import nn, onnx
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     onnx.export(model, np.zeros((1, 4), np.float32), f"{folder}/model.onnx")
    """
    if opset < 18:
        raise ValueError(f"export: opset must be at least 18, got {opset}")
    given = input if isinstance(input, tuple) else (input,)
    arrays = [np.asarray(x.detach() if isinstance(x, Tensor) else x) for x in given]
    first, second = (_batched(arrays, n) if dynamic_batch else arrays for n in (2, 3))
    traces = trace(model, first, handled), trace(model, second, handled)
    graph = _converted(model, *traces)
    proto = _proto(graph, traces, input_names, output_names, opset, dynamic_batch)
    onnx.checker.check_model(proto, full_check=True)
    _write(Path(path), proto.SerializeToString())


def _batched(arrays: list[Array], count: int) -> list[Array]:
    """Return inputs with ``count`` samples."""
    return [np.resize(array[:1], (count, *array.shape[1:])) for array in arrays]


def _converted(model: Module, a: Trace, b: Trace) -> Graph:
    names = {id(tensor): name for name, tensor in model._named_state()}
    graph = Graph((a.batch, b.batch), names)
    graph.input_name = "input_0"
    for i, ref in enumerate(a.inputs):
        graph.values[ref.number] = f"input_{i}"
    if [step.kind for step in a.steps] != [step.kind for step in b.steps]:
        raise TypeError("export: the model does other operations at another batch size")
    for first, second in zip(a.steps, b.steps, strict=True):
        outputs = _converted_step(graph, first, second)
        for ref, name in zip(first.outputs, outputs, strict=True):
            graph.values[ref.number] = name
    return graph


def _converted_step(graph: Graph, a: Step, b: Step) -> list[str]:
    pair = Pair(a, b)
    if a.module is None and a.kind not in CONVERTERS:
        raise TypeError(
            f"export: operation {a.kind!r} in {a.place} has no counterpart in ONNX here"
        )
    try:
        if a.module is not None:
            made = LAYERS[type(a.module)](graph, pair, a.module)
        else:
            made = CONVERTERS[a.kind](graph, pair)
    except TypeError as error:
        raise TypeError(f"{error} (in {a.place})") from error
    return made if isinstance(made, list) else [made]


def _proto(
    graph: Graph,
    traces: tuple[Trace, Trace],
    input_names: Sequence[str] | None,
    output_names: Sequence[str] | None,
    opset: int,
    dynamic: bool,
) -> Any:
    a, b = traces
    inputs = _names("input", len(a.inputs), input_names)
    outputs = _names("output", len(a.outputs), output_names)
    nodes = list(graph.nodes)
    for ref, name in zip(a.outputs, outputs, strict=True):
        nodes.append(helper.make_node("Identity", [graph.values[ref.number]], [name]))
    renamed = {f"input_{i}": name for i, name in enumerate(inputs)}
    for node in nodes:
        node.input[:] = [renamed.get(name, name) for name in node.input]
    used = {name for node in nodes for name in node.input}
    proto = helper.make_graph(
        nodes,
        "minidl",
        [_info(n, x, y, dynamic) for n, x, y in zip(inputs, a.inputs, b.inputs, strict=True)],
        [_info(n, x, y, dynamic) for n, x, y in zip(outputs, a.outputs, b.outputs, strict=True)],
        [tensor for name, tensor in graph.initializers.items() if name in used],
    )
    return helper.make_model(
        proto,
        producer_name="minidl",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=9,
    )


def _names(stem: str, count: int, given: Sequence[str] | None) -> list[str]:
    if given is None:
        return [stem] if count == 1 else [f"{stem}{i + 1}" for i in range(count)]
    if len(given) != count:
        raise ValueError(f"export: {count} names of {stem}s are wanted, got {list(given)}")
    return list(given)


def _info(name: str, a: Ref, b: Ref, dynamic: bool) -> Any:
    shape: list[Any] = []
    for n, m in zip(a.shape, b.shape, strict=True):
        shape.append(n if n == m or not dynamic else "batch" if n == 2 else None)
    kind = helper.np_dtype_to_tensor_dtype(a.dtype)
    assert kind != TensorProto.UNDEFINED
    return helper.make_tensor_value_info(name, kind, shape)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
