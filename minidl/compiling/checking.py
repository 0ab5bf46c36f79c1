"""Whether a replay gives what an eager step gives: both are run from the same state and compared.

A `Snapshot` holds what a step may change and can be put back: parameters and buffers, gradients,
the state of optimizers and schedules, random generators. The replay runs first, then the state is
put back and the step runs eagerly, so that what stays is what eager execution left.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from minidl.autograd.primitive import Box
from minidl.autograd.reverse import Leaf, Node
from minidl.compiling.program import Program
from minidl.compiling.writing import MISSED

#: Rooms whose objects hold state; what a step may reach beyond them is not its own to put back.
_ROOMS = ("minidl.optim", "minidl.nn", "minidl.models")


class Snapshot:
    """What can be reached from some objects and may change, as it was."""

    def __init__(self, roots: Iterable[Any]) -> None:
        self._seen: dict[int, Any] = {}
        self._restores: list[Callable[[], None]] = []
        self.arrays: list[np.ndarray] = []
        for root in roots:
            self._take(root)

    def _take(self, value: Any) -> None:
        """Note a value, and what it holds; a list of what is left keeps the stack short."""
        waiting = [value]
        while waiting:
            found = waiting.pop()
            if id(found) in self._seen:
                continue
            parts = self._note(found)
            if parts is not None:
                self._seen[id(found)] = found
                waiting.extend(parts)

    def _note(self, value: Any) -> list[Any] | None:
        if isinstance(value, np.ndarray):
            was = value.copy()
            self.arrays.append(value)
            if value.flags.writeable:
                self._restores.append(lambda: np.copyto(value, was))
            return []
        if isinstance(value, np.random.Generator):
            state = value.bit_generator.state
            self._restores.append(lambda: setattr(value.bit_generator, "state", state))
            return []
        if isinstance(value, dict):
            items = dict(value)
            self._restores.append(lambda: (value.clear(), value.update(items))[0])  # type: ignore[func-returns-value]
            return list(items.values())
        if isinstance(value, list):
            parts = list(value)
            self._restores.append(lambda: value.__setitem__(slice(None), parts))
            return parts
        if isinstance(value, tuple):
            return list(value)
        if isinstance(value, (Box, Leaf)):
            names = ("value", "trace") if isinstance(value, Box) else ("grad", "buffer", "index")
            held = {name: getattr(value, name) for name in names}
            self._restores.append(lambda: _set(value, held))
            return [part for part in held.values() if not isinstance(part, Node)]
        ours = any(cls.__module__.startswith(_ROOMS) for cls in type(value).__mro__)
        if ours and hasattr(value, "__dict__"):
            return [vars(value)]
        return None

    def restore(self) -> None:
        """Put everything back."""
        for restore in self._restores:
            restore()

    def contents(self) -> list[bytes]:
        """Return the arrays as they are now."""
        return [array.tobytes() for array in self.arrays]


def _set(value: Any, held: dict[str, Any]) -> None:
    for name, part in held.items():
        setattr(value, name, part)


def roots_of(program: Program) -> Iterator[Any]:
    """What a program may change, or what leads there."""
    for tensor, _, _ in program.states:
        yield tensor
    for noted in program.modules:
        yield noted.module
    for instruction in program.instructions:
        if instruction.kind == "effect":
            yield getattr(instruction.function, "__self__", None)
            yield instruction.args
            yield instruction.kwargs


def difference(one: Any, two: Any) -> str | None:
    """Say where two results differ, to the last bit; None where they do not."""
    if isinstance(one, Box) and isinstance(two, Box):
        return difference(_array(one), _array(two))
    if isinstance(one, (np.ndarray, np.generic)):
        same = type(one) is type(two) and one.dtype == two.dtype and one.shape == two.shape
        return None if same and one.tobytes() == two.tobytes() else "an array that it returns"
    if type(one) is not type(two):
        return f"what it returns: {type(one).__name__} and {type(two).__name__}"
    if dataclasses.is_dataclass(one):
        pairs = [(getattr(one, f.name), getattr(two, f.name)) for f in dataclasses.fields(one)]
    elif isinstance(one, dict):
        if one.keys() != two.keys():
            return "the names of what it returns"
        pairs = [(one[key], two[key]) for key in one]
    elif isinstance(one, (tuple, list)):
        if len(one) != len(two):
            return "the number of what it returns"
        pairs = list(zip(one, two, strict=True))
    else:
        equal = one is two or one == two or (one != one and two != two)
        return None if equal else f"what it returns: {one!r} and {two!r}"
    return next((found for a, b in pairs if (found := difference(a, b)) is not None), None)


def _array(value: Any) -> Any:
    while isinstance(value, Box):
        value = value.value
    return value


class Trial:
    """A replay whose effects have been undone, to be held against the eager step."""

    def __init__(self, program: Program, inputs: list[Any]) -> None:
        self._program = program
        before = Snapshot(roots_of(program))
        self._before = before
        self._result: Any = MISSED
        self._failed: str | None = None
        try:
            self._result = program.run(inputs)
        except Exception as error:
            self._failed = f"its error, {type(error).__name__}: {error}"
        self._after = before.contents()
        self._count = len(Snapshot(roots_of(program)).arrays)
        before.restore()

    @property
    def missed(self) -> bool:
        """Whether a condition of the program does not hold: it is not the one for this step."""
        return self._failed is None and self._result is MISSED

    def difference(self, result: Any) -> str | None:
        """Say in what the replay differs from the eager step that returned ``result``."""
        if self._failed is not None:
            return self._failed
        found = difference(self._result, result)
        if found is None and self._after != self._before.contents():
            return "the state that it leaves"
        if found is None and self._count != len(Snapshot(roots_of(self._program)).arrays):
            return "the gradients that it leaves"
        return found
