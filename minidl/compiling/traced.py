"""What stands for an array while a step is recorded.

A `Traced` holds the array that was really computed and the number of its place in the program.
It answers what is the same at every replay (shape, dtype) and takes down what is computed from it,
operator by operator, just as an ndarray would compute it. A question for its values has no answer
that could be replayed: `bool()` becomes a condition of the program, and anything else ends the
recording, which then goes on as an eager step (`Recording.refuse`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.autograd.primitive import Box

if TYPE_CHECKING:
    from minidl.compiling.recording import Recording

#: NumPy's functions whose answer depends on shapes and dtypes alone.
STATIC: set[Any] = {np.shape, np.ndim, np.size, np.result_type, np.iscomplexobj, np.isrealobj}

#: NumPy's functions that give a result of a shape that depends on values.
OF_VALUES: set[Any] = {
    np.nonzero,
    np.flatnonzero,
    np.argwhere,
    np.unique,
    np.compress,
    np.extract,
    np.bincount,
    np.may_share_memory,
    np.shares_memory,
    np.array_equal,
    np.allclose,
}

METHODS = [
    *("all", "any", "argmax", "argmin", "argsort", "astype", "clip", "conj", "copy", "cumprod"),
    *("cumsum", "diagonal", "dot", "max", "mean", "min", "prod", "ravel", "repeat", "reshape"),
    *("round", "squeeze", "std", "sum", "swapaxes", "take", "transpose", "var", "view"),
]
#: Operators that have a form in place.
BINARY = [
    *("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul"),
    *("and", "or", "xor", "lshift", "rshift"),
]


class Traced(Box):
    """An array of a step that is being recorded. ``held`` is the array (or NumPy scalar) itself."""

    __slots__ = ("held", "slot")
    level: Recording

    def __init__(self, held: Any, level: Recording, slot: int) -> None:
        self.held, self.level, self.slot = held, level, slot
        self.trace = None

    # ---- the same at every replay ------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return np.shape(self.held)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return np.ndim(self.held)

    @property
    def size(self) -> int:
        """Number of elements."""
        return np.size(self.held)

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy dtype of the elements."""
        return np.asarray(self.held).dtype

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self.dtype.itemsize

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes from an element to the next along each axis."""
        return np.asarray(self.held).strides

    def __len__(self) -> int:
        return len(self.held)

    # ---- computed from it --------------------------------------------------------------------

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        parts = index if isinstance(index, tuple) else (index,)
        if any(isinstance(part, Box) and part.dtype == np.bool_ for part in parts):  # type: ignore[attr-defined]
            self.level.refuse("an index of booleans, whose result has a shape of its own")
        return self.level.call(operator.getitem, (self, index), {})

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if any(map(_above, inputs)):
            return NotImplemented
        out = kwargs.get("out")
        if out is not None:
            if not all(isinstance(part, Traced) for part in out):
                self.level.refuse(f"np.{ufunc.__name__} into an array from outside")
            kwargs["out"] = out[0] if len(out) == 1 else out
        return self.level.call(getattr(ufunc, method) if method != "__call__" else ufunc,
                               inputs, kwargs)  # fmt: skip

    def __array_function__(
        self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any
    ) -> Any:
        if function in STATIC:
            return self.level.static(function, args, kwargs)
        if function in OF_VALUES:
            self.level.refuse(f"np.{function.__name__}")
        return self.level.call(function, args, kwargs)

    @property
    def T(self) -> Any:
        """The axes in reverse order."""
        return self.level.call(np.transpose, (self,), {})

    @property
    def real(self) -> Any:
        """The real part."""
        return self.level.call(np.real, (self,), {})

    @property
    def imag(self) -> Any:
        """The imaginary part."""
        return self.level.call(np.imag, (self,), {})

    # ---- looked at ---------------------------------------------------------------------------

    def __bool__(self) -> bool:
        return self.level.condition(self)

    @property
    def value(self) -> Any:
        """The array, for code that looks at it: no program can replay what it does then."""
        return self.level.read(self, "a look at its value")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        array = np.asarray(self.level.read(self, "its conversion to an ndarray"), dtype)
        return array.copy() if copy else array

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.level.read(self, f".{name}"), name)

    def __format__(self, spec: str) -> str:
        return format(self.level.read(self, "formatting it"), spec)

    def __repr__(self) -> str:
        return f"<traced {self.dtype}{list(self.shape)}>"

    __hash__ = object.__hash__


def _above(other: Any) -> bool:
    """Whether an operand is of a higher level, which then sees to the operation."""
    return isinstance(other, Box) and other.level.serial >= 0


def _operator(function: Callable[..., Any]) -> Callable[[Traced, Any], Any]:
    def method(self: Traced, other: Any) -> Any:
        if _above(other):
            return NotImplemented
        return self.level.call(function, (self, other), {})

    return method


def _reflected(function: Callable[..., Any]) -> Callable[[Traced, Any], Any]:
    def method(self: Traced, other: Any) -> Any:
        if _above(other):
            return NotImplemented
        return self.level.call(function, (other, self), {})

    return method


def _unary(function: Callable[..., Any]) -> Callable[[Traced], Any]:
    return lambda self: self.level.call(function, (self,), {})


def _method(name: str) -> Callable[..., Any]:
    def method(self: Traced, *args: Any, **kwargs: Any) -> Any:
        return self.level.call(getattr(type(self.held), name), (self, *args), kwargs)

    return method


def _look(name: str) -> Callable[[Traced], Any]:
    def method(self: Traced) -> Any:
        held = self.level.read(self, f"{name.strip('_')}() of a value")
        return getattr(np.asarray(held), name)()

    return method


for _name in BINARY:
    _function = getattr(operator, _name + "_" if _name in ("and", "or") else _name)
    setattr(Traced, f"__{_name}__", _operator(_function))
    setattr(Traced, f"__r{_name}__", _reflected(_function))
    setattr(Traced, f"__i{_name}__", _operator(getattr(operator, f"i{_name}")))
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Traced, f"__{_name}__", _operator(getattr(operator, _name)))
for _name in ("neg", "pos", "abs", "invert"):
    setattr(Traced, f"__{_name}__", _unary(getattr(operator, _name)))
for _name in METHODS:
    setattr(Traced, _name, _method(_name))
for _name in ("item", "tolist", "__float__", "__int__", "__index__", "__complex__"):
    setattr(Traced, _name, _look(_name))


class Draws:
    """A generator of a step that is being recorded: each replay draws anew."""

    def __init__(self, rng: np.random.Generator | None, recording: Recording) -> None:
        self._rng, self._recording = rng, recording

    def __getattr__(self, name: str) -> Any:
        def method(*args: Any, **kwargs: Any) -> Any:
            return self._recording.effect(draw, (self._rng, name, args, kwargs), {})

        return method


def draw(rng: np.random.Generator | None, name: str, args: Any, kwargs: Any) -> Any:
    """Draw from a generator, by the name of a method; None is a fresh one."""
    rng = np.random.default_rng() if rng is None else rng
    return getattr(rng, name)(*args, **kwargs)
