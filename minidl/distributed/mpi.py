"""A world of several ranks, over MPI by mpi4py.

Everything is asked of MPI without blocking and waited for politely (`waiting`). Whoever ends with
an error ends the others too: an uncaught exception, or an exit from which `leave` was not called,
would otherwise leave them waiting for a rank that is gone. A rank that is killed is seen by its
launcher, which ends the rest: ``mpiexec`` of MPICH within a second, with the signal's number as
status (Slurm's ``srun`` is told to by ``--kill-on-bad-exit=1``).

The order in which MPI adds is the library's choice. MPICH 5 takes, for sums that do not block,
recursive doubling up to 2,048 bytes and the halving of vectors (reduce-scatter, then all-gather)
above: the size of the message and the number of ranks choose, and partners are fixed, so that no
sum depends on which message came first. Results are the same bits on every rank, and at every run
with the same number of ranks; another number of ranks adds in another order. A variable that makes
MPICH take another algorithm (``MPIR_CVAR_IALLREDUCE_INTRA_ALGORITHM``: its trees add in the order
of arrival), or another MPI, may keep less than that.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import os
import pickle
import re
import sys
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, TypeVar

import numpy as np

from minidl.distributed.launcher import Launch, LaunchError
from minidl.distributed.progress import Progress
from minidl.distributed.waiting import wait
from minidl.distributed.world import GRACE, World, status_of

T = TypeVar("T")

#: Seconds that a rank waits for all others to join. One that ends before it has joined (its
#: interpreter misses something) is no rank yet to the launcher, and would be waited for for ever.
JOIN_LIMIT = 120.0
#: Seconds for which a rank that ends all waits: the launcher drops what it has not read by then.
HEARD = 0.5


class MPIWorld(World):
    """Several ranks; see `World` for what they can do."""

    def __init__(self, launch: Launch) -> None:
        MPI = _library(launch)
        self._mpi = MPI
        self.in_place = MPI.IN_PLACE
        #: For what is asked in order; buckets of gradients and statistics have ones of their own,
        #: so that they need not be in order with each other.
        self.communicator = MPI.COMM_WORLD.Dup()
        self._statistics = MPI.COMM_WORLD.Dup()
        self.rank, self.size = self.communicator.rank, self.communicator.size
        if launch.size not in (None, self.size) or launch.rank != self.rank:
            found = MPI.Get_library_version().split("\n")[0].strip()
            raise LaunchError(
                f"{launch.variable} says rank {launch.rank} of {launch.size}, but MPI ({found}) "
                f"says rank {self.rank} of {self.size}: launcher and library are of different "
                "MPIs; use the mpiexec of the library that mpi4py loads"
            )
        self.local_rank = launch.local_rank
        self.local_size = launch.local_size or self.size
        self.barrier()
        _unlink_shared_memory()
        several = MPI.Query_thread() >= MPI.THREAD_MULTIPLE
        self.progress = Progress() if several and self.size > 1 else None
        self._left = False
        atexit.register(self.leave, 1)

    # ---- what ranks say to each other --------------------------------------------------------

    def channel(self) -> Any:
        """Return a communicator for messages in an order of their own."""
        return self.communicator.Dup()

    def sum(self, array: Any, *, statistics: bool = False) -> Any:
        """Return the elementwise sum over all ranks."""
        total = np.array(array, order="C")
        if total.dtype.kind not in "iuf" or total.dtype.itemsize < 2 + 2 * (
            total.dtype.kind == "f"
        ):
            raise TypeError(
                f"sum over ranks: float32, float64 or whole numbers are wanted, got {total.dtype}"
            )
        channel = self._statistics if statistics else self.communicator
        self.finish(channel.Iallreduce(self.in_place, total))
        return total

    def stack(self, array: Any) -> Any:
        """Return the arrays of all ranks."""
        own = np.array(array, order="C")
        found = np.empty((self.size, *own.shape), own.dtype)
        self.finish(self._statistics.Iallgather(own, found))
        return found

    def broadcast(self, value: T, *, root: int = 0) -> T:
        """Return the value of rank ``root``."""
        packed = pickle.dumps(value) if self.rank == root else b""
        length = np.array(len(packed), np.int64)
        self.finish(self.communicator.Ibcast(length, root=root))
        content = np.empty(int(length), np.uint8)
        if self.rank == root:
            content[:] = np.frombuffer(packed, np.uint8)
        self.finish(self.communicator.Ibcast(content, root=root))
        return value if self.rank == root else pickle.loads(content.tobytes())

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks."""
        packed = np.frombuffer(pickle.dumps(value), np.uint8)
        lengths = np.empty(self.size, np.int64)
        self.finish(self.communicator.Iallgather(np.array(packed.size, np.int64), lengths))
        content = np.empty(int(lengths.sum()), np.uint8)
        self.finish(self.communicator.Iallgatherv(packed, (content, lengths)))
        parts = np.split(content, np.cumsum(lengths)[:-1])
        return [pickle.loads(part.tobytes()) for part in parts]

    def barrier(self) -> None:
        """Wait for all ranks."""
        self.finish(self.communicator.Ibarrier())

    def finish(self, request: Any) -> None:
        """Wait for one of mpi4py's requests."""
        wait(request.Test)

    # ---- the end -----------------------------------------------------------------------------

    def leave(self, status: int = 0) -> None:
        """Say that this rank is done; see `World.leave`."""
        if self._left:
            return
        self._left = True
        atexit.unregister(self.leave)
        if self.progress is not None:
            self.progress.end()
        arrived = self._mpi.COMM_WORLD.Ibarrier()
        if not wait(arrived.Test, limit=None if status == 0 else GRACE):
            self._end(
                status, f"rank {self.rank} of {self.size} ends with status {status}; so do all"
            )
        self._mpi.Finalize()

    def abort(self, status: int = 1) -> NoReturn:
        """End every rank at once."""
        self._end(status, f"rank {self.rank} of {self.size} ends all with status {status}")

    def _end(self, status: int, message: str) -> NoReturn:
        sys.stdout.flush()
        print(f"minidl: {message}", file=sys.stderr, flush=True)
        time.sleep(HEARD)
        self._mpi.COMM_WORLD.Abort(status)
        os._exit(status)  # where MPI's own end takes its time

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and not isinstance(error, SystemExit):
            # Shown here: if the others do not end by themselves, nothing of it would be seen.
            traceback.print_exception(error)
        self.leave(status_of(error))


