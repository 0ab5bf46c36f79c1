"""Job directories at a URL, for clusters without a disk that all machines share.

fsspec speaks to the stores (``s3://…``, ``gs://…``, ``file://…``); what is written here is how a
directory is kept in one so that it is there whole, and so that an attempt that was given up cannot
spoil it.

::

    URL/<job>/objects/<sha256>         content of files
    URL/<job>/states/<n>-<k>.json      the directory as attempt n pushed it the k-th time: path ->
                                       SHA-256 and size, and a SHA-256 of all this
    URL/<job>/claims/<n>.json          who makes attempt n, or why nobody will any more
    URL/<job>/lease/<n>.json           a counter that the attempt's machine keeps moving

A *state* is written after the objects that it names, so one that is torn, or lacks an object, is
seen to be so and the one before it counts. States are ordered by the attempt first: what a machine
pushes after its attempt was given up and the next one was published is never taken, and it learns
of it at its next push. A *claim* is made once: an attempt that was written off cannot begin. A
machine that cannot move its *lease* on for `LEASE_SECONDS` stops its attempt, and the service gives
an attempt up only when it has seen the lease stand still for longer.

What this does not keep from happening: a machine that stands still for so long (suspended, frozen)
and then wakes goes on for a moment, beside the attempt that has followed. Nothing of it is taken
here, but what it sends to an MLflow server in that moment is.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import secrets
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidl.service.executors.executor import ExecutorUnavailableError
from minidl.train.checkpoint import write_atomically

if TYPE_CHECKING:
    from fsspec.spec import AbstractFileSystem

#: Seconds for which an attempt's machine may work without having moved its lease on.
LEASE_SECONDS = 60.0
#: States that are kept: the newest may be torn, so the one before it stays.
KEPT_STATES = 2
STATE = re.compile(r"(\d{6})-(\d{8})\.json")


class FencedError(RuntimeError):
    """A later attempt of the job has been published: this one counts no more."""


class UnreachableError(ExecutorUnavailableError):
    """The store does not answer."""


class TornError(ExecutorUnavailableError):
    """A state is not whole after all."""


@dataclass(frozen=True, order=True)
class StateName:
    """When a state was pushed: by which attempt, and its how many-th it was."""

    attempt: int
    push: int

    @property
    def file(self) -> str:
        """The name of its object."""
        return f"{self.attempt:06d}-{self.push:08d}.json"


@dataclass(frozen=True)
class State:
    """A job's directory at one moment: the SHA-256 and size of each file, by its path."""

    name: StateName
    files: Mapping[str, tuple[str, int]]

    def to_bytes(self) -> bytes:
        """Return it as it is stored, with its seal."""
        content = {"files": {path: list(entry) for path, entry in sorted(self.files.items())}}
        return json.dumps({**content, "seal": _seal(content)}).encode()

    @classmethod
    def from_bytes(cls, name: StateName, stored: bytes) -> State | None:
        """Return what was stored; None where it is not whole."""
        try:
            content = json.loads(stored)
            seal = content.pop("seal")
            files = {path: (str(sha), int(size)) for path, (sha, size) in content["files"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        return cls(name, files) if seal == _seal(content) else None


class StoredJob:
    """One job's directory at a URL.

    Parameters
    ----------
    url
        Where all jobs' directories lie.
    filesystem
        What is to be used in place of the one that fsspec has for the URL.

    Raises
    ------
    UnreachableError
        In any method: the store does not answer.
    ValueError
        fsspec does not know such URLs, or lacks the package that does.
    """

    def __init__(
        self, url: str, job_id: str, *, filesystem: AbstractFileSystem | None = None
    ) -> None:
        self._files, root = open_store(url) if filesystem is None else (filesystem, url)
        self._root = posixpath.join(root, job_id)
        self.where = f"{url.rstrip('/')}/{job_id}"

    # ---- who may work -----------------------------------------------------------------------

    def claim(self, attempt: int, **about: Any) -> bool:
        """Take an attempt for this process, once; say whether it was still to be had.

        Where the store can create an object only if there is none (local disks, S3, Google Cloud,
        Azure), exactly one process gets it; elsewhere the last of two that come within the same
        moment.
        """
        holder = secrets.token_hex(16)
        content = {**about, "holder": holder, "host": socket.gethostname()}
        path = self._path("claims", f"{attempt:06d}.json")
        if self._exists(path) or not self._create(path, json.dumps(content).encode()):
            return False
        found = self.claimed(attempt)
        return found is not None and found.get("holder") == holder

    def claimed(self, attempt: int) -> dict[str, Any] | None:
        """Return by whom an attempt was taken; None where by nobody."""
        return _record(self._read(self._path("claims", f"{attempt:06d}.json")))

    def renew(self, attempt: int, count: int, *, ended: bool = False) -> None:
        """Show that an attempt's machine is still there, or that it has finished."""
        content = json.dumps({"count": count, "ended": ended}).encode()
        self._write(self._path("lease", f"{attempt:06d}.json"), content)

    def lease(self, attempt: int) -> dict[str, Any] | None:
        """Return what `renew` wrote last."""
        return _record(self._read(self._path("lease", f"{attempt:06d}.json")))

    # ---- files ------------------------------------------------------------------------------

    def states(self, *, attempt: int | None = None) -> Iterator[State]:
        """Yield the states that are whole, the newest first.

        Parameters
        ----------
        attempt
            Only states of this one.
        """
        objects: set[str] | None = None
        for name in reversed(self.state_names()):
            if attempt is not None and name.attempt != attempt:
                continue
            state = State.from_bytes(name, self._read(self._path("states", name.file)) or b"")
            if state is None:
                continue
            objects = self._objects() if objects is None else objects
            if all(sha in objects for sha, _ in state.files.values()):
                yield state

    def push(
        self,
        name: StateName,
        files: Mapping[str, bytes],
        kept: Mapping[str, tuple[str, int]],
        *,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> State:
        """Store a directory.

        Parameters
        ----------
        files
            Content by path, of what is new.
        kept
            The entries of what is as it was.
        meanwhile
            Called after each file.

        Raises
        ------
        FencedError
            A later attempt has been published.
        """
        entries, there = dict(kept), {sha for sha, _ in kept.values()}
        for path, content in files.items():
            sha = hashlib.sha256(content).hexdigest()
            if sha not in there:
                self._write(self._path("objects", sha), content)
                there.add(sha)
                meanwhile()
            entries[path] = (sha, len(content))
        state = State(name, entries)
        self.check_fence(name.attempt)
        self._write(self._path("states", name.file), state.to_bytes())
        return state

    def check_fence(self, attempt: int) -> None:
        """Raise `FencedError` where a later attempt has been published."""
        if any(name.attempt > attempt for name in self.state_names()):
            raise FencedError(f"{self.where}: a later attempt than {attempt} has been published")

    def prune(self) -> None:
        """Remove old states, and objects that none of those left names."""
        names = self.state_names()
        for name in names[:-KEPT_STATES]:
            self._remove(self._path("states", name.file))
        named: set[str] = set()
        for name in names[-KEPT_STATES:]:
            state = State.from_bytes(name, self._read(self._path("states", name.file)) or b"")
            if state is None:
                return  # what a torn one names is not known
            named |= {sha for sha, _ in state.files.values()}
        for sha in self._objects() - named:
            self._remove(self._path("objects", sha))

    def pull(
        self, state: State, directory: Path, *, wanted: Callable[[str], bool] = lambda path: True
    ) -> None:
        """Make the files of a directory those of a state; each is replaced whole, or appended to.

        Raises
        ------
        TornError
            An object has gone, as there is a newer state by now, or is not what it should be.
        """
        for path, (sha, size) in sorted(state.files.items()):
            target = _inside(directory, path)
            if not wanted(path) or _has(target, sha, size):
                continue
            content = self._read(self._path("objects", sha))
            if content is None or hashlib.sha256(content).hexdigest() != sha:
                raise TornError(f"{self.where}: the content of {path} is not there")
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_or_append(target, content)

    # ---- the store --------------------------------------------------------------------------

    def _path(self, *parts: str) -> str:
        return posixpath.join(self._root, *parts)

    def state_names(self) -> list[StateName]:
        """Return what states there are, whole or not, the oldest first."""
        found = (STATE.fullmatch(name) for name in self._names(self._path("states")))
        return sorted(StateName(int(m[1]), int(m[2])) for m in found if m)

    def _objects(self) -> set[str]:
        return set(self._names(self._path("objects")))

    def _names(self, folder: str) -> list[str]:
        def listed() -> list[str]:
            self._files.invalidate_cache(folder)
            found: Iterable[str] = self._files.ls(folder, detail=False)
            return [posixpath.basename(path.rstrip("/")) for path in found]

        try:
            names: list[str] = self._asked(listed)
        except FileNotFoundError:
            return []
        return names

    def _exists(self, path: str) -> bool:
        return self._read(path) is not None

    def _read(self, path: str) -> bytes | None:
        try:
            content: bytes = self._asked(lambda: self._files.cat_file(path))
        except FileNotFoundError:
            return None
        return content

    def _write(self, path: str, content: bytes) -> None:
        def write() -> None:
            self._files.makedirs(posixpath.dirname(path), exist_ok=True)
            self._files.pipe_file(path, content)

        self._asked(write)

    def _create(self, path: str, content: bytes) -> bool:
        from fsspec.asyn import AsyncFileSystem

        def create() -> None:
            self._files.makedirs(posixpath.dirname(path), exist_ok=True)
            if isinstance(self._files, AsyncFileSystem):  # of object stores: in one request
                self._files.pipe_file(path, content, mode="create")
            else:
                with self._files.open(path, "xb") as file:
                    file.write(content)

        try:
            self._asked(create)
        except FileExistsError:
            return False
        return True

    def _remove(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self._asked(lambda: self._files.rm_file(path))

    def _asked(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except (FileNotFoundError, FileExistsError):
            raise
        except Exception as error:  # each store has errors of its own, of no common kind
            raise UnreachableError(
                f"{self.where} cannot be reached: {type(error).__name__}: {error}"
            ) from error


def open_store(url: str) -> tuple[AbstractFileSystem, str]:
    """Return the file system of a URL, and the path in it.

    Raises
    ------
    ValueError
        fsspec is missing, does not know such URLs, or lacks the package that does.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise ValueError(f"{url} needs fsspec: pip install 'minidl[ray]'") from error
    if "://" not in url:
        raise ValueError(f"{url!r} is no URL; one reads s3://BUCKET/FOLDER or file:///FOLDER")
    try:
        files, root = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ValueError(f"{url} cannot be used: {error}") from error
    return files, str(root)


def replace_or_append(target: Path, content: bytes) -> None:
    """Write a file whole; one that has only grown is appended to, for readers that follow it."""
    try:
        size = target.stat().st_size
        with open(target, "rb") as file:
            grown = 0 < size < len(content) and file.read() == content[:size]
    except FileNotFoundError:
        grown = False
    if not grown:
        write_atomically(target, content)
        return
    with open(target, "ab") as file:
        file.write(content[size:])


def _has(target: Path, sha: str, size: int) -> bool:
    try:
        if target.stat().st_size != size:
            return False
        with open(target, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha
    except FileNotFoundError:
        return False


def _inside(directory: Path, path: str) -> Path:
    """Return a file's path in a directory; what a store says is not trusted to stay there."""
    target = directory / path
    if target.is_absolute() and ".." not in Path(path).parts and target.is_relative_to(directory):
        return target
    raise ExecutorUnavailableError(f"{path!r} is no path within {directory}")


def _seal(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _record(stored: bytes | None) -> dict[str, Any] | None:
    """Return a record; one that is torn is there all the same, and says nothing."""
    if stored is None:
        return None
    try:
        found = json.loads(stored)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
