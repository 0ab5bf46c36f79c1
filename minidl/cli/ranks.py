"""Verbs under a launcher such as ``mpiexec``, which starts a command as several processes, *ranks*.

``train`` and ``resume`` are run by all ranks together; every other verb is for one process.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from minidl.cli.failure import fail

if TYPE_CHECKING:
    from minidl.distributed import World

#: The verbs that several ranks run together.
TOGETHER = ("train", "resume")


@contextmanager
def joined() -> Iterator[World]:
    """Join the ranks that this process was started with, and leave them when the block ends.

    All end with one status, and one of them tells why. A rank that ends alone ends the others.
    """
    from minidl.distributed import LaunchError, join

    try:
        world = join()
    except LaunchError as error:
        fail(str(error), 2)
    if world.size == 1:
        yield world
        return
    if world.rank and not sys.warnoptions:
        warnings.simplefilter("ignore")  # the first rank warns of the same
    with world:
        try:
            yield world
        except typer.Exit as end:
            raise SystemExit(end.exit_code) from None
        except KeyboardInterrupt:
            raise SystemExit(130) from None
        except Exception:
            print(f"rank {world.rank} of {world.size} failed:", file=sys.stderr)
            raise


def refuse_ranks(verb: str) -> None:
    """End with a message where several ranks were started of a verb that is for one process."""
    from minidl.distributed.launcher import LaunchError, launched

    if verb in TOGETHER:
        return
    try:
        launch = launched(os.environ)
    except LaunchError as error:
        fail(str(error), 2)
    if launch is None or launch.size in (None, 1):
        return
    if launch.rank == 0:
        print(
            f"minidl {verb} runs in one process, and was started as {launch.size} ranks "
            f"({launch.variable}): start it without mpiexec; of several ranks are "
            + " and ".join(f"`minidl {name}`" for name in TOGETHER),
            file=sys.stderr,
        )
    raise typer.Exit(2)