def _unlink_shared_memory() -> None:
    """Take away the names of the memory that the ranks of this machine share, once all have it.

    It goes with the last of them. MPICH would do this at its end, which a rank that is killed does
    not come to: each would leave some megabytes behind for good.
    """
    with contextlib.suppress(OSError):
        mapped = Path("/proc/self/maps").read_text()
        for name in set(re.findall(r"/dev/shm/mpich_shm_\w+", mapped)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)


def _library(launch: Launch) -> Any:
    """Import mpi4py's MPI, which starts it."""
    of = "" if launch.size is None else f" of {launch.size}"
    started = f"this process was started as rank {launch.rank}{of} ({launch.variable})"
    try:
        import mpi4py

        mpi4py.rc.finalize = False  # `leave` does, or nobody: it waits for all ranks
        mpi4py.rc.thread_level = "multiple"  # for `progress`
        # MPI waits without letting go of the interpreter: no thread of Python could end it.
        faulthandler.dump_traceback_later(JOIN_LIMIT, exit=True, file=2)
        try:
            from mpi4py import MPI
        finally:
            faulthandler.cancel_dump_traceback_later()
    except (ImportError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise LaunchError(
            f"{started}, but MPI cannot be used: {reason}; "
            "install it (pip install 'minidl[mpi]'), or start the command without a launcher"
        ) from error
    return MPI
