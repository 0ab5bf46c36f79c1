"""Tracking of a run in MLflow, beside the training and never in its way.

The training calls :meth:`Tracker.log`, which appends to a list. One daemon thread imports MLflow
(2 to 3 s), opens the run, and about once a second sends what has gathered. Whatever goes wrong
over there stays there: tracking is then off for the rest of the run, the user is told once, and
the journal (``metrics.jsonl``), which is written first, still has every point.

Importing this file imports no MLflow.
"""

from __future__ import annotations

import importlib.util
import threading
import time as clock
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from minidl.train.journal import Entry
from minidl.train.tracking import mlflow_client, mlflow_uri, system_metrics
from minidl.train.tracking.mlflow_client import MlflowRun, NotSentError, Point

FLUSH_SECONDS = 1.0
SYSTEM_SECONDS = 10.0
FINISH_SECONDS = 60.0

Status = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class TrackingSettings:
    """The ``tracking:`` section of a config: which store, which experiment, and what beyond."""

    uri: str
    experiment: str
    system_metrics: bool = False
    log_model: bool = True


@dataclass(frozen=True)
class DatasetInfo:
    """One part of the data a run reads.

    ``digest`` covers all of it (MLflow keeps 36 characters); ``source`` is where it came from;
    ``context`` is ``"training"``, ``"validation"`` or ``"test"``; ``profile`` holds facts such as
    ``{"num_rows": 60000, "shape": [28, 28]}``.
    """

    name: str
    digest: str
    source: str
    context: Literal["training", "validation", "test"]
    profile: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrackingReport:
    """How tracking went.

    ``status`` is ``"complete"``, ``"partial"`` (MLflow has the run, not all of it) or
    ``"unavailable"`` (MLflow knows nothing of the run); ``message`` is what the user was told of
    it, empty where all went well. A point is one value of one metric. ``uri`` is the address that
    was used, with its password if it has one; ``open_command`` shows none.
    """

    run_id: str | None
    experiment_id: str | None
    model_id: str | None
    uri: str
    status: Literal["complete", "partial", "unavailable"]
    message: str
    points_sent: int
    points_lost: int

    @property
    def open_command(self) -> str:
        """What opens the run: a URL for a server, else a shell command."""
        return mlflow_uri.open_command(self.uri, self.experiment_id, self.run_id)


