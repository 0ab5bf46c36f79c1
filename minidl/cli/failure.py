"""How a verb ends when it cannot do what was asked: a message on standard error, and a status."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer


def fail(message: str, status: int, *, alike: bool = False) -> NoReturn:
    """Print a message on standard error and exit.

    Of several ranks another than the first names itself; where all fail ``alike`` it says nothing.
    """
    from minidl.distributed import current

    rank = current().rank
    if rank == 0 or not alike:
        print(f"rank {rank}: {message}" if rank else message, file=sys.stderr)
    raise typer.Exit(status)


@contextmanager
def failures() -> Iterator[None]:
    """Turn the errors that a user can cause into a message and exit status 2."""
    try:
        yield
    except Exception as error:
        if (status := _told_elsewhere(error)) is not None:
            raise typer.Exit(status) from None
        if _of_the_user(error):
            fail(str(error), 2)
        raise


def _told_elsewhere(error: Exception) -> int | None:
    """Return the exit status where another rank tells why all end."""
    from minidl.train.together import FailedElsewhere

    return error.status if isinstance(error, FailedElsewhere) else None


def _of_the_user(error: Exception) -> bool:
    from minidl.train.checkpoint import CheckpointError
    from minidl.train.config import ConfigError

    return isinstance(error, (ConfigError, CheckpointError))
