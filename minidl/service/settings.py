"""What the service was told at its start, and where the files of a job lie.

The data directory holds the default database (``service.db``) and one directory a job, with the
config as it was submitted, the log of all attempts, what each attempt was told and how it ended,
and the run directory itself.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """What ``minidl service`` was told.

    Attributes
    ----------
    data
        The data directory.
    database
        The database's address; None: SQLite in the data directory.
    concurrency
        Attempts that run at the same time.
    threads
        Threads of one attempt; None: the machine's cores divided by ``concurrency``. An attempt of
        more ranks takes as many places of others as it needs for a thread a rank.
    max_ranks
        Ranks that an attempt may have; None: one for each of the cores, which are ``concurrency``
        times ``threads``.
    per_user
        Attempts of one user that run at the same time.
    max_queued
        Jobs of one user that wait at the same time; above it a submission is refused.
    max_queued_total
        Jobs of all users that wait at the same time.
    mlflow_uri
        Where trainings are tracked; None: nowhere.
    mlflow_page
        Where people open MLflow, if that is another address than ``mlflow_uri``.
    data_roots
        Directories that configs may name paths in.
    executor
        Where new attempts go: ``local``, or ``ray``.
    ray_address, ray_python, ray_storage
        Of a Ray cluster: the address of its Jobs API; the command that starts Python there; an
        fsspec URL for the jobs' files, None where the cluster shares the data directory.
    grace
        Seconds between the request to stop and SIGKILL.
    keep_days, keep_bytes
        Retention: run directories of jobs that ended longer ago, or that together take more space
        (the oldest first), are removed. None: they are kept.
    """

    data: Path
    database: str | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    concurrency: int = 1
    threads: int | None = None
    max_ranks: int | None = None
    per_user: int | None = None
    max_queued: int | None = None
    max_queued_total: int | None = None
    mlflow_uri: str | None = None
    mlflow_page: str | None = None
    data_roots: tuple[Path, ...] = field(default=())
    executor: str = "local"
    ray_address: str | None = None
    ray_python: str = "python"
    ray_storage: str | None = None
    grace: float = 30.0
    keep_days: float | None = None
    keep_bytes: int | None = None

    @property
    def database_url(self) -> str:
        """The database's address, the default filled in."""
        return self.database or f"sqlite:///{self.data.absolute() / 'service.db'}"

    def files(self, job_id: str) -> JobFiles:
        """Return where the files of a job lie."""
        return JobFiles(self.data, job_id)


@dataclass(frozen=True)
class JobFiles:
    """Where the files of a job lie.

    Examples
    --------
    >>> JobFiles(Path("data"), "01jdk0").end(2).as_posix()
    'data/jobs/01jdk0/attempts/2.end.json'
    """

    data: Path
    job_id: str

    @property
    def directory(self) -> Path:
        """The job's directory."""
        return self.data / "jobs" / self.job_id

    @property
    def config(self) -> Path:
        """The config as it was submitted, byte for byte."""
        return self.directory / "config.yaml"

    @property
    def lock(self) -> Path:
        """Held (flock) by the living attempt of the job."""
        return self.directory / "attempt.lock"

    @property
    def log(self) -> Path:
        """What all attempts said, one after the other."""
        return self.directory / "log.txt"

    @property
    def run(self) -> Path:
        """The run directory, or the sweep's directory."""
        return self.directory / "run"

    @property
    def attempts(self) -> Path:
        """What was told to the attempts, and what they told."""
        return self.directory / "attempts"

    def spec(self, number: int) -> Path:
        """What an attempt was told."""
        return self.attempts / f"{number}.json"

    def started(self, number: int) -> Path:
        """Written by an attempt when it begins."""
        return self.attempts / f"{number}.started.json"

    def end(self, number: int) -> Path:
        """Written by an attempt when it ends."""
        return self.attempts / f"{number}.end.json"


def make_durable_directory(path: Path) -> None:
    """Make a directory and its parents so that they are still there after a power cut.

    A new directory is on disk only when the directory that it is in has been synced.

    Raises
    ------
    OSError
        It cannot be made.
    """
    path = path.absolute()
    missing = [p for p in (path, *path.parents) if not p.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for made in reversed(missing):
        descriptor = os.open(made.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