def require_mlflow() -> None:
    """Refuse a config that tracks to MLflow where MLflow is not installed (nothing is imported).

    Raises
    ------
    ModuleNotFoundError
        With what to install, and how to do without.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise ModuleNotFoundError(
            "this config tracks its runs in MLflow, which is not installed. Install it with "
            "`pip install 'minidl[mlflow]'`; or track to the journal (metrics.jsonl) only: remove "
            "the `tracking:` section, or add `tracking=null` to the command line",
            name="mlflow",
        )


class Tracker:
    """One run in MLflow. The constructor returns at once; the work is done by its thread.

    Parameters
    ----------
    settings
        The store and the experiment. A relative SQLite path means the present directory's.
    run_name, params, tags, datasets
        What is recorded about the run when it is opened. Params and tags longer than MLflow
        takes are cut, which is told once.
    on_message
        Receives the sentences meant for the user; called from the tracking thread.

    Raises
    ------
    ValueError
        ``settings.uri`` names no store that MLflow can write to.
    """

    def __init__(
        self,
        settings: TrackingSettings,
        *,
        run_name: str,
        params: Mapping[str, str],
        tags: Mapping[str, str],
        datasets: Sequence[DatasetInfo] = (),
        on_message: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._uri = mlflow_uri.resolve_uri(settings.uri)
        self._run_name = run_name
        self._params, self._tags, self._datasets = dict(params), dict(tags), tuple(datasets)
        self._on_message = on_message

        self._run: MlflowRun | None = None
        self._points: deque[tuple[dict[str, float], int, float]] = deque()
        self._uploads: deque[Callable[[MlflowRun], None]] = deque()
        self._logged = self._sent = 0
        self._status: Status | None = None  # set by finish, and the sign to come to an end
        self._ended = False
        self._report: TrackingReport | None = None
        self._failure = ""
        self._failure_lock = threading.Lock()
        self._off = False
        self._request_since: float | None = None

        self._wake = threading.Event()
        self._done = threading.Event()
        # A daemon: an interpreter that exits without finish() does not wait for a server.
        self._thread = threading.Thread(target=self._main, name="minidl-tracking", daemon=True)
        self._thread.start()

    @property
    def run_id(self) -> str | None:
        """The run's id in MLflow; None until it is known."""
        return None if self._run is None else self._run.run_id

    # What the training calls: none of it waits, none of it raises.

    def log(self, metrics: Mapping[str, float], *, step: int, time: float) -> None:
        """Note the values of one step, taken at ``time`` (seconds since 1970)."""
        self._logged += len(metrics)
        if not self._off:
            self._points.append((dict(metrics), step, time))

    def artifact(self, path: str | Path, artifact_path: str | None = None) -> None:
        """Upload a file or a directory, as it is when its turn comes, under ``artifact_path``."""
        local = Path(path).absolute()
        self._upload(lambda run: run.send_artifact(local, artifact_path))

    def model(
        self,
        directory: str | Path,
        *,
        sample_shape: Sequence[int],
        example: Any,
        points: Sequence[Entry] = (),
    ) -> None:
        """Log the model as one LoggedModel that ``mlflow models serve`` can serve.

        Parameters
        ----------
        directory
            Holds ``config.yaml`` and ``model.safetensors``.
        sample_shape
            Of one raw image as the dataset holds it: ``(H, W)`` or ``(C, H, W)``.
        example
            A few such images, uint8 ``(n, *sample_shape)``.
        points
            The journal's entries that say how good this model is; they are linked to it.
        """
        if self._settings.log_model:
            local = Path(directory).absolute()
            self._upload(lambda run: run.send_model(local, sample_shape, example, points))

    def finish(self, status: Status, *, deadline: float = FINISH_SECONDS) -> TrackingReport:
        """Send what is left, give the run its last status, and say how it went.

        Waits ``deadline`` seconds at most, and for a server that leaves a request unanswered no
        longer than 5 s. A second call returns the same report.
        """
        if self._report is None:
            self._status = status
            self._wake.set()
            self._wait(deadline)
            self._report = self._sum_up()
        return self._report

    def _wait(self, deadline: float) -> None:
        patience = mlflow_uri.answer_seconds()
        limit = clock.monotonic() + deadline
        while not self._done.wait(0.05):
            since, now = self._request_since, clock.monotonic()
            if since is not None and now - since > patience:
                self._fail(f"no answer within {patience:g} s")
                return
            if now > limit:
                self._fail(f"not done {deadline:g} s after the end of the run")
                return

    def _upload(self, upload: Callable[[MlflowRun], None]) -> None:
        if not self._off:
            self._uploads.append(upload)
            self._wake.set()

    def _sum_up(self) -> TrackingReport:
        run = self._run
        lost = self._logged - self._sent
        whole = self._ended and not lost and not self._failure
        return TrackingReport(
            run_id=run.run_id if run else None,
            experiment_id=run.experiment_id if run else None,
            model_id=run.model_id if run else None,
            uri=self._uri,
            status="unavailable" if run is None else "complete" if whole else "partial",
            message=self._failure,
            points_sent=self._sent,
            points_lost=lost,
        )

    # What the thread does.

    def _main(self) -> None:
        try:
            run = self._run = self._open()
            self._describe(run)
            self._serve(run)
        except Exception as error:  # tracking never stops a training
            self._fail(mlflow_client.first_line(error))
            self._end_all_the_same()
        finally:
            self._done.set()

    def _open(self) -> MlflowRun:
        # Asked before MLflow is imported: a server that is not there is known of at once.
        if reason := mlflow_uri.why_no_answer(self._uri, mlflow_uri.answer_seconds()):
            raise NotSentError(reason)
        mlflow_client.prepare_environment()
        return MlflowRun(
            self._uri, self._settings.experiment, self._run_name, self._tags, self._call
        )

    def _describe(self, run: MlflowRun) -> None:
        if cut := run.send_params(self._params):
            self._say(
                f"MLflow takes no longer names than {mlflow_client.LONGEST_NAME} characters, nor "
                f"values than {mlflow_client.LONGEST_PARAM}; it was given a part of "
                f"{', '.join(name[:60] for name in cut)}"
            )
        run.send_datasets(self._datasets)

    def _serve(self, run: MlflowRun) -> None:
        sampler = self._sampler()
        next_sample = clock.monotonic() + SYSTEM_SECONDS
        samples = 0
        while True:
            self._wake.wait(FLUSH_SECONDS)
            self._wake.clear()
            status = self._status  # read first: what was logged before finish() is sent below
            self._send(run)
            if sampler and clock.monotonic() >= next_sample:
                next_sample += SYSTEM_SECONDS
                now = round(clock.time() * 1000)
                for _ in run.send_points(
                    [Point(*item, samples, now) for item in sampler.sample().items()]
                ):
                    samples += 1
            if status is not None:
                run.end(status)
                self._ended = True
                return

    def _sampler(self) -> system_metrics.SystemSampler | None:
        if not self._settings.system_metrics:
            return None
        if not system_metrics.psutil_available():
            self._say("system metrics need psutil: pip install 'minidl[mlflow]'")
            return None
        return system_metrics.SystemSampler()

    def _send(self, run: MlflowRun) -> None:
        points = []
        for _ in range(len(self._points)):
            metrics, step, time = self._points.popleft()
            stamp = round(time * 1000)
            points += [Point(name, value, step, stamp) for name, value in metrics.items()]
        for arrived in run.send_points(points):
            self._sent += arrived
        while self._uploads:
            try:
                self._uploads.popleft()(run)
            except NotSentError as problem:
                self._tell(f"MLflow: {problem}")

    def _end_all_the_same(self) -> None:
        """Try once, when the training has ended, to give a run that was begun its true status."""
        if self._run is None:
            return
        while self._status is None:
            self._wake.wait()
            self._wake.clear()
        try:
            self._run.end(self._status)
            self._ended = True
        except Exception:
            return  # the failure that the user was told of is still the news

    def _call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Make one request, marked as begun, so that finish() can tell that nobody answers."""
        if self._uri.startswith(("http://", "https://")):
            self._request_since = clock.monotonic()
        try:
            return function(*args, **kwargs)
        finally:
            self._request_since = None

    def _fail(self, reason: str) -> None:
        """Switch tracking off, for good, and tell why."""
        self._off = True
        self._points.clear()
        self._uploads.clear()
        where = mlflow_uri.redacted(self._uri)
        self._tell(
            f"MLflow at {where} is not available ({reason}); "
            "the run is tracked in its journal (metrics.jsonl) only"
            if self._run is None
            else f"MLflow at {where} failed ({reason}); "
            "what it has not got is in the run's journal (metrics.jsonl)"
        )

    def _tell(self, message: str) -> None:
        """Pass the first trouble on; those that follow mostly follow from it."""
        with self._failure_lock:
            first, self._failure = not self._failure, self._failure or message
        if first:
            self._say(message)

    def _say(self, message: str) -> None:
        with suppress(Exception):  # a broken terminal is no reason to stop either
            self._on_message(message)
