"""What is there before an attempt is placed: the job's directory, and what the attempt is told."""

from __future__ import annotations

import math
import os
import secrets
from contextlib import suppress
from pathlib import Path

from minidl.service import run_notes
from minidl.service.executors.executor import AttemptSpec
from minidl.service.records import Attempt, Job
from minidl.service.settings import ServiceSettings, make_durable_directory
from minidl.service.states import Mode
from minidl.service.store import Store
from minidl.train.checkpoint import write_atomically


def prepare_files(settings: ServiceSettings, job: Job) -> None:
    """Make a job's directory, with the config as it was submitted.

    Raises
    ------
    OSError
        It cannot be made.
    """
    files = settings.files(job.id)
    make_durable_directory(files.directory)
    if not files.config.exists():
        write_atomically(files.config, job.config_text.encode("utf-8", "surrogatepass"))


def spec_of(job: Job, attempt: Attempt, store: Store, settings: ServiceSettings) -> AttemptSpec:
    """Return what an attempt is, or was, told to do."""
    files = settings.files(job.id)
    try:
        return AttemptSpec.read(files.spec(attempt.number))
    except (OSError, ValueError):  # it has not been placed yet
        attempts = store.attempts(job.id)
    chain = max((each.number for each in attempts if each.mode is Mode.AFRESH), default=1)
    return AttemptSpec(
        job_id=job.id,
        number=attempt.number,
        kind=job.kind.value,
        name=job.name or job.id,
        directory=str(files.directory.absolute()),
        chain=chain,
        config=job.config,
        overrides=tuple(job.overrides),
        reached=run_notes.steps(files.directory, job.kind) if chain < attempt.number else 0,
        threads=threads_of(settings) * places_of(job, settings),
        ranks=job.ranks,
        grace=settings.grace,
    )


def threads_of(settings: ServiceSettings) -> int:
    """Return how many threads an attempt has: so many that jobs do not fight for cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return settings.threads or max(1, cores // settings.concurrency)


def cores_of(settings: ServiceSettings) -> int:
    """Return how many cores all attempts together have."""
    return settings.concurrency * threads_of(settings)


def places_of(job: Job, settings: ServiceSettings) -> int:
    """Return how many of the ``concurrency`` places an attempt of a job takes.

    As many as have a thread for each of its ranks; where no service has so many, all of them.
    """
    return min(settings.concurrency, math.ceil(job.ranks / threads_of(settings)))


def data_identity(data: Path) -> str:
    """Return what tells a data directory from all others; made once.

    The locks that keep attempts of a job apart lie there. A service with another data directory on
    the same database would find them free, and must not believe it.
    """
    path = data / "identity"
    if not path.exists():
        new = data / f".identity.{os.getpid()}"
        write_atomically(new, secrets.token_hex(4).encode())
        with suppress(FileExistsError):
            os.link(new, path)  # unlike a renaming, this replaces no file
        new.unlink()
    return path.read_text().strip()
