"""Attempts on a Ray cluster, for users who have outgrown one machine.

Each attempt is one Ray job, whose id follows from the job's and the attempt's number: an attempt
that is placed twice, by a service that was killed in between, is one job. Ray finds a machine with
as many free cores as the attempt may use, runs the attempt's process there and keeps the others
waiting. What became of an attempt is taken from the records it writes into the job's directory;
Ray is asked only whether its process is gone, and believed only where nothing contradicts it.

What Ray does of its own accord, read in Ray 2.60 and seen:

- *stop*: SIGTERM to all processes of the job, once, and SIGKILL after ``RAY_JOB_STOP_WAIT_TIME_S``
  (3 s unless set: too short for a checkpoint), which the job's environment may set.
- A stop that is asked for while the job waits for cores is heard when it gets them.
- A job that waits longer than ``RAY_JOB_START_TIMEOUT_SECONDS`` (900 s) has FAILED; here it is
  placed again, because a busy cluster is no failure.
- A cluster whose head is started anew knows nothing of its former jobs (unless it keeps its state
  in Redis); processes on the former head end with it, those on other machines within a minute.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from minidl.service.executors.executor import (
    AttemptSpec,
    End,
    ExecutorUnavailableError,
    Observation,
    PlacingError,
    thread_environment,
)
from minidl.service.executors.places import Place, SharedPlace
from minidl.service.executors.ray_jobs import (
    COMMAND_FAILED,
    WAITED_TOO_LONG,
    RayJob,
    RayJobs,
    RayRequest,
)

#: Seconds between two questions about one attempt.
POLL_SECONDS = 1.0
WAITING, RUNNING = Observation("waiting"), Observation("running")


class RayExecutor:
    """Places attempts on a Ray cluster through its Jobs API.

    Parameters
    ----------
    jobs
        The cluster.
    python
        The shell command that starts Python on the cluster's machines, where minidl is installed
        in the service's version.
    place
        Where the jobs' directories lie for the cluster; None: at the same path as here.
    poll_seconds
        Seconds between two questions about one attempt.
    """

    name = "ray"

    def __init__(
        self,
        jobs: RayJobs,
        *,
        python: str = "python",
        place: Place | None = None,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._jobs = jobs
        self._python = python
        self._place = SharedPlace() if place is None else place
        self._poll_seconds = poll_seconds
        self._seen: dict[str, tuple[float, Observation]] = {}

    def close(self) -> None:
        """Close the connections; attempts go on."""
        self._jobs.close()

    def start(self, spec: AttemptSpec) -> str:
        """Place an attempt, unless it is placed already, has begun, or has been written off."""
        name = submission_id(spec)
        files = spec.files
        if files.started.exists() or files.end.exists() or self._jobs.find(name) is not None:
            return name
        try:
            self._place.publish(spec)
        except OSError as error:
            raise PlacingError(f"the attempt cannot be placed: {error}") from error
        self._submit(spec)
        return name

    def observe(self, spec: AttemptSpec, handle: str | None) -> Observation:
        """Say how an attempt is: from its own records, and from Ray where they do not tell."""
        name = handle or submission_id(spec)
        asked, seen = self._seen.get(name, (-math.inf, WAITING))
        if time.monotonic() - asked < self._poll_seconds:
            return seen
        try:
            seen = self._look(spec, name)
        except OSError as error:
            raise ExecutorUnavailableError(f"{spec.directory} cannot be asked: {error}") from error
        self._seen[name] = (time.monotonic(), seen)
        if seen.state in ("ended", "lost"):
            del self._seen[name]
        return seen

    def stop(self, spec: AttemptSpec, handle: str | None, *, kill: bool) -> None:
        """Tell Ray to stop the attempt; what waits for cores is ended here and now.

        Ray knows one way: SIGTERM, and SIGKILL after the attempt's grace. So ``kill`` says once
        more what was said before, and adds nothing.
        """
        name, files = handle or submission_id(spec), spec.files
        if files.end.exists() or (files.stop.exists() and not kill):
            return
        job = self._jobs.find(name)
        if job is None or job.status == "PENDING":
            self._place.write_off(spec, End(-15, "stopped before it began"), unless_started=True)
        if job is not None and not job.over and self._jobs.stop(name):
            files.stop.touch()
        self._seen.pop(name, None)

    def _submit(self, spec: AttemptSpec) -> None:
        # Ray reads the grace in the environment of the job itself, in whole seconds.
        environment = {
            **thread_environment(spec.threads),
            **spec.environment,
            "RAY_JOB_STOP_WAIT_TIME_S": str(math.ceil(spec.grace + self._place.closing_seconds)),
        }
        self._jobs.submit(
            RayRequest(
                submission_id=submission_id(spec),
                entrypoint=self._place.command(spec, self._python),
                cpus=spec.threads,
                environment=environment,
                metadata={"minidl_job": spec.job_id, "minidl_attempt": str(spec.number)},
            )
        )

    def _look(self, spec: AttemptSpec, name: str) -> Observation:
        files = spec.files
        self._place.fetch(spec, all_files=False)
        told = files.read_end()
        if told is None:
            job = self._jobs.find(name)
            if job is not None and not job.over:
                return RUNNING if files.started.exists() else WAITING
            self._place.fetch(spec, all_files=True)
            told = files.read_end()
            if told is None:
                return self._judge(spec, job)
        if self._place.at_work(spec):
            return RUNNING  # it has said its last word, and its process is about to go
        self._place.fetch(spec, all_files=True)
        return Observation("lost" if told.exit_status is None else "ended", told)

    def _judge(self, spec: AttemptSpec, job: RayJob | None) -> Observation:
        """Find what became of an attempt that is over for Ray and has not said how it ended."""
        started = spec.files.started.exists()
        if self._place.at_work(spec):
            return RUNNING
        if job is not None and job.error_type == WAITED_TOO_LONG and not started:
            return self._place_again(spec)
        if job is None:
            end = End(None, "Ray does not know it (any more): its head was started anew")
        elif started:
            end = _end_of_started(spec, job)
        else:
            end = _end_of_unstarted(job)
            self._keep_driver_log(spec)
        # On record from here on: Ray may forget, or start what was believed gone.
        if not self._place.write_off(spec, end):
            return RUNNING
        return Observation("lost" if end.exit_status is None else "ended", end)

    def _place_again(self, spec: AttemptSpec) -> Observation:
        self._say(spec, "Ray has found no machine with enough free cores so far; asking it again")
        self._jobs.delete(submission_id(spec))
        self._submit(spec)
        return WAITING

    def _keep_driver_log(self, spec: AttemptSpec) -> None:
        """Add what Ray has of an attempt that could not begin to the job's log."""
        with suppress(ExecutorUnavailableError):
            text = self._jobs.log(submission_id(spec))
            self._say(spec, f"attempt {spec.number} could not begin on the cluster; Ray says:")
            self._say(spec, text.rstrip())

    def _say(self, spec: AttemptSpec, text: str) -> None:
        with open(Path(spec.directory) / "log.txt", "a", encoding="utf-8") as log:
            log.write(text + "\n")


