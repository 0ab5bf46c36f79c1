"""Runs of elementwise instructions as one loop each, written for the program and compiled.

What takes NumPy a call and a pass over memory for each is one call and one pass for all of them.
Taken are operations that numba computes to NumPy's bits (but for the sign and payload of a NaN):
sums, differences, products, quotients, squares, roots, absolute values. Exponentials and their kin
are NumPy's own vector code, and end a run.

All arrays of a chain are C-contiguous and of one dtype. A value is described by its number of
elements alone: either that of the loop, or that of its rows (a value that is the same for all rows
is computed anew in each), or one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from minidl.autograd.primitive import Array
from minidl.compiling.plan import UFUNCS, contiguous, room
from minidl.compiling.recording import Instruction, Ref, Slot, read_by
from minidl.compiling.simplifying import pure

#: Calls that a chain must replace, each worth about half a microsecond: it costs one or two itself.
FEWEST = 4

#: Chains of a program: each takes about half a second to compile, once on a machine.
MOST = 12

#: Instructions between two of a chain, at most: a search through all would take long.
FARTHEST = 32

#: Arrays that a chain reads and writes.
MOST_ARRAYS = 16

_OPERATORS: dict[Any, str] = {
    np.add: "{} + {}",
    np.subtract: "{} - {}",
    np.multiply: "{} * {}",
    np.divide: "{} / {}",
    np.negative: "-{}",
    np.square: "{0} * {0}",
    np.sqrt: "math.sqrt({})",
    np.absolute: "abs({})",
}

_RESHAPES: set[Any] = {np.reshape, np.ndarray.reshape}

_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


@dataclass
class Chain:
    """Instructions that become one loop, in order; ``sizes`` are numbers of elements above one."""

    dtype: np.dtype[Any]
    sizes: set[int]
    members: list[Instruction] = field(default_factory=list)
    made: set[int] = field(default_factory=set)

    def admits(self, dtype: np.dtype[Any], sizes: set[int]) -> bool:
        """Whether values of these sizes can be computed in the same loop."""
        both = self.sizes | sizes
        return dtype == self.dtype and len(both) <= 2 and max(both) % min(both) == 0


def chained(
    instructions: Sequence[Instruction], slots: list[Slot], returned: Collection[int]
) -> list[Instruction] | None:
    """Return the instructions with chains in place of runs; None where there are none worth it.

    Compiles them, where that was not done on this machine before.
    """
    found: list[Instruction] = []
    rest, count = list(instructions), 0
    while rest:
        chain, before, after, rest = _next_chain(rest, slots)
        found += before
        calls = [] if chain is None else [i for i in chain.members if i.function not in _RESHAPES]
        written = None
        if chain is not None and len(calls) >= FEWEST and count < MOST:
            later = {n for one in (*after, *rest) for n in read_by(one)} | set(returned)
            written = _written(chain, slots, later)
        if written is not None:
            found += written
            count += 1
            rest = after + rest
        elif chain is not None:  # the first of them as it is, and try again from the second on
            first, *others = chain.members
            found.append(first)
            rest = others + after + rest
    return found if count else None


def _next_chain(
    instructions: list[Instruction], slots: Sequence[Slot]
) -> tuple[Chain | None, list[Instruction], list[Instruction], list[Instruction]]:
    """Return a chain, what is to be done before it, what after it, and what was not looked at."""
    chain: Chain | None = None
    before: list[Instruction] = []
    after: list[Instruction] = []
    waiting: set[int] = set()  # what instructions make that come after the chain
    since = 0
    for position, instruction in enumerate(instructions):
        since += chain is not None
        if not pure(instruction) or since > FARTHEST:
            if chain is None:
                before.append(instruction)
                continue
            return chain, before, after, instructions[position:]
        read = set(read_by(instruction))
        if read.isdisjoint(waiting):
            suited = _suited(instruction, slots)
            if suited is not None and (chain is None or chain.admits(*suited)):
                if chain is None:
                    chain = Chain(*suited)
                since = 0
                chain.sizes |= suited[1]
                chain.members.append(instruction)
                assert instruction.out is not None
                chain.made.add(instruction.out)
                continue
            if chain is None or read.isdisjoint(chain.made):
                before.append(instruction)
                continue
        after.append(instruction)
        assert instruction.out is not None
        waiting.add(instruction.out)
    return chain, before, after, []


def _suited(instruction: Instruction, slots: Sequence[Slot]) -> tuple[Any, set[int]] | None:
    """Return the dtype and the sizes of an instruction that can be part of a chain, or None."""
    assert instruction.out is not None
    out = slots[instruction.out]
    size = math.prod(out.shape)
    if out.scalar or out.dtype not in _DTYPES or size < 2 or not _flat(out):
        return None
    if instruction.kwargs or instruction.as_array:
        return None
    if instruction.function in _RESHAPES:
        first = instruction.args[0]
        given = slots[first.slot] if isinstance(first, Ref) else None
        plain = given is not None and _flat(given) and not given.scalar and not first.boxed
        return (out.dtype, {size}) if plain and given.kind == "result" else None  # type: ignore[union-attr]
    if UFUNCS.get(instruction.function, instruction.function) not in _OPERATORS:
        return None
    sizes = {size}
    for arg in instruction.args:
        if isinstance(arg, Ref):
            own = _operand_size(slots[arg.slot], out)
            if own is None or arg.boxed:
                return None
            sizes |= {own} - {1}
        elif _literal(arg, out.dtype) is None:
            return None
    return (out.dtype, sizes) if len(sizes) <= 2 else None


def _flat(slot: Slot) -> bool:
    return all(
        length == 1 or stride == wanted
        for length, stride, wanted in zip(
            slot.shape, slot.strides, contiguous(slot.shape, slot.dtype), strict=True
        )
    )


def _operand_size(slot: Slot, out: Slot) -> int | None:
    """Return how many elements of an operand there are, one after another over the result's."""
    if slot.dtype != out.dtype or (not slot.shape and slot.kind != "constant"):
        return None
    if slot.own and _uniform(slot.array) is not None:
        return 1
    shape = (1,) * (len(out.shape) - len(slot.shape)) + slot.shape
    leading = 0
    while leading < len(shape) and shape[leading] == 1:
        leading += 1
    if slot.scalar or not (_flat(slot) or slot.own) or shape[leading:] != out.shape[leading:]:
        return None
    return math.prod(slot.shape)


