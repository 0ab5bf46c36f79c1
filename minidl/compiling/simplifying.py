"""What a program need not do, or not twice: the same values, to the last bit, for less.

Derivatives are made by rules that know nothing of each other, so what they write down repeats
itself and multiplies by ones. Here

- what is the same function of the same operands is done once;
- what is made of constants alone is a constant, if the step itself makes these anew each time (an
  array from outside may be changed by whom it belongs to);
- ``x ** 1``, ``x * 1``, ``x / 1``, and a view that shows all of an array just as it lies are that
  array; ``x ** 2`` is a square, ``x ** 0`` ones.

Left alone is all that someone else may see or overwrite: what is returned, handed to an effect or
written in place, and the arrays of parameters across a change of state.
"""

from __future__ import annotations

import functools
import operator
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from minidl.autograd.primitive import Array, Primitive
from minidl.compiling.plan import UFUNCS, dense
from minidl.compiling.recording import Instruction, Ref, Slot, read_by, rebuilt
from minidl.compiling.traced import METHODS
from minidl.kernels.affine import add_relu
from minidl.kernels.masking import masked
from minidl.kernels.rectifying import relu, relu_gradient
from minidl.kernels.summing import total
from minidl.ops import arithmetic, indexing, normalization

#: Functions that change none of their arguments and always give the same; so do ufuncs, and all
#: operations of minidl.
PURE: set[Any] = {
    *UFUNCS,
    *(operator.pow, operator.getitem, np.reshape, np.transpose, np.broadcast_to, np.where),
    *(masked, relu, relu_gradient, add_relu, total),
    *(getattr(np.ndarray, name) for name in METHODS),
}

#: Of these a result that lies in its argument's memory shows all of it, or part.
_VIEWS: set[Any] = {
    *(operator.getitem, np.reshape, np.transpose, np.broadcast_to),
    *(np.ndarray.reshape, np.ndarray.transpose, np.ndarray.squeeze, np.ndarray.ravel),
}

#: Effects that change something of their own, and only read the arrays that they are given.
READING: set[Any] = {normalization.move}

#: Bytes of the largest constant that is computed ahead.
LARGEST = 1 << 20


def pure(instruction: Instruction) -> bool:
    """Whether an instruction changes nothing, and gives the same whenever it is given the same."""
    if instruction.kind != "compute" or "out" in instruction.kwargs:
        return False
    function = instruction.function
    if (getattr(function, "__module__", None) or "").startswith("minidl.distributed"):
        return False
    if isinstance(instruction.primitive, Primitive) or isinstance(function, np.ufunc):
        return True
    try:
        return function in PURE
    except TypeError:
        return False


def simplified(
    instructions: Sequence[Instruction], slots: list[Slot], returned: Collection[int]
) -> list[Instruction]:
    """Return the instructions that are needed; ``slots`` gains constants that were computed."""
    return _needed(_Pass(instructions, slots, returned).run(), returned)


def _needed(instructions: Sequence[Instruction], returned: Collection[int]) -> list[Instruction]:
    read = set(returned)
    kept: list[Instruction] = []
    for instruction in reversed(instructions):
        if not pure(instruction) or instruction.out in read:
            kept.append(instruction)
            read.update(read_by(instruction))
    return kept[::-1]


