"""Ray's Jobs REST API: the few calls that place an attempt on a cluster, watch it and stop it.

The API is documented and versioned, so the service speaks it over plain HTTP (httpx2) and needs no
Ray package of its own: one of the cluster's exact version would be wanted, with its 170 MB.
Source: Ray's "Ray Jobs REST API specification", version 4; what it leaves open (how a job is
stopped, which errors there are) was read in Ray 2.60.

A cluster that does not answer, and one that answers with an error, are the same here: nothing is
known. After a failure nothing is asked for a while, so that a dead cluster does not hold up a
scheduler that has many attempts to look after.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import httpx2

from minidl.service.executors.executor import ExecutorUnavailableError, PlacingError

API_VERSION = "4"
#: Seconds for one answer; and for that to a new job, for which the head may start a process first.
TIMEOUT, SUBMIT_TIMEOUT = httpx2.Timeout(8, connect=3), httpx2.Timeout(30, connect=3)
#: Seconds without a question after one that failed, doubled each time.
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 16.0

Status = Literal["PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED"]
#: Why a job failed that Ray never started: it waited for free cores for too long (15 minutes).
WAITED_TOO_LONG = "JOB_SUPERVISOR_ACTOR_START_TIMEOUT"
COMMAND_FAILED = "JOB_ENTRYPOINT_COMMAND_ERROR"


@dataclass(frozen=True)
class RayJob:
    """What Ray says of a job.

    ``exit_code`` is the command's, negative for a signal, where Ray has seen it end by itself.
    ``ended`` is in seconds since 1970.
    """

    status: Status
    entrypoint: str
    message: str = ""
    error_type: str | None = None
    exit_code: int | None = None
    ended: float | None = None

    @property
    def over(self) -> bool:
        """Whether Ray has nothing more to do with it."""
        return self.status not in ("PENDING", "RUNNING")


@dataclass(frozen=True)
class RayRequest:
    """A job to place: a shell command, the cores it is given and the variables it finds."""

    submission_id: str
    entrypoint: str
    cpus: float
    environment: Mapping[str, str]
    metadata: Mapping[str, str]

    def body(self) -> dict[str, Any]:
        """Return what is sent."""
        return {
            "submission_id": self.submission_id,
            "entrypoint": self.entrypoint,
            "entrypoint_num_cpus": self.cpus,
            "runtime_env": {"env_vars": dict(self.environment)},
            "metadata": dict(self.metadata),
        }


def checked_address(address: str) -> str:
    """Return the address of a cluster's dashboard, with its scheme.

    Raises
    ------
    ValueError
        It is something else.

    Examples
    --------
    >>> checked_address("head:8265")
    'http://head:8265'
    """
    text = address if "://" in address else f"http://{address}"
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL as error:
        raise ValueError(f"Ray's address {address!r} is none: {error}") from error
    if url.scheme not in ("http", "https") or not url.host or url.userinfo:
        raise ValueError(
            f"Ray's address {address!r} is none of its dashboard; it reads http://HOST:8265, and "
            "the token stands in RAY_AUTH_TOKEN"
        )
    return text.rstrip("/")


class RayJobs:
    """A cluster, by its dashboard's address.

    Parameters
    ----------
    token
        Of a cluster with ``RAY_AUTH_MODE=token``; None: it asks for none.
    transport
        Instead of the network.

    Raises
    ------
    ValueError
        The address is none.
    """

    def __init__(
        self,
        address: str,
        *,
        token: str | None = None,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self.address = checked_address(address)
        self._http = httpx2.Client(
            base_url=self.address,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=TIMEOUT,
            transport=transport,
        )
        self._silent_until, self._pause = 0.0, FIRST_PAUSE
        self._trouble = ""

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def check(self) -> str:
        """Return the cluster's version of Ray.

        Raises
        ------
        ExecutorUnavailableError
            It does not answer, refuses the token, or speaks another version of the API.
        """
        found = self._json("GET", "/api/version")
        if found.get("version") != API_VERSION:
            raise ExecutorUnavailableError(
                f"Ray at {self.address} speaks version {found.get('version')!r} of the Jobs API, "
                f"this service version {API_VERSION!r}"
            )
        return str(found.get("ray_version"))

    def submit(self, request: RayRequest) -> None:
        """Place a job; one with this id that is there already is left as it is.

        Raises
        ------
        PlacingError
            Ray refuses it.
        ExecutorUnavailableError
            Whether it was placed is not known, or Ray cannot place anything now.
        """
        answer = self._ask("POST", "/api/jobs/", json=request.body(), timeout=SUBMIT_TIMEOUT)
        if answer.status_code == 200:
            return
        # Ray says 500 to an id that it has, and where none of its processes can take the job.
        found = self.find(request.submission_id)
        if found is None:
            raise (ExecutorUnavailableError if answer.status_code >= 500 else PlacingError)(
                f"Ray at {self.address} does not take the job (HTTP {answer.status_code}): "
                f"{_last_line(answer.text)}"
            )
        if found.entrypoint != request.entrypoint:
            raise PlacingError(
                f"Ray at {self.address} has another job of the id {request.submission_id}: "
                f"{found.entrypoint}"
            )

    def find(self, submission_id: str) -> RayJob | None:
        """Return what Ray says of a job; None where it knows of none.

        Raises
        ------
        ExecutorUnavailableError
            That is not known.
        """
        answer = self._ask("GET", f"/api/jobs/{submission_id}")
        if answer.status_code == 404:
            return None
        found = self._content(answer)
        if found.get("status") not in get_args(Status):
            raise ExecutorUnavailableError(
                f"Ray at {self.address} says of {submission_id} that it is "
                f"{found.get('status')!r}; known are {', '.join(get_args(Status))}"
            )
        ended = found.get("end_time")
        return RayJob(
            status=cast(Status, found["status"]),
            entrypoint=str(found.get("entrypoint")),
            message=str(found.get("message") or ""),
            error_type=found.get("error_type"),
            exit_code=found.get("driver_exit_code"),
            ended=ended / 1000 if ended else None,
        )

    def stop(self, submission_id: str) -> bool:
        """Ask Ray to stop a job: SIGTERM to its processes, later SIGKILL.

        Returns
        -------
        bool
            Whether there is somebody who will do it; not before Ray has begun to place the job.

        Raises
        ------
        ExecutorUnavailableError
            Whether Ray has heard it is not known.
        """
        answer = self._ask("POST", f"/api/jobs/{submission_id}/stop")
        if answer.status_code == 404:
            return False
        return bool(self._content(answer).get("stopped"))

    def delete(self, submission_id: str) -> None:
        """Make Ray forget a job that is over.

        Raises
        ------
        ExecutorUnavailableError
            Whether it has is not known.
        """
        answer = self._ask("DELETE", f"/api/jobs/{submission_id}")
        if answer.status_code != 404:
            self._content(answer)

    def log(self, submission_id: str) -> str:
        """Return what the job's command said before it wrote to a log of its own.

        Raises
        ------
        ExecutorUnavailableError
            Ray does not say.
        """
        answer = self._ask("GET", f"/api/jobs/{submission_id}/logs")
        return "" if answer.status_code == 404 else str(self._content(answer).get("logs") or "")

    def _json(self, method: str, path: str) -> dict[str, Any]:
        return self._content(self._ask(method, path))

    def _ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        if time.monotonic() < self._silent_until:
            raise ExecutorUnavailableError(self._trouble)
        try:
            answer = self._http.request(method, path, **options)
        except httpx2.TransportError as error:
            reason = str(error) or type(error).__name__
            raise self._silence(f"Ray at {self.address} does not answer: {reason}") from error
        if answer.status_code in (401, 403):
            raise self._silence(
                f"Ray at {self.address} refuses the token (HTTP {answer.status_code}); the "
                "service takes it from RAY_AUTH_TOKEN or the file that RAY_AUTH_TOKEN_PATH names"
            )
        self._pause = FIRST_PAUSE
        return answer

    def _silence(self, trouble: str) -> ExecutorUnavailableError:
        self._trouble = trouble
        self._silent_until = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        return ExecutorUnavailableError(trouble)

    def _content(self, answer: httpx2.Response) -> dict[str, Any]:
        if answer.status_code != 200:
            raise ExecutorUnavailableError(
                f"Ray at {self.address} cannot say (HTTP {answer.status_code}): "
                f"{_last_line(answer.text)}"
            )
        try:
            found = answer.json()
        except ValueError as error:
            raise ExecutorUnavailableError(
                f"what answers at {self.address} is not Ray: {answer.text[:80]!r}"
            ) from error
        if not isinstance(found, dict):
            raise ExecutorUnavailableError(f"what answers at {self.address} is not Ray: {found!r}")
        return found


def _last_line(text: str) -> str:
    """The line of a traceback that says what happened."""
    lines = [line.strip() for line in text.splitlines() if len(line.strip()) > 1]
    return lines[-1][:500] if lines else "it gives no reason"
