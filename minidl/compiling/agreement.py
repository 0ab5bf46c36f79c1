"""Whether two recordings are of the same program.

A step is recorded twice before it is replayed. What differs between the two (a number from a
counter, an array that NumPy drew at random, a branch) is not the step's own, and no program could
replay it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minidl.autograd.primitive import Box
from minidl.compiling.recording import Instruction, Recording, Ref, Slot


class Difference(NamedTuple):
    """How two recordings differ, in words.

    ``branch``: in the answer to a question about values; then they are two programs, each of which
    asks that question first.
    """

    reason: str
    branch: bool = False


def difference(first: Recording, second: Recording) -> Difference | None:
    """Say how two recordings differ, or return None.

    Arrays that are not the step's own but the same in both become constants of ``second``.
    """
    for one, two in zip(first.instructions, second.instructions, strict=False):
        if found := _between(one, two):
            branch = one.kind == two.kind == "condition"
            return Difference(f"{found}, at {two.line}", branch)
    shorter, longer = sorted((first, second), key=lambda r: len(r.instructions))
    if len(shorter.instructions) != len(longer.instructions):
        more = longer.instructions[len(shorter.instructions)]
        return Difference(f"one call in two does more than the other: {more.name}, at {more.line}")
    for one_slot, two_slot in zip(first.slots, second.slots, strict=True):
        if found := _between_slots(one_slot, two_slot):
            return Difference(found)
    return None


def _between(one: Instruction, two: Instruction) -> str | None:
    if one.kind != two.kind or not same(one.function, two.function):
        return f"one call runs {one.name}, the next {two.name}"
    if one.kind == "condition" and one.wanted != two.wanted:
        return "a branch on a value went one way, then the other"
    if not (same(one.args, two.args) and same(one.kwargs, two.kwargs)):
        return f"{two.name} is given something else at each call"
    return None


def _between_slots(one: Slot, two: Slot) -> str | None:
    if (one.kind, one.shape, one.dtype, one.scalar) != (two.kind, two.shape, two.dtype, two.scalar):
        return f"a value is {one.dtype}{list(one.shape)}, then {two.dtype}{list(two.shape)}"
    if one.strides != two.strides:
        return "a value lies in memory in one order, then in another"
    if one.kind not in ("state", "constant"):
        return None
    if two.kind == "state" and one.tensor is two.tensor:
        if one.array is two.array and one.trace is two.trace:
            return None
        return "a parameter got another array, or was frozen, within the step"
    if one.array is not two.array and not _equal(one.array, two.array):
        return (
            f"an array {two.dtype}{list(two.shape)} from outside of the step is another at each "
            "call; make it an argument of the step"
        )
    two.kind, two.tensor, two.own = "constant", None, one.array is not two.array
    return None


def _equal(one: Any, two: Any) -> bool:
    """Whether two arrays have the same bytes."""
    return bool(one.tobytes() == two.tobytes())


def same(one: Any, two: Any) -> bool:
    """Whether two arguments are the same; slots by their numbers, objects by identity."""
    if one is two:
        return True
    if type(one) is not type(two):
        return False
    if isinstance(one, (tuple, list)):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, dict):
        return list(one) == list(two) and all(map(same, one.values(), two.values()))
    if isinstance(one, slice):
        return same((one.start, one.stop, one.step), (two.start, two.stop, two.step))
    if isinstance(one, np.generic):
        return bool(one.dtype == two.dtype and one.tobytes() == two.tobytes())
    if isinstance(one, float):
        return bool(one.hex() == two.hex())
    if isinstance(one, (int, str, bytes, complex, np.dtype, Ref)):
        return bool(one == two)
    if isinstance(one, Box) or not callable(one):
        return False
    # A method is made anew each time it is asked for.
    return bool(one == two)
