"""What makes a function a compiled kernel: numba, the place on disk, and a word to the user.

Imported by the files of compiled kernels alone, since it brings numba.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
from numba.core import event

from minidl.kernels.kept import KeptKernel

Function = TypeVar("Function", bound=Callable[..., None])


class Announcer(event.Listener):  # type: ignore[misc, unused-ignore]
    """Say once in a process that kernels are being compiled: it takes seconds."""

    def __init__(self) -> None:
        self.said = False

    def on_start(self, event: Any) -> None:
        """Hear that numba compiles something, and speak up if it is ours."""
        dispatcher = event.data["dispatcher"]
        if self.said or getattr(dispatcher, "py_func", None) not in _ours:
            return
        self.said = True
        place = getattr(dispatcher.stats, "cache_path", None)
        when = (
            f"once on this machine (some seconds; kept in {place})"
            if place
            else ("again in each process, as there is no place to keep them (set NUMBA_CACHE_DIR)")
        )
        print(f"minidl: compiling kernels, {when}", file=sys.stderr, flush=True)

    def on_end(self, event: Any) -> None:
        """Nothing to say."""


class Compiled(NamedTuple):
    """How many versions of kernels there are in this process, and where they are kept."""

    versions: int
    place: str | None


def compiled_so_far() -> Compiled:
    """Count the versions that were compiled, or loaded from where they are kept."""
    dispatchers = list(_made.values())
    places = {getattr(made.stats, "cache_path", None) for made in dispatchers if made.signatures}
    count = sum(len(made.signatures) for made in dispatchers)
    return Compiled(count, next((place for place in places if place), None))


def never_called() -> list[str]:
    """Name the kernels that no version was made of."""
    return [name for name, made in _made.items() if not made.signatures]


_ours: set[Callable[..., None]] = set()
_made: dict[str, Any] = {}
announcer = Announcer()
event.register("numba:compile", announcer)  # type: ignore[no-untyped-call, unused-ignore]


def kernel(function: Function) -> Function:
    """Compile at the first call with a dtype; other threads run during calls."""
    _ours.add(function)
    # Division by zero is NumPy's (inf, NaN), not an exception; the check also costs vectorization.
    made: Any
    try:
        made = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # neither the package's directory nor the user's cache can be written
        made = numba.njit(nogil=True, error_model="numpy")(function)
    made._cache = KeptKernel(function, made._cache)
    _made[function.__name__] = made
    return cast(Function, made)
