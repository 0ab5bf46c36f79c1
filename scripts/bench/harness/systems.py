"""The systems, and a virtual environment for each under a cache directory.

An environment is made once, from plain package names at fixed versions, and made anew when they
change. minidl's two have what its extras say (with numba and without) and run the checkout that
this file is in.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parents[3]
SCRIPTS = CHECKOUT / "scripts" / "bench"

_NUMPY = "numpy==2.4.6"


class System(NamedTuple):
    """One system that is measured."""

    name: str
    module: str  # peers/MODULE_peer.py
    requirements: tuple[str, ...]
    distribution: str  # what is weighed


MINIDL, MINIDL_NUMPY = "minidl", "minidl-numpy"

SYSTEMS = {
    system.name: system
    for system in (
        System(MINIDL, "minidl", (f"{CHECKOUT}[fast]",), "minidl"),
        System(MINIDL_NUMPY, "minidl", (str(CHECKOUT),), "minidl"),
        System("torch", "torch", ("torch==2.13.0", _NUMPY), "torch"),
        System("jax", "jax", ("jax==0.10.2", _NUMPY), "jax"),
        System("tinygrad", "tinygrad", ("tinygrad==0.14.0", _NUMPY), "tinygrad"),
        System("autograd", "autograd", ("autograd==1.9.1", _NUMPY), "autograd"),
        System("mygrad", "mygrad", ("mygrad==2.5.0", _NUMPY), "mygrad"),
    )
}
PEERS = tuple(name for name in SYSTEMS if name not in (MINIDL, MINIDL_NUMPY))


class MissingError(Exception):
    """A system that can't be measured here, and why."""


def _mark(system: System) -> str:
    """What an environment was made of."""
    lines = [sys.version.split()[0], *system.requirements]
    if system.module == "minidl":  # the code itself comes from the checkout
        project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
        lines += [*project["dependencies"], *project["optional-dependencies"]["fast"]]
    return "\n".join(lines) + "\n"


def environment(system: System, cache: Path, *, install: bool = True) -> Path:
    """Return the Python of a system's environment, which is made if it is not there.

    Raises
    ------
    MissingError
        It can't be made, or is not there and ``install`` is false.
    """
    place = cache / system.name
    python, mark = place / "bin" / "python", place / "made-of.txt"
    if mark.is_file() and mark.read_text() == _mark(system) and python.exists():
        return python
    if not install:
        raise MissingError(f"no environment at {place}, and --no-install was given")
    print(f"{system.name}: making {place} …", file=sys.stderr, flush=True)
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    wanted = list(system.requirements)
    if system.module == "minidl":
        wanted += ["-c", str(CHECKOUT / "constraints.txt")]
    for command in (
        [sys.executable, "-m", "venv", str(place)],
        [str(python), "-m", "pip", "install", "--quiet", *wanted],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip() or "no word").splitlines()[-1]
            raise MissingError(f"its environment could not be made: {last}")
    mark.write_text(_mark(system))
    return python


def variables(threads: int, cache: Path) -> dict[str, str]:
    """Return what sets the number of threads, for every library that has such a variable."""
    count = str(threads)
    eigen = "true" if threads > 1 else "false"
    return {
        "OPENBLAS_NUM_THREADS": count,
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "NUMBA_NUM_THREADS": count,
        "NUMEXPR_NUM_THREADS": count,
        "NPROC": count,  # XLA's pool
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={eigen}",
        "JAX_PLATFORMS": "cpu",
        "NUM_CPU_THREADS": count,  # tinygrad
        "DEV": "CPU",
        "TORCHINDUCTOR_COMPILE_THREADS": "1",  # no pool of compilers beside the measured process
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "torchinductor"),
    }


def process_environment(system: System, threads: int, cache: Path) -> dict[str, str]:
    """Return the whole environment of a system's process."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PYTHON", "MINIDL_", "VIRTUAL_ENV")) or key == "MINIDL_DATA"
    }
    path = [str(SCRIPTS), *([str(CHECKOUT)] if system.module == "minidl" else [])]
    own = {"PYTHONPATH": os.pathsep.join(path), "CACHEDB": str(cache / "tinygrad.db")}
    if system.module == "minidl":  # as minidl sets it where it is imported before NumPy
        own["OPENBLAS_THREAD_TIMEOUT"] = "16"
    return {**kept, **variables(threads, cache), **own}
