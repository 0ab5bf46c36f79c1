"""The process of one rank of an attempt, started by ``mpiexec`` (`minidl.service.ranks`).

It trains with the others, and writes down how that ended before it exits, with the same status.
The first rank tells the log how it goes; of a failure, the rank that knows why writes it down.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from minidl.service.attempt import FAILED, exit_status, judged, set_up_streams
from minidl.service.executors.executor import AttemptSpec, End, write_record
from minidl.train.interruption import Interruption


def main(arguments: Sequence[str] | None = None) -> int:
    """Be a rank, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m minidl.service.rank", description=__doc__)
    parser.add_argument("task", type=Path)
    options = parser.parse_args(arguments)
    set_up_streams()
    faulthandler.enable()
    with Interruption(patient=True):
        from minidl.distributed import LaunchError, join

        try:
            world = join()
        except LaunchError as error:
            print(error, file=sys.stderr, flush=True)
            return FAILED
        end = _work(json.loads(options.task.read_bytes()), world.rank)
        with suppress(OSError):
            sys.stdout.flush()
        status = exit_status(end)
        world.leave(status)
        return status


def _work(given: dict[str, Any], rank: int) -> End:
    from minidl.service.attempt_work import Task, carry_out
    from minidl.train.checkpoint import CheckpointError
    from minidl.train.together import FailedElsewhere

    spec = AttemptSpec.of(given["spec"])
    task = Task(**{**given["task"], "changes": tuple(given["task"]["changes"])})
    torn = False

    def train() -> End:
        nonlocal torn
        try:
            return carry_out(spec, task, tells=rank == 0)
        except CheckpointError:
            torn = task.resumes
            raise

    try:
        end = judged(train, tells=False)  # which the attempt's own process does
    except FailedElsewhere as elsewhere:
        return End(elsewhere.status)
    record = {
        "exit_status": end.exit_status,
        "error": end.error,
        "tracking": end.tracking,
        "torn": torn,
    }
    with suppress(OSError):  # on a full disk the exit status has to do
        write_record(spec.files.rank(rank), record)
    return end


if __name__ == "__main__":
    with Interruption(patient=True):
        result = main()
        os._exit(result)