class _Pass:
    """One walk through a program, from its first instruction to its last."""

    def __init__(
        self, instructions: Sequence[Instruction], slots: list[Slot], returned: Collection[int]
    ) -> None:
        self.instructions, self.slots, self.returned = instructions, slots, set(returned)
        self.instead: dict[int, int] = {}
        self.known: dict[Any, int] = {}
        self.kept: list[Instruction] = []
        self.makers: dict[int, Instruction] = {}
        self.reads = Counter(slot for one in instructions for slot in read_by(one))
        self.reads.update(returned)
        #: Memory that the program's caller sees, and what others than pure instructions see.
        self.given = {slots[number].root for number in returned}
        self.touched: set[int] = set()
        for instruction in instructions:
            looks = instruction.kind == "condition" or instruction.function in READING
            if not (pure(instruction) or looks):
                numbers = [n for n in (*read_by(instruction), instruction.out) if n is not None]
                self.touched.update(slots[n].root for n in numbers if not slots[n].scalar)
        self.quiet = all(i.kind != "effect" for i in instructions)

    def run(self) -> list[Instruction]:
        """Return what is left to do."""
        kept = self.kept
        for instruction in self.instructions:
            instruction = self._with_places(instruction)
            if instruction.out is None or not pure(instruction) or self._reads_touched(instruction):
                if instruction.kind == "effect":
                    self.known.clear()
                kept.append(instruction)
                continue
            shorter = self._shorter(instruction)
            if shorter is not None:
                kept.append(shorter)
                if shorter.out is not None:
                    self.makers[shorter.out] = shorter
        return kept

    def _reads_touched(self, instruction: Instruction) -> bool:
        return any(self.slots[n].root in self.touched for n in read_by(instruction))

    def _put(self, out: int, place: int) -> None:
        """Let one slot stand for another, and its memory for what that would have lain in."""
        self.instead[out] = place
        old, new = self.slots[out].root, self.slots[place].root
        if old != new and not self.slots[out].scalar:
            for slot in self.slots:
                if slot.root == old:
                    slot.root = new

    def _with_places(self, instruction: Instruction) -> Instruction:
        def place(part: Any) -> Any:
            if isinstance(part, Ref):
                return Ref(self.instead.get(part.slot, part.slot), part.boxed)
            return rebuilt(part, place)

        if not any(number in self.instead for number in read_by(instruction)):
            return instruction
        args, kwargs = place(instruction.args), place(instruction.kwargs)
        return replace(instruction, args=args, kwargs=kwargs)

    def _shorter(self, instruction: Instruction) -> Instruction | None:
        """Return what is to be done in place of an instruction; None for nothing."""
        assert instruction.out is not None
        out = self.slots[instruction.out]
        same = self._same_as(instruction, out)
        if same is not None and self._can_stand_for(instruction.out, same):
            self._put(instruction.out, same)
            return None
        if instruction.out not in self.returned and self._folded(instruction, out):
            return None
        function = UFUNCS.get(instruction.function, instruction.function)
        parts = (function, instruction.args, instruction.kwargs, instruction.as_array)
        key = tuple(map(_key, parts))
        before = self.known.setdefault(key, instruction.out)
        if before != instruction.out and self._can_stand_for(instruction.out, before):
            self._put(instruction.out, before)
            return None
        if (both := self._added_at(instruction)) is not None:
            return both
        if _power(instruction, out) == 2 and _exact(instruction.function, 2, out.dtype):
            return replace(
                instruction, function=np.square, args=instruction.args[:1], name="square",
                primitive=None, taken=[],
            )  # fmt: skip
        return instruction

    def _added_at(self, instruction: Instruction) -> Instruction | None:
        """Return the sum of two arrays put among zeros at one place, as their sum put there."""
        if UFUNCS.get(instruction.function) is not np.add and instruction.function is not np.add:
            return None
        makers = [self.makers.get(a.slot) for a in instruction.args if isinstance(a, Ref)]
        one, two = makers if len(makers) == 2 else (None, None)
        if one is None or two is None or instruction.kwargs or instruction.as_array:
            return None
        alike = one.primitive is two.primitive is indexing._index_add and (
            len(one.args) == len(two.args) == 1 and _key(one.kwargs) == _key(two.kwargs)
        )
        # Another reader of either would have them computed all the same.
        if not alike or self.reads[one.out or 0] > 1 or self.reads[two.out or 0] > 1:
            return None
        first, second = (self.slots[maker.args[0].slot] for maker in (one, two))
        whole = self.slots[instruction.out]  # type: ignore[index]
        kinds = {(s.dtype, s.shape, s.strides, s.scalar) for s in (first, second)}
        if (
            len(kinds) > 1
            or first.scalar
            or not dense(first)
            or first.dtype != whole.dtype
            or not first.shape
        ):
            return None
        root = max(slot.root for slot in self.slots) + 1
        self.slots.append(replace(first, kind="result", array=None, own=False, root=root))
        number = len(self.slots) - 1
        args = (one.args[0], two.args[0])
        self.kept.append(replace(instruction, args=args, out=number))
        return replace(one, args=(Ref(number),), out=instruction.out)

    def _can_stand_for(self, out: int, other: int) -> bool:
        """Whether nobody can tell two results that have the same bits apart."""
        one, two = self.slots[out], self.slots[other]
        alike = (one.shape, one.dtype, one.strides, one.scalar) == (
            *(two.shape, two.dtype, two.strides, two.scalar),
        )
        if not alike or out in self.returned:
            return False
        if one.scalar or one.root == two.root:
            return True
        safe = two.kind == "result" or two.own or self.quiet
        return safe and one.root not in self.given and self.touched.isdisjoint((one.root, two.root))

    def _same_as(self, instruction: Instruction, out: Slot) -> int | None:
        """Return the slot that has an instruction's result already."""
        function, args = instruction.function, instruction.args
        if not args or not isinstance(args[0], Ref):
            first = None
        else:
            first = args[0].slot
        if first is not None and _shows_all(instruction, out, self.slots[first]):
            return first
        if instruction.kwargs or out.dtype.kind != "f" or instruction.as_array:
            return None
        if _power(instruction, out) == 1 and _exact(function, 1, out.dtype):
            return first
        ufunc = UFUNCS.get(function, function)
        if ufunc is np.multiply and self._is_one(args[0]) and isinstance(args[1], Ref):
            return int(args[1].slot)
        if ufunc in (np.multiply, np.divide) and self._is_one(args[1]):
            return first
        return None

    def _is_one(self, value: Any) -> bool:
        if isinstance(value, Ref):
            slot = self.slots[value.slot]
            return slot.own and bool(np.all(slot.array == 1))
        return isinstance(value, (int, float, np.generic)) and bool(value == 1)

    def _folded(self, instruction: Instruction, out: Slot) -> bool:
        """Compute an instruction ahead, if all that it is given are constants of the step's own."""
        if out.root in self.given | self.touched or instruction.taken or out.scalar:
            return False
        size = int(np.prod(out.shape)) * out.dtype.itemsize
        numbers = list(read_by(instruction))
        if size > LARGEST:
            return False
        if _power(instruction, out) == 0 and _exact(instruction.function, 0, out.dtype):
            array: Any = np.ones(out.shape, out.dtype)
        elif numbers and all(self.slots[number].own for number in numbers):
            array = self._computed(instruction)
        else:
            return False
        if (array.shape, array.dtype, array.strides) != (out.shape, out.dtype, out.strides):
            return False
        assert instruction.out is not None
        root = max(slot.root for slot in self.slots) + 1
        self.slots.append(replace(out, kind="constant", array=array, own=True, root=root))
        self._put(instruction.out, len(self.slots) - 1)
        return True

    def _computed(self, instruction: Instruction) -> Array:
        def held(part: Any) -> Any:
            return self.slots[part.slot].array if isinstance(part, Ref) else rebuilt(part, held)

        with np.errstate(all="ignore"):
            found = instruction.function(*held(instruction.args), **held(instruction.kwargs))
        return np.asarray(found)


