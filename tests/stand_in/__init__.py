"""An array type that behaves like ``cupy.ndarray`` where it matters, without a GPU.

It holds an ndarray and computes with it, so values are NumPy's to the bit; what it refuses is
what CuPy refuses. Sources: ``cupy/_core/core.pyx`` (``__array__``, ``__array_ufunc__``,
``__array_function__``, ``__setitem__``, ``__float__``), the section "Differences between CuPy and
NumPy" of CuPy's documentation (0-d results stay arrays, no implicit conversion), and
``cupy_functions.txt``: the functions of NumPy that CuPy 14.2 has, with the names of their
parameters, read from the package itself, as were the ufunc methods that it has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from minidl.autograd import arrays

NAME = "stand-in"

#: Name below numpy -> names of the parameters; empty for those that are written in C.
FUNCTIONS: dict[str, list[str]] = {
    match[1]: match[2].split(", ") if match[2] else []
    for match in re.finditer(
        r"^([\w.]+)\((.*)\)$",
        Path(__file__).with_name("cupy_functions.txt").read_text("utf-8"),
        re.MULTILINE,
    )
}
#: What ``cupy.ufunc`` can do beside being called, found by trying it.
UFUNC_METHODS = {
    "reduce": {"add", "multiply"},
    "accumulate": {"add", "multiply"},
    "at": {"add", "subtract", "maximum", "minimum", "bitwise_and", "bitwise_or", "bitwise_xor"},
    "outer": None,
}
#: Of ``scatter_add``, which ``cupy.add.at`` is: see ``_routines_indexing.pyx``.
ADDED_AT = ["int32", "float16", "float32", "float64", "uint32", "uint64", "complex64", "complex128"]
NO_UFUNC = {"isnat", "matvec", "spacing", "vecdot", "vecmat"}
UFUNC_KEYWORDS = {
    "__call__": {"out", "dtype", "casting"},
    "reduce": {"axis", "dtype", "out", "keepdims"},
    "accumulate": {"axis", "dtype", "out"},
    "at": set(),
    "outer": {"out", "dtype", "casting"},
}
REDUCTIONS = {"sum", "prod", "max", "min", "mean", "all", "any", "argmax", "argmin", "var", "std"}
REDUCTION_KEYWORDS = {"axis", "dtype", "out", "keepdims", "ddof"}
METHODS = [
    "all", "any", "argmax", "argmin", "argpartition", "argsort", "astype", "choose", "clip",
    "compress", "conj", "conjugate", "copy", "cumprod", "cumsum", "diagonal", "dot", "fill",
    "flatten", "max", "mean", "min", "nonzero", "partition", "prod", "ptp", "put", "ravel",
    "repeat", "reshape", "round", "searchsorted", "sort", "squeeze", "std", "sum", "swapaxes",
    "take", "trace", "transpose", "var", "view",
]  # fmt: skip

#: How often an array was copied to the device and back; numbers that are read do not count.
copies = {"put": 0, "get": 0}


def _refuse(what: str) -> TypeError:
    return TypeError(f"stand-in: {what} would mix the host and the device, as CuPy does not")


def _in(value: Any, where: str) -> Any:
    """Take the arrays out; a host array among them is refused, numbers are not."""
    if isinstance(value, DeviceArray):
        return value.inner
    if isinstance(value, np.ndarray):
        raise _refuse(f"{where} of an ndarray")
    if isinstance(value, (tuple, list)):
        return type(value)([_in(part, where) for part in value])
    if isinstance(value, dict):
        return {key: _in(part, where) for key, part in value.items()}
    return value


def _out(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return DeviceArray(np.asarray(value))
    if isinstance(value, (tuple, list)):
        parts = [_out(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


class DeviceArray:
    """Stands for an array on a device."""

    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, inner: np.ndarray) -> None:
        assert type(inner) is np.ndarray
        self.inner = inner

    def get(self) -> np.ndarray:
        copies["get"] += 1
        return self.inner.copy(order="C")

    def _number(self) -> Any:
        """A single element: reading one makes the host wait, and copies next to nothing."""
        return self.inner.item()

    # ---- no way to the host but get ----------------------------------------------------------

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed: use .get()")

    def __bool__(self) -> bool:
        return bool(self._number())

    def __float__(self) -> float:
        return float(self._number())

    def __int__(self) -> int:
        return int(self._number())

    def item(self, *index: int) -> Any:
        return self.inner.item(*index)

    def tolist(self) -> Any:
        return self.get().tolist()

    def __repr__(self) -> str:
        return f"on a device: {self.inner!r}"

    def __reduce__(self) -> Any:
        return DeviceArray, (self.get(),)

    # ---- what it is --------------------------------------------------------------------------

    dtype = property(lambda self: self.inner.dtype)
    shape = property(lambda self: self.inner.shape)
    strides = property(lambda self: self.inner.strides)
    ndim = property(lambda self: self.inner.ndim)
    size = property(lambda self: self.inner.size)
    itemsize = property(lambda self: self.inner.itemsize)
    nbytes = property(lambda self: self.inner.nbytes)
    T = property(lambda self: _out(self.inner.T))
    mT = property(lambda self: _out(self.inner.mT))  # noqa: N815
    real = property(
        lambda self: _out(self.inner.real),
        lambda self, value: setattr(self.inner, "real", _in(value, "x.real =")),
    )
    imag = property(
        lambda self: _out(self.inner.imag),
        lambda self, value: setattr(self.inner, "imag", _in(value, "x.imag =")),
    )

    @property
    def flags(self) -> Any:
        own = self.inner.flags
        return SimpleNamespace(
            c_contiguous=own.c_contiguous, f_contiguous=own.f_contiguous, owndata=own.owndata
        )

    def __len__(self) -> int:
        return len(self.inner)

    def __iter__(self) -> Iterator[Any]:
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        return _out(self.inner[_index(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self.inner[_index(index)] = _in(value, "x[i] =")

    # ---- NumPy's protocols -------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        known = (DeviceArray, np.ndarray, np.generic, int, float, complex, bool)
        name = ufunc.__name__
        if name in NO_UFUNC or method not in UFUNC_KEYWORDS:
            return NotImplemented
        given = (*inputs, *kwargs.get("out", ()))
        if method != "at" and not all(isinstance(x, known) for x in given if x is not None):
            return NotImplemented
        allowed = UFUNC_METHODS.get(method)
        if allowed is not None and name not in allowed:
            raise NotImplementedError(f"cupy.{name}.{method} is not supported")
        if kwargs.keys() - UFUNC_KEYWORDS[method]:
            raise TypeError(f"cupy.{name}.{method} takes no {sorted(kwargs)}")
        if method == "at":
            target, index, *rest = inputs
            assert isinstance(target, DeviceArray)
            if name in ("add", "subtract") and target.dtype.name not in ADDED_AT:
                raise TypeError(f"cupy.{name}.at does not support {target.dtype}")
            ufunc.at(target.inner, _index(index), *(_in(x, f"{name}.at") for x in rest))
            return None
        (out,) = kwargs.pop("out", (None,))
        if out is not None:
            kwargs["out"] = (_target(out, name),)
        comparison = ufunc.nin == 2 and name.split("_")[0] in ("greater", "less", "equal", "not")
        found = getattr(ufunc, method)(
            *(
                x.item()
                if comparison and isinstance(x, np.ndarray) and not x.ndim
                else _in(x, name)
                for x in inputs
            ),
            **kwargs,
        )
        return _out(found) if out is None else out

    def __array_function__(
        self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any
    ) -> Any:
        if not all(kind in (DeviceArray, np.ndarray) for kind in types):
            return NotImplemented
        name = ".".join([*function.__module__.split(".")[1:], function.__name__])
        if name not in FUNCTIONS:
            return NotImplemented
        _check_call(name, args, kwargs)
        kwargs = dict(kwargs)
        out = kwargs.pop("out", None)
        first = _in(args[0], name) if name == "pad" else None  # its widths may be an ndarray
        given = (first, *args[1:]) if name == "pad" else _in(tuple(args), name)
        into = {} if out is None else {"out": _target(out, name)}
        found = function(*given, **_in(kwargs, name), **into)
        return _out(found) if out is None else out


def _target(out: Any, name: str) -> Any:
    if isinstance(out, np.ndarray):
        raise _refuse(f"{name}(out=) an ndarray")
    return out.inner


def _check_call(name: str, args: Any, kwargs: dict[str, Any]) -> None:
    """Hold a call against the parameters that CuPy's function has."""
    parameters = FUNCTIONS[name]
    variadic = any(parameter.startswith("*") for parameter in parameters)
    if not parameters or variadic:
        return
    unknown = kwargs.keys() - set(parameters)
    if unknown or len(args) > len(parameters):
        raise TypeError(f"cupy.{name}({', '.join(parameters)}): {len(args)} given, and {unknown}")


