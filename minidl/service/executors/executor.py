"""What an executor does: place an attempt, say how it is, stop it.

An attempt is one process (``python -m minidl.service.attempt``) that works in the job's directory
and keeps its own records there, in ``attempts/``, written whole and synced to the disk::

    <n>.json           what it is to do (`AttemptSpec`), written by the executor
    <n>.started.json   pid, host and time, written as soon as it runs
    <n>.begun.json     from where it trains: new, resumed from a step, or begun anew and why
    <n>.end.json       how it ended, written as the last thing it does

and, where it has several ranks, ``<n>.task.json`` and ``<n>.rank-<r>.json``: what each of them is
to do, and how it ended.

So an executor that is asked about an attempt of a former service has the same answers, and what
differs from one executor to another is only how one learns that a process is gone.

The executor keeps one promise for the whole service: **no two attempts of one job run at once**,
whatever is killed when. `Executor.start` must therefore be safe to be called again for an attempt
that a service was placing when it died.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from minidl.service.settings import make_durable_directory
from minidl.train.checkpoint import write_atomically


class PlacingError(RuntimeError):
    """An attempt cannot be placed now; the message says why. Nothing of it runs."""


class ExecutorUnavailableError(RuntimeError):
    """The executor does not answer; what runs there may go on all the same."""


@dataclass(frozen=True)
class AttemptSpec:
    """What one attempt is to do; all of it is plain data.

    Attributes
    ----------
    name
        What the run is called in MLflow: the job's name, or its id.
    directory
        The job's directory, an absolute path that the attempt's machine can reach.
    chain
        The number of the attempt at which the present chain has begun: the first, or the first
        after the user asked to begin afresh. A run of an earlier chain is set aside; one of this
        chain is gone on with.
    reached
        Steps that the run had made when the attempt was placed.
    overrides
        Changes for a run that is gone on with (``trainer.epochs=20``).
    config
        Resolved, as `minidl.train.config.config_from_data` takes it.
    threads
        Cores that the attempt may use, all its ranks together.
    ranks
        Processes that train together; a sweep has one.
    environment
        Variables beside those that the executor's processes have anyway.
    grace
        Seconds that an attempt has, after SIGTERM, to write a checkpoint and end.
    """

    job_id: str
    number: int
    kind: Literal["training", "sweep"]
    name: str
    directory: str
    chain: int
    config: Mapping[str, Any]
    overrides: tuple[str, ...] = ()
    reached: int = 0
    threads: int = 1
    ranks: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    grace: float = 60.0

    @property
    def files(self) -> AttemptFiles:
        """Where its records lie."""
        return AttemptFiles(Path(self.directory), self.number)

    def write(self) -> Path:
        """Write it where the attempt reads it, and return that path.

        The address of an MLflow server may hold a password, so nobody else can read it.
        """
        path = self.files.spec
        make_private_directory(path.parent)
        write_atomically(path, json.dumps(asdict(self), indent=1).encode() + b"\n")
        return path

    @classmethod
    def read(cls, path: Path) -> AttemptSpec:
        """Read what `write` wrote.

        Raises
        ------
        OSError
            There is nothing that can be read.
        ValueError
            It is something else.
        """
        try:
            return cls.of(json.loads(path.read_bytes()))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} says of no attempt what it is to do: {error}") from error

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> AttemptSpec:
        """Return the one of which `dataclasses.asdict` has made these plain data."""
        return cls(**{**data, "overrides": tuple(data["overrides"])})


@dataclass(frozen=True)
class End:
    """How an attempt ended.

    ``exit_status`` is the process's: negative for a signal, None where it is not known (nobody
    was there to see it). ``error`` says why it failed, ``at`` when that was (seconds since 1970).
    ``tracking`` is ``"complete"`` where MLflow was told everything, also how it ended.
    """

    exit_status: int | None
    error: str | None = None
    at: float | None = None
    tracking: str | None = None


@dataclass(frozen=True)
class Observation:
    """How an attempt is.

    ``waiting``: placed, and its process has not said yet that it runs. ``running``. ``ended``:
    nothing of it is left, and ``end`` says how it ended. ``lost``: nothing of it is left, and
    nobody knows how that came; ``end.error`` says what is known.
    """

    state: Literal["waiting", "running", "ended", "lost"]
    end: End | None = None


class Executor(Protocol):
    """Runs attempts somewhere. Called from one thread, the scheduler's."""

    name: str

    def start(self, spec: AttemptSpec) -> str:
        """Place an attempt; return a handle, which is kept in the database.

        Called again for an attempt that is placed already, it only returns the handle.

        Raises
        ------
        PlacingError
            It cannot be placed; nothing of it runs.
        ExecutorUnavailableError
            The executor does not answer: whether it was placed is not known.
        """
        ...

    def observe(self, spec: AttemptSpec, handle: str | None) -> Observation:
        """Say how an attempt is, truly, also for one that a former service has placed.

        Raises
        ------
        ExecutorUnavailableError
            That cannot be known now.
        """
        ...

    def stop(self, spec: AttemptSpec, handle: str | None, *, kill: bool) -> None:
        """Tell all processes of an attempt to write a checkpoint and end; or end them at once.

        Called again and again until the attempt has ended.
        """
        ...

    def close(self) -> None:
        """Let go of the executor; attempts go on."""
        ...


class AttemptFiles:
    """The records of one attempt in its job's directory."""

    def __init__(self, directory: Path, number: int) -> None:
        self.directory = directory
        attempts = directory / "attempts"
        self.spec = attempts / f"{number}.json"
        self.started = attempts / f"{number}.started.json"
        self.begun = attempts / f"{number}.begun.json"
        self.end = attempts / f"{number}.end.json"
        self.stop = attempts / f"{number}.stop"
        self.task = attempts / f"{number}.task.json"
        self.lock = directory / "attempt.lock"
        self.log = directory / "log.txt"

    def rank(self, rank: int) -> Path:
        """How one of several ranks has ended."""
        return self.end.with_name(f"{self.end.name.partition('.')[0]}.rank-{rank}.json")

    def read_end(self) -> End | None:
        """Return how the attempt says it ended; None where it does not say."""
        found = read_record(self.end)
        if found is None or "exit_status" not in found:
            return None
        return End(
            *(found["exit_status"], found.get("error"), found.get("ended")),
            tracking=found.get("tracking"),
        )


def make_private_directory(path: Path) -> None:
    """Make a directory that stays after a power cut, and that nobody else can look into."""
    if not path.is_dir():
        make_durable_directory(path)
        path.chmod(0o700)


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record: whole and on the disk when this returns, or not at all."""
    write_atomically(path, json.dumps(record).encode() + b"\n")


def read_record(path: Path) -> dict[str, Any] | None:
    """Return a record; None where there is none that can be read."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def chain_path(directory: Path) -> Path:
    """Return the file that says of which chain of attempts a job's ``run/`` is."""
    return directory / "attempts" / "chain.json"


def chain_of(directory: Path) -> int | None:
    """Return with which attempt the chain began that a job's ``run/`` is of."""
    return (read_record(chain_path(directory)) or {}).get("began")


def thread_environment(threads: int) -> dict[str, str]:
    """Return the variables that hold a process to so many threads."""
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    return {name: str(threads) for name in names}
