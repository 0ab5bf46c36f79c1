"""Where a job's directory lies for the machines of a cluster, and who may work in it.

A `Place` brings the directory to the machine of an attempt and the attempt's records back to the
service, and it is what keeps a second process away: a cluster that loses a machine, or is started
anew, may say that an attempt is gone while its process still works. `SharedPlace` is a file system
that all machines mount; `minidl.service.executors.storage` has the place that is a URL.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from minidl.service.executors.executor import AttemptFiles, AttemptSpec, End, write_record


class Place(Protocol):
    """What an executor needs to know of the place of its jobs' directories.

    Each call may raise `ExecutorUnavailableError`: the place cannot be reached.
    ``closing_seconds`` is what the directory's way back takes once the attempt's process has ended.
    """

    closing_seconds: float

    def publish(self, spec: AttemptSpec) -> None:
        """Make the job's directory, with what the attempt is to do, reachable for the cluster."""
        ...

    def command(self, spec: AttemptSpec, python: str) -> str:
        """Return the shell command that makes the attempt, for any machine of the cluster."""
        ...

    def fetch(self, spec: AttemptSpec, *, all_files: bool) -> None:
        """Bring the job's directory of this machine up to date; without the big files at first."""
        ...

    def at_work(self, spec: AttemptSpec) -> bool:
        """Whether a process of the job is at work somewhere, as far as can be seen."""
        ...

    def write_off(self, spec: AttemptSpec, end: End, *, unless_started: bool = False) -> bool:
        """Write down how an attempt ended that does not say so; from then on it cannot begin.

        Returns
        -------
        bool
            False: it is at work, or (``unless_started``) has been, and nothing was written.
        """
        ...


class SharedPlace:
    """A file system that the service and the cluster's machines mount at the same path.

    The lock is ``flock`` on ``attempt.lock``: NFS (version 4, or 3 with its lock daemon) and the
    usual cluster file systems pass it on between machines, and it goes when the process goes. The
    cluster's processes run as the service's user, for job directories are closed to others.
    """

    closing_seconds = 0.0

    def publish(self, spec: AttemptSpec) -> None:
        """Write what the attempt is to do."""
        spec.write()

    def command(self, spec: AttemptSpec, python: str) -> str:
        """Run the attempt's module; ``exec``, so that no shell stands between it and Ray."""
        return f"exec {python} -P -m minidl.service.attempt {shlex.quote(str(spec.files.spec))}"

    def fetch(self, spec: AttemptSpec, *, all_files: bool) -> None:
        """Everything is here already."""

    def at_work(self, spec: AttemptSpec) -> bool:
        """Whether somebody holds the lock."""
        with _lock(spec.files) as free:
            return not free

    def write_off(self, spec: AttemptSpec, end: End, *, unless_started: bool = False) -> bool:
        """Write the end with the lock held, which an attempt looks for when it has the lock."""
        files = spec.files
        with _lock(files) as free:
            if not free or (unless_started and files.started.exists()):
                return False
            if not files.end.exists():
                write_end(files, end)
            return True


@contextmanager
def _lock(files: AttemptFiles) -> Iterator[bool]:
    """Hold the job's lock if it is free; say whether it was."""
    descriptor = os.open(files.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def write_end(files: AttemptFiles, end: End) -> None:
    """Write an attempt's end in its place."""
    write_record(
        files.end,
        {"exit_status": end.exit_status, "error": end.error, "ended": end.at or time.time()},
    )