def ray_executor(
    address: str,
    *,
    python: str = "python",
    storage: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> RayExecutor:
    """Return the executor of a cluster, with the token that the environment holds.

    Parameters
    ----------
    address
        Of the cluster's dashboard.
    python
        See `RayExecutor`.
    storage
        The URL where job directories lie for the cluster; None: at the same path as here.

    Raises
    ------
    ValueError
        The address or the URL is none, or the file with the token cannot be read.
    """
    token = environment.get("RAY_AUTH_TOKEN") or None
    path = environment.get("RAY_AUTH_TOKEN_PATH")
    if token is None and path:
        try:
            token = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise ValueError(f"RAY_AUTH_TOKEN_PATH={path} cannot be read: {error}") from error
    place: Place = SharedPlace()
    if storage is not None:
        from minidl.service.executors.stored_place import StoredPlace

        place = StoredPlace(storage)
    return RayExecutor(RayJobs(address, token=token), python=python, place=place)


def submission_id(spec: AttemptSpec) -> str:
    """Return what Ray calls an attempt.

    Examples
    --------
    >>> spec = AttemptSpec("01jdk0", 2, "training", "digits", "/data/jobs/01jdk0", "resume", {})
    >>> submission_id(spec)
    'minidl-01jdk0-2'
    """
    return f"minidl-{spec.job_id}-{spec.number}"


def _end_of_started(spec: AttemptSpec, job: RayJob) -> End:
    if job.status == "STOPPED":
        reason = f"it did not end within {math.ceil(spec.grace)} s of being told to, and was killed"
        return End(-9, reason, job.ended)
    if job.exit_code is not None:
        # The attempt's last record may reach this machine later than Ray's word.
        return End(job.exit_code, None, job.ended)
    return End(None, f"Ray has lost it: {_first_line(job.message)}", job.ended)


def _end_of_unstarted(job: RayJob) -> End:
    if job.status == "STOPPED":
        return End(-15, "stopped before it began", job.ended)
    if job.exit_code in (0, 3, 75):  # it has begun, and its records are late; or it has refused to
        return End(job.exit_code, None, job.ended)
    if job.error_type == COMMAND_FAILED:
        # Neither the user's error nor the machine's: it is the cluster that is not set up for it.
        last = [line for line in job.message.splitlines() if line.strip()][-1:]
        reason = f"the attempt could not begin on the cluster: {' '.join(last)}"
        return End(1, reason, job.ended)
    return End(None, f"Ray could not begin it: {_first_line(job.message)}", job.ended)


def _first_line(text: str) -> str:
    return (text.splitlines() or ["it gives no reason"])[0][:500]