def _uniform(array: Array) -> Any:
    """Return the value of all elements, if they are one finite value; None else."""
    first = array.reshape(-1)[:1] if array.size else array
    if not first.size or not np.isfinite(first[0]):
        return None
    same = array.tobytes() == first.tobytes() * array.size
    return first[0] if same else None


def _literal(value: Any, dtype: np.dtype[Any]) -> str | None:
    """Write a number as a constant of ``dtype``, where NumPy would take it for one of that."""
    if type(value) is int and abs(value) >= 1 << 24:
        return None
    same = isinstance(value, np.generic) and value.dtype == dtype
    if not same and type(value) not in (int, float):
        return None
    number = float(value)
    return f"np.{dtype}(float.fromhex({number.hex()!r}))" if math.isfinite(number) else None


def _written(chain: Chain, slots: list[Slot], later: set[int]) -> list[Instruction] | None:
    """Return what runs a chain: room for each result that is read after it, and the loop."""
    from minidl.kernels import generated

    results = [i.out for i in chain.members if i.out in later and i.out is not None]
    views = {i.out for i in chain.members if i.function in _RESHAPES}
    text = _Text(chain, slots, results)
    if views & set(results) or len(text.given) + len(results) > MOST_ARRAYS:
        return None
    kernel = generated.compiled(text.source())
    last = chain.members[-1]
    made = [
        Instruction(
            "compute", room, (slots[out].shape, slots[out].dtype), {}, out, "room", last.line
        )
        for out in results
    ]
    args = tuple(Ref(number) for number in (*text.given, *results))
    try:
        kernel(*(_like(slots[ref.slot]) for ref in args))  # compiled now, not amid a replay
    except (ImportError, OSError, EOFError):  # what was kept cannot be loaded: NumPy will do
        return None
    shown = "one loop: " + ", ".join(one.name for one in chain.members)
    return [*made, Instruction("compute", kernel, args, {}, None, "chain", last.line, shown=shown)]


