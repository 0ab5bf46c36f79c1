"""`compile`: a function that records itself, and from then on is replayed."""

from __future__ import annotations

import functools
import inspect
import types
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Generic, ParamSpec, TypeVar, cast

import numpy as np

from minidl.arguments import Count, checked
from minidl.autograd import anomaly, backward
from minidl.autograd import recording as opening
from minidl.autograd.primitive import Box, box, recording_floor
from minidl.autograd.reverse import EAGER, Node
from minidl.compiling.agreement import Difference, difference, same
from minidl.compiling.checking import Trial
from minidl.compiling.program import Program, Unplayable, changed_by
from minidl.compiling.recording import Noted, Recording, Ref, rebuilt
from minidl.compiling.traced import Traced
from minidl.compiling.writing import MISSED

P = ParamSpec("P")
T = TypeVar("T")

_comparing = Lock()

#: So many kinds of arguments are recorded: each takes two eager steps, and memory of its own.
MOST_KINDS = 32

#: So many programs for arguments of one kind: a step that wants more is not worth recording.
MOST_PROGRAMS = 8


class CompileError(RuntimeError):
    """A step cannot be recorded; the message names what and where."""


class CompileWarning(UserWarning):
    """A step cannot be recorded, and runs eagerly; the message names what and where."""


@dataclass
class _Taken:
    """One recording of a step, and what it returned."""

    recording: Recording
    result: Any
    traces: dict[int, Node]
    variables: _Variables


@dataclass
class _Kind:
    """What is known of the step for arguments of one kind."""

    programs: list[Program] = field(default_factory=list)
    variables: list[_Variables] = field(default_factory=list)
    pending: list[_Taken] = field(default_factory=list)
    recordings: int = 0
    given_up: str | None = None


