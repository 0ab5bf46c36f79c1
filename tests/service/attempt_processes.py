"""The processes of attempts as a test finds them, and holds them.

(PYTEST_DONT_REWRITE: test modules import it, before pytest does.)
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from minidl.service.executors.local import MARK


def alive(data: Path) -> list[int]:
    """Processes that work in a data directory. One may end while it is looked at."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if MARK in process.environ() and process.cwd().startswith(str(data)):
                found.append(process.pid)
    return found


def ranks(directory: Path) -> list[int]:
    """The ranks of an attempt in a job's directory, whatever is at work beside them."""
    found = []
    for pid in alive(directory):
        with suppress(psutil.Error, OSError):
            command = psutil.Process(pid).cmdline()
            if "minidl.service.rank" in command and not command[0].endswith("mpiexec"):
                found.append(pid)
    return found


@contextmanager
def standing_still(data: Path) -> Iterator[None]:
    """Stop the processes that work in a data directory for a while; a SIGKILL ends them still."""
    stopped = alive(data)
    try:
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
