"""What each rank does in the tests of `minidl.distributed.world`."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from minidl.distributed import World, mpi


def everything(world: World, heard: str) -> dict[str, Any]:
    """Each method once or twice; arrays of several dtypes, values of several sizes."""
    rank, size = world.rank, world.size
    sums = {
        name: world.sum(np.full((2, 3), rank + 1, name)).tolist()
        for name in ("float32", "float64", "int64", "int32")
    }
    # Far more than any buffer of a transport, so that ranks have to work on it together.
    large = world.sum(np.arange(300_000.0) * (rank + 1))
    refused = []
    for wrong in ("complex128", "bool", "float16"):
        try:
            world.sum(np.zeros(2, wrong))
        except TypeError as error:
            refused.append(str(error))
    strided = world.sum(np.arange(12.0).reshape(3, 4).T)
    value = world.broadcast(
        {"from": rank, "much": "x" * 100_000 * (rank == size - 1)}, root=size - 1
    )
    gathered = world.gather("r" * rank)
    before = world.sum(np.array(float(rank))).item()
    _hear(world, Path(heard))
    stacked = world.stack(np.array([rank, 2 * rank])).tolist()
    return {
        **{"rank": rank, "size": size, "local": [world.local_rank, world.local_size]},
        **{"sums": sums, "large": [float(large[1]), float(large[-1])], "refused": refused},
        **{"strided": strided.tolist(), "from": value["from"], "much": len(value["much"])},
        **{"gathered": gathered, "before": before, "stacked": stacked},
    }


def _hear(world: World, heard: Path) -> None:
    """Let the last rank be told something by a signal while it waits for the first."""
    if world.rank == world.size - 1:
        signal.signal(signal.SIGALRM, lambda *_: heard.touch())
        signal.setitimer(signal.ITIMER_REAL, 0.02)
    if world.rank == 0:
        end = time.monotonic() + 120.0
        while not heard.exists() and time.monotonic() < end:
            time.sleep(0.005)
        if not heard.exists():
            raise TimeoutError("a rank that waits does not hear signals")
    world.barrier()


def same_bits(world: World) -> list[str]:
    """Sums of numbers that depend on the order, with ranks that come at other times each round."""
    rng = np.random.default_rng(world.rank)
    late = np.random.default_rng([world.rank, 1])
    arrays = [rng.standard_normal(n) * 10.0 ** rng.integers(-8, 8, n) for n in (5, 700, 40_000)]
    digests = []
    for _ in range(4):
        bits = b""
        for array in arrays:
            time.sleep(float(late.uniform(0.0, 0.004)))
            bits += world.sum(array).tobytes()
        digests.append(str(hash(bits)))
    return digests


def end(world: World, how: str) -> None:
    """End rank 1 in some way while the others wait for it."""
    mpi.GRACE = 1.0 if how != "all exit" else 60.0
    (shared,) = set(re.findall(r"/dev/shm/mpich_shm_\w+", Path("/proc/self/maps").read_text()))
    if world.rank == 0:  # several would write into each other's lines
        print(f"shares {shared} with the others", flush=True)
    world.barrier()
    if how == "all exit":
        sys.exit(7)
    if world.rank == 1:
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "raise":
            raise ValueError("a batch of rank 1 is spoilt")
        if how == "exit":
            sys.exit(5)
        if how == "abort":
            world.abort(75)
    world.barrier()
    world.sum(np.ones(3))
