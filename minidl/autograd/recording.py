"""What the engine tells a recording of what happens (see `minidl.compile`).

A recording is a level below the outermost one: what it records passes through `Primitive.__call__`
and `ReverseLevel.run` as boxes. This file is for all else that a step does, which must be done
again when it is replayed: changes of state (`effect`), the modules that ran (`note`), and what
cannot be replayed at all (`refuse`). Where no recording is open, nothing here does anything.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any, ParamSpec, Protocol, TypeVar, cast

import numpy as np

P = ParamSpec("P")
T = TypeVar("T")

#: How many recordings are open in all threads: 0 spares each operation the lookup.
open_recordings = 0
_lock = Lock()


class Recorder(Protocol):
    """What a recording is asked to do; `minidl.compiling.recording` has the one there is."""

    def apply(
        self, primitive: Any, args: tuple[Any, ...], values: list[Any], params: dict[str, Any]
    ) -> Any:
        """Run an operation on ``values``, which are those in ``args`` one level down."""

    def effect(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run what changes state, now and at each replay."""

    def draws(self, rng: np.random.Generator | None) -> np.random.Generator:
        """Return what draws random numbers from ``rng`` (None: a fresh one), at each replay."""

    def note(self, module: Any) -> None:
        """Remember that a module has run, whose settings the program depends on."""

    def refuse(self, reason: str) -> None:
        """Give the recording up: the step goes on as it would without."""


_current: ContextVar[Recorder | None] = ContextVar("recording", default=None)


def current() -> Recorder | None:
    """Return the recording that is open in this thread, if one is."""
    return _current.get() if open_recordings else None


@contextmanager
def opened(recorder: Recorder) -> Iterator[None]:
    """Let ``recorder`` take down what runs in this block, in this thread."""
    global open_recordings
    token = _current.set(recorder)
    with _lock:
        open_recordings += 1
    try:
        yield
    finally:
        with _lock:
            open_recordings -= 1
        _current.reset(token)


@contextmanager
def paused() -> Iterator[None]:
    """Take nothing down in this block: it is an effect as a whole."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)


def run(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function that changes state; in a recording, at each replay again.

    ``function`` is given arrays where ``args`` has values that the step has computed.
    """
    recorder = current()
    if recorder is None:
        return function(*args, **kwargs)
    return recorder.effect(function, args, kwargs)


def effect(function: Callable[P, T]) -> Callable[P, T]:
    """Declare that a function changes state: a recording runs it at each replay again."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if open_recordings:
            return cast(T, run(function, *args, **kwargs))
        return function(*args, **kwargs)

    return call


def note(module: Any) -> None:
    """Tell the recording, if there is one, that a module runs."""
    recorder = current()
    if recorder is not None:
        recorder.note(module)


def refuse(reason: str) -> None:
    """Tell the recording, if there is one, of something that it cannot replay."""
    recorder = current()
    if recorder is not None:
        recorder.refuse(reason)