class _Variables:
    """The variables that a function reads from around it, as they are."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.cells: list[tuple[str, Any, Any]] = []
        self.names: list[tuple[dict[str, Any], str, Any]] = []
        self.owner: Noted | None = None
        while isinstance(function, functools.partial):
            function = function.func
        owner = getattr(function, "__self__", None)
        if owner is not None and hasattr(owner, "__dict__") and not inspect.ismodule(owner):
            self.owner = Noted(owner)
        code = getattr(function, "__code__", None)
        if code is None:
            return
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            self.cells.append((name, cell, _content(cell)))
        outside = function.__globals__
        for name in code.co_names:
            value = outside.get(name)
            if name in outside and not isinstance(value, (types.ModuleType, type)):
                self.names.append((outside, name, value))

    def changed(self) -> str | None:
        """Return the name of one that is another now."""
        for name, cell, content in self.cells:
            if _content(cell) is not content:
                return name
        for outside, name, value in self.names:
            if outside.get(name) is not value:
                return name
        return None if self.owner is None else self.owner.changed()


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


class Compiled(Generic[P, T]):
    """A step, or any function of arrays, that is recorded and then replayed; see `compile`."""

    def __init__(
        self,
        function: Callable[P, T],
        *,
        strict: bool = False,
        check: int = 0,
        tell: Callable[[str], None] | None = None,
        trial: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.function = function
        self.strict, self.check, self._tell, self._trial = strict, check, tell, trial
        self._kinds: dict[Any, _Kind] = {}
        self._warned = False
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Replay the function, or run it and take it down."""
        # Another recording, a profile or anomaly mode wants to see the operations themselves.
        if opening.current() is not None or backward.watch is not None or anomaly.watching():
            return self.function(*args, **kwargs)
        leaves: list[Any] = []
        key = (
            _flat(args, leaves),
            _flat(kwargs, leaves) if kwargs else (),
            recording_floor.get() > 0,
        )
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._new_kind(key)
        for program, variables in zip(kind.programs, kind.variables, strict=True):
            if variables.changed() is None and program.fits():
                if program.unchecked:
                    found = self._checked(kind, program, leaves, args, kwargs)
                else:
                    found = program.run(leaves)
                if found is not MISSED:
                    return cast(T, found)
        if kind.given_up is not None:
            return self.function(*args, **kwargs)
        return self._record(kind, args, kwargs)

    def _new_kind(self, key: Any) -> _Kind:
        """Make room for arguments of another kind; beyond some number they run eagerly."""
        if len(self._kinds) < MOST_KINDS:
            return self._kinds.setdefault(key, _Kind())
        kind = _Kind()
        self._give_up(
            kind,
            f"arguments of more than {MOST_KINDS} shapes, dtypes or values; those that were first "
            "are replayed all the same",
        )
        return kind

    # ---- recording ---------------------------------------------------------------------------

    def _record(self, kind: _Kind, args: Any, kwargs: Any) -> T:
        """Run the step eagerly, take it down, and make a program if it was so before."""
        recording = Recording()
        variables = _Variables(self.function)
        given = _stand_ins((args, kwargs), recording)
        result: Any = None
        try:
            with opening.opened(recording):
                result = self.function(*given[0], **given[1])
                spec, traces = _outputs(result, recording)
        finally:
            del given
            recording.open = False
        result = _unwrapped(result)
        reason = recording.refusal or self._left_behind(recording, variables)
        if reason is None:
            taken = _Taken(recording, spec, traces, variables)
            with _comparing:  # threads may record the same step at once
                reason = self._compare(kind, taken)
        if reason is not None:
            self._give_up(kind, reason)
        return cast(T, result)

    def _checked(
        self, kind: _Kind, program: Program, leaves: list[Any], args: Any, kwargs: Any
    ) -> Any:
        """Run a step eagerly and hold its replay against it; or return `MISSED`."""
        with self._trial():
            trial = Trial(program, leaves)
        if trial.missed:
            return MISSED
        result = self.function(*args, **kwargs)
        program.unchecked -= 1
        found = trial.difference(result)
        if found is not None:
            kind.programs.clear()
            kind.variables.clear()
            self._give_up(kind, f"a replay gave other bits than the eager step, in {found}")
        return result

    def _left_behind(self, recording: Recording, variables: _Variables) -> str | None:
        """Say what the step has changed that no program would change again."""
        alive = recording.finish()
        if alive:
            import gc

            gc.collect()
            alive = recording.finish()
        if alive:
            for traced in alive:
                _release(traced)
            return "a value of the step is kept outside of it; return it instead"
        if (name := variables.changed()) is not None:
            return f"the step changes {name!r}, which a replay would not"
        if (name := changed_by(recording.modules.values())) is not None:
            return f"the step changes {name}, which a replay would not"
        return None

    def _compare(self, kind: _Kind, taken: _Taken) -> str | None:
        """Make a program if a recording before this one is the same; return why there is none."""
        kind.recordings += 1
        if kind.recordings > 4 * MOST_PROGRAMS:
            return f"{kind.recordings} recordings, and what it depends on changes still"
        kind.pending = [one for one in kind.pending if _still(one)]
        reason = None
        for number, one in enumerate(kind.pending):
            found = difference(one.recording, taken.recording)
            if found is None and not same(one.result, taken.result):
                found = Difference("the step returns something else at each call")
            if found is None:
                del kind.pending[number]
                return self._add(kind, taken)
            if _settled(one.recording, taken.recording):
                kind.pending.clear()
                break
            if not found.branch:
                reason = found.reason
        kind.pending.append(taken)
        if len(kind.pending) > MOST_PROGRAMS:
            return f"{MOST_PROGRAMS} calls went {MOST_PROGRAMS} ways"
        return reason

    def _add(self, kind: _Kind, taken: _Taken) -> str | None:
        try:
            program = Program(taken.recording, taken.result, taken.traces)
        except Unplayable as reason:
            return str(reason)
        program.unchecked = self.check if program.comparable else 0
        kind.programs.append(program)
        kind.variables.append(taken.variables)
        if len(kind.programs) > MOST_PROGRAMS:
            return f"{MOST_PROGRAMS} programs, and what they depend on changes still"
        return None

    def _give_up(self, kind: _Kind, reason: str) -> None:
        kind.given_up = reason
        kind.pending.clear()
        name = getattr(self.function, "__qualname__", type(self.function).__name__)
        message = f"compile: {name} cannot be replayed and runs eagerly: {reason}"
        if self.strict:
            raise CompileError(message)
        if not self._warned:
            self._warned = True
            if self._tell is not None:
                self._tell(message)
            else:
                warnings.warn(message, CompileWarning, stacklevel=4)

    # ---- what there is -----------------------------------------------------------------------

    @property
    def programs(self) -> list[Program]:
        """The programs made so far, one for each kind of arguments and settings."""
        return [program for kind in self._kinds.values() for program in kind.programs]

    @property
    def fallbacks(self) -> list[str]:
        """Why there is no program, for the kinds of arguments that have none."""
        return [kind.given_up for kind in self._kinds.values() if kind.given_up is not None]

    def explain(self) -> str:
        """Return the programs as text."""
        parts = [program.source for program in self.programs]
        parts += [f"# runs eagerly: {reason}" for reason in self.fallbacks]
        return "\n\n".join(parts) or "# not recorded yet"


