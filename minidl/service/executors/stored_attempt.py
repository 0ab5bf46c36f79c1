"""The process of an attempt whose job's directory lies at a URL.

::

    python -m minidl.service.executors.stored_attempt URL JOB ATTEMPT

It takes the attempt for itself, brings the directory to a disk of this machine, runs the attempt
there as a process of its own (``minidl.service.attempt``), and pushes the directory back after each
checkpoint, every few seconds, and at the end. It exits as the attempt does.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType

from minidl.service.executors.child import end_with_this_process
from minidl.service.executors.executor import (
    AttemptSpec,
    End,
    ExecutorUnavailableError,
    write_record,
)
from minidl.service.executors.places import write_end
from minidl.service.executors.storage import (
    LEASE_SECONDS,
    FencedError,
    StateName,
    StoredJob,
    TornError,
)

REFUSED, TEMPORARY = 3, 75
#: Seconds between two pushes where no checkpoint asks for one: how old a log may look.
PUSH_SECONDS = 5.0
#: Seconds between two pushes, however fast checkpoints follow each other.
LEAST_SECONDS = 1.0
RENEW_SECONDS = 5.0
#: Seconds in which a signal to this process may have missed the process that it was starting.
STARTING_SECONDS = 2.0
#: Seconds for bringing the last push to a store that does not answer at first.
LAST_PUSH_SECONDS = 300.0
#: Seconds for an attempt to stop after its lease has run out; the service waits longer than that.
LATE_SECONDS = 8.0
TRIES = 5
NOT_STORED = (".lock", ".part", ".db-wal", ".db-shm", ".db-journal")

Mark = tuple[int, int, int]


class StoredAttempt:
    """An attempt at work in a copy of its job's directory."""

    def __init__(self, job: StoredJob, number: int, directory: Path) -> None:
        self._job, self._number, self._directory = job, number, directory
        self._told_at: float | None = None
        self._pushed: dict[str, tuple[Mark, tuple[str, int]]] = {}
        self._pushes = 0
        self._push_due = 0.0
        self._renewals, self._renewed_at = 0, time.monotonic()
        self._checkpoints: frozenset[tuple[str, Mark]] = frozenset()

    def run(self) -> int:
        """Make the attempt and return its exit status."""
        signal.signal(signal.SIGTERM, self._note)
        if not self._job.claim(self._number):
            print(f"attempt {self._number} was made, or written off, before", file=sys.stderr)
            return REFUSED
        self._renew()
        spec = replace(self._bring(), directory=str(self._directory))
        try:
            status = self._work(spec)
            self._push_at_last()
        except FencedError as error:
            print(error, file=sys.stderr)
            return REFUSED
        return status

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self._told_at = self._told_at or time.monotonic()

    def _told(self) -> float | None:
        return self._told_at

    # ---- bringing -----------------------------------------------------------------------------

    def _bring(self) -> AttemptSpec:
        own = next(self._job.states(attempt=self._number), None)
        if own is None:
            raise TornError(f"{self._job.where}: attempt {self._number} was not published whole")
        told = f"attempts/{self._number}.json"
        self._job.pull(own, self._directory, wanted=lambda path: path == told)
        spec = AttemptSpec.read(self._directory / told)
        for state in self._job.states():
            self._job.check_fence(self._number)
            try:
                self._job.pull(state, self._directory, wanted=lambda path: path != told)
            except TornError as error:
                print(f"{error}; taking the state before", file=sys.stderr)
                for run in self._directory.glob("run*"):
                    shutil.rmtree(run)
                continue
            break
        self._pushes = own.name.push + 1
        return spec

    # ---- working ------------------------------------------------------------------------------

    def _work(self, spec: AttemptSpec) -> int:
        if self._told() is not None:
            write_end(spec.files, End(TEMPORARY))
            return TEMPORARY
        # Beside the job's directory: what is stored there goes on to name the service's own.
        path = self._directory.with_name("here.json")
        path.touch(mode=0o600)
        write_record(path, asdict(spec))
        command = [sys.executable, "-P", "-m", "minidl.service.attempt", str(path)]
        process = subprocess.Popen(command, preexec_fn=end_with_this_process())
        started, passed_on = time.monotonic(), False
        try:
            while (status := _wait(process, 0.3)) is None:
                told = self._told()
                # Whoever signals this process signals those it has started, too, except one that
                # was not there yet.
                if told is not None and told - started < STARTING_SECONDS and not passed_on:
                    process.terminate()
                    passed_on = True
                self._keep_up(process)
        except BaseException:
            process.kill()
            process.wait()
            raise
        if (end := spec.files.read_end()) is None:
            write_end(spec.files, End(status, "its process was killed" if status < 0 else None))
        elif end.exit_status is not None:  # what came after that is no end of the attempt
            status = end.exit_status
        return status if status >= 0 else 128 - status

    def _keep_up(self, process: subprocess.Popen[bytes]) -> None:
        try:
            self._renew_if_due()
            try:
                now = self._checkpoint_marks()
            except FileNotFoundError:
                return  # one was replaced while it was looked at: it is looked at again soon
            late = time.monotonic() - self._push_due
            if late > 0 or (now != self._checkpoints and late > LEAST_SECONDS - PUSH_SECONDS):
                self._push()
                self._checkpoints = now
        except ExecutorUnavailableError as error:
            self._push_due = time.monotonic() + PUSH_SECONDS
            late = time.monotonic() - self._renewed_at - LEASE_SECONDS
            if late > 0 and self._told() is None:
                print(f"{error}: the attempt stops before it is given up", file=sys.stderr)
                self._note(signal.SIGTERM, None)
                process.terminate()
            elif late > LATE_SECONDS:
                process.kill()

    def _renew(self, *, ended: bool = False) -> None:
        self._job.renew(self._number, self._renewals, ended=ended)
        self._renewals += 1
        self._renewed_at = time.monotonic()

    def _renew_if_due(self) -> None:
        if time.monotonic() - self._renewed_at > RENEW_SECONDS:
            self._renew()

    # ---- pushing ------------------------------------------------------------------------------

    def _push_at_last(self) -> None:
        end = time.monotonic() + LAST_PUSH_SECONDS
        while True:
            try:
                self._push()
                return self._renew(ended=True)
            except ExecutorUnavailableError as error:
                if time.monotonic() > end:
                    print(f"{error}: what was done since the last push is lost", file=sys.stderr)
                    raise
                time.sleep(2)

    def _push(self) -> None:
        found = self._snapshot()
        if found is None:
            return
        marks, changed = found
        kept = {path: self._pushed[path][1] for path in marks if path not in changed}
        self._push_due = time.monotonic() + PUSH_SECONDS
        if not changed and marks.keys() == self._pushed.keys():
            return self._job.check_fence(self._number)
        state = self._job.push(
            StateName(self._number, self._pushes), changed, kept, meanwhile=self._renew_if_due
        )
        self._pushes += 1
        self._pushed = {path: (mark, state.files[path]) for path, mark in marks.items()}
        self._job.prune()
        return None

    def _snapshot(self) -> tuple[dict[str, Mark], dict[str, bytes]] | None:
        """Read what has changed, as the directory could have been at one moment.

        That is: as a kill could have left it. A study's database is read first, checkpoints before
        the journal that they count on; if checkpoints change meanwhile, all is read again. None:
        they changed each time.
        """
        for _ in range(TRIES):
            with suppress(FileNotFoundError):
                before = self._checkpoint_marks()
                marks = {path: _mark(self._directory / path) for path in self._paths()}
                changed = {
                    path: _content(self._directory / path)
                    for path, mark in marks.items()
                    if path not in self._pushed or self._pushed[path][0] != mark
                }
                if self._checkpoint_marks() == before:
                    return marks, changed
            time.sleep(0.05)
        return None

    def _paths(self) -> list[str]:
        found = [
            path.relative_to(self._directory).as_posix()
            for path in self._directory.rglob("*")
            if path.is_file() and not path.is_symlink() and not path.name.endswith(NOT_STORED)
        ]
        return sorted(found, key=lambda path: (not path.endswith(".db"), not _is_checkpoint(path)))

    def _checkpoint_marks(self) -> frozenset[tuple[str, Mark]]:
        return frozenset(
            (str(path), _mark(path)) for path in self._directory.rglob("checkpoints/*.json")
        )


