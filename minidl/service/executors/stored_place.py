"""The service's side of job directories at a URL.

It publishes what an attempt is to do, and keeps the data directory up to date with what the
attempt's machine pushes, so that logs, metrics and artifacts are read there as ever. Checkpoints,
which nobody reads meanwhile, follow at the end.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from minidl.service.executors.executor import AttemptSpec, End, ExecutorUnavailableError
from minidl.service.executors.places import write_end
from minidl.service.executors.storage import (
    LEASE_SECONDS,
    State,
    StateName,
    StoredJob,
    TornError,
    UnreachableError,
    open_store,
)

if TYPE_CHECKING:
    from fsspec.spec import AbstractFileSystem

#: Seconds between two looks for what was pushed.
FETCH_SECONDS = 2.0
#: Seconds without a question after one that the store did not answer, which may have taken long.
PAUSE_SECONDS = 15.0
#: Seconds for which a lease must have stood still until its attempt is given up.
GIVE_UP_SECONDS = LEASE_SECONDS + 15.0


class StoredPlace:
    """Job directories at a URL that the service and the cluster's machines can reach.

    Parameters
    ----------
    url
        Where they lie.
    filesystem
        What is to be used in place of the one that fsspec has for the URL.
    give_up_seconds
        See `GIVE_UP_SECONDS`.

    Raises
    ------
    ValueError
        fsspec does not know such URLs, or lacks the package that does.
    """

    closing_seconds = 60.0

    def __init__(
        self,
        url: str,
        *,
        filesystem: AbstractFileSystem | None = None,
        give_up_seconds: float = GIVE_UP_SECONDS,
    ) -> None:
        if filesystem is None:
            open_store(url)
        self._url, self._filesystem = url, filesystem
        self._give_up_seconds = give_up_seconds
        self._fetched: dict[str, tuple[float, StateName | None, bool]] = {}
        self._leases: dict[str, tuple[float, object]] = {}
        self._silent_until, self._trouble = 0.0, ""

    def publish(self, spec: AttemptSpec) -> None:
        """Store what the attempt is to do, beside what the one before it has left."""
        spec.write()
        with self._reached(spec) as job:
            self._publish(job, spec)

    def _publish(self, job: StoredJob, spec: AttemptSpec) -> None:
        if any(name.attempt == spec.number for name in job.state_names()):
            return  # by a service that was killed after it
        # From here on the attempts before are fenced, so none of them may be at work.
        for number in range(spec.number - 1, 0, -1):
            if self.at_work(replace(spec, number=number)):
                raise ExecutorUnavailableError(
                    f"{job.where}: attempt {number} may still be at work; its lease is awaited"
                )
        before = next(job.states(), None)
        kept = dict(before.files) if before is not None else {}
        directory = Path(spec.directory)
        files = {}
        for path in (spec.files.spec, spec.files.log, directory / "config.yaml"):
            with suppress(FileNotFoundError):
                files[path.relative_to(directory).as_posix()] = path.read_bytes()
        job.push(StateName(spec.number, 0), files, kept)

    def command(self, spec: AttemptSpec, python: str) -> str:
        """Run the module that brings the directory and takes it back."""
        module = "minidl.service.executors.stored_attempt"
        return f"exec {python} -P -m {module} {shlex.quote(self._url)} {spec.job_id} {spec.number}"

    def fetch(self, spec: AttemptSpec, *, all_files: bool) -> None:
        """Take what was pushed since."""
        at, taken, whole = self._fetched.get(spec.job_id, (0.0, None, False))
        if not all_files and time.monotonic() - at < FETCH_SECONDS:
            return
        with self._reached(spec) as job:
            names = job.state_names()
            if names and (names[-1] != taken or (all_files and not whole)):
                taken = self._take(job, spec, taken, all_files=all_files)
                whole = all_files
        self._fetched[spec.job_id] = (time.monotonic(), taken, whole)

    def at_work(self, spec: AttemptSpec) -> bool:
        """Whether the attempt's lease moves, or has stood still for a short time only."""
        key = f"{spec.job_id}/{spec.number}"
        with self._reached(spec) as job:
            lease = job.lease(spec.number)
            claim = job.claimed(spec.number) if lease is None else {}
        if claim is None or "written_off" in claim or (lease or {}).get("ended"):
            return False
        since, before = self._leases.get(key, (time.monotonic(), lease))
        if lease != before:
            since = time.monotonic()
        self._leases[key] = (since, lease)
        return time.monotonic() - since < self._give_up_seconds

    def write_off(self, spec: AttemptSpec, end: End, *, unless_started: bool = False) -> bool:
        """Claim the attempt, so that nobody can; one that was claimed is fenced by the next."""
        with self._reached(spec) as job:
            claimed = job.claim(spec.number, written_off=end.error or True)
        if not claimed and (unless_started or self.at_work(spec)):
            return False
        if not spec.files.end.exists():
            write_end(spec.files, end)
        return True

    @contextmanager
    def _reached(self, spec: AttemptSpec) -> Iterator[StoredJob]:
        """Ask the store, unless it has just not answered."""
        if time.monotonic() < self._silent_until:
            raise UnreachableError(self._trouble)
        try:
            yield StoredJob(self._url, spec.job_id, filesystem=self._filesystem)
        except UnreachableError as error:
            self._silent_until, self._trouble = time.monotonic() + PAUSE_SECONDS, str(error)
            raise

    def _take(
        self, job: StoredJob, spec: AttemptSpec, taken: StateName | None, *, all_files: bool
    ) -> StateName | None:
        directory = Path(spec.directory)
        trouble: ExecutorUnavailableError | None = None
        for state in job.states():
            if taken is not None and state.name < taken:
                break
            try:
                job.pull(state, directory, wanted=lambda path: all_files or not _is_big(path))
            except TornError as error:
                trouble = error
                continue
            _remove_others(directory, state)
            return state.name
        if trouble is not None:
            raise trouble
        return taken


def _is_big(path: str) -> bool:
    return "/checkpoints/" in path


def _remove_others(directory: Path, state: State) -> None:
    """Remove what the attempt's machine has removed, or renamed, of its runs."""
    kept: Mapping[str, object] = state.files
    for run in directory.glob("run*"):
        for path in run.rglob("*"):
            if path.is_file() and path.relative_to(directory).as_posix() not in kept:
                path.unlink()