def _like(slot: Slot) -> Array:
    """Return an array of the kind that a slot will hold, with anything in it."""
    array = np.zeros(slot.shape, slot.dtype)
    if slot.array is not None:
        array.flags.writeable = slot.array.flags.writeable
    return array


class _Text:
    """The source of a chain's kernel."""

    def __init__(self, chain: Chain, slots: list[Slot], results: Sequence[int]) -> None:
        self.chain, self.slots, self.results = chain, slots, results
        self.given: list[int] = []
        self.laid: dict[int, int] = {}
        self.literals: list[str] = []
        self.names: dict[int, str] = {}
        self.sizes = sorted(chain.sizes)
        self.numbers = {one.out: n for n, one in enumerate(chain.members)}
        self.lines = [line for one in chain.members if (line := self._line(one))]

    def _line(self, one: Instruction) -> str | None:
        assert one.out is not None
        if one.function in _RESHAPES:
            self.names[one.out] = self._operand(one.args[0])
            return None
        operands = [self._operand(arg) for arg in one.args]
        form = _OPERATORS[UFUNCS.get(one.function, one.function)]
        # Numbers of slots differ from program to program; the same chain is to be the same text.
        name = self.names[one.out] = f"t{self.numbers[one.out]}"
        return f"{name} = {form.format(*operands)}"

    def _operand(self, arg: Any) -> str:
        if not isinstance(arg, Ref):
            return self._constant(_literal(arg, self.chain.dtype))
        slot = self.slots[arg.slot]
        if (known := self.names.get(arg.slot)) is not None:
            return known
        if slot.own and (value := _uniform(slot.array)) is not None:
            return self._constant(_literal(value, self.chain.dtype))
        number = arg.slot
        if not _flat(slot):  # a constant of the step's own, so its elements may be laid in order
            number = self._flattened(number)
        if number not in self.given:
            self.given.append(number)
        return self._element(f"a{self.given.index(number)}", slot)

    def _flattened(self, number: int) -> int:
        if number not in self.laid:
            slot = self.slots[number]
            array = np.ascontiguousarray(slot.array)
            root = max(other.root for other in self.slots) + 1
            made = replace(slot, array=array, strides=array.strides, root=root)
            self.slots.append(made)
            self.laid[number] = len(self.slots) - 1
        return self.laid[number]

    def _constant(self, text: str | None) -> str:
        assert text is not None
        if text not in self.literals:
            self.literals.append(text)
        return f"c{self.literals.index(text)}"

    def _element(self, name: str, slot: Slot) -> str:
        size = math.prod(slot.shape)
        return f"{name}[{'0' if size == 1 else 'j' if size == self.sizes[0] else 'i'}]"

    def source(self) -> str:
        """Return the text of a module that defines ``chain``."""
        names = [f"a{n}" for n in range(len(self.given))]
        outs = [f"r{n}" for n in range(len(self.results))]
        lines = ["import math", "", "import numpy as np", ""]
        lines += [f"c{n} = {text}" for n, text in enumerate(self.literals)]
        lines += ["", "", f"def chain({', '.join([*names, *outs])}):"]
        lines += [f"    {name} = {name}.reshape(-1)" for name in (*names, *outs)]
        indent = "    "
        if len(self.sizes) == 2:
            columns, size = self.sizes
            lines.append(f"    for row in range({size // columns}):")
            indent += "    "
            lines.append(f"{indent}start = row * {columns}")
        lines.append(f"{indent}for j in range({self.sizes[0]}):")
        if len(self.sizes) == 2:
            lines.append(f"{indent}    i = start + j")
        body = list(self.lines)
        for n, out in enumerate(self.results):
            body.append(f"{self._element(f'r{n}', self.slots[out])} = {self.names[out]}")
        lines += [f"{indent}    {line}" for line in body]
        return "\n".join(lines) + "\n"
