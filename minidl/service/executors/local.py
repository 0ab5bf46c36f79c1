"""Attempts as processes of this machine, each in a session and process group of its own.

What keeps two attempts of a job apart is one lock (flock) on ``attempt.lock`` in the job's
directory. The service takes it, starts the attempt's process with the descriptor inherited, and
closes its own copy: so the lock is held, without a gap, from before the process exists until all of
it has ended, however it ends. A service that finds the lock held knows that the attempt lives, and
watches it as if it had started it; one that finds it free knows that nothing is left of it, and
reads how it ended. Nothing else is believed: no pid, no time, no state of the database.

The data directory must therefore lie on a file system of this machine: over a network, flock may
not mean what it means here.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from minidl.service.executors.executor import (
    AttemptFiles,
    AttemptSpec,
    End,
    ExecutorUnavailableError,
    Observation,
    PlacingError,
    make_private_directory,
    read_record,
    thread_environment,
    write_record,
)

#: Marks the processes of an attempt; those of a sweep's trials inherit it.
MARK = "MINIDL_ATTEMPT"
#: What a service knows and its trainings need not.
PRIVATE = ("MLFLOW_RUN_ID", "MINIDL_SERVICE_TOKEN", "RAY_AUTH_TOKEN")
#: How long a lock is asked for again: somebody may be looking at it.
GLANCE_SECONDS = 0.5
#: Between two SIGTERMs.
TELL_SECONDS = 2.0


class LocalExecutor:
    """Runs attempts on this machine.

    Parameters
    ----------
    python
        The interpreter; by default the one that runs this.
    environment
        Of the attempts, to which theirs is added; by default this process's.
    """

    name = "local"

    def __init__(
        self, *, python: str = sys.executable, environment: Mapping[str, str] | None = None
    ) -> None:
        self._python = python
        given = os.environ if environment is None else environment
        self._environment = {name: text for name, text in given.items() if name not in PRIVATE}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._tell_again: dict[str, float] = {}

    # ---- beginning ----------------------------------------------------------------------------

    def start(self, spec: AttemptSpec) -> str:
        """Start the attempt's process, unless it was started before; return what it is known by."""
        files = spec.files
        try:
            make_private_directory(files.spec.parent)
            with _lock(files.lock, seconds=GLANCE_SECONDS) as descriptor:
                if descriptor is not None:
                    self._start_once(spec, descriptor)
                elif not files.spec.exists():  # which is written with the lock held
                    raise PlacingError(
                        f"processes of an earlier attempt of job {spec.job_id} are still alive"
                    )
        except OSError as error:
            if files.spec.exists():
                raise ExecutorUnavailableError(f"{files.lock} cannot be asked: {error}") from error
            raise PlacingError(f"the attempt cannot be placed: {error}") from error
        return _mark(spec)

    def _start_once(self, spec: AttemptSpec, descriptor: int) -> None:
        """Start the process with the lock, unless the attempt was made, or written off, before."""
        files = spec.files
        if files.started.exists() or files.end.exists():
            return
        try:
            self._start(spec, descriptor)
        except OSError as error:
            reason = f"the attempt's process cannot be started: {error}"
            _write_off(files, End(None, reason, time.time()))
            raise PlacingError(reason) from error

    def _start(self, spec: AttemptSpec, descriptor: int) -> None:
        path = spec.write()
        log = os.open(spec.files.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # -P: a file of the working directory must not stand in for a module of Python's.
        module = [self._python, "-P", "-m", "minidl.service.attempt", str(path)]
        try:
            self._processes[_mark(spec)] = subprocess.Popen(
                [*module, "--lock-descriptor", str(descriptor)],
                cwd=spec.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={
                    **self._environment,
                    **thread_environment(spec.threads),
                    **spec.environment,
                    MARK: _mark(spec),
                },
                start_new_session=True,  # a Ctrl-C is the service's, which tells its attempts
                pass_fds=(descriptor,),
            )
        finally:
            os.close(log)

    # ---- watching -----------------------------------------------------------------------------

    def observe(self, spec: AttemptSpec, handle: str | None) -> Observation:
        """Say how an attempt is, by its lock."""
        files = spec.files
        process = self._processes.get(_mark(spec))
        status = None if process is None else process.poll()
        if process is not None and status is None:
            return _alive(files)
        try:
            with _lock(files.lock) as descriptor:
                if descriptor is None:  # or else it is a sweep's, whose trials have not ended yet
                    return _alive(files)
                observation = _afterwards(files, status)
                if not files.end.exists():
                    if _marked(_mark(spec)):  # somebody has removed the lock's file, say
                        return _alive(files)
                    _write_off(files, observation.end)
        except FileNotFoundError as error:
            if _marked(_mark(spec)):
                return _alive(files)
            reason = f"the job's directory was taken away: {error}"
            observation = Observation("lost", End(status, reason, time.time()))
        except OSError as error:
            raise ExecutorUnavailableError(f"{files.lock} cannot be asked: {error}") from error
        self._processes.pop(_mark(spec), None)
        self._tell_again.pop(_mark(spec), None)
        return observation

    # ---- stopping -----------------------------------------------------------------------------

    def stop(self, spec: AttemptSpec, handle: str | None, *, kill: bool) -> None:
        """Send SIGTERM to the attempt's process group, or SIGKILL to all that is left of it.

        An attempt that hears SIGTERM again takes it for the same one, so it may be said again, by
        this service or the next, to one that was not listening yet.
        """
        if self.observe(spec, handle).state not in ("waiting", "running"):
            return
        if kill:
            for pid in self._all(spec):
                _signal_group(pid, signal.SIGKILL)
            return
        now, mark = time.monotonic(), _mark(spec)
        leader = self._leader(spec) if now >= self._tell_again.get(mark, 0.0) else None
        if leader is not None:
            self._tell_again[mark] = now + TELL_SECONDS
            _signal_group(leader, signal.SIGTERM)

    def _leader(self, spec: AttemptSpec) -> int | None:
        """Return the pid of the attempt's own process; None where it is not there yet, or gone."""
        process = self._processes.get(_mark(spec))
        if process is not None:
            return process.pid if process.poll() is None else None
        started = read_record(spec.files.started)
        marked = _marked(_mark(spec))
        if started is None:  # it has said nothing yet, so it has started nothing either
            return next(iter(marked), None)
        return started["pid"] if started.get("pid") in marked else None

    def _all(self, spec: AttemptSpec) -> set[int]:
        process = self._processes.get(_mark(spec))
        own = {process.pid} if process is not None and process.poll() is None else set()
        return own | set(_marked(_mark(spec)))

    def close(self) -> None:
        """Nothing is held that the end of this process would not free."""


# ---- records and locks --------------------------------------------------------------------------


def _mark(spec: AttemptSpec) -> str:
    return f"{spec.job_id}/{spec.number}"


def _alive(files: AttemptFiles) -> Observation:
    return Observation("running" if files.started.exists() else "waiting")


def _afterwards(files: AttemptFiles, status: int | None) -> Observation:
    """Say how an attempt ended of which nothing is left."""
    if (end := files.read_end()) is not None:
        return Observation("ended" if end.exit_status is not None else "lost", end)
    if status is not None:
        return Observation("ended", End(status, _reason(files, status), time.time()))
    if files.started.exists():
        reason = "the attempt's process was killed, and no service was there to see how"
    else:
        reason = "the attempt's process was killed before it had begun"
    return Observation("lost", End(None, reason, time.time()))


def _reason(files: AttemptFiles, status: int) -> str:
    if status < 0:
        with suppress(ValueError):
            name = signal.Signals(-status).name
            return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
        return f"killed by signal {-status}"
    words = last_words(files.log)
    return f"exit status {status}" + (f": {words}" if words else "")


def last_words(log: Path, *, most: int = 2000) -> str:
    """Return the last line of a log that says something."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - most))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _write_off(files: AttemptFiles, end: End | None) -> None:
    """Write down how an attempt ended that could not do so itself.

    Also a service that was taken for dead, and comes back, finds this and does not start it again.
    """
    assert end is not None
    with suppress(OSError):  # on a full disk the database has to do
        record = {"exit_status": end.exit_status, "error": end.error, "ended": end.at}
        write_record(files.end, record)


@contextmanager
def _lock(path: Path, *, seconds: float = 0.0) -> Iterator[int | None]:
    """Take a lock for the block; None where another has it, also after so many seconds."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        limit = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < limit:
                    time.sleep(0.02)
                    continue
                yield None
                return
            break
        yield descriptor
    finally:
        os.close(descriptor)


# ---- processes ----------------------------------------------------------------------------------


def _marked(mark: str) -> list[int]:
    """Return the pids of the processes that bear a mark in their environment."""
    import psutil

    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark:
                found.append(process.pid)
    return found


def _signal_group(pid: int, signum: signal.Signals) -> None:
    """Send a signal to the group that a process leads, or to the process where it leads none."""
    with suppress(ProcessLookupError, PermissionError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, signum)
        else:
            os.kill(pid, signum)
