"""How many threads BLAS and kernels may have: as many as the control group's CPU quota.

A container that is given two CPUs of sixty-four by a quota still sees sixty-four, and OpenBLAS
starts a thread for each; they then wait for each other by spinning, and the quota is spent on that.
So the quota is looked up before NumPy is imported, and told to BLAS by the variables that it reads.
Processes that an MPI launcher has started side by side have an equal share each. Whoever sets one
of the variables decides.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: What the builds of BLAS that NumPy comes with read, once, when they are loaded.
VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
#: Where launchers (MPICH's, Open MPI's) say how many processes they have started on this host.
NEIGHBOURS = ("MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE")


def _places(root: Path, group: str) -> Iterator[Path]:
    """The directory of a group and of all above it; only the root's is there in a container."""
    path = root / group.strip("/")
    yield path
    while path != root:
        path = path.parent
        yield path


def _numbers(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _share(quota: str, period: str) -> float | None:
    try:
        return int(quota) / int(period) if int(quota) > 0 else None  # -1 and "max" are no limit
    except (ValueError, ZeroDivisionError):
        return None


def cpu_quota(
    root: Path = Path("/sys/fs/cgroup"), groups: Path = Path("/proc/self/cgroup")
) -> float | None:
    """Return how many CPUs control groups (version 1 or 2) allow, or None for no limit."""
    found: list[float] = []
    for line in _numbers(groups):
        _, controllers, group = [*line.split(":", 2), "", ""][:3]
        if controllers == "":
            for place in _places(root, group):
                limits = _numbers(place / "cpu.max")
                if len(limits) == 2 and (share := _share(*limits)):
                    found.append(share)
        elif "cpu" in controllers.split(","):
            for place in _places(root / "cpu", group):
                quota, period = (_numbers(place / f"cpu.cfs_{n}_us") for n in ("quota", "period"))
                if quota and period and (share := _share(quota[0], period[0])):
                    found.append(share)
    return min(found, default=None)


def cpus() -> int:
    """Return the number of CPUs that this process may run on, by its affinity."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ranks_here(environment: Mapping[str, str]) -> int:
    """Return how many processes, with this one, an MPI launcher has started on this host."""
    given = next((environment[name] for name in NEIGHBOURS if name in environment), "1")
    return max(1, int(given)) if given.isdecimal() else 1


def share(environment: Mapping[str, str], quota: float | None) -> int:
    """Return how many threads this process may have: CPUs or quota, by the ranks on this host."""
    free = cpus() if quota is None else min(cpus(), quota)
    return max(1, int(free / ranks_here(environment)))


def follow_quota(environment: MutableMapping[str, str], quota: float | None) -> None:
    """Tell BLAS its share, where it is below the number of CPUs and nobody has told it another."""
    threads = share(environment, quota)
    if threads >= cpus() or any(name in environment for name in VARIABLES):
        return
    for name in VARIABLES:
        environment[name] = str(threads)


class _Chosen:
    """What `set_num_threads` has set in this process."""

    number: int | None = None


def get_num_threads() -> int:
    """Return how many threads an operation may take: those of BLAS, or those of a split batch.

    By default as many as the variables of BLAS say (``OPENBLAS_NUM_THREADS``,
    ``OMP_NUM_THREADS``), and without them as many CPUs as this process has.
    """
    return _by_default() if _Chosen.number is None else _Chosen.number


def set_num_threads(number: int) -> None:
    """Set how many threads an operation may take, in BLAS and in kernels of this process.

    Raises
    ------
    ValueError
        ``number`` is below 1 or no whole number.
    """
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ValueError(f"set_num_threads: a whole number from 1 on is wanted; got {number!r}")
    for library in _blas():
        library.set_num_threads(number)
    _Chosen.number = number


@contextmanager
def blas_on_one_thread() -> Iterator[None]:
    """Let BLAS take one thread in this block; one block of a process at a time."""
    before = [(library, library.get_num_threads()) for library in _blas()]
    for library, _ in before:
        library.set_num_threads(1)
    try:
        yield
    finally:
        for library, number in before:
            library.set_num_threads(number)


@functools.cache
def _blas() -> Sequence[Any]:
    """What sets the threads of whatever BLAS NumPy, which has been imported, came with."""
    from threadpoolctl import ThreadpoolController

    found: Sequence[Any] = ThreadpoolController().select(user_api="blas").lib_controllers
    return found


@functools.cache
def _by_default() -> int:
    for name in VARIABLES:
        given = os.environ.get(name, "").strip()
        if given.isdecimal() and int(given) > 0:
            return int(given)
    return share(os.environ, cpu_quota())


def let_rest(environment: MutableMapping[str, str]) -> None:
    """Tell OpenBLAS how long its threads wait for more work by spinning: 2¹⁶ ticks, some 30 µs.

    By itself it lets them spin for 2²⁶, while threads that share out the rest of a step would have
    those cores (`minidl.kernels.parallel`): a convolution behind a product took twice as long.
    """
    environment.setdefault("OPENBLAS_THREAD_TIMEOUT", "16")


if "numpy" not in sys.modules:  # else BLAS has been loaded, and has its threads
    follow_quota(os.environ, cpu_quota())
    let_rest(os.environ)
