"""One operation: its value and its derivatives in one record, and the way it is run.

A *value* is an ndarray (or a Python number), or a *box* around one. Every transform (``grad``,
``jvp``, …) opens a *level* and boxes its inputs there; a box belongs to one level and may hold a
box of a level below. Calling a primitive looks for the highest level among its arguments and
lets that level run the operation: it unwraps its own boxes, calls the primitive again one level
down, and does its own part with the result (record a node, push a tangent). Where no box is left,
NumPy computes. This is all there is to nesting: modes need not know of each other.

Levels are told apart by a serial number from one clock. A transform opened later always has the
higher number, in any thread, so nothing has to be kept in step when an exception passes through,
and derivatives of derivatives cannot be confused: D(x · D(x + y)) = 1.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import MethodType
from typing import Any, ClassVar, NamedTuple, TypeAlias

import numpy as np

from minidl.autograd import anomaly, arrays, recording
from minidl.autograd.arrays import others

Array: TypeAlias = arrays.Array
Rule: TypeAlias = Callable[..., Any]
#: ``(primitive, examples, **params)``: run ``primitive`` on the values of `Examples`, and return
#: the result with the axis of examples in front.
BatchRule: TypeAlias = Callable[..., Any]

#: Serial numbers of levels and of recorded operations: later is higher, across threads too.
clock: Callable[[], int] = itertools.count(1).__next__

#: Levels with a serial number below this do not record (see `no_grad`).
recording_floor: ContextVar[int] = ContextVar("recording_floor", default=0)


class Level:
    """What one transform does with an operation; see `minidl.autograd.reverse` and `.forward`."""

    __slots__ = ("closed", "left", "serial")

    def __init__(self, serial: int) -> None:
        self.serial = serial
        self.closed = False
        #: By what call a value has left the transform without its derivative, if one has.
        self.left: str | None = None

    def run(self, primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Run ``primitive`` on arguments of which this level is the highest."""
        raise NotImplementedError

    def shape_of(self, value: Any) -> tuple[int, ...]:
        """Return the shape that a box of this level shows; ``value`` is what is in it."""
        shape: tuple[int, ...] = value.shape
        return shape

    def one_value(self, value: Any, what: str) -> Any:
        """Return what a box holds, for a use that leaves the transform (``item()``, printing).

        Raises
        ------
        TypeError
            The box stands for many values (`vmap`).
        """
        return value

    def as_array(self, value: Any) -> Any:
        """Return a box of this level whose value is an array; only a recording holds others."""
        return value

    def check_open(self, primitive: Primitive) -> None:
        """Raise where a value has outlived the transform that made it.

        Raises
        ------
        RuntimeError
            The transform has returned.
        """
        if self.closed:
            raise RuntimeError(
                f"{primitive.name}: a value from inside a transform (grad, vjp, jvp, …) was used "
                "after the transform had returned; return it from the function instead (has_aux)"
            )


class Box:
    """A value at a level. ``trace`` is the level's own note: a node, a tangent, or nothing."""

    __slots__ = ("__weakref__", "level", "trace", "value")
    # Tensor, once minidl.tensor is imported: the engine makes boxes, Tensor gives them operators.
    kind: ClassVar[type[Box]]

    value: Any
    level: Level
    trace: Any


_new_box = object.__new__


def box(value: Any, level: Level, trace: Any) -> Any:
    """Make a box of the class users know (`minidl.Tensor`)."""
    made = _new_box(Box.kind)
    made.value = value
    made.level = level
    made.trace = trace
    return made


