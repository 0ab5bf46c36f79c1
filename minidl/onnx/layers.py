"""Layers that ONNX has as operators of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl import nn
from minidl.onnx.graph import Graph, Pair

Converter = Callable[[Graph, Pair, Any], Any]
LAYERS: dict[type[nn.Module], Converter] = {}


def _register(*classes: type[nn.Module]) -> Callable[[Converter], Converter]:
    def register(converter: Converter) -> Converter:
        LAYERS.update(dict.fromkeys(classes, converter))
        return converter

    return register


def handled(module: nn.Module, args: list[Any]) -> bool:
    """Whether a layer, with its settings and arguments, is one of ONNX's operators."""
    if type(module) not in LAYERS or len(args) != 1:
        return False
    rank = len(args[0].shape)
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return module.padding_mode == "zeros" and rank == module.ndim + 2
    if isinstance(module, (nn.LSTM, nn.GRU)):
        return rank == 3 and not module.proj_size
    if isinstance(module, nn.EmbeddingBag):
        return rank == 2 and module.padding_idx is None
    if isinstance(module, nn.Embedding):
        return True
    if isinstance(module, nn.RNN):
        return rank == 3 and module.nonlinearity == "tanh"
    if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)):
        return module.running_mean is not None and module.bias is not None
    ndim: int = getattr(module, "ndim", 0)
    settings = vars(module)
    fits = rank == ndim + 2 and not settings.get("ceil_mode") and not settings.get("return_indices")
    return fits and settings.get("divisor_override") is None


@_register(nn.Conv1d, nn.Conv2d, nn.Conv3d)
def _conv(g: Graph, p: Pair, conv: Any) -> Any:
    names = [g.value(p.arg(0)), g.parameter(conv.weight)]
    names += [] if conv.bias is None else [g.parameter(conv.bias)]
    how = {
        "strides": list(conv.stride), "dilations": list(conv.dilation), "group": conv.groups,
        "kernel_shape": list(conv.kernel_size),
    }  # fmt: skip
    if conv.padding == "same":
        reach = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        how["pads"] = [r // 2 for r in reach] + [r - r // 2 for r in reach]
    elif conv.padding != "valid":
        how["pads"] = list(conv.padding) * 2
    return g.node("Conv", names, **how)


@_register(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
def _conv_transpose(g: Graph, p: Pair, conv: Any) -> Any:
    names = [g.value(p.arg(0)), g.parameter(conv.weight)]
    names += [] if conv.bias is None else [g.parameter(conv.bias)]
    return g.node(
        "ConvTranspose", names, strides=list(conv.stride), dilations=list(conv.dilation),
        group=conv.groups, kernel_shape=list(conv.kernel_size), pads=list(conv.padding) * 2,
        output_padding=list(conv.output_padding),
    )  # fmt: skip


@_register(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
def _max_pool(g: Graph, p: Pair, pool: Any) -> Any:
    return g.node(
        "MaxPool", [g.value(p.arg(0))], kernel_shape=list(pool.kernel_size),
        strides=list(pool.stride), pads=list(pool.padding) * 2, dilations=list(pool.dilation),
    )  # fmt: skip


@_register(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
def _avg_pool(g: Graph, p: Pair, pool: Any) -> Any:
    return g.node(
        "AveragePool", [g.value(p.arg(0))], kernel_shape=list(pool.kernel_size),
        strides=list(pool.stride), pads=list(pool.padding) * 2,
        count_include_pad=int(pool.count_include_pad),
    )  # fmt: skip


@_register(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
def _batch_norm(g: Graph, p: Pair, norm: Any) -> Any:
    tensors = [norm.weight, norm.bias, norm.running_mean, norm.running_var]
    names = [g.value(p.arg(0)), *(g.parameter(tensor) for tensor in tensors)]
    return g.node("BatchNormalization", names, epsilon=norm.eps)


@_register(nn.Embedding)
def _embedding(g: Graph, p: Pair, table: Any) -> Any:
    return g.node("Gather", [g.parameter(table.weight), g.value(p.arg(0))], axis=0)


@_register(nn.EmbeddingBag)
def _embedding_bag(g: Graph, p: Pair, table: Any) -> Any:
    kind = {"mean": "ReduceMean", "sum": "ReduceSum", "max": "ReduceMax"}[table.mode]
    rows = g.node("Gather", [g.parameter(table.weight), g.value(p.arg(0))], axis=0)
    return g.node(kind, [rows, g.ints([1])], keepdims=0)


#: Where minidl (and PyTorch) keep each of ONNX's gates.
_ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}


@_register(nn.LSTM, nn.GRU, nn.RNN)
def _recurrent(g: Graph, p: Pair, layer: Any) -> list[str]:
    kind = type(layer).__name__
    x = g.value(p.arg(0))
    if layer.batch_first:
        x = g.node("Transpose", [x], perm=[1, 0, 2])
    directions, last = 1 + layer.bidirectional, []
    more = {"linear_before_reset": 1} if kind == "GRU" else {}
    for number in range(layer.num_layers):
        names = [x, *_weights(g, layer, kind, number)]
        direction = "bidirectional" if layer.bidirectional else "forward"
        out, *states = g.node(
            kind, names, 3 if kind == "LSTM" else 2, hidden_size=layer.hidden_size,
            direction=direction, **more,
        )  # fmt: skip
        last.append(states)
        # (T, directions, N, H) to (T, N, directions · H)
        moved = g.node("Transpose", [out], perm=[0, 2, 1, 3])
        shape = g.ints([0, 0, directions * layer.hidden_size])
        x = g.node("Reshape", [moved, shape])
    states = [
        g.node("Concat", [part[i] for part in last], axis=0) if len(last) > 1 else last[0][i]
        for i in range(layer.states)
    ]
    x = g.node("Transpose", [x], perm=[1, 0, 2]) if layer.batch_first else x
    return [x, *states]


def _weights(g: Graph, layer: Any, kind: str, number: int) -> list[str]:
    """Return W, R and B of one layer, both directions stacked, gates in ONNX's order."""
    stacked: dict[str, list[Any]] = {"w": [], "r": [], "b": []}
    for suffix in (f"l{number}", f"l{number}_reverse")[: 1 + layer.bidirectional]:
        tensors = [
            None if t is None else _reordered(t.detach().numpy(), kind)
            for t in layer._weights(suffix)[:4]
        ]
        w, r, *biases = tensors
        stacked["w"].append(w)
        stacked["r"].append(r)
        zeros = np.zeros(len(r), r.dtype)  # type: ignore[arg-type, union-attr]
        stacked["b"].append(np.concatenate([zeros if b is None else b for b in biases]))
    return [g.const(np.stack(stacked[name])) for name in "wrb"]


def _reordered(tensor: Any, kind: str) -> Any:
    gates = np.split(tensor, len(_ORDER[kind]))
    return np.concatenate([gates[i] for i in _ORDER[kind]])
