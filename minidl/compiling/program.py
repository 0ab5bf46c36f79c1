"""A recorded step as a program: straight-line Python, one line an instruction.

The instructions of a `Recording` are written out as a function, which is then compiled by Python
itself: ``v7 = linear(v5, w1, w2)``. Calling it does what the step did, in the same order on arrays
of the same shapes, and builds no graph. What the program takes for granted is checked before it
runs (`fits`), and answers that the step gave to questions about values are checked first of all in
it (`MISSED`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any

from minidl.autograd.primitive import Array, box, clock
from minidl.autograd.reverse import EAGER, Leaf, Node
from minidl.compiling.fusing import fused
from minidl.compiling.plan import plan
from minidl.compiling.recording import Instruction, Noted, Recording, Ref, read_by, rebuilt, refs
from minidl.compiling.simplifying import simplified
from minidl.compiling.traced import BINARY, draw
from minidl.compiling.writing import MISSED, Writing
from minidl.kernels.selection import running

#: Replays after which a program's elementwise instructions are made loops of its own.
REPLAYS = 200


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
        self.returned = list(refs(result))
        returned = {ref.slot for ref in self.returned}
        first, rest = _in_order(recording, returned)
        self.modules = list(recording.modules.values())
        shorter = simplified([*first, *rest], self.slots, returned)
        self.instructions = instructions = fused(shorter, self.slots, returned)
        #: How often the program is still to be compared with an eager step.
        self.unchecked = 0
        #: Replays until chains are looked for.
        self.untried = REPLAYS
        self.states = [
            (slot.tensor, slot.array, slot.trace) for slot in self.slots if slot.kind == "state"
        ]
        self._swapping = Lock()
        self._write(instructions)

    def _write(self, instructions: list[Instruction]) -> None:
        """Plan the memory of instructions and write them out."""
        returned = [ref.slot for ref in self.returned]
        made = plan(instructions, self.slots, set(returned))
        writing = Writing(instructions, self.slots, returned, made)
        with self._swapping:  # other threads may be replaying what there was
            self.instructions, self.plan, self.source = instructions, made, writing.source
            self._make = writing.make()
            #: Replays that nobody is running, each with memory of its own: one a thread.
            self._idle: list[Callable[..., Any]] = []
        self.leaves: list[tuple[Leaf, Array | None]] = [
            (leaf, self.plan.settled.get(position, leaf.buffer))
            for position, instruction in enumerate(instructions)
            if instruction.function is Leaf.accumulate
            and isinstance(leaf := instruction.args[0], Leaf)
        ]

    @property
    def comparable(self) -> bool:
        """Whether a replay can be tried, undone, and compared with an eager step.

        Not where random numbers come from a fresh generator, which no two steps share, not where
        code that is not minidl's changes state: nobody knows how to undo that, and not where the
        step speaks to other processes, which would have to try theirs at the same time.
        """
        effects = [i for i in self.instructions if i.kind == "effect"]
        fresh = any(i.function is draw and i.args[0] is None for i in effects)
        ours = all(i.function.__module__.partition(".")[0] == "minidl" for i in effects)
        return ours and not fresh and not any(map(speaks, self.instructions))

    def _chain(self) -> None:
        """Put loops in place of runs of elementwise instructions, if kernels are compiled by now.

        It takes time, and so it is done for programs that are replayed often.
        """
        if not running():
            self.untried = REPLAYS
            return
        from minidl.compiling.chains import chained

        found = chained(self.instructions, self.slots, [ref.slot for ref in self.returned])
        if found is not None:
            self._write(found)

    # ---- running -----------------------------------------------------------------------------

    def fits(self) -> bool:
        """Whether what the program takes for granted is as it was at its recording."""
        for noted in self.modules:
            if noted.changed() is not None:
                return False
        for tensor, array, trace in self.states:
            if tensor.value is not array or tensor.trace is not trace:
                return False
        return not any(leaf.hooks or leaf.buffer is not buffer for leaf, buffer in self.leaves)

    def run(self, inputs: list[Array]) -> Any:
        """Replay the step; return what it returns, or `MISSED`."""
        self.untried -= 1
        if not self.untried:
            self._chain()
        idle = self._idle
        try:
            replay = idle.pop()
        except IndexError:
            with self._swapping:
                idle, replay = self._idle, self._make(*self.plan.arena())
        try:
            values = replay(*inputs)
        finally:
            idle.append(replay)
        if values is MISSED:
            return MISSED
        if isinstance(self.result, Ref):  # one array, as most steps and models return
            (value,) = values
            if not self.result.boxed:
                return value
            return box(value, EAGER, self.traces.get(self.result.slot))
        filled = dict(zip((ref.slot for ref in self.returned), values, strict=True))

        def fill(part: Any) -> Any:
            if not isinstance(part, Ref):
                return rebuilt(part, fill)
            value = filled[part.slot]
            return box(value, EAGER, self.traces.get(part.slot)) if part.boxed else value

        return fill(self.result)


def _walked(node: Node) -> Node:
    """Return a node like one that backward has freed: what came of it knows it had a derivative."""
    freed: Node = object.__new__(Node)
    freed.primitive, freed.shape, freed.dtype = node.primitive, node.shape, node.dtype
    freed.args = freed.out = freed.hooks = None
    freed.params, freed.edges, freed.index = {}, [], clock()
    return freed


_IN_PLACE = {getattr(operator, f"i{name}") for name in BINARY}


def writes(instruction: Instruction) -> bool:
    """Whether an instruction overwrites one of its arguments."""
    return instruction.function in _IN_PLACE or "out" in instruction.kwargs


def speaks(instruction: Instruction) -> bool:
    """Whether an instruction exchanges something with other processes: to be done once a step."""
    module = getattr(instruction.function, "__module__", None) or ""
    return module.startswith("minidl.distributed")


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
                own = maker is None or (maker.kind != "effect" and not writes(maker))
                if after or not own or (maker is not None and speaks(maker)):
                    raise Unplayable(
                        "a branch on a value that what the step does to its state, a random "
                        f"number, or another process has part in, at {instruction.line}"
                    )
            first |= {id(made_by[s]) for s in behind if s in made_by} | {id(instruction)}
    kept = [
        i
        for i in recording.instructions
        if i.kind != "compute" or writes(i) or i.out in needed or id(i) in first
    ]
    return [i for i in kept if id(i) in first], [i for i in kept if id(i) not in first]


def changed_by(modules: Iterable[Noted]) -> str | None:
    """Say which attribute of a module that ran is not what it was."""
    for noted in modules:
        name = noted.changed()
        if name is not None:
            return f"{type(noted.module).__name__}.{name}"
    return None
