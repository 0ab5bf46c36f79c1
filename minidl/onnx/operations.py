"""How each operation of the engine is written in ONNX's operators.

A converter gets the graph and one step of both traces, and returns the name of the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import helper

from minidl.onnx.graph import Graph, Pair
from minidl.onnx.tracing import Ref

Converter = Callable[[Graph, Pair], Any]
CONVERTERS: dict[str, Converter] = {}


def converts(*names: str) -> Callable[[Converter], Converter]:
    """Register a converter for operations of these names."""

    def register(converter: Converter) -> Converter:
        CONVERTERS.update(dict.fromkeys(names, converter))
        return converter

    return register


def _args(g: Graph, p: Pair) -> list[str]:
    """Names of all arguments; Python numbers take the dtype of the arrays."""
    like = next((a for a in p.a.args if isinstance(a, Ref) and a.dtype.kind == "f"), None)
    if like is None:
        like = next((a for a in p.a.args if isinstance(a, Ref)), None)
    return [g.value(p.arg(i), like=like) for i in range(len(p))]


def _plain(kind: str) -> Converter:
    return lambda g, p: g.node(kind, _args(g, p))


#: Operations that ONNX has under another name and nothing else.
_DIRECT = {
    "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "neg": "Neg", "abs": "Abs",
    "pow": "Pow", "matmul": "MatMul", "relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh",
    "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "sin": "Sin", "cos": "Cos", "tan": "Tan",
    "sinh": "Sinh", "cosh": "Cosh", "asin": "Asin", "acos": "Acos", "atan": "Atan",
    "asinh": "Asinh", "acosh": "Acosh", "atanh": "Atanh", "erf": "Erf", "sign": "Sign",
    "floor": "Floor", "ceil": "Ceil", "round": "Round", "reciprocal": "Reciprocal",
    "maximum": "Max", "minimum": "Min", "where": "Where", "clone": "Identity",
    "stop_gradient": "Identity", "eq": "Equal", "lt": "Less", "le": "LessOrEqual",
    "gt": "Greater", "ge": "GreaterOrEqual", "logical_and": "And", "logical_or": "Or",
    "logical_not": "Not", "isnan": "IsNaN",
}  # fmt: skip
CONVERTERS.update({name: _plain(kind) for name, kind in _DIRECT.items()})


@converts("where")
def _where(g: Graph, p: Pair) -> Any:
    like = p.a.outputs[0]
    condition = g.value(p.arg(0), np.bool_)
    return g.node("Where", [condition, g.value(p.arg(1), like=like), g.value(p.arg(2), like=like)])


@converts("ne")
def _ne(g: Graph, p: Pair) -> Any:
    return g.node("Not", [g.node("Equal", _args(g, p))])


@converts("square")
def _square(g: Graph, p: Pair) -> Any:
    (x,) = _args(g, p)
    return g.node("Mul", [x, x])


@converts("rsqrt")
def _rsqrt(g: Graph, p: Pair) -> Any:
    return g.node("Reciprocal", [g.node("Sqrt", _args(g, p))])


@converts("expm1")
def _expm1(g: Graph, p: Pair) -> Any:
    one = g.const(1.0, p.a.outputs[0].dtype)
    return g.node("Sub", [g.node("Exp", _args(g, p)), one])


@converts("log1p")
def _log1p(g: Graph, p: Pair) -> Any:
    one = g.const(1.0, p.a.outputs[0].dtype)
    return g.node("Log", [g.node("Add", [*_args(g, p), one])])


@converts("masked")
def _masked(g: Graph, p: Pair) -> Any:
    zero = g.const(0.0, p.a.outputs[0].dtype)
    return g.node("Where", [g.value(p.arg(1)), g.value(p.arg(0)), zero])


@converts("cast")
def _cast(g: Graph, p: Pair) -> Any:
    return g.node(
        "Cast", [g.value(p.arg(0))], to=helper.np_dtype_to_tensor_dtype(p.a.outputs[0].dtype)
    )


# ---- reductions ----------------------------------------------------------------------------


def _reduction(kind: str) -> Converter:
    def convert(g: Graph, p: Pair) -> Any:
        axes, keep = list(p.params["dim"]), int(p.params["keepdim"])
        return g.node(kind, [g.value(p.arg(0)), g.ints(axes)], keepdims=keep)

    return convert


for _name, _kind in {"sum": "ReduceSum", "amax": "ReduceMax", "amin": "ReduceMin"}.items():
    CONVERTERS[_name] = _reduction(_kind)
CONVERTERS["logsumexp"] = _reduction("ReduceLogSumExp")


@converts("argmax", "argmin")
def _arg(g: Graph, p: Pair) -> Any:
    kind = {"argmax": "ArgMax", "argmin": "ArgMin"}[p.a.kind]
    axis, keep = int(p.params["dim"]), int(p.params["keepdim"])
    return g.node(kind, [g.value(p.arg(0))], axis=axis, keepdims=keep)


@converts("cumsum")
def _cumsum(g: Graph, p: Pair) -> Any:
    return g.node("CumSum", [g.value(p.arg(0)), g.const(int(p.params["dim"]), np.int64)])


@converts("softmax", "log_softmax")
def _softmax(g: Graph, p: Pair) -> Any:
    kind = "Softmax" if p.a.kind == "softmax" else "LogSoftmax"
    (axis,) = p.params["dim"]
    return g.node(kind, [g.value(p.arg(0))], axis=int(axis))


@converts("scaled_dot_product_attention")
def _probabilities(g: Graph, p: Pair) -> Any:
    # The operation of this name is the softmax of the scores; the products stand around it.
    return g.node("Softmax", [g.value(p.arg(0))], axis=-1)


@converts("layer_norm")
def _layer_norm(g: Graph, p: Pair) -> Any:
    x, axes = g.value(p.arg(0)), g.ints(p.params["dim"])
    centered = g.node("Sub", [x, g.node("ReduceMean", [x, axes], keepdims=1)])
    square = g.node("Mul", [centered, centered])
    variance = g.node("ReduceMean", [square, axes], keepdims=1)
    eps = g.const(p.params["eps"], p.a.outputs[0].dtype)
    root = g.node("Sqrt", [g.node("Add", [variance, eps])])
    return g.node("Div", [centered, root])


# ---- products ------------------------------------------------------------------------------


@converts("linear")
def _linear(g: Graph, p: Pair) -> Any:
    names = [g.value(p.arg(i)) for i in range(3) if p.a.args[i] is not None]
    return g.node("Gemm", names, transB=1)


@converts("einsum")
def _einsum(g: Graph, p: Pair) -> Any:
    equation = f"{','.join(p.params['terms'])}->{p.params['out']}"
    return g.node("Einsum", _args(g, p), equation=equation)


@converts("conv2d")
def _conv2d(g: Graph, p: Pair) -> Any:
    names = [g.value(p.arg(i)) for i in range(3) if p.a.args[i] is not None]
    how, padding = p.params, list(p.params["padding"])
    return g.node(
        "Conv", names, strides=list(how["stride"]), pads=padding * 2,
        dilations=list(how["dilation"]), kernel_shape=list(_shape(p.a.args[1])[2:]),
    )  # fmt: skip


@converts("conv2d_input")
def _conv2d_input(g: Graph, p: Pair) -> Any:
    how, kernel = p.params, _shape(p.a.args[1])[2:]
    small = _shape(p.a.args[0])[2:]
    rows = zip(small, how["stride"], how["padding"], how["dilation"], kernel, strict=True)
    least = [(n - 1) * s - 2 * q + d * (k - 1) + 1 for n, s, q, d, k in rows]
    extra = [w - m for w, m in zip(how["size"], least, strict=True)]
    return g.node(
        "ConvTranspose", [g.value(p.arg(0)), g.value(p.arg(1))], strides=list(how["stride"]),
        pads=list(how["padding"]) * 2, dilations=list(how["dilation"]), output_padding=extra,
        kernel_shape=list(kernel),
    )  # fmt: skip


def _shape(arg: Any) -> tuple[int, ...]:
    return tuple(arg.shape)


@converts("max_pool2d")
def _max_pool2d(g: Graph, p: Pair) -> Any:
    how = p.params
    return g.node(
        "MaxPool", [g.value(p.arg(0))], kernel_shape=list(how["size"]),
        strides=list(how["stride"]), pads=list(how["padding"]) * 2,
    )  # fmt: skip


@converts("avg_pool2d")
def _avg_pool2d(g: Graph, p: Pair) -> Any:
    how = p.params
    return g.node(
        "AveragePool", [g.value(p.arg(0))], kernel_shape=list(how["size"]),
        strides=list(how["stride"]), pads=list(how["padding"]) * 2,
        count_include_pad=int(how["count_include_pad"]),
    )  # fmt: skip


# ---- shapes and places ---------------------------------------------------------------------


@converts("reshape")
def _reshape(g: Graph, p: Pair) -> Any:
    shape = g.dims(p.a.outputs[0].shape, p.b.outputs[0].shape)
    return g.node("Reshape", [g.value(p.arg(0)), shape], allowzero=1)


@converts("broadcast_to")
def _broadcast_to(g: Graph, p: Pair) -> Any:
    shape = g.dims(p.a.outputs[0].shape, p.b.outputs[0].shape)
    return g.node("Expand", [g.value(p.arg(0)), shape])


@converts("permute")
def _permute(g: Graph, p: Pair) -> Any:
    return g.node("Transpose", [g.value(p.arg(0))], perm=list(p.params["dims"]))


@converts("cat")
def _cat(g: Graph, p: Pair) -> Any:
    return g.node("Concat", _args(g, p), axis=int(p.params["dim"]))


@converts("take_along_dim")
def _take_along(g: Graph, p: Pair) -> Any:
    names = [g.value(p.arg(0)), g.value(p.arg(1))]
    return g.node("GatherElements", names, axis=int(p.params["dim"]))


@converts("getitem")
def _getitem(g: Graph, p: Pair) -> Any:
    x, shape = g.value(p.arg(0)), list(p.a.args[0].shape)
    arrays = [p.arg(i) for i in range(1, len(p))]
    if len(arrays) > 1:
        raise TypeError("export: an index of several arrays has no counterpart in ONNX")
    template = g.same(p.a.params["template"], p.b.params["template"], "an index")
    parts = _without_ellipsis(template, len(shape))
    source = axis = 0  # the axis of x that a part speaks of, and where it is in the result
    gone: list[int] = []
    new: list[int] = []
    for part in parts:
        if part is None:
            new.append(axis - len(gone) + len(new))
            continue
        if isinstance(part, slice):
            x = _sliced(g, x, part, axis)
        elif isinstance(part, (int, np.integer)):
            x = g.node("Gather", [x, g.ints([int(part) % shape[source]])], axis=axis)
            gone.append(axis)
        else:
            rank = len(_index_shape(arrays[0]))
            if gone:
                raise TypeError("export: an index array beside whole numbers")
            x = g.node("Gather", [x, g.value(arrays[0], np.int64)], axis=axis)
            axis += rank - 1
        source += 1
        axis += 1
    if gone:
        x = g.node("Squeeze", [x, g.ints(gone)])
    return g.node("Unsqueeze", [x, g.ints(new)]) if new else g.node("Identity", [x])


def _index_shape(arg: Any) -> tuple[int, ...]:
    return arg.shape if isinstance(arg, Ref) else np.shape(arg[0])


def _without_ellipsis(template: tuple[Any, ...], rank: int) -> list[Any]:
    """Write an index with one entry an axis (and None for new ones)."""
    parts = list(template)
    used = sum(part is not None and part is not Ellipsis for part in parts)
    full = [slice(None)] * (rank - used)
    if any(part is Ellipsis for part in parts):
        place = next(i for i, part in enumerate(parts) if part is Ellipsis)
        return [*parts[:place], *full, *parts[place + 1 :]]
    return [*parts, *full]


def _sliced(g: Graph, x: str, part: slice, axis: int) -> str:
    if part == slice(None):
        return x
    step = 1 if part.step is None else int(part.step)
    far = np.iinfo(np.int64).max
    start = part.start if part.start is not None else (0 if step > 0 else far)
    stop = part.stop if part.stop is not None else (far if step > 0 else -far)
    names = [x, g.ints([int(start)]), g.ints([int(stop)]), g.ints([axis]), g.ints([step])]
    return str(g.node("Slice", names))


@converts("setitem")
def _setitem(g: Graph, p: Pair) -> Any:
    base, template = p.a.args[0], p.a.params["template"]
    slices = all(isinstance(part, slice) and part.step in (None, 1) for part in template)
    if isinstance(base, Ref) or not slices or len(set(np.unique(base))) > 1:
        raise TypeError("export: assigning to a part of an array has no counterpart in ONNX")
    lows, highs = [], []
    for part, n, m, other in zip(
        template, base.shape, p.b.args[0].shape, p.b.params["template"], strict=True
    ):
        low, high = part.start or 0, n - (n if part.stop is None else part.stop)
        later = m - (m if other.stop is None else other.stop)
        g.same((low, high), (other.start or 0, later), "padding")
        lows.append(low)
        highs.append(high)
    fill = g.const(base.reshape(-1)[0] if base.size else 0.0, base.dtype)
    return g.node("Pad", [g.value(p.arg(1)), g.ints([*lows, *highs]), fill])


@converts("patches")
def _patches(g: Graph, p: Pair) -> Any:
    """All windows: the pixels of each are gathered by their places."""
    space = p.a.args[0].shape[2:]
    kernel, stride, dilation = (p.params[name] for name in ("kernel", "stride", "dilation"))
    counts = p.a.outputs[0].shape[2 : 2 + len(space)]
    places = np.zeros((), np.int64)
    for i, length in enumerate(space):
        start = np.arange(counts[i]) * stride[i]
        reach = np.arange(kernel[i]) * dilation[i]
        shape = [1] * (2 * len(space))
        shape[i], shape[len(space) + i] = counts[i], kernel[i]
        places = places * length + (start[:, None] + reach).reshape(shape)
    n, channels = p.a.args[0].shape[:2], p.b.args[0].shape[:2]
    size = int(np.prod(space))
    flat = g.node("Reshape", [g.value(p.arg(0)), g.dims((*n, size), (*channels, size))])
    return g.node("Gather", [flat, g.const(places)], axis=2)