def _flat(value: Any, leaves: list[Any]) -> Any:
    """Collect arrays; return what else there is, and the arrays' kinds, as a key."""
    if isinstance(value, np.ndarray):
        leaves.append(value)
        return (0, value.shape, value.dtype, value.strides)
    if isinstance(value, Box):
        if value.level is EAGER and type(value.value) is np.ndarray and value.trace is None:
            array = value.value
            leaves.append(array)
            return (1, array.shape, array.dtype, array.strides)
        return (2, _Same(value))
    if isinstance(value, (tuple, list)):
        return (type(value), *(_flat(part, leaves) for part in value))
    if isinstance(value, dict):
        return (dict, *((key, _flat(part, leaves)) for key, part in value.items()))
    try:
        hash(value)
    except TypeError:
        return _Same(value)
    return (type(value), value)


class _Same:
    """An object in a key, by identity."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value


def _stand_ins(value: Any, recording: Recording) -> Any:
    """Put what stands for arrays in the stead of arguments."""
    if isinstance(value, np.ndarray):
        return recording.traced("input", value)
    if isinstance(value, Box):
        if value.level is EAGER and type(value.value) is np.ndarray and value.trace is None:
            return box(recording.traced("input", value.value), EAGER, None)
        return value
    return rebuilt(value, lambda part: _stand_ins(part, recording))


def _outputs(result: Any, recording: Recording) -> tuple[Any, dict[int, Node]]:
    """Put places in the stead of arrays in what a step returned."""
    traces: dict[int, Node] = {}

    def place(value: Any) -> Any:
        if isinstance(value, Box) and value.level is EAGER and isinstance(value.value, Traced):
            slot = value.value.slot
            if isinstance(value.trace, Node):
                if value.trace.args is not None:
                    recording.refuse(
                        "a result that still wants a derivative (call backward() in the step, or "
                        "the function inside no_grad)"
                    )
                traces[slot] = value.trace
            return Ref(slot, boxed=True)
        if isinstance(value, Traced):
            return Ref(value.slot)
        if isinstance(value, (tuple, list, dict)):
            return rebuilt(value, place)
        return value

    return place(result), traces


def _unwrapped(value: Any) -> Any:
    """Put arrays in the stead of what stood for them."""
    if isinstance(value, Traced):
        return value.held
    if isinstance(value, Box):
        if isinstance(value.value, Traced):
            value.value = value.value.held
        return value
    return rebuilt(value, _unwrapped)


def _release(traced: Traced) -> None:
    """Put the array in the stead of what stood for it, wherever that is kept."""
    import gc

    for holder in gc.get_referrers(traced):
        if isinstance(holder, Box) and type(holder) is not Traced:
            holder.value = traced.held
        elif isinstance(holder, Node) and holder.out is traced:
            holder.out = traced.held
        elif isinstance(holder, list):
            holder[:] = [traced.held if part is traced else part for part in holder]
        elif isinstance(holder, dict):
            for key, part in list(holder.items()):
                if part is traced:
                    holder[key] = traced.held


def _still(taken: _Taken) -> bool:
    """Whether what a recording depends on is as it was."""
    return (
        taken.variables.changed() is None and changed_by(taken.recording.modules.values()) is None
    )


def _settled(first: Recording, second: Recording) -> bool:
    """Whether parameters have only found their place in an optimizer's flat array."""
    pairs = zip(first.slots, second.slots, strict=False)
    return any(
        one.kind == two.kind == "state" and one.tensor is two.tensor and one.array is not two.array
        for one, two in pairs
    )


@checked
def compile(function: Callable[P, T], *, strict: bool = False, check: Count = 0) -> Compiled[P, T]:
    """Return a function that does what ``function`` does, recorded once and then replayed.

    The first two calls run ``function`` and take down what it does; later calls with arguments of
    the same shapes and dtypes replay that, without its Python code and without a graph.

    Parameters
    ----------
    function
        A training step (forward, backward, optimizer), a module, or any function of arrays.
    strict
        Raise where the function cannot be replayed, in place of a warning.
    check
        How many of a program's first replays are compared with an eager step, bit for bit: results,
        parameters, buffers, gradients, and the optimizer's state.

    Raises
    ------
    CompileError
        With ``strict``: at the call that shows that there is no program.

    Examples
    --------
    >>> import numpy as np, minidl
    >>> from minidl import nn, optim
    >>> model = nn.Linear(3, 1)
    >>> optimizer = optim.SGD(model.parameters(), lr=0.1)
    >>> @minidl.compile
    ... def step(x, y):
    ...     optimizer.zero_grad()
    ...     loss = ((model(x) - y) ** 2).mean()
    ...     loss.backward()
    ...     optimizer.step()
    ...     return loss
    >>> x, y = np.ones((4, 3), np.float32), np.ones((4, 1), np.float32)
    >>> losses = [step(x, y).item() for _ in range(5)]
    >>> len(step.programs)
    1
    """
    return Compiled(function, strict=strict, check=check)
