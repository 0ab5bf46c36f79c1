"""The ranks of a data-parallel training: how many there are, and what they say to each other.

A `World` of one is what every process is in that nobody launched as one of several; it answers
without MPI, so that code is written once, for any number of ranks. `join` gives the world that the
process was launched into; `minidl.distributed.mpi` is what speaks MPI.

All methods but `abort` are *collective*: every rank has to call them, in the same order.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

import numpy as np

from minidl.distributed.launcher import launched
from minidl.distributed.progress import Progress

T = TypeVar("T")


class World:
    """A world of one rank, and what a world of several can do.

    As a context manager it is left at the end, with status 0, or after an error with its status.

    Attributes
    ----------
    rank, size : int
        The number of this process, from 0, and how many there are.
    local_rank, local_size : int
        The same among the processes of this machine.

    Examples
    --------
    >>> import numpy as np
    >>> from minidl import distributed
    >>> with distributed.join() as world:
    ...     total = world.sum(np.ones(3))
    >>> world.size, total
    (1, array([1., 1., 1.]))
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    #: MPI's word for a sum that takes the place of what is summed.
    in_place: Any = None
    #: What asks for news while the rank computes; None where it would be of no use.
    progress: Progress | None = None

    def sum(self, array: Any, *, statistics: bool = False) -> Any:
        """Return the elementwise sum over all ranks, the same bits on each: a new array.

        Parameters
        ----------
        array
            Of the same shape and dtype on every rank: float32, float64, or whole numbers.
        statistics
            Keep to the order of the calls that say so, apart from all other calls.
        """
        return np.array(array)

    def stack(self, array: Any) -> Any:
        """Return the arrays of all ranks along a new first axis; ordered as other ``statistics``.

        They are of the same shape and dtype on every rank.
        """
        return np.array(array)[np.newaxis]

    def broadcast(self, value: T, *, root: int = 0) -> T:
        """Return the value that rank ``root`` gave; what the others give is not looked at."""
        return value

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks in the order of the ranks, on every rank."""
        return [value]

    def barrier(self) -> None:
        """Return when every rank has called this."""

    def channel(self) -> Any:
        """Return what carries messages in an order of their own (a communicator of mpi4py)."""
        return None

    def leave(self, status: int = 0) -> None:
        """Say that this rank is done, and wait for the others to say so; once is enough.

        After ``status`` 0 it waits for as long as they take. After another, a rank that does not
        come within `GRACE` seconds is taken to wait for this one, and all are ended.
        """

    def abort(self, status: int = 1) -> NoReturn:
        """End every rank at once, wherever it is; the launcher exits with ``status``."""
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.leave(status_of(error))


#: Seconds that a rank which ends with an error gives the others to end as well.
GRACE = 10.0

_ALONE = World()
_joined: World | None = None


def status_of(error: BaseException | None) -> int:
    """Return the exit status that Python gives a process that ends with this error."""
    if error is None:
        return 0
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return 130 if isinstance(error, KeyboardInterrupt) else 1


def join() -> World:
    """Return the world that this process was launched into, the same at each call.

    One that was started by itself, or by ``mpiexec -n 1``, is alone and needs no MPI. Call it early
    in a launched process: those that have joined wait for those that have not, whatever becomes of
    them.

    Raises
    ------
    LaunchError
        The process is one of several, and mpi4py or its MPI library is missing, or is of another
        kind than the launcher.
    """
    global _joined
    if _joined is None:
        launch = launched()
        if launch is None or launch.size == 1:
            _joined = _ALONE
        else:
            from minidl.distributed.mpi import MPIWorld

            _joined = MPIWorld(launch)
    return _joined


def current() -> World:
    """Return the world that `join` has joined, a world of one before that."""
    return _ALONE if _joined is None else _joined
