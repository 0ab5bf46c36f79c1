"""Kernels whose source is written by the program that needs them; see `minidl.compiling.chains`.

The source is kept in a file named by its hash, in the directory where numba keeps things for this
user, since numba keeps what it compiles beside a file. So a kernel is compiled once on a machine.
Where nothing can be written, it is compiled in memory.

Imported only where such a kernel is made, since it brings numba.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import compiler, config
from numba.misc.appdirs import AppDirs

from minidl.kernels.jit import _ours, announcer

Kernel = Callable[..., None]

#: Kernels of this process, by source.
_known: dict[str, Kernel] = {}


def place() -> Path:
    """Return the directory of generated kernels; it may not be there."""
    usual = AppDirs(appname="numba", appauthor=False).user_cache_dir  # type: ignore[no-untyped-call, unused-ignore]
    return Path(getattr(config, "CACHE_DIR", "") or usual, "minidl")


def compiled(source: str) -> Kernel:
    """Return the function ``chain`` that ``source`` defines, compiled at its first call.

    Its array arguments must not overlap: the compiler is told so, since checks at each call that
    they do not are so many for several results that it would not vectorize the loop.
    """
    found = _known.get(source)
    if found is None:
        assert announcer is not None  # says the first time that something is compiled
        try:
            function = _from_file(source)
            made: Any = _jit(function, cache=True)
        except (OSError, RuntimeError):  # no place to write to, or none that numba takes
            function = _from_text(source)
            made = _jit(function, cache=False)
        _ours.add(function)
        found = _known.setdefault(source, made)
    return found


class _Apart(compiler.Compiler):  # type: ignore[misc, name-defined, unused-ignore]
    """numba's compiler, told that arrays do not overlap."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call, unused-ignore]
        self.state.flags.noalias = True


def _jit(function: Kernel, *, cache: bool) -> Any:
    options: dict[str, Any] = {"cache": cache, "nogil": True, "error_model": "numpy"}
    return numba.njit(pipeline_class=_Apart, **options)(function)


def _from_text(source: str) -> Kernel:
    namespace: dict[str, Any] = {}
    exec(compile(source, "<generated kernel>", "exec"), namespace)
    function: Kernel = namespace["chain"]
    return function


def _from_file(source: str) -> Kernel:
    """Write the source where other processes find it, and import it."""
    name = f"loop_{hashlib.sha256(source.encode()).hexdigest()[:24]}"
    directory = place()
    path = directory / f"{name}.py"
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        # Whole or not at all: other processes may be writing the same file.
        handle, temporary = tempfile.mkstemp(dir=directory, suffix=".tmp")
        with os.fdopen(handle, "w") as file:
            file.write(source)
        os.replace(temporary, path)
    if path.read_text() != source:
        raise OSError(f"{path} is not what was written there")
    spec = importlib.util.spec_from_file_location(f"minidl_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # numba looks for it there when it loads what it kept
    spec.loader.exec_module(module)
    function: Kernel = module.chain
    return function