def as_array(value: Any) -> Any:
    """Keep arrays arrays: NumPy turns 0-d results into scalars, which forget that they were."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, Box):
        return value.level.as_array(value)
    return value if type(value) in others else np.asarray(value)


def constant(value: Any) -> Any:
    """Return what lies under the boxes of all transforms, for a look at it.

    It is an ndarray, or in a recording what stands for one: a look at it becomes a condition of
    what is replayed.
    """
    while isinstance(value, Box) and value.level.serial >= 0:
        value = value.value
    return value


def bottom(value: Any, what: str) -> Any:
    """Return the array at the bottom of a box, wherever it lies, without derivatives.

    Raises
    ------
    TypeError
        The value differs over the examples of a `vmap`; ``what`` says what was wanted of it.
    """
    if isinstance(value, Box) and recording.open_recordings:
        recording.refuse(what)
    while isinstance(value, Box):
        value.level.left = what
        value = value.level.one_value(value.value, what)
    return arrays.asarray(value)


def plain(value: Any, what: str) -> Array:
    """Return `bottom` as an ndarray: what lies on a device is copied to the host."""
    return arrays.host(bottom(value, what))


def zeros_like(value: Any) -> Any:
    """Return zeros of the shape and dtype that a value shows, where it lies."""
    return beside(np.zeros(value.shape, value.dtype), value)


def ones_like(value: Any) -> Any:
    """Return ones of the shape and dtype that a value shows, where it lies."""
    return beside(np.ones(value.shape, value.dtype), value)


def place_of(value: Any) -> Any:
    """Return the array of a device at the bottom of a value, None where that lies on the host."""
    while isinstance(value, Box):
        if value.level.serial < 0:  # in a recording, which is of arrays of the host
            return None
        value = value.value
    return value if type(value) in others else None


def beside(array: Array, value: Any) -> Any:
    """Return an ndarray where ``value`` lies: for constants that no operation takes in."""
    place = place_of(value)
    return array if place is None else arrays.like(array, place)


def together(values: Sequence[Any]) -> list[Any] | None:
    """Move ndarrays to where the other arrays among ``values`` lie; None if there is no need."""
    place = next((p for p in map(place_of, values) if p is not None), None)
    if place is None or not any(isinstance(value, np.ndarray) for value in values):
        return None
    return [
        arrays.like(value, place) if isinstance(value, np.ndarray) else value for value in values
    ]


class Examples(NamedTuple):
    """Arguments under `vmap`: those that are ``batched`` carry an axis of ``size`` in front."""

    size: int
    values: list[Any]
    batched: list[bool]


class Primitive:
    """One differentiable operation; calling it runs it at the right level.

    Positional arguments are what may be differentiated (and arrays such as indices or masks,
    whose rule is None); keyword arguments are fixed parameters.
    """

    def __init__(
        self,
        name: str,
        value: Callable[..., Any],
        vjp: Sequence[Rule | None] | None,
        jvp: Sequence[Rule | None] | Rule | None,
        batch: BatchRule | None,
        doc: str | None,
        view: bool,
    ) -> None:
        self.batch = batch
        self.view = view
        self.name = self.__name__ = name
        self.value = value
        self.vjp = vjp
        self.jvp = jvp
        self.__doc__ = doc
        #: The same in other operations, where this one stands for several: see `.fused`.
        self.composed: Callable[..., Any] | None = None
        #: What is run in place of ``value`` on arrays of a device, where a kernel refuses them.
        self.elsewhere: Callable[..., Any] | None = None
        self.keeps: dict[tuple[int, int], tuple[tuple[int, ...], bool]] = {}  # what unread() found

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Bind like a function, so that a primitive can stand in a class as a method."""
        return self if instance is None else MethodType(self, instance)

    def __call__(self, *args: Any, **params: Any) -> Any:
        """Run the operation at the highest level among its arguments."""
        top: Level | None = None
        for arg in args:
            if isinstance(arg, Box):
                level = arg.level
                if level is not top and (top is None or level.serial > top.serial):
                    top = level
        if top is not None:
            return top.run(self, args, params)
        try:
            out = self.value(*args, **params)
        except (ValueError, TypeError, IndexError) as error:
            out = self.run_together(error, list(args), params)
        if anomaly.open_blocks and anomaly.watching():
            anomaly.check(self.name, "value", out, args, None)
        return out

    def run_together(self, error: Exception, values: list[Any], params: dict[str, Any]) -> Any:
        """Run again with all ``values`` on one device, where they were not; else explain the error.

        It is asked for after the error, so that it costs nothing where all arrays are on the host.
        """
        moved = together(values)
        if moved is not None:
            values[:] = moved  # for the rules, which are to find them there
        instead = self.elsewhere
        if instead is not None and any(type(value) in others for value in values):
            return instead(*values, **params)
        if moved is None:
            raise self.explain(error, values) from error
        try:
            return self.value(*values, **params)
        except (ValueError, TypeError, IndexError) as again:
            raise self.explain(again, values) from again

    def explain(self, error: Exception, args: Sequence[Any]) -> Exception:
        """Make NumPy's error say which operation failed, on what."""
        if str(error).startswith(self.name):
            return error
        described = ", ".join(describe(arg) for arg in args)
        kind = type(error) if type(error) in (ValueError, TypeError, IndexError) else ValueError
        return kind(f"{self.name}({described}): {error}")

    def unread(self, mask: int, count: int) -> tuple[tuple[int, ...], bool]:
        """Say what need not be kept for backward when the arguments in ``mask`` want a gradient.

        Returns the indices of arguments that no rule in question reads, and whether ``out`` is
        read. A rule says that it does not read an argument by a leading underscore in its name,
        so memory is freed as early as possible.
        """
        assert self.vjp is not None
        wanted = [self.vjp[i] for i in range(count) if mask >> i & 1]
        read = [reads(rule, count) for rule in wanted if rule is not None]
        unread = tuple(i for i in range(count) if not any(i + 1 in names for names in read))
        self.keeps[mask, count] = found = unread, any(0 in names for names in read)
        return found


