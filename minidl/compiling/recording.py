"""A step taken down as it runs: a level below eager execution.

Arrays that the step is given, reads from parameters, or computes are `Traced`; every operation on
one, in the forward pass as in the rules of the backward pass, becomes an `Instruction`, and is
carried out at once on the arrays themselves. So a recording is an eager step, with its bits and its
side effects, and if something turns up that no program could replay, it simply ends as one.
"""

from __future__ import annotations

import inspect
import operator
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minidl.autograd import anomaly
from minidl.autograd.primitive import Box, Level, Primitive, box
from minidl.autograd.recording import paused
from minidl.autograd.reverse import EAGER
from minidl.compiling.expansion import EXPANSIONS
from minidl.compiling.traced import Draws, Traced
from minidl.kernels.memory import noting
from minidl.ops.batching import refused as shape_of_values


@dataclass(frozen=True, slots=True)
class Ref:
    """A place of an instruction's argument that is filled from a slot; ``boxed``: as a Tensor."""

    slot: int
    boxed: bool = False


@dataclass(slots=True)
class Slot:
    """A value of the program. ``root`` numbers the memory: two slots of one root may share it.

    ``kind`` is ``input``, ``state`` (the array of a Tensor that lives outside), ``constant``, or
    ``result`` (of an instruction). ``own``: a constant that the step makes anew each time, so that
    nobody outside can change it.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    strides: tuple[int, ...]
    scalar: bool
    root: int
    array: Any = None
    tensor: Any = None
    trace: Any = None
    own: bool = False


@dataclass(slots=True)
class Instruction:
    """One call. ``kind`` is ``compute``, ``effect`` (it changes state), or ``condition``.

    ``out`` is the slot of what it returns. ``as_array``: a NumPy scalar it returns is made an
    array, as the engine does. ``wanted`` is the answer that a condition must have.
    """

    kind: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: int | None
    name: str
    line: str
    as_array: bool = False
    wanted: bool = True
    #: Arrays that a kernel asked for: shape, dtype, and whether it is the memory of the result.
    taken: list[tuple[tuple[int, ...], np.dtype[Any], bool]] = field(default_factory=list)
    primitive: Primitive | None = None
    #: What a reader of the program is told of it.
    shown: str = ""


@dataclass
class Noted:
    """A module that ran: its attributes, held by identity, as they were."""

    module: Any
    keys: tuple[str, ...] = ()
    values: tuple[Any, ...] = field(default=())

    def __post_init__(self) -> None:
        attributes = vars(self.module)
        self.keys, self.values = tuple(attributes), tuple(attributes.values())

    def changed(self) -> str | None:
        """Return the name of an attribute that is not what it was."""
        now = vars(self.module)
        if len(now) == len(self.keys) and all(map(operator.is_, now.values(), self.values)):
            return None
        before = dict(zip(self.keys, self.values, strict=True))
        missing = object()
        name: str
        for name in (*before, *now):
            if before.get(name, missing) is not now.get(name, missing):
                return name
        return None  # in another order, but the same


class Recording(Level):
    """Takes down one step; see the module."""

    def __init__(self) -> None:
        super().__init__(-1)
        self.slots: list[Slot] = []
        self.instructions: list[Instruction] = []
        self.modules: dict[int, Noted] = {}
        #: Why there will be no program, and the line of the user's code; None so far.
        self.refusal: str | None = None
        self.open = True
        self._known: dict[int, tuple[Any, Traced]] = {}  # arrays of states, by identity
        self._constants: dict[int, int] = {}
        self._roots: dict[int, tuple[Any, int]] = {}
        self._made: list[weakref.ref[Traced]] = []

    # ---- values ------------------------------------------------------------------------------

    def _root(self, held: Any) -> int:
        """Number the memory that an array lies in."""
        if not isinstance(held, np.ndarray):
            return -1
        base: Any = held
        while isinstance(base, np.ndarray) and base.base is not None:
            base = base.base
        known = self._roots.get(id(base))
        if known is not None and known[0]() is base:
            return known[1]
        number = len(self._roots) + len(self.slots)
        try:
            ref: Any = weakref.ref(base)
        except TypeError:  # memory of something else than an array
            ref = lambda base=base: base
        number = self._next_root = getattr(self, "_next_root", 0) + 1
        self._roots[id(base)] = (ref, number)
        return number

    def _slot(self, kind: str, held: Any, **more: Any) -> int:
        array = np.asarray(held)
        scalar = not isinstance(held, np.ndarray)
        self.slots.append(
            Slot(kind, array.shape, array.dtype, array.strides, scalar, self._root(held), **more)
        )
        return len(self.slots) - 1

    def traced(self, kind: str, held: Any, **more: Any) -> Traced:
        """Give a value a place in the program."""
        made = Traced(held, self, self._slot(kind, held, **more))
        self._made.append(weakref.ref(made))
        return made

    def state(self, tensor: Any, array: Any) -> Traced:
        """Return what stands for the array of a Tensor that lives outside of the step."""
        known = self._known.get(id(array))
        if known is None:
            made = self.traced("state", array, array=array, tensor=tensor, trace=tensor.trace)
            known = self._known[id(array)] = (array, made)
        return known[1]

    def _reference(self, value: Any, boxed: bool = False) -> Any:
        """Put places in the stead of arrays, in nested arguments."""
        if isinstance(value, Traced):
            return Ref(value.slot, boxed)
        if isinstance(value, np.ndarray):
            known = self._known.get(id(value))
            if known is not None:
                return Ref(known[1].slot)
            slot = self._constants.get(id(value))
            if slot is None:
                slot = self._constants[id(value)] = self._slot("constant", value, array=value)
            return Ref(slot)
        if isinstance(value, Box) and value.level is EAGER and isinstance(value.value, Traced):
            return Ref(value.value.slot, boxed=True)
        return rebuilt(value, self._reference)

    def _held(self, value: Any) -> Any:
        """Put arrays in the stead of what stands for them, in nested arguments."""
        if isinstance(value, Traced):
            return value.held
        if isinstance(value, Box) and value.level is EAGER and isinstance(value.value, Traced):
            if self.open:
                return box(value.value.held, EAGER, None)
            value.value = value.value.held
            return value
        return rebuilt(value, self._held)

    # ---- operations --------------------------------------------------------------------------

    def run(self, primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Run an operation on arrays, and take it down."""
        if self.open and primitive in EXPANSIONS:
            return EXPANSIONS[primitive](self, *args, **params)
        values = self._held(args)
        asked: list[Any] = []
        try:
            with noting(asked):
                out = primitive.value(*values, **self._held(params))
        except (ValueError, TypeError, IndexError) as error:
            raise primitive.explain(error, values) from error
        if not self.open:
            return out
        if primitive.batch is shape_of_values or _masks(primitive, args):
            self.refuse(f"{primitive.name}, whose result has a shape that depends on values")
            return out
        made = self._taken_down(primitive.value, args, params, out, primitive)
        root = self.slots[made.slot].root
        self.instructions[-1].taken = [(a.shape, a.dtype, self._root(a) == root) for a in asked]
        return made

    def apply(
        self, primitive: Primitive, args: tuple[Any, ...], values: list[Any], params: dict[str, Any]
    ) -> Any:
        """Run an operation of the outermost level; ``values`` become what is recorded.

        Arrays of Tensors that were there before the step are places too: they may change.
        """
        for i, arg in enumerate(args):
            held = isinstance(arg, Box) and arg.level is EAGER
            if held and self.open and isinstance(values[i], np.ndarray):
                values[i] = self.state(arg, values[i])
        if any(isinstance(value, Box) for value in values):
            out = self.run(primitive, tuple(values), params)
        else:
            out = primitive(*values, **params)
        if isinstance(out, Traced):
            return self.as_array(out)
        return np.asarray(out)

    def call(self, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        """Call one of NumPy's functions on arrays, and take it down."""
        out = function(*self._held(args), **self._held(kwargs))
        if not self.open:
            return out
        if isinstance(out, (tuple, list)):
            self.refuse(f"{getattr(function, '__name__', function)}, which gives several arrays")
            return out
        return self._taken_down(function, args, kwargs, out, None)

    def static(self, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
        """Call a function whose answer depends on shapes and dtypes alone."""
        return function(*self._held(args), **self._held(kwargs))

    def _taken_down(
        self, function: Any, args: Any, kwargs: Any, out: Any, primitive: Primitive | None
    ) -> Any:
        refs, named = self._reference(tuple(args)), self._reference(dict(kwargs))
        made = self.traced("result", out)
        name = primitive.name if primitive else getattr(function, "__name__", "call")
        self.instructions.append(
            Instruction(
                *("compute", function, refs, named, made.slot, name, anomaly.user_line()),
                primitive=primitive,
            )
        )
        return made

    def as_array(self, value: Any) -> Any:
        """Make a NumPy scalar that an instruction returned an array, as the engine does."""
        if not self.open:
            return np.asarray(value.held)
        if isinstance(value.held, np.ndarray):
            return value
        last = self.instructions[-1]
        array = np.asarray(value.held)
        if last.out == value.slot:
            last.as_array = True
            slot = self.slots[value.slot]
            slot.scalar, slot.root = False, self._root(array)
            value.held = array
            return value
        return self._taken_down(np.asarray, (value,), {}, array, None)

    # ---- side effects ------------------------------------------------------------------------

    def effect(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run what changes state, now and at each replay."""
        args = tuple(list(a) if isinstance(a, Iterator) else a for a in args)
        kwargs = {k: list(a) if isinstance(a, Iterator) else a for k, a in kwargs.items()}
        if any(map(inspect.isroutine, (*args, *kwargs.values()))):
            self.refuse("a function that is called within a step (a closure)")
            return function(*args, **kwargs)
        with paused():
            out = function(*self._held(args), **self._held(kwargs))
        if not self.open:
            return out
        refs, named = self._reference(args), self._reference(kwargs)
        made = None if out is None else self.traced("result", out)
        name = getattr(function, "__qualname__", repr(function)).lstrip("_")
        slot = None if made is None else made.slot
        self.instructions.append(
            Instruction("effect", function, refs, named, slot, name, anomaly.user_line())
        )
        return made

    def draws(self, rng: np.random.Generator | None) -> Any:
        """Return what draws from ``rng`` at each replay."""
        if not self.open:
            return np.random.default_rng() if rng is None else rng
        return Draws(rng, self)

    def note(self, module: Any) -> None:
        """Remember the settings of a module that runs."""
        if id(module) not in self.modules:
            self.modules[id(module)] = Noted(module)

    # ---- looks at values ---------------------------------------------------------------------

    def condition(self, value: Traced) -> bool:
        """Answer whether a value is true: another answer at a replay ends it."""
        answer = bool(value.held)
        if self.open:
            refs = (Ref(value.slot),)
            self.instructions.append(
                Instruction(
                    *("condition", bool, refs, {}, None, "condition", anomaly.user_line()),
                    wanted=answer,
                )
            )
        return answer

    def read(self, value: Traced, how: str) -> Any:
        """Give a value to code that does with it what it wants."""
        self.refuse(how)
        return value.held

    def one_value(self, value: Any, what: str) -> Any:
        """Not asked: `plain` meets `refuse` first."""
        return value

    def refuse(self, reason: str) -> None:
        """Give the recording up; from here on the step is a plain eager one."""
        if self.open:
            self.open = False
            self.refusal = f"{reason}, at {anomaly.user_line()}"

    def finish(self) -> list[Traced]:
        """End the recording; return what stands for arrays and is still alive."""
        self.open = False
        self._known.clear()
        return [made for ref in self._made if (made := ref()) is not None]


def rebuilt(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return nested tuples, lists, dicts and slices with ``change`` applied to what is in them."""
    if isinstance(value, tuple):
        parts = [change(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if isinstance(value, list):
        return [change(part) for part in value]
    if isinstance(value, dict):
        return {key: change(part) for key, part in value.items()}
    if isinstance(value, slice):
        return slice(change(value.start), change(value.stop), change(value.step))
    return value


def refs(value: Any) -> Iterator[Ref]:
    """Places filled from slots, in nested arguments."""
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from refs(part)
    elif isinstance(value, dict):
        for part in value.values():
            yield from refs(part)
    elif isinstance(value, slice):
        yield from refs((value.start, value.stop, value.step))


def read_by(instruction: Instruction) -> Iterator[int]:
    """Slots that an instruction reads."""
    return (ref.slot for ref in refs((instruction.args, instruction.kwargs)))


def _masks(primitive: Primitive, args: tuple[Any, ...]) -> bool:
    """Whether an operation reads at an index of booleans."""
    if primitive.name != "getitem":
        return False
    return any(isinstance(arg, Traced) and arg.dtype == np.bool_ for arg in args[1:])
