"""What the network does, measured by the ranks themselves; the first rank prints JSON.

    mpiexec -n 2 python -m ranks.probe --seconds 0.2

For each size: an *exchange* (the first and the last rank send to each other at the same time, as
ranks do within a sum), and a *sum* over all ranks as minidl asks MPI for it. Beside them the speed
at which MPI adds two vectors.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from minidl import distributed

#: Bytes of a message, and of a vector that is summed: half of it is the largest message of a sum.
MESSAGES = (8, 1 << 12, 1 << 15, 1 << 17, 1 << 18, 1 << 19, 1 << 20)
VECTORS = (8, 1 << 13, 1 << 16, 1 << 18, 1 << 19, 1 << 20, 1 << 21)
ROUNDS = 15


def timed(world: Any, what: Callable[[], object], budget: float, least: int) -> float:
    """Return the mean seconds of one call of the slowest rank, in the best of some rounds.

    The best, as what else runs on the machine is no property of the network.
    """
    what()  # connections are made at the first message
    world.barrier()
    began = time.perf_counter()
    what()
    once = max(world.gather(time.perf_counter() - began))
    # Several in a row: a rank that comes late into the first finds its message waiting.
    repeats = max(least, min(500, int(budget / ROUNDS / once)))
    rounds = []
    for _ in range(ROUNDS):
        world.barrier()
        began = time.perf_counter()
        for _ in range(repeats):
            what()
        rounds.append(max(world.gather((time.perf_counter() - began) / repeats)))
    return min(rounds)


def least(size: int) -> int:
    """How often in a row at least: small messages get ahead of a rank that is late."""
    return 100 if size <= 1 << 12 else 20 if size <= 1 << 16 else 2


def probe(world: Any, budget: float) -> dict[str, Any]:
    """Measure all sizes, each for about ``budget`` seconds."""
    from mpi4py import MPI

    channel = world.channel()
    other = world.size - 1 - world.rank if world.rank in (0, world.size - 1) else None
    exchanges, sums = [], []
    for size in MESSAGES:
        sent, got = np.ones(size, np.uint8), np.empty(size, np.uint8)

        def exchange(sent: Any = sent, got: Any = got) -> None:
            if other is not None:
                channel.Sendrecv(sent, other, 0, got, other, 0)

        exchanges.append({"bytes": size, "seconds": timed(world, exchange, budget, least(size))})
    for size in VECTORS:
        vector = np.zeros(size // 4, np.float32)

        def add_up(vector: Any = vector) -> None:
            world.finish(channel.Iallreduce(MPI.IN_PLACE, vector))

        sums.append({"bytes": size, "seconds": timed(world, add_up, budget, least(size))})
    one, two = np.ones(1 << 17, np.float32), np.zeros(1 << 17, np.float32)
    adding = one.nbytes / timed(world, lambda: MPI.SUM.Reduce_local(one, two), budget, 4)
    return {"ranks": world.size, "exchanges": exchanges, "sums": sums, "adding": adding}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=0.3, help="for one thing of one size")
    settings = parser.parse_args()
    with distributed.join() as world:
        found = probe(world, settings.seconds)
        if world.rank == 0:
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