def reads(rule: Rule, count: int) -> set[int]:
    """Positions that a rule ``(g, out, *args)`` reads: 0 for ``out``, i + 1 for argument i."""
    read: set[int] = set()
    for position, parameter in enumerate(list(inspect.signature(rule).parameters.values())[1:]):
        if parameter.kind is parameter.VAR_POSITIONAL:
            if not parameter.name.startswith("_"):
                read.update(range(position, count + 1))
        elif parameter.kind is not parameter.KEYWORD_ONLY and not parameter.name.startswith("_"):
            read.add(position)
    return read


def describe(arg: Any) -> str:
    """Describe an argument for an error message: dtype and shape of arrays, else its repr."""
    shape, dtype = getattr(arg, "shape", None), getattr(arg, "dtype", None)
    return repr(arg) if shape is None else f"{dtype}{list(shape)}"


class EveryArgument(Sequence[Rule]):
    """One rule for all arguments of a variadic operation; it is told which by ``argnum``."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def __getitem__(self, argnum: Any) -> Any:
        return functools.partial(self.rule, argnum=argnum)

    def __len__(self) -> int:
        return 2**31


class Together(Sequence[Rule]):
    """One rule for all arguments of a node at once: ``(g, node, edges, record_at)`` -> shares.

    It returns a mapping from an argument's index to its cotangent, for the ``edges`` asked for. Not
    for operations, whose rules stand argument by argument, but for `custom_vjp` and `checkpoint`.
    """

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def __getitem__(self, argnum: Any) -> Any:
        raise TypeError("the rules of this node stand together")

    def __len__(self) -> int:
        return 2**31


def linear(*_: Any, **__: Any) -> Any:
    """Stand for a jvp rule: the operation is linear in this argument, so it maps the tangent.

    In place of the whole tuple of rules: the operation is linear in all its arguments together.
    """
    raise AssertionError("forward mode applies the operation itself in place of this rule")


def primitive(
    name: str,
    value: Callable[..., Any],
    *,
    vjp: Sequence[Rule | None] | Rule | None = None,
    jvp: Sequence[Rule | None] | Rule | None = None,
    batch: BatchRule | None = None,
    doc: str | None = None,
    view: bool = False,
) -> Primitive:
    """Declare an operation.

    Parameters
    ----------
    name
        What error messages, traces and tables call it.
    value
        The computation on ndarrays.
    vjp
        One rule ``(g, out, *args, **params)`` an argument: the cotangent of that argument from
        the cotangent ``g`` of the result. Broadcast axes, dtypes and 0-d arrays are the engine's
        business, not the rule's. None for an argument without derivative. A single rule (not a
        tuple) serves every argument of a variadic operation and is given ``argnum``.
    jvp
        Likewise ``(t, out, *args, **params)``: the tangent of the result from the tangent ``t``
        of that argument alone, or `linear`; or `linear` alone for the operation as a whole.
    batch
        How `vmap` runs the operation on all examples at once, see `minidl.ops.batching`; without
        a rule it runs them one by one.
    doc
        The public docstring, where the primitive is a public function as it stands.
    view
        The result may share memory with the argument, so that overwriting the one changes the
        other.

    An operation without rules has no derivative: its result is a constant.
    """
    rules = EveryArgument(vjp) if callable(vjp) else vjp
    return Primitive(name, value, rules, jvp, batch, doc, view)


@contextmanager
def no_grad() -> Iterator[None]:
    """Compute without derivatives, in every mode, for the transforms open at this point.

    A transform opened inside still differentiates. Also a decorator.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.tensor(2.0, requires_grad=True)
    >>> with minidl.no_grad():
    ...     y = x * x
    >>> y.requires_grad
    False
    """
    token = recording_floor.set(clock())
    try:
        yield
    finally:
        recording_floor.reset(token)


@contextmanager
def enable_grad() -> Iterator[None]:
    """Compute with derivatives again inside `no_grad`. Also a decorator."""
    token = recording_floor.set(0)
    try:
        yield
    finally:
        recording_floor.reset(token)
