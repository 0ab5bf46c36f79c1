"""What an array is: an ndarray, or an array of another device that speaks NumPy's protocols.

An operation's value is written with NumPy's namespace. Given arrays of another type (CuPy's), NumPy
hands its calls over to that type (``__array_ufunc__``, ``__array_function__``), and what comes out
is of that type again. This file knows which types there are, how arrays get there and back, and
which device a name stands for. Three rules hold the rest together:

- A value that makes an array of its own makes it ``like=`` an argument, with those functions of
  NumPy whose arguments CuPy's have too (``zeros``, ``empty``); others are made on the host and
  moved (`like`).
- Host arrays that meet arrays of a device (a mask, the random numbers of dropout) are moved to it
  by the engine (`minidl.autograd.primitive.together`); a device never gives its arrays to the
  host unasked.
- What an array type cannot do is computed on the host, and says so where it is declared
  (`on_host`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array: TypeAlias = NDArray[Any]

CPU = "cpu"


class Device(Protocol):
    """An array type beside ndarray, and the ways there and back."""

    #: The type of its arrays.
    array: type

    def put(self, array: Array, index: int | None) -> Any:
        """Copy an ndarray to the device of this number (None: the present one)."""

    def get(self, array: Any) -> Array:
        """Copy an array of the device to the host."""

    def index(self, array: Any) -> int | None:
        """Return the number of the device where an array lies, None where there is only one."""

    def check(self, index: int | None) -> None:
        """Raise RuntimeError where there is no device of this number."""


#: The array types of all devices that have been used so far. Few look here, and then with the
#: exact type, so that ndarrays pay for one look-up at most.
others: dict[type, tuple[str, Device]] = {}


def _open_cuda() -> Device:
    from minidl.autograd.cuda import Cuda

    return Cuda()


_openers: dict[str, Callable[[], Device]] = {"cuda": _open_cuda}


@contextmanager
def registered(name: str, opener: Callable[[], Device]) -> Iterator[None]:
    """Let ``name`` stand for another kind of device in this block.

    For array types that minidl does not know, and for tests without a GPU.
    """
    before = dict(others)
    _openers[name] = opener
    try:
        yield
    finally:
        del _openers[name]
        others.clear()
        others.update(before)


def is_device(name: object) -> bool:
    """Whether a name is a device's, there or not: ``"cpu"``, ``"cuda"``, ``"cuda:1"``."""
    if not isinstance(name, str):
        return False
    kind, colon, number = name.partition(":")
    known = kind in _openers or (kind == CPU and not colon)
    return known and (not colon or number.isdecimal())


def opened(name: str) -> tuple[Device | None, int | None]:
    """Return the device of a name and its number; None stands for the host.

    Raises
    ------
    ValueError
        There is no such name.
    RuntimeError
        The device is not there, or what drives it is not installed; the message says what to do.
    """
    if not is_device(name):
        names = ", ".join([CPU, *_openers])
        raise ValueError(f"device: one of {names} is wanted (cuda:1 is the second); got {name!r}")
    kind, _, number = name.partition(":")
    if kind == CPU:
        return None, None
    index = int(number) if number else None
    for known, device in others.values():
        if known == kind:
            device.check(index)
            return device, index
    device = _openers[kind]()
    device.check(index)
    others[device.array] = kind, device
    return device, index


def device_of(array: Any) -> str:
    """Return the name of the device where an array lies."""
    found = others.get(type(array))
    if found is None:
        return CPU
    name, device = found
    index = device.index(array)
    return name if index is None else f"{name}:{index}"


def asarray(value: Any, dtype: DTypeLike | None = None) -> Any:
    """Return an array as it is, wherever it lies, and a number or a list as an ndarray."""
    if type(value) in others:
        return value if dtype is None else value.astype(dtype, copy=False)
    return np.asarray(value, dtype)


def copied(value: Any) -> Any:
    """Return a copy where the value lies, in the same order in memory."""
    return value.copy(order="K") if type(value) in others else np.array(value)


def host(value: Any) -> Array:
    """Return an ndarray: the value itself, or a copy of what lies on a device."""
    found = others.get(type(value))
    return np.asarray(value) if found is None else found[1].get(value)


def put(value: Any, device: str) -> Any:
    """Return an array where ``device`` says; the same one if it lies there already.

    Errors are those of `opened`.
    """
    if lies_on(value, device):
        return value
    there, index = opened(device)
    return host(value) if there is None else there.put(host(value), index)


def lies_on(value: Any, device: str) -> bool:
    """Whether an array is where ``device`` says; ``"cuda"`` is every GPU."""
    there, index = opened(device)
    if there is None:
        return type(value) not in others
    return type(value) is there.array and index in (None, there.index(value))


def like(value: Any, other: Any) -> Any:
    """Return an array where ``other`` lies."""
    found = others.get(type(other))
    if found is None or type(value) is type(other):
        return host(value) if found is None else value
    return found[1].put(host(value), found[1].index(other))


def on_host(function: Callable[..., Any]) -> Callable[..., Any]:
    """Declare that a computation wants ndarrays: those of a device are copied, and the result back.

    For loops over elements, and for functions that CuPy lacks. It costs two copies and a wait.
    """

    @functools.wraps(function)
    def there_and_back(*args: Any, **params: Any) -> Any:
        place = next((arg for arg in args if type(arg) in others), None)
        if place is None:
            return function(*args, **params)
        found = function(*(host(arg) if type(arg) in others else arg for arg in args), **params)
        if isinstance(found, tuple):
            parts = [like(np.asarray(part), place) for part in found]
            return type(found)(*parts) if hasattr(found, "_fields") else tuple(parts)
        return like(np.asarray(found), place)

    there_and_back.on_host = True  # type: ignore[attr-defined]  # for the list in the tests
    return there_and_back
