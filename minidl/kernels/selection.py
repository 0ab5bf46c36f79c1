"""Which version of a kernel runs: NumPy's, always there, or the compiled one beside it.

A kernel asks here, with the arrays it would hand over, and gets the module of compiled kernels
or None. What decides is the mode, in this order: the innermost `use_kernels`, the environment
variable ``MINIDL_KERNELS``, and else ``auto``.

- ``numpy``: never compiled.
- ``compiled``: wherever there is a compiled version; an error where numba is not installed.
- ``auto``: compiled where numba is installed, once there has been enough work for its import to
  pay: one large array, or many smaller ones one after another.

Both versions give the same bits, so nothing but speed hangs on it. numba is imported at the
first kernel that is chosen, never by ``import minidl``. One algorithm is left out where there are
no compiled kernels, since it would be slower than the plain one then (`possible`): Winograd's
convolution, whose bits are others.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType

import numpy as np

from minidl.autograd.primitive import Array

MODES = ("auto", "numpy", "compiled")
VARIABLE = "MINIDL_KERNELS"

#: Elements from which ``auto`` imports numba at once. Loading kernels takes about half a second
#: once in a process; on arrays of this size they save a training step about a millisecond, so an
#: epoch of MNIST pays for it. Scripts with smaller arrays, and few of them, never import numba.
WORTHWHILE = 1 << 18

#: Elements in all, over any number of calls, after which ``auto`` imports it too: that is some
#: hundred steps of a small MLP, which have taken about as long as the import.
ENOUGH = 1 << 26

#: Elements from which a loaded kernel is called: below, the call itself takes as long as NumPy.
CALLED = 1 << 12

_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))

_override: ContextVar[str | None] = ContextVar("kernels", default=None)


@contextmanager
def use_kernels(mode: str) -> Iterator[None]:
    """Choose kernels for a block of code in this thread: ``auto``, ``numpy`` or ``compiled``.

    Raises
    ------
    ValueError
        There is no such mode.
    ModuleNotFoundError
        The mode is ``compiled`` and numba is not installed.

    Examples
    --------
    >>> import minidl
    >>> with use_kernels("numpy"):
    ...     minidl.relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    token = _override.set(_checked(mode, "use_kernels"))
    try:
        if mode == "compiled":
            _require()
        yield
    finally:
        _override.reset(token)


def compiled(*arrays: Array, small: bool = False) -> ModuleType | None:
    """Return `minidl.kernels.compiled` where it is to be used on these arrays, else None.

    It takes arrays of one dtype, float32 or float64, writable and C-contiguous; for images that
    lie channels-last the caller passes the ``(N, H, W, C)`` view. The first array's size is what
    ``auto`` goes by; ``small`` kernels, which stand for several calls of NumPy, are called on
    small arrays too, once numba is loaded.

    Raises
    ------
    ValueError
        ``MINIDL_KERNELS`` is not a mode.
    ModuleNotFoundError
        The mode is ``compiled`` and numba is not installed.
    """
    mode = _override.get() or _from_environment()
    if mode == "numpy" or (mode == "auto" and not _pays(arrays[0].size, small)):
        return None
    module = _require() if mode == "compiled" else _load()
    dtype = arrays[0].dtype
    # One layout and one mutability a dtype: numba compiles a version for each that it meets.
    fits = dtype in _DTYPES and all(
        type(array) is np.ndarray and array.dtype == dtype and array.flags.carray
        for array in arrays
    )
    return module if fits else None


def running() -> bool:
    """Whether compiled kernels run here by now, so that kernels for one program may be made."""
    mode = _override.get() or _from_environment()
    if mode == "numpy" or (mode == "auto" and Work.elements < ENOUGH):
        return False
    return _load() is not None


def possible() -> bool:
    """Whether compiled kernels run here, if not at once then after more work.

    For algorithms that pay with them alone: it must not hang on how much work there has been, since
    other algorithms give other bits.
    """
    return (_override.get() or _from_environment()) != "numpy" and _installed()


class Work:
    """How much there has been to do for kernels, in this process."""

    elements = 0


def _pays(size: int, small: bool = False) -> bool:
    """Say whether ``auto`` goes to numba for an array of this size, and count it."""
    if size < CALLED:
        return small and Work.elements >= ENOUGH
    if Work.elements < ENOUGH:
        # Threads may lose a count to each other; it is a rule of thumb, and the bits are the same.
        Work.elements += size
        if size >= WORTHWHILE:
            Work.elements = ENOUGH
    return Work.elements >= ENOUGH


def _checked(mode: str, where: str) -> str:
    if mode not in MODES:
        raise ValueError(f"{where}: kernels are one of {', '.join(MODES)}; got {mode!r}")
    return mode


@functools.cache
def _from_environment() -> str:
    return _checked(os.environ.get(VARIABLE) or "auto", VARIABLE)


@functools.cache
def _installed() -> bool:
    return importlib.util.find_spec("numba") is not None


@functools.cache
def _load() -> ModuleType | None:
    """Import the compiled kernels; None where numba is missing, or is there and does not work."""
    if not _installed():
        return None
    try:
        from minidl.kernels import compiled
    except ImportError as error:  # numba refuses versions of NumPy that it does not know yet
        print(f"minidl: numba does not work here, so NumPy's kernels run: {error}", file=sys.stderr)
        return None
    return compiled


def _require() -> ModuleType:
    module = _load()
    if module is None:
        raise ModuleNotFoundError(
            "compiled kernels were asked for (MINIDL_KERNELS=compiled or use_kernels), and numba "
            "is not there or does not work: pip install 'minidl[fast]'",
            name="numba",
        )
    return module
