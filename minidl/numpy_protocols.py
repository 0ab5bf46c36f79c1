"""NumPy's functions on Tensors: ``np.sin(t)``, ``np.sum(t, axis=0)``, ``np.concatenate([t, u])``.

NumPy hands a call with a Tensor in it over (``__array_ufunc__``, ``__array_function__``), and these
tables say which operation of minidl does it. What is not in them raises TypeError: an answer
without derivatives would be wrong silently. A function that may be given boxes must work without
these tables, so they name functions of `minidl.ops` only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from inspect import Signature
from inspect import signature as signature_of
from typing import Any

import numpy as np

from minidl import ops
from minidl.ops.arithmetic import minus, over, plus

UFUNCS: dict[Any, Callable[..., Any]] = {
    np.add: plus,
    np.subtract: minus,
    np.multiply: ops.mul,
    np.divide: over,
    np.negative: ops.neg,
    np.power: ops.pow,
    np.float_power: lambda x, y: ops.pow(ops.cast(x, np.float64), y),
    np.maximum: ops.maximum,
    np.minimum: ops.minimum,
    np.equal: ops.eq,
    np.not_equal: ops.ne,
    np.less: ops.lt,
    np.less_equal: ops.le,
    np.greater: ops.gt,
    np.greater_equal: ops.ge,
    np.logical_and: ops.logical_and,
    np.logical_or: ops.logical_or,
    np.logical_not: ops.logical_not,
    np.exp: ops.exp,
    np.log: ops.log,
    np.sqrt: ops.sqrt,
    np.square: ops.square,
    np.tanh: ops.tanh,
    np.sign: ops.sign,
    np.absolute: ops.abs,
    np.conjugate: ops.conj,
    np.matmul: ops.matmul,
}

REDUCTIONS: dict[Any, Callable[..., Any]] = {
    np.add: ops.sum,
    np.maximum: ops.amax,
    np.minimum: ops.amin,
}


def call_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a ufunc, or its ``reduce``, on Tensors.

    Raises
    ------
    TypeError
        minidl has no derivative for this ufunc, method or argument.
    """
    if method == "__call__" and ufunc in UFUNCS and not kwargs:
        return UFUNCS[ufunc](*inputs)
    if method == "reduce" and ufunc in REDUCTIONS and kwargs.keys() <= {"axis", "keepdims"}:
        axis, keepdims = kwargs.get("axis", 0), kwargs.get("keepdims", False)
        return REDUCTIONS[ufunc](*inputs, axis, keepdims)
    call = f"np.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
    if kwargs.get("out") is not None:
        raise TypeError(f"{call}: out= cannot be differentiated; assign the result instead")
    with_arguments = f" with {', '.join(kwargs)}" if kwargs else ""
    raise TypeError(f"{call}{with_arguments} has no derivative in minidl; {_way_out}")


_way_out = "use a function of minidl, or t.detach().numpy() if a constant is meant"


def _moments(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(a: Any, axis: Any = None, *, ddof: float = 0, keepdims: bool = False) -> Any:
        return function(a, axis, ddof, keepdims)

    return call


def _reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
        return function(a, axis, keepdims)

    return call


def _transpose(a: Any, axes: Any = None) -> Any:
    return ops.permute(a, *(range(np.ndim(a))[::-1] if axes is None else axes))


def _join(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(arrays: Any, axis: int = 0) -> Any:
        return function(arrays, axis)

    return call


def _expand_dims(a: Any, axis: int) -> Any:
    return ops.unsqueeze(a, axis)


def _dot(a: Any, b: Any) -> Any:
    if not np.ndim(a) or not np.ndim(b):
        return ops.mul(a, b)
    if np.ndim(b) > 2:  # sums over other axes than matmul
        raise TypeError(f"np.dot: at most 2 dimensions on the right, got {np.ndim(b)}; {_way_out}")
    return ops.matmul(a, b)


def _constant(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose result depends on shape and dtype only."""

    def call(a: Any, *args: Any, **kwargs: Any) -> Any:
        return function(np.broadcast_to(np.zeros((), a.dtype), a.shape), *args, **kwargs)

    return call


FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.sum: _reduction(ops.sum),
    np.mean: _reduction(ops.mean),
    np.var: _moments(ops.var),
    np.std: _moments(ops.std),
    np.max: _reduction(ops.amax),
    np.amax: _reduction(ops.amax),
    np.min: _reduction(ops.amin),
    np.amin: _reduction(ops.amin),
    np.argmax: _reduction(ops.argmax),
    np.argmin: _reduction(ops.argmin),
    np.reshape: lambda a, shape: ops.reshape(a, shape),
    np.ravel: lambda a: ops.flatten(a),
    np.transpose: _transpose,
    np.swapaxes: lambda a, axis1, axis2: ops.transpose(a, axis1, axis2),
    np.squeeze: lambda a, axis=None: ops.squeeze(a, axis),
    np.expand_dims: _expand_dims,
    np.broadcast_to: lambda array, shape: ops.broadcast_to(array, shape),
    np.concatenate: _join(ops.cat),
    np.stack: _join(ops.stack),
    np.where: lambda condition, x, y: ops.where(condition, x, y),
    np.real: lambda val: ops.real(val),
    np.imag: lambda val: ops.imag(val),
    np.copy: lambda a: ops.clone(a),
    np.dot: _dot,
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: len(a.shape),
    np.size: _constant(np.size),
    np.zeros_like: _constant(np.zeros_like),
    np.ones_like: _constant(np.ones_like),
}


@cache
def signature(function: Callable[..., Any]) -> Signature:
    """Parameters of an entry, found once."""
    return signature_of(function)


def call_function(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Run one of NumPy's functions on Tensors.

    Raises
    ------
    TypeError
        minidl has no derivative for this function, or for an argument.
    """
    name = f"np.{function.__name__}"
    if function not in FUNCTIONS:
        raise TypeError(f"{name} has no derivative in minidl; {_way_out}")
    try:
        signature(FUNCTIONS[function]).bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{name}: {error}; other arguments have no derivative in minidl") from None
    return FUNCTIONS[function](*args, **kwargs)
