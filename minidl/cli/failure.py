"""How a verb ends when it cannot do what was asked: a message on standard error, and a status."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer


def fail(message: str, status: int) -> NoReturn:
    """Print a message on standard error and exit."""
    print(message, file=sys.stderr)
    raise typer.Exit(status)


@contextmanager
def failures() -> Iterator[None]:
    """Turn the errors that a user can cause into a message and exit status 2."""
    try:
        yield
    except Exception as error:
        if _of_the_user(error):
            fail(str(error), 2)
        raise


def _of_the_user(error: Exception) -> bool:
    from minidl.train.checkpoint import CheckpointError
    from minidl.train.config import ConfigError

    return isinstance(error, (ConfigError, CheckpointError))