def _power(instruction: Instruction, out: Slot) -> float | None:
    """Return the exponent of a power of floats that is the same number for all."""
    if instruction.function not in (operator.pow, np.power, arithmetic.pow.value):
        return None
    base, exponent = instruction.args
    plain = type(exponent) in (int, float) and isinstance(base, Ref) and not instruction.kwargs
    return exponent if plain and out.dtype.kind == "f" else None


@functools.cache
def _exact(function: Callable[..., Any], exponent: int, dtype: np.dtype[Any]) -> bool:
    """Whether NumPy's power is exact for 0, 1 and 2 on this machine, as it should be."""
    rng = np.random.default_rng(0)
    ends = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, np.finfo(dtype).tiny / 4]
    with np.errstate(all="ignore"):
        spread = np.exp(rng.uniform(-80.0, 80.0, 1000)) * rng.choice([-1.0, 1.0], 1000)
        x = np.concatenate([spread, ends]).astype(dtype)
        wanted = (np.ones_like(x), x, np.square(x))[exponent]
        found = function(x, exponent)
    same: bool = found.dtype == dtype and found.tobytes() == wanted.tobytes()
    return same


def _shows_all(instruction: Instruction, out: Slot, given: Slot) -> bool:
    """Whether a view has its argument's shape and strides: then it shows the same elements."""
    known = instruction.function in _VIEWS or (
        instruction.primitive is not None and instruction.primitive.view
    )
    only = [*read_by(instruction)]
    return (
        known
        and len(only) == 1
        and out.root == given.root
        and not (out.scalar or given.scalar)
        and (out.shape, out.strides, out.dtype) == (given.shape, given.strides, given.dtype)
        and (instruction.primitive is None or instruction.primitive is indexing._getitem
             or instruction.primitive.name in ("reshape", "permute", "broadcast_to"))
    )  # fmt: skip


def _key(value: Any) -> Any:
    """Return what two arguments have in common that are the same in every bit, and no others."""
    if isinstance(value, Ref):
        return ("ref", value.slot, value.boxed)
    if isinstance(value, (tuple, list)):
        return (type(value), *map(_key, value))
    if isinstance(value, dict):
        return (dict, *((key, _key(part)) for key, part in value.items()))
    if isinstance(value, slice):
        return (slice, _key(value.start), _key(value.stop), _key(value.step))
    if isinstance(value, float):
        return (type(value), value.hex())
    if isinstance(value, np.generic):
        return (value.dtype.str, value.tobytes())
    if value is None or isinstance(value, (int, str, bytes, np.dtype)):
        return (type(value), value)
    return ("object", id(value))