def _is_checkpoint(path: str) -> bool:
    return "/checkpoints/" in path


def _mark(path: Path) -> Mark:
    """What tells whether a file has changed; a database's own file may lag behind its log."""
    stat = path.stat()
    beside = path.with_name(path.name + "-wal")
    more = beside.stat().st_mtime_ns if path.suffix == ".db" and beside.exists() else 0
    return stat.st_mtime_ns + more, stat.st_size, stat.st_ino


def _content(path: Path) -> bytes:
    if path.suffix != ".db":
        return path.read_bytes()
    # SQLite's own copy: the file alone may be in the middle of a transaction.
    with (
        tempfile.NamedTemporaryFile(suffix=".copy") as copy,
        closing(sqlite3.connect(path)) as source,
        closing(sqlite3.connect(copy.name)) as target,
    ):
        source.backup(target)
        return Path(copy.name).read_bytes()


def _wait(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Make an attempt and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m minidl.service.executors.stored_attempt", description=__doc__
    )
    parser.add_argument("url")
    parser.add_argument("job")
    parser.add_argument("attempt", type=int)
    options = parser.parse_args(arguments)
    job = StoredJob(options.url, options.job)
    with tempfile.TemporaryDirectory(prefix="minidl-", ignore_cleanup_errors=True) as scratch:
        directory = Path(scratch) / "job"
        directory.mkdir(mode=0o700)
        return StoredAttempt(job, options.attempt, directory).run()


if __name__ == "__main__":
    sys.exit(main())
