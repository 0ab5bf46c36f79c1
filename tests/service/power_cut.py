"""What would be on disk after a power cut, at each moment of a program's life.

The program is run under ``strace``, which writes down what it asks of the file system, data
included. Playing that back on a model of a disk that keeps nothing it was not told to keep gives
what a power cut would leave: a write is there once its file was synced, a name once its directory
was. What was written and not synced may be there too, in part and in any order, as disks do.

Used so::

    for disk in moments(trace(program, arguments, folder), folder):
        disk.said.splitlines()             # what the program had printed by then
        disk.restore(place, chance=None)   # what is left of ``folder``, put elsewhere
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CALLS = (
    "openat,lseek,write,pwrite64,writev,pwritev,fsync,fdatasync,ftruncate,"
    "rename,renameat,renameat2,link,unlink,unlinkat,mkdir,rmdir,sendfile,copy_file_range"
)
_LINE = re.compile(r"^(\w+)\((.*)\) += (-?\d+)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_HANDLE = re.compile(r"^(\d+)<((?:\\x[0-9a-f]{2})*)>")
Write = tuple[int, bytes]  # where, and what
Truncate = int


@dataclass
class File:
    """A file or, where it has no content, a directory."""

    is_directory: bool = False
    durable: bytes = b""
    pending: list[Write | Truncate] = field(default_factory=list)

    def content(self, done: list[Write | Truncate]) -> bytes:
        """The durable content, changed by some of what is pending."""
        content = bytearray(self.durable)
        for change in done:
            if isinstance(change, int):
                del content[change:]
                content.extend(bytes(change - len(content)))
            else:
                offset, data = change
                content.extend(bytes(max(0, offset - len(content))))
                content[offset : offset + len(data)] = data
        return bytes(content)

    def sync(self) -> None:
        self.durable, self.pending = self.content(self.pending), []


class Disk:
    """The model: which names there are, which are durable, and what the files hold."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.names: dict[str, File] = {self.folder: File(is_directory=True)}
        self.durable_names = dict(self.names)
        self.positions: dict[int, int] = {}
        self.said = ""

    def inside(self, path: str) -> bool:
        return path == self.folder or path.startswith(self.folder + "/")

    def play(self, line: str) -> bool:
        """Take one line of the trace; say whether the program printed something in it."""
        found = _LINE.match(line)
        if found is None or int(found[3]) < 0:
            return False
        name, arguments, result = found[1], found[2], int(found[3])
        assert "..." not in (text[1] for text in _TEXT.findall(arguments)), "strace cut data off"
        texts = [_bytes(text[0]) for text in _TEXT.findall(arguments)]
        handle = _HANDLE.match(arguments)
        if name == "write" and handle is not None and handle[1] == "1":
            self.said += texts[0].decode()
            return True
        if handle is not None:
            self._by_handle(name, int(handle[1]), _bytes(handle[2]).decode(), arguments, texts)
        elif texts:
            self._by_path(name, [text.decode() for text in texts], arguments, result)
        if name == "lseek" and handle is not None:
            self.positions[int(handle[1])] = result
        return False

    def _by_handle(
        self, name: str, handle: int, path: str, arguments: str, texts: list[bytes]
    ) -> None:
        path = path.removesuffix(" (deleted)")
        if not self.inside(path) or name == "lseek":
            return
        file = self.names.get(path, File())
        if name in ("fsync", "fdatasync"):
            self._sync(path, file)
        elif name == "ftruncate":
            file.pending.append(int(arguments.rpartition(", ")[2]))
        elif name == "pwrite64":
            file.pending.append((int(arguments.rpartition(", ")[2]), texts[0]))
        elif name == "write":
            position = self.positions.get(handle, 0)
            if position < 0:
                position = len(file.content(file.pending))
            else:
                self.positions[handle] = position + len(texts[0])
            file.pending.append((position, texts[0]))
        else:
            raise AssertionError(f"the model does not know {name} on {path}")

    def _sync(self, path: str, file: File) -> None:
        if not file.is_directory:
            file.sync()
            return
        for child in {*self.names, *self.durable_names}:
            if os.path.dirname(child) == path:
                if child in self.names:
                    self.durable_names[child] = self.names[child]
                else:
                    del self.durable_names[child]

    def _by_path(self, name: str, paths: list[str], arguments: str, result: int) -> None:
        if not self.inside(paths[-1]):
            return
        if name == "openat":
            if "O_CREAT" in arguments:
                self.names.setdefault(paths[0], File())
            if "O_TRUNC" in arguments:
                self.names[paths[0]].pending.append(0)
            self.positions[result] = -1 if "O_APPEND" in arguments else 0
        elif name == "mkdir":
            self.names[paths[0]] = File(is_directory=True)
        elif name.startswith("rename"):
            self.names[paths[1]] = self.names.pop(paths[0])
        elif name in ("unlink", "unlinkat", "rmdir"):
            self.names.pop(paths[0], None)
        else:
            raise AssertionError(f"the model does not know {name} of {paths}")

    def restore(self, place: Path, *, chance: random.Random | None = None) -> Path:
        """Make a directory as a power cut would leave it now.

        Without ``chance`` nothing that was not synced is there; with it, some of it is.
        """
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for path, file in sorted(self.durable_names.items()):
            if path == self.folder or os.path.dirname(path) not in self.durable_names:
                continue
            target = place / os.path.relpath(path, self.folder)
            if file.is_directory:
                target.mkdir()
            elif target.parent.is_dir():
                some = [c for c in file.pending if chance is not None and chance.random() < 0.5]
                target.write_bytes(file.content(some))
        return place


def trace(program: str, arguments: list[str], folder: Path) -> Path:
    """Run a program that writes into the empty ``folder``; return what strace wrote down.

    The program has one thread, and prints by ``print(…, flush=True)``. Modules beside this one can
    be imported in it.
    """
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed (Debian's package strace)")
    file = folder.with_name(f"{folder.name}.strace")
    command = [strace, "-y", "-xx", "-s", str(2**24), "-e", f"trace={CALLS}", "-o", str(file)]
    done = subprocess.run(
        [*command, sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    if done.returncode != 0 and "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    return file


def moments(trace: Path, folder: Path) -> Iterator[Disk]:
    """Give the disk before each sync, and at each line that the program printed."""
    disk = Disk(folder)
    with trace.open(encoding="ascii") as lines:
        for line in lines:
            if line.startswith(("fsync", "fdatasync")):
                yield disk
            if disk.play(line) and disk.said.endswith("\n"):
                yield disk


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