def _index(index: Any) -> Any:
    """An index may hold arrays of the host: CuPy moves those."""
    if isinstance(index, tuple):
        return tuple(_index(part) for part in index)
    return index.inner if isinstance(index, DeviceArray) else index


def _method(name: str) -> Callable[..., Any]:
    def call(self: DeviceArray, *args: Any, **kwargs: Any) -> Any:
        if name in REDUCTIONS and kwargs.keys() - REDUCTION_KEYWORDS:
            raise TypeError(f"cupy.ndarray.{name} takes no {sorted(kwargs)}")
        return _out(getattr(self.inner, name)(*_in(args, name), **_in(kwargs, name)))

    return call


def _operator(name: str) -> Callable[..., Any]:
    def call(self: DeviceArray, *others: Any) -> Any:
        for other in others:
            if not isinstance(other, (DeviceArray, np.ndarray, np.generic, int, float, complex)):
                return NotImplemented
        if name.startswith("__i") and name != "__invert__":
            getattr(self.inner, name)(*_in(others, name))
            return self
        return _out(getattr(self.inner, name)(*_in(others, name)))

    return call


for _name in METHODS:
    setattr(DeviceArray, _name, _method(_name))
BINARY = [
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "lshift",
    "rshift",
]  # fmt: skip
OTHERS = [
    "eq", "ne", "lt", "le", "gt", "ge", "neg", "pos", "abs", "invert", "matmul", "rmatmul",
]  # fmt: skip
for _name in [*(side + name for name in BINARY for side in ("", "r", "i")), *OTHERS]:
    setattr(DeviceArray, f"__{_name}__", _operator(f"__{_name}__"))


class StandIn:
    """The device."""

    array = DeviceArray

    def check(self, index: int | None) -> None:
        if index:
            raise RuntimeError(f"device: {NAME}:{index}, but there is one")

    def put(self, array: np.ndarray, index: int | None) -> DeviceArray:
        copies["put"] += 1
        return DeviceArray(array.copy(order="K"))

    def get(self, array: DeviceArray) -> np.ndarray:
        return array.get()

    def index(self, array: DeviceArray) -> int | None:
        return None


@contextmanager
def stand_in() -> Iterator[Callable[[Any], DeviceArray]]:
    """Register the device, and give what moves an array there."""
    with arrays.registered(NAME, StandIn):
        yield lambda array: arrays.put(array, NAME)
