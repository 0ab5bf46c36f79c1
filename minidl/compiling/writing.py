"""A program's instructions written out as a Python function.

The text is made to be read, too: ``v`` are results, ``x`` what the step is given, ``w`` arrays of
parameters and buffers, ``k`` constants, ``b`` places in the arena, ``g`` the optimizer's gradients.
A result stands in memory of its own where no ``b`` is named.
"""

from __future__ import annotations

import keyword
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from minidl.autograd.primitive import Array, box
from minidl.autograd.reverse import EAGER, Leaf
from minidl.compiling.plan import Plan, room, writer
from minidl.compiling.recording import Instruction, Ref, Slot, read_by
from minidl.kernels.memory import lend

#: What a program returns, before it has changed anything, where a condition does not hold.
MISSED = object()

_LETTERS = {"input": "x", "state": "w", "constant": "k", "result": "v"}


class Writing:
    """The text of a program, and the objects that its names stand for."""

    def __init__(
        self,
        instructions: Sequence[Instruction],
        slots: Sequence[Slot],
        returned: Sequence[int],
        plan: Plan,
    ) -> None:
        self.instructions, self.slots, self.returned = instructions, slots, returned
        self.plan = plan
        self.namespace: dict[str, Any] = {
            **{"_missed": MISSED, "_array": np.asarray, "_box": _boxed, "_lend": lend},
            **{"_settle": _settle, "bool": bool, "slice": slice, "replay": None, "make": None},
        }
        self._names: dict[int, str] = {}
        self._places = {id(place): f"b{n}" for n, place in enumerate(plan.places)}
        for number, slot in enumerate(slots):
            if slot.kind in ("state", "constant"):
                self.namespace[self.name(number)] = slot.array
        self.source = "\n".join(self._lines())

    def make(self) -> Callable[..., Callable[..., Any]]:
        """Return the function that makes a replay out of the arena's places."""
        exec(compile(self.source, "<recorded step>", "exec"), self.namespace)
        made: Callable[..., Callable[..., Any]] = self.namespace["make"]
        return made

    def name(self, slot: int) -> str:
        """Return the name of a value in the program."""
        return f"{_LETTERS[self.slots[slot].kind]}{slot}"

    def _bind(self, value: Any, name: str) -> str:
        """Return a name under which the program finds an object."""
        known = self._names.get(id(value))
        if known is None:
            name = "".join(c if c.isalnum() else "_" for c in name).strip("_") or "object"
            name += "_" * keyword.iskeyword(name)
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

    def _call(self, position: int, instruction: Instruction) -> str:
        plan = self.plan
        args = [self._expression(arg) for arg in instruction.args]
        args += [f"{key}={self._expression(arg)}" for key, arg in instruction.kwargs.items()]
        name = instruction.name.rpartition(".")[2]
        if position in plan.settled:
            return f"_settle({args[0]}, {self._bind(plan.settled[position], 'g')})"
        if position in plan.gradients or position in plan.into:
            function = writer(instruction)
            assert function is not None
            if position in plan.gradients:
                into = self._bind(plan.gradients[position], "g")
            else:
                into = self._places[id(plan.into[position])]
            if function is room:
                return into
            return f"{self._bind(function, function.__name__)}({', '.join([*args, f'out={into}'])})"
        called = self._bind(instruction.function, name)
        if position in plan.lent:
            lent = "".join(f"{self._places[id(place)]}, " for place in plan.lent[position])
            return f"_lend(({lent}), {called}, {', '.join(args)})"
        call = f"{called}({', '.join(args)})"
        return f"_array({call})" if instruction.as_array else call

    def _assignment(self, position: int) -> str:
        instruction = self.instructions[position]
        assert instruction.out is not None
        slot = self.slots[instruction.out]
        shown = f"  # {slot.dtype}{list(slot.shape)}"
        return f"{self.name(instruction.out)} = {self._call(position, instruction)}{shown}"

    def _turned(self) -> dict[int, int]:
        """Instructions that only turn an array which is there at every replay: its axes, once.

        The results of these stay views of the parameter, whatever an optimizer writes there.
        """
        return {
            position: one.out
            for position, one in enumerate(self.instructions)
            if one.function is np.transpose
            and one.out is not None
            and one.out not in self.returned
            and all(isinstance(arg, Ref) and not arg.boxed for arg in one.args)
            and all(self.slots[ref.slot].kind in ("state", "constant") for ref in one.args)
        }

    def _lines(self) -> Iterator[str]:
        plan = self.plan
        inputs = [self.name(n) for n, slot in enumerate(self.slots) if slot.kind == "input"]
        yield f"def make({', '.join(self._places.values())}):"
        if plan.places:
            yield (
                f"    # {len(plan.places)} places in {plan.size:,} bytes; "
                f"each for itself they would take {plan.unshared:,}"
            )
        turned = self._turned()
        for position in turned:
            yield f"    {self._assignment(position)}"
        yield f"    def replay({', '.join(inputs)}):"
        ends = _last_uses(self.instructions, set(self.returned))
        for position, instruction in enumerate(self.instructions):
            if position in turned:
                continue
            if instruction.kind == "condition":
                yield f"        if bool({self._expression(instruction.args[0])}) is not " + (
                    f"{instruction.wanted}: return _missed"
                )
            elif instruction.out is None:
                shown = f"  # {instruction.shown}" if instruction.shown else ""
                yield f"        {self._call(position, instruction)}{shown}"
            else:
                yield f"        {self._assignment(position)}"
            gone = [
                self.name(s)
                for s in ends[position]
                if self.slots[s].kind == "result" and s not in turned.values()
            ]
            if gone:
                yield f"        del {', '.join(gone)}"
        constant = {slot.root for slot in self.slots if slot.kind in ("constant", "state")}
        returned = [
            f"{self.name(n)}{'.copy()' if self.slots[n].root in constant else ''}"
            for n in self.returned
        ]
        yield f"        return ({', '.join(returned)}{',' * (len(returned) == 1)})"
        yield ""
        yield "    return replay"


def _boxed(array: Array) -> Any:
    return box(np.asarray(array), EAGER, None)


def _settle(leaf: Leaf, gradient: Array) -> None:
    """Tell a leaf that its gradient has been written where it belongs."""
    leaf.grad = box(gradient, EAGER, None)


def _last_uses(instructions: Sequence[Instruction], returned: set[int]) -> list[list[int]]:
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
