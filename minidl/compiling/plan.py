"""Where the results of a program lie: memory that is used again and again.

Every result has a lifetime, from the instruction that makes it to the last that reads it or a view
of it. Results whose lifetimes do not meet can lie in the same place; an elementwise operation can
overwrite an argument that nobody reads after it. All places are parts of one block, the *arena*,
which a program allocates once. What is returned, or handed to something that may keep it, is
allocated anew each time and is not planned.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minidl.autograd.primitive import Array
from minidl.autograd.reverse import Leaf
from minidl.compiling.recording import Instruction, Ref, Slot, read_by
from minidl.kernels.affine import add_relu, add_turned
from minidl.kernels.masking import masked
from minidl.kernels.rectifying import relu, relu_gradient
from minidl.kernels.summing import total

#: Bytes from which a result is planned: smaller ones come from the allocator's free lists.
SMALLEST = 1 << 12

#: Places begin at multiples of a cache line.
ALIGNMENT = 64

#: Operators of arrays and the ufuncs that they are.
UFUNCS: dict[Callable[..., Any], np.ufunc] = {
    operator.add: np.add,
    operator.sub: np.subtract,
    operator.mul: np.multiply,
    operator.truediv: np.divide,
    operator.matmul: np.matmul,
    operator.neg: np.negative,
    operator.abs: np.absolute,
    operator.eq: np.equal,
    operator.ne: np.not_equal,
    operator.lt: np.less,
    operator.le: np.less_equal,
    operator.gt: np.greater,
    operator.ge: np.greater_equal,
    operator.and_: np.bitwise_and,
    operator.or_: np.bitwise_or,
    operator.xor: np.bitwise_xor,
    operator.invert: np.invert,
}


def room(shape: tuple[int, ...], dtype: Any, out: Array | None = None) -> Array:
    """Return memory for a result that a loop of the program writes (`minidl.compiling.chains`)."""
    return np.empty(shape, dtype) if out is None else out


#: Kernels that work element by element and take ``out``, as ufuncs do.
ELEMENTWISE: tuple[Callable[..., Any], ...] = (masked, relu, relu_gradient, add_relu)

#: Other kernels that take ``out``.
WRITING: tuple[Callable[..., Any], ...] = (*ELEMENTWISE, add_turned, total, room)

#: Effects that keep none of the arrays they are given.
KEEP_NOTHING = {"Leaf.accumulate", "move", "GradientSum.start", "GradientSum.progress"}


@dataclass
class Place:
    """Memory for one result, or for what a kernel needs while it runs."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    strides: tuple[int, ...]
    begin: int
    end: int
    offset: int = 0

    @property
    def size(self) -> int:
        """Bytes, rounded up to whole cache lines."""
        whole = math.prod(self.shape) * self.dtype.itemsize
        return -(-whole // ALIGNMENT) * ALIGNMENT

    def array(self, arena: Array) -> Array:
        """Return the memory as an array."""
        return np.ndarray(self.shape, self.dtype, arena.data, self.offset, self.strides)


@dataclass
class Plan:
    """Which instruction writes where: ``into`` by instruction, ``lent`` to kernels likewise."""

    places: list[Place] = field(default_factory=list)
    into: dict[int, Place] = field(default_factory=dict)
    lent: dict[int, list[Place]] = field(default_factory=dict)
    #: Results written where an optimizer wants the gradient: by instruction.
    gradients: dict[int, Array] = field(default_factory=dict)
    #: Instructions that find their gradient where it belongs.
    settled: dict[int, Array] = field(default_factory=dict)
    size: int = 0
    unshared: int = 0

    def arena(self) -> list[Array]:
        """Allocate all places anew; return them in order."""
        block = np.empty(self.size + ALIGNMENT, np.uint8)
        start = -block.ctypes.data % ALIGNMENT
        aligned = block[start : start + self.size]
        return [place.array(aligned) for place in self.places]


def writer(instruction: Instruction) -> Callable[..., Any] | None:
    """Return what writes an instruction's result into an array given as last argument."""
    function = UFUNCS.get(instruction.function, instruction.function)
    if function in WRITING:
        return function
    if isinstance(function, np.ufunc) and function.nout == 1 and not instruction.kwargs:
        return function
    return None


def _elementwise(function: Callable[..., Any]) -> bool:
    if function in ELEMENTWISE:
        return True
    return isinstance(function, np.ufunc) and function.signature is None


def plan(instructions: Sequence[Instruction], slots: Sequence[Slot], returned: set[int]) -> Plan:
    """Give every result that can be planned its place."""
    made = Plan()
    first, last = _lifetimes(instructions, slots)
    escaping = _escaping(instructions, slots, returned)
    _direct_gradients(made, instructions, slots, last, escaping)
    by_root: dict[int, Place] = {}
    for position, instruction in enumerate(instructions):
        if instruction.kind != "compute" or instruction.out is None:
            continue
        slot = slots[instruction.out]
        fresh = first.get(slot.root) == position and slot.root not in escaping
        end = last.get(slot.root, position)
        if instruction.taken:
            _lend(made, position, instruction, end if fresh else None, by_root, slot.root)
            continue
        function = writer(instruction)
        if not fresh or function is None or slot.scalar or position in made.gradients:
            continue
        if (_bytes(slot) < SMALLEST and function is not room) or not dense(slot):
            continue
        place = None
        if _elementwise(function):
            place = _overwritten(instruction, slots, slot, position, last, by_root)
        if place is None:
            place = Place(slot.shape, slot.dtype, slot.strides, position, end)
            made.places.append(place)
        else:
            place.end = end
        by_root[slot.root] = place
        made.into[position] = place
    made.size = _arrange(made.places)
    made.unshared = sum(place.size for place in made.places)
    return made


def _lend(
    made: Plan,
    position: int,
    instruction: Instruction,
    end: int | None,
    by_root: dict[int, Place],
    root: int,
) -> None:
    """Plan what a kernel asks for: its result, and what it needs while it runs."""
    if sum(math.prod(shape) * dtype.itemsize for shape, dtype, _ in instruction.taken) < SMALLEST:
        return
    if end is None and any(is_result for _, _, is_result in instruction.taken):
        # The result is not ours to plan; what comes before it in order is.
        return
    lent = []
    for shape, dtype, is_result in instruction.taken:
        until = end if is_result and end is not None else position
        strides = (
            tuple(np.empty((0,) * len(shape), dtype).strides)
            if not shape
            else contiguous(shape, dtype)
        )
        place = Place(shape, dtype, strides, position, until)
        made.places.append(place)
        lent.append(place)
        if is_result:
            by_root[root] = place
    made.lent[position] = lent


def contiguous(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, ...]:
    """Return the strides of an array whose elements lie in order, without gaps."""
    strides, step = [], dtype.itemsize
    for length in reversed(shape):
        strides.append(step)
        step *= length
    return tuple(reversed(strides))


def _bytes(slot: Slot) -> int:
    return math.prod(slot.shape) * slot.dtype.itemsize


def dense(slot: Slot) -> bool:
    """Whether the elements lie without gaps, in whatever order of the axes."""
    step = slot.dtype.itemsize
    for stride, length in sorted(zip(slot.strides, slot.shape, strict=True)):
        if length == 1:
            continue
        if stride != step:
            return False
        step *= length
    return True


def _overwritten(
    instruction: Instruction,
    slots: Sequence[Slot],
    slot: Slot,
    position: int,
    last: dict[int, int],
    by_root: dict[int, Place],
) -> Place | None:
    """Return the place of an argument that ends here and lies just as the result will."""
    for arg in instruction.args:
        if not isinstance(arg, Ref):
            continue
        given = slots[arg.slot]
        place = by_root.get(given.root)
        if place is None or last.get(given.root) != position:
            continue
        alike = (given.shape, given.dtype, given.strides) == (slot.shape, slot.dtype, slot.strides)
        if alike and (place.shape, place.dtype, place.strides) == (
            *(slot.shape, slot.dtype, slot.strides),
        ):
            return place
    return None


def _lifetimes(
    instructions: Sequence[Instruction], slots: Sequence[Slot]
) -> tuple[dict[int, int], dict[int, int]]:
    """Where the memory of each root is made, and where it, or a view of it, is last read."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for slot in slots:
        if slot.kind != "result":
            first[slot.root] = -1
    for position, instruction in enumerate(instructions):
        for number in read_by(instruction):
            last[slots[number].root] = position
        if instruction.out is not None:
            root = slots[instruction.out].root
            first.setdefault(root, position)
            last[root] = max(last.get(root, position), position)
    return first, last


def _escaping(
    instructions: Sequence[Instruction], slots: Sequence[Slot], returned: set[int]
) -> set[int]:
    """Roots of what is returned, or handed to what may keep it."""
    found = {slots[number].root for number in returned}
    for instruction in instructions:
        if instruction.kind == "effect" and instruction.name not in KEEP_NOTHING:
            found.update(slots[number].root for number in read_by(instruction))
    return found


def _direct_gradients(
    made: Plan,
    instructions: Sequence[Instruction],
    slots: Sequence[Slot],
    last: dict[int, int],
    escaping: set[int],
) -> None:
    """Let the last operation before a gradient write it where the optimizer wants it.

    Only where the program itself has emptied the gradient before, and nothing else reads it.
    """
    makers = {i.out: position for position, i in enumerate(instructions) if i.out is not None}
    empty: set[int] = set()
    seen: set[int] = set()
    for position, instruction in enumerate(instructions):
        if instruction.kind != "effect":
            continue
        if instruction.function is _assign and instruction.args[1] is None:
            empty.add(id(instruction.args[0]))
        elif instruction.name == "Optimizer.zero_grad":
            groups = instruction.args[0].param_groups
            empty.update(id(p.trace) for group in groups for p in group["params"])
        elif instruction.function is Leaf.accumulate:
            leaf, ref, _ = instruction.args
            if not isinstance(leaf, Leaf):
                continue
            if id(leaf) in empty and id(leaf) not in seen and isinstance(ref, Ref):
                maker = makers.get(ref.slot)
                if maker is not None and _can_write(
                    instructions, slots, maker, position, leaf, ref, last, escaping
                ):
                    assert leaf.buffer is not None
                    made.gradients[maker] = made.settled[position] = leaf.buffer
            seen.add(id(leaf))
        elif instruction.name not in KEEP_NOTHING:
            empty.clear()
            seen.clear()


_assign = Leaf.assign.__wrapped__  # type: ignore[attr-defined]


def _can_write(
    instructions: Sequence[Instruction],
    slots: Sequence[Slot],
    maker: int,
    position: int,
    leaf: Leaf,
    ref: Ref,
    last: dict[int, int],
    escaping: set[int],
) -> bool:
    slot, buffer = slots[ref.slot], leaf.buffer
    if buffer is None or slot.scalar or writer(instructions[maker]) is None:
        return False
    between = instructions[maker + 1 : position]
    return (
        (slot.shape, slot.dtype, slot.strides) == (buffer.shape, buffer.dtype, buffer.strides)
        and slot.root not in escaping
        and last[slot.root] == position
        and not any(i.kind == "effect" and i.name not in KEEP_NOTHING for i in between)
    )


def _arrange(places: Iterable[Place]) -> int:
    """Give places their offsets, the largest first, each as low as it fits; return the size.

    Places whose lifetimes meet must not overlap. The greedy order is the usual one for this
    problem (dynamic storage allocation), which is NP-hard.
    """
    done: list[Place] = []
    whole = 0
    for place in sorted(places, key=lambda p: (-p.size, p.begin)):
        near = [p for p in done if p.begin <= place.end and place.begin <= p.end]
        offset = 0
        for other in sorted(near, key=lambda p: p.offset):
            if offset + place.size <= other.offset:
                break
            offset = max(offset, other.offset + other.size)
        place.offset = offset
        whole = max(whole, offset + place.size)
        done.append(place)
    return whole
