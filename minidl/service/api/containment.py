"""Opening files of a job, and no others.

A name from outside is followed one directory at a time, each opened beside the one before, and no
link is followed: whatever stands in the name, and whoever swaps a directory for a link meanwhile,
what is opened lies below the root. Only plain files are opened, and names that begin with a dot
(locks, half-written files) do not count.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: Directories below each other.
MAX_DEPTH = 32


class NoSuchFileError(LookupError):
    """There is no such file that may be read."""


@dataclass(frozen=True)
class Found:
    """A file in a listing: its path below the root, with `/`, its size and time of change."""

    path: str
    size: int
    modified: float


def open_beneath(root: Path, name: str) -> int:
    """Open a plain file for reading; return its descriptor.

    Parameters
    ----------
    name
        Its path below the root, with `/`.

    Raises
    ------
    NoSuchFileError
        There is none of this name, or it is no plain file, or a link is on the way.
    """
    parts = name.split("/")
    bad = any(not part or part.startswith(".") or "\0" in part for part in parts)
    if bad or len(parts) > MAX_DEPTH:
        raise NoSuchFileError(name)
    directory = -1
    try:
        directory = os.open(root, _DIRECTORY)
        for part in parts[:-1]:
            below = os.open(part, _DIRECTORY, dir_fd=directory)
            os.close(directory)
            directory = below
        # Looked at before it is opened: opening a device or a pipe would do something already.
        if not stat.S_ISREG(os.lstat(parts[-1], dir_fd=directory).st_mode):
            raise NoSuchFileError(name)
        descriptor = os.open(parts[-1], _FILE, dir_fd=directory)
    except (OSError, ValueError) as error:  # ValueError: half a surrogate pair
        raise NoSuchFileError(name) from error
    finally:
        if directory >= 0:
            os.close(directory)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NoSuchFileError(name)
    return descriptor


_SAFE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = _SAFE | os.O_DIRECTORY
_FILE = _SAFE | os.O_NONBLOCK | os.O_NOCTTY


def read_beneath(root: Path, name: str, *, most: int) -> bytes:
    """Return a file's content, at most so many bytes of it.

    Raises
    ------
    NoSuchFileError
        As for `open_beneath`.
    """
    with os.fdopen(open_beneath(root, name), "rb") as file:
        return file.read(most)


def list_beneath(root: Path, *, most: int) -> tuple[list[Found], bool]:
    """Return the plain files below a directory by name, and whether these are all."""
    files: list[Found] = []
    for found in _walk(root):
        if len(files) == most:
            return files, False
        files.append(found)
    return files, True


def _walk(root: Path) -> Iterator[Found]:
    try:
        for directory, below, names, descriptor in os.fwalk(root, follow_symlinks=False):
            below[:] = sorted(name for name in below if not name.startswith("."))
            inside = os.path.relpath(directory, root)
            if inside.count("/") >= MAX_DEPTH - 2:
                below.clear()
            for name in sorted(names):
                try:
                    facts = os.lstat(name, dir_fd=descriptor)
                    path = name if inside == "." else f"{inside}/{name}"
                except OSError:
                    continue  # it has just been removed
                # Names that hold line ends, or are no UTF-8, could not be asked for.
                told = path.isprintable() and not name.startswith(".")
                if told and stat.S_ISREG(facts.st_mode):
                    yield Found(path, facts.st_size, facts.st_mtime)
    except OSError:
        return  # there is nothing yet, or no longer
