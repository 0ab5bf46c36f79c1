"""How a computation is watched: a few functions are exchanged while a profile is open.

The functions are the call of an operation, the call of a module, the walk backward and an
optimizer's step. The ones put in their place look whether the profile is this thread's. When the
last profile closes, the functions themselves are back, so that nothing asks "is somebody
profiling?" in an operation that nobody profiles.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any

from minidl.autograd import backward
from minidl.autograd.primitive import Box, Primitive
from minidl.nn.module import Module
from minidl.optim import Optimizer
from minidl.profiling.recorder import BACKWARD, Recorder
from minidl.tensor import Tensor

_recorder: ContextVar[Recorder | None] = ContextVar("recorder", default=None)
_lock = Lock()
_open_profiles = 0
_exchanged: list[tuple[type[Any], str, Any]] = []


@contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """Let ``recorder`` take down what runs in this block, in this thread.

    Raises
    ------
    RuntimeError
        Another profile is open here already.
    """
    if _recorder.get() is not None:
        raise RuntimeError("profile: a profile is open here already; they do not nest")
    token = _recorder.set(recorder)
    try:
        with _exchange():
            yield
    finally:
        _recorder.reset(token)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Name what runs in this block, for the tables and the trace; also a decorator.

    Where no profile is open, this does nothing.

    Examples
    --------
    >>> import minidl
    >>> from minidl.profiling import phase, profile
    >>> with profile() as p:
    ...     with phase("warming up"):
    ...         _ = minidl.ones(3) + 1.0
    >>> [row.name for row in p.by_phase().rows]
    ['warming up', '[other]']
    """
    recorder = _recorder.get()
    if recorder is None:
        yield
        return
    event = recorder.begin("phase", name)
    try:
        yield
    finally:
        recorder.end(event)


@contextmanager
def _exchange() -> Iterator[None]:
    global _open_profiles
    with _lock:
        _open_profiles += 1
        if _open_profiles == 1:
            _put_instruments_in()
    try:
        yield
    finally:
        with _lock:
            _open_profiles -= 1
            if not _open_profiles:
                _take_instruments_out()


def _put_instruments_in() -> None:
    watched: list[tuple[type[Any], str, Callable[[Any], Any]]] = [
        (Primitive, "__call__", _watched_operation),
        (Module, "__call__", _watched_module),
        (Tensor, "backward", functools.partial(_watched_phase, BACKWARD)),
    ]
    optimizers: list[type[Any]] = [Optimizer, *_descendants(Optimizer)]
    for optimizer in optimizers:
        if "step" in vars(optimizer):
            watched.append((optimizer, "step", functools.partial(_watched_phase, "optimizer")))
    for owner, name, instrument in watched:
        plain = vars(owner)[name]
        _exchanged.append((owner, name, plain))
        setattr(owner, name, instrument(plain))
    backward.watch = _watched_walk


def _take_instruments_out() -> None:
    backward.watch = None
    while _exchanged:
        owner, name, plain = _exchanged.pop()
        setattr(owner, name, plain)


def _descendants(cls: type[Any]) -> Iterator[type[Any]]:
    child: type[Any]
    for child in cls.__subclasses__():
        yield child
        yield from _descendants(child)


def _watched_operation(plain: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(plain)
    def __call__(self: Primitive, *args: Any, **params: Any) -> Any:  # noqa: N807
        recorder = _recorder.get()
        # A transform's level calls the operation again, one level down: noted where NumPy computes.
        if recorder is None or any(isinstance(arg, Box) and arg.level.serial for arg in args):
            return plain(self, *args, **params)
        event = recorder.begin("forward", self.name, recorder.layer)
        try:
            out = plain(self, *args, **params)
        finally:
            recorder.end(event)
        recorder.computed(event, self, args, out)
        return out

    return __call__


def _watched_module(plain: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(plain)
    def __call__(self: Module, *args: Any, **kwargs: Any) -> Any:  # noqa: N807
        recorder = _recorder.get()
        if recorder is None:
            return plain(self, *args, **kwargs)
        event, outer = recorder.enter(self, args)
        try:
            return plain(self, *args, **kwargs)
        finally:
            recorder.leave(event, outer)

    return __call__


def _watched_phase(name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(plain)
    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        with phase(name):
            return plain(self, *args, **kwargs)

    return watched


def _watched_walk(order: Iterable[Any]) -> Iterable[Any]:
    recorder = _recorder.get()
    return order if recorder is None else recorder.walk(order)
