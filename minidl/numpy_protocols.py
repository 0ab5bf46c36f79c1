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
from minidl.numpy_functions import FUNCTIONS
from minidl.ops.arithmetic import minus, over, plus

UFUNCS: dict[Any, Callable[..., Any]] = {
    np.add: plus,
    np.subtract: minus,
    np.multiply: ops.mul,
    np.divide: over,
    np.negative: ops.neg,
    np.positive: ops.positive,
    np.power: ops.pow,
    np.float_power: ops.float_power,
    np.floor_divide: ops.floor_divide,
    np.remainder: ops.remainder,
    np.fmod: ops.fmod,
    np.reciprocal: ops.reciprocal,
    np.maximum: ops.maximum,
    np.minimum: ops.minimum,
    np.fmax: ops.fmax,
    np.fmin: ops.fmin,
    np.equal: ops.eq,
    np.not_equal: ops.ne,
    np.less: ops.lt,
    np.less_equal: ops.le,
    np.greater: ops.gt,
    np.greater_equal: ops.ge,
    np.logical_and: ops.logical_and,
    np.logical_or: ops.logical_or,
    np.logical_xor: ops.logical_xor,
    np.logical_not: ops.logical_not,
    np.bitwise_and: ops.bitwise_and,
    np.bitwise_or: ops.bitwise_or,
    np.bitwise_xor: ops.bitwise_xor,
    np.invert: ops.bitwise_not,
    np.exp: ops.exp,
    np.exp2: ops.exp2,
    np.expm1: ops.expm1,
    np.log: ops.log,
    np.log2: ops.log2,
    np.log10: ops.log10,
    np.log1p: ops.log1p,
    np.logaddexp: ops.logaddexp,
    np.logaddexp2: ops.logaddexp2,
    np.sqrt: ops.sqrt,
    np.square: ops.square,
    np.sin: ops.sin,
    np.cos: ops.cos,
    np.tan: ops.tan,
    np.arcsin: ops.asin,
    np.arccos: ops.acos,
    np.arctan: ops.atan,
    np.arctan2: ops.atan2,
    np.sinh: ops.sinh,
    np.cosh: ops.cosh,
    np.tanh: ops.tanh,
    np.arcsinh: ops.asinh,
    np.arccosh: ops.acosh,
    np.arctanh: ops.atanh,
    np.hypot: ops.hypot,
    np.deg2rad: ops.deg2rad,
    np.radians: ops.deg2rad,
    np.rad2deg: ops.rad2deg,
    np.degrees: ops.rad2deg,
    np.sign: ops.sign,
    np.signbit: ops.signbit,
    np.copysign: ops.copysign,
    np.ldexp: ops.ldexp,
    np.heaviside: ops.heaviside,
    np.absolute: ops.abs,
    np.fabs: ops.abs,
    np.floor: ops.floor,
    np.ceil: ops.ceil,
    np.trunc: ops.trunc,
    np.rint: ops.round,
    np.isnan: ops.isnan,
    np.isinf: ops.isinf,
    np.isfinite: ops.isfinite,
    np.conjugate: ops.conj,
    np.matmul: ops.matmul,
}

REDUCTIONS: dict[Any, Callable[..., Any]] = {
    np.add: ops.sum,
    np.multiply: ops.prod,
    np.maximum: ops.amax,
    np.minimum: ops.amin,
    np.logical_and: ops.all,
    np.logical_or: ops.any,
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


@cache
def signature(function: Callable[..., Any]) -> Signature:
    """Parameters of an entry, found once."""
    return signature_of(function)


@cache
def check_arguments(function: Callable[..., Any], count: int, names: tuple[str, ...]) -> None:
    """Raise TypeError where a function does not take so many arguments, and others by these names.

    `Signature.bind` takes ten times as long as an operation, so what fits is remembered.
    """
    signature(function).bind(*(None,) * count, **dict.fromkeys(names))


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
        check_arguments(FUNCTIONS[function], len(args), tuple(kwargs))
    except TypeError as error:
        raise TypeError(f"{name}: {error}; other arguments have no derivative in minidl") from None
    return FUNCTIONS[function](*args, **kwargs)
