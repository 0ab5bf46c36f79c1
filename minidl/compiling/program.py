"""A recorded step as a program: straight-line Python, one line an instruction.

The instructions of a `Recording` are written out as a function, which is then compiled by Python
itself: ``v7 = linear(v5, w1, w2)``. Calling it does what the step did, in the same order on arrays
of the same shapes, and builds no graph. What the program takes for granted is checked before it
runs (`fits`), and answers that the step gave to questions about values are checked first of all in
it (`MISSED`).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from minidl.autograd.primitive import Array, box, clock
from minidl.autograd.reverse import EAGER, Leaf, Node
from minidl.compiling.recording import Instruction, Noted, Recording, Ref, rebuilt
from minidl.compiling.traced import BINARY

#: What a program returns, before it has changed anything, where a condition does not hold.
MISSED = object()

_LETTERS = {"input": "x", "state": "w", "constant": "k", "result": "v"}


class Unplayable(Exception):  # noqa: N818 - a finding, told to the user in a warning
    """A recording has no program; the message says why."""


class Program:
    """What replays a step.

    Parameters
    ----------
    recording
        The step, finished and compared with another recording of it.
    result
        What the step returned, with `Ref` in the stead of arrays; ``traces`` by slot the primitive
        that made a Tensor of it.
    """

    def __init__(self, recording: Recording, result: Any, traces: dict[int, Node]) -> None:
        self.slots = recording.slots
        self.result = result
        self.traces = {slot: _walked(node) for slot, node in traces.items()}
        self.returned = list(_refs(result))
        self.first, self.rest = _in_order(recording, {ref.slot for ref in self.returned})
        self.modules = list(recording.modules.values())
        self.namespace: dict[str, Any] = {
            **{"_missed": MISSED, "_array": np.asarray, "_box": _boxed},
            **{"bool": bool, "slice": slice, "replay": None},
        }
        self._names: dict[int, str] = {}
        self.source = "\n".join(self._lines())
        exec(compile(self.source, "<recorded step>", "exec"), self.namespace)
        self._replay: Callable[..., Any] = self.namespace["replay"]
        self.states = [
            (slot.tensor, slot.array, slot.trace) for slot in self.slots if slot.kind == "state"
        ]
        self.leaves = [
            leaf
            for instruction in self.rest
            if instruction.function is Leaf.accumulate
            and isinstance(leaf := instruction.args[0], Leaf)
        ]

    # ---- running -----------------------------------------------------------------------------

    def fits(self) -> bool:
        """Whether what the program takes for granted is as it was at its recording."""
        for noted in self.modules:
            if noted.changed() is not None:
                return False
        for tensor, array, trace in self.states:
            if tensor.value is not array or tensor.trace is not trace:
                return False
        return not any(leaf.hooks for leaf in self.leaves)

    def run(self, inputs: list[Array]) -> Any:
        """Replay the step; return what it returns, or `MISSED`."""
        values = self._replay(*inputs)
        if values is MISSED:
            return MISSED
        filled = dict(zip((ref.slot for ref in self.returned), values, strict=True))

        def fill(part: Any) -> Any:
            if not isinstance(part, Ref):
                return rebuilt(part, fill)
            value = filled[part.slot]
            return box(value, EAGER, self.traces.get(part.slot)) if part.boxed else value

        return fill(self.result)

    # ---- writing -----------------------------------------------------------------------------

    def name(self, slot: int) -> str:
        """Return the name of a value in the program."""
        return f"{_LETTERS[self.slots[slot].kind]}{slot}"

    def _bind(self, value: Any, name: str) -> str:
        """Return a name under which the program finds an object."""
        known = self._names.get(id(value))
        if known is None:
            name = "".join(c if c.isalnum() else "_" for c in name) or "object"
            known, number = name, 1
            while known in self.namespace:
                number += 1
                known = f"{name}_{number}"
            self.namespace[known] = value
            self._names[id(value)] = known
        return known

    def _expression(self, value: Any) -> str:
        if isinstance(value, Ref):
            name = self.name(value.slot)
            return f"_box({name})" if value.boxed else name
        if isinstance(value, tuple) and type(value) is tuple:
            return f"({', '.join(map(self._expression, value))}{',' * (len(value) == 1)})"
        if isinstance(value, list):
            return f"[{', '.join(map(self._expression, value))}]"
        if isinstance(value, dict):
            inner = (f"{k!r}: {self._expression(v)}" for k, v in value.items())
            return f"{{{', '.join(inner)}}}"
        if isinstance(value, slice):
            parts = (value.start, value.stop, value.step)
            return f"slice({', '.join(map(self._expression, parts))})"
        literal = value is None or type(value) in (int, bool, str)
        if literal or (type(value) is float and math.isfinite(value)):
            return repr(value)
        return self._bind(value, type(value).__name__.lower())

    def _call(self, instruction: Instruction) -> str:
        name = instruction.name.rpartition(".")[2]
        called = self._bind(instruction.function, name)
        args = [self._expression(arg) for arg in instruction.args]
        named = [f"{key}={self._expression(arg)}" for key, arg in instruction.kwargs.items()]
        call = f"{called}({', '.join([*args, *named])})"
        return f"_array({call})" if instruction.as_array else call

    def _lines(self) -> Iterator[str]:
        for number, slot in enumerate(self.slots):
            if slot.kind in ("state", "constant"):
                self.namespace[self.name(number)] = slot.array
        inputs = [self.name(n) for n, slot in enumerate(self.slots) if slot.kind == "input"]
        yield f"def replay({', '.join(inputs)}):"
        ends = _last_uses([*self.first, *self.rest], {ref.slot for ref in self.returned})
        for position, instruction in enumerate([*self.first, *self.rest]):
            if instruction.kind == "condition":
                yield f"    if bool({self._expression(instruction.args[0])}) is not " + (
                    f"{instruction.wanted}: return _missed"
                )
            elif instruction.out is None:
                yield f"    {self._call(instruction)}"
            else:
                yield f"    {self.name(instruction.out)} = {self._call(instruction)}"
            gone = [self.name(s) for s in ends[position] if self.slots[s].kind == "result"]
            if gone:
                yield f"    del {', '.join(gone)}"
        returned = []
        for ref in self.returned:
            kept = self.slots[ref.slot].kind in ("constant", "state")
            returned.append(f"{self.name(ref.slot)}{'.copy()' if kept else ''}")
        yield f"    return ({', '.join(returned)}{',' * (len(returned) == 1)})"


def _walked(node: Node) -> Node:
    """Return a node like one that backward has freed: what came of it knows it had a derivative."""
    freed: Node = object.__new__(Node)
    freed.primitive, freed.shape, freed.dtype = node.primitive, node.shape, node.dtype
    freed.args = freed.out = freed.hooks = None
    freed.params, freed.edges, freed.index = {}, [], clock()
    return freed


def _boxed(array: Array) -> Any:
    return box(np.asarray(array), EAGER, None)


def _refs(value: Any) -> Iterator[Ref]:
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _refs(part)
    elif isinstance(value, dict):
        for part in value.values():
            yield from _refs(part)
    elif isinstance(value, slice):
        yield from _refs((value.start, value.stop, value.step))


def read_by(instruction: Instruction) -> Iterator[int]:
    """Slots that an instruction reads."""
    return (ref.slot for ref in _refs((instruction.args, instruction.kwargs)))


_IN_PLACE = {getattr(operator, f"i{name}") for name in BINARY}


def writes(instruction: Instruction) -> bool:
    """Whether an instruction overwrites one of its arguments."""
    return instruction.function in _IN_PLACE or "out" in instruction.kwargs


def _in_order(
    recording: Recording, returned: Iterable[int]
) -> tuple[list[Instruction], list[Instruction]]:
    """Leave out what nobody needs, and bring conditions to the front of the program.

    They must be there so that a program which does not hold has changed nothing yet.
    """
    made_by = {i.out: i for i in recording.instructions if i.out is not None}
    needed: set[int] = set()
    wanted = list(returned)
    for instruction in recording.instructions:
        if instruction.kind != "compute" or writes(instruction):
            wanted.extend(read_by(instruction))

    def follow(slots: list[int]) -> set[int]:
        seen: set[int] = set()
        while slots:
            slot = slots.pop()
            if slot not in seen:
                seen.add(slot)
                if slot in made_by:
                    slots.extend(read_by(made_by[slot]))
        return seen

    needed = follow(wanted)
    first: set[int] = set()
    changed = False
    for instruction in recording.instructions:
        if instruction.kind == "effect":
            changed = True
        elif instruction.kind == "condition":
            behind = follow(list(read_by(instruction)))
            for slot in behind:
                maker = made_by.get(slot)
                after = changed and recording.slots[slot].kind == "state"
                if after or (maker is not None and (maker.kind == "effect" or writes(maker))):
                    raise Unplayable(
                        "a branch on a value that what the step does to its state, or a random "
                        f"number, has part in, at {instruction.line}"
                    )
            first |= {id(made_by[s]) for s in behind if s in made_by} | {id(instruction)}
    kept = [
        i
        for i in recording.instructions
        if i.kind != "compute" or writes(i) or i.out in needed or id(i) in first
    ]
    return [i for i in kept if id(i) in first], [i for i in kept if id(i) not in first]


def _last_uses(instructions: list[Instruction], returned: set[int]) -> list[list[int]]:
    """For each instruction the slots that nothing after it reads."""
    last: dict[int, int] = {}
    for position, instruction in enumerate(instructions):
        for slot in read_by(instruction):
            last[slot] = position
        if instruction.out is not None:
            last.setdefault(instruction.out, position)
    ends: list[list[int]] = [[] for _ in instructions]
    for slot, position in last.items():
        if slot not in returned:
            ends[position].append(slot)
    return ends


def changed_by(modules: Iterable[Noted]) -> str | None:
    """Say which attribute of a module that ran is not what it was."""
    for noted in modules:
        name = noted.changed()
        if name is not None:
            return f"{type(noted.module).__name__}.{name}"
    return None
