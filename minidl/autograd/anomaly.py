"""Finding out where the first NaN or Inf came from.

Inside `detect_anomaly` every value that NumPy computes, every gradient that a vjp rule gives and
every tangent that a jvp rule gives is looked at; the first that is not finite, though all that it
was made of is, raises, with the operation's name and the line of user code that called it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from minidl.autograd import arrays

_PACKAGE = str(Path(__file__).resolve().parent.parent)

#: How many `detect_anomaly` blocks are open in all threads: 0 spares each operation the lookup.
open_blocks = 0
_lock = Lock()
_watching: ContextVar[bool] = ContextVar("watching", default=False)


@contextmanager
def detect_anomaly() -> Iterator[None]:
    """Raise at the operation that makes the first NaN or Inf, in every mode; for debugging.

    Infinities that the user's code passes in (a mask of -inf) are no anomaly. Also a decorator.

    Raises
    ------
    FloatingPointError
        Names the operation, whether its value, its gradient (backward) or its tangent (forward
        mode) is at fault, and the line of user code that ran the operation.

    Examples
    --------
    >>> import numpy as np, minidl
    >>> with minidl.autograd.detect_anomaly():
    ...     minidl.log(np.array([1.0, 0.0]))
    Traceback (most recent call last):
        ...
    FloatingPointError: log made -inf at element (1,) of its value, ...
    """
    global open_blocks
    token = _watching.set(True)
    with _lock:
        open_blocks += 1
    try:
        with np.errstate(all="ignore"):  # the error below says more than NumPy's warning
            yield
    finally:
        with _lock:
            open_blocks -= 1
        _watching.reset(token)


def watching() -> bool:
    """Whether this thread runs inside `detect_anomaly`."""
    return bool(open_blocks) and _watching.get()


@contextmanager
def in_a_rule() -> Iterator[None]:
    """Leave the operations inside a derivative rule alone: its result is what is looked at."""
    token = _watching.set(False)
    try:
        yield
    finally:
        _watching.reset(token)


def _bottom(value: Any) -> Any:
    while hasattr(value, "level"):  # a box; its class is made of this module
        value = value.value
    return value


def _finite(value: Any) -> bool:
    array = arrays.asarray(_bottom(value))
    return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())


def check(name: str, what: str, result: Any, sources: Iterable[Any], line: str | None) -> None:
    """Raise where ``result`` is not finite though its ``sources`` are.

    Raises
    ------
    FloatingPointError
        See `detect_anomaly`; ``line`` is where the operation was called, found here if None.
    """
    if _finite(result) or not all(_finite(source) for source in sources if source is not None):
        return
    array = arrays.asarray(_bottom(result))
    place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
    raise FloatingPointError(
        f"{name} made {array[place]!s} at element {place} of its {what}, of shape {array.shape}; "
        f"it was called at {line or user_line()}"
    )


def user_line() -> str:
    """Return the innermost line of the stack that is not minidl's own."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_name}"
