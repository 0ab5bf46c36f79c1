"""A file of lines that only grows, written so that a kill or a full disk tears no entry apart.

Each line goes to the operating system as one write. Where that fails (a full disk, a directory
that has become read-only) the line waits in memory, what was half written is taken back, and the
next write tries again: the caller goes on, and nothing is lost unless the process ends first.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


class LineFile:
    """An append-only file of lines.

    Parameters
    ----------
    path
        The file, made with its directories where it does not exist.
    whole
        Says whether bytes are a line as it was written; a last line that is none was torn by a
        kill, and is removed.
    on_trouble
        Is told once of the error that keeps lines from being written.
    """

    def __init__(
        self,
        path: Path,
        *,
        whole: Callable[[bytes], bool],
        on_trouble: Callable[[OSError], None] | None = None,
    ) -> None:
        self.path = path
        self.waiting: deque[bytes] = deque()
        self._on_trouble = on_trouble
        self._told = False
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            _mend_last_line(path, whole)
        # Unbuffered: each write is one call to the operating system, with one whole line.
        self._file = path.open("ab", buffering=0)
        self._size = os.fstat(self._file.fileno()).st_size

    def write(self, line: bytes) -> None:
        """Append a line, given with its end."""
        if self._file.closed:
            raise ValueError(f"{self.path}: the file is closed")
        self.waiting.append(line)
        try:
            self._write_waiting()
        except OSError as error:
            if self._on_trouble is None:
                raise
            if not self._told:
                self._told = True
                self._on_trouble(error)

    def sync(self) -> None:
        """Put all that was written on the disk itself.

        Raises
        ------
        OSError
            Lines are waiting still, and cannot be written.
        """
        self._write_waiting()
        os.fsync(self._file.fileno())

    def truncate(self, size: int) -> None:
        """Cut the file off at ``size`` bytes."""
        self._file.truncate(size)
        self._size = size

    def close(self) -> None:
        """Sync and close; twice is fine.

        Raises
        ------
        OSError
            As `sync`; the file is closed all the same.
        """
        if not self._file.closed:
            try:
                self.sync()
            finally:
                self._file.close()

    def _write_waiting(self) -> None:
        while self.waiting:
            line = self.waiting[0]
            written = 0
            try:
                written = self._file.write(line) or 0
                if written < len(line):  # the disk became full in the middle
                    written += self._file.write(line[written:]) or 0
                if written < len(line):
                    raise OSError(28, "No space left on device", str(self.path))
            except OSError:
                with suppress(OSError):
                    self._file.truncate(self._size)
                raise
            self._size += len(line)
            self.waiting.popleft()


def _mend_last_line(path: Path, whole: Callable[[bytes], bool]) -> None:
    """Leave the file with a whole last line: end it where only its end is missing, else cut it."""
    content = path.read_bytes()
    lines = content.splitlines(keepends=True)
    if not lines:
        return
    with path.open("r+b") as file:
        if not whole(lines[-1].rstrip(b"\r\n")):
            file.truncate(len(content) - len(lines[-1]))
        elif not content.endswith(b"\n"):
            file.seek(0, os.SEEK_END)
            file.write(b"\n")
