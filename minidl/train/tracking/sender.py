"""What is sent to MLflow when, in the process beside the training (``child``).

Orders arrive as calls of :meth:`Sender.log` and its like, which append to lists. One daemon thread
imports MLflow (2 to 3 s), opens the run, and about once a second sends what has gathered. Whatever
goes wrong over there stays there: the user is told once, what was not sent is kept, and it is tried
again, less and less often, while the training lasts. When the run ends there is one last try; what
MLflow lacks then is said, and ``minidl sync`` sends it from the run directory, whose journal
(``metrics.jsonl``) is written first and has every point.

The waits between tries come from tenacity. MLflow's own retries would not do: they happen within
a request, which finish() could not cut short, and only requests to servers have them.

Importing this file imports no MLflow.
"""

from __future__ import annotations

import threading
import time as clock
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidl.train.journal import Entry
from minidl.train.tracking import mlflow_client, mlflow_uri, system_metrics
from minidl.train.tracking.description import RunDescription, RunRecord
from minidl.train.tracking.logged_model import register, send_model
from minidl.train.tracking.mlflow_client import MlflowRun, NotSentError
from minidl.train.tracking.points import LONGEST_NAME, KnownPoints, Point, points_of
from minidl.train.tracking.settings import (
    Status,
    TrackingReport,
    TrackingSettings,
    what_is_missing,
)

if TYPE_CHECKING:
    from tenacity import RetryCallState

FLUSH_SECONDS = 1.0
SYSTEM_SECONDS = 10.0
FINISH_SECONDS = 60.0
#: Between two tries, doubled each time.
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
#: Samples of the machine's load that wait through an outage: a day of them.
MOST_SAMPLES = 4 * 8640


class Sender:
    """One run in MLflow: the work is done by a thread, from `start` on.

    Parameters
    ----------
    settings, description, entries, record, adopt
        As `minidl.train.tracking.Tracker` takes them.
    waits
        Seconds between two tries: the first, and the longest of those that are doubled each time.
    sample_every
        Seconds between two samples of the machine's load, where those are wanted.
    process
        The training's, whose memory is sampled.
    on_message
        Receives the sentences meant for the user; called from the thread.
    on_progress
        Called from the thread when ``run_id``, ``sent`` or ``trouble`` may have changed.
    """

    def __init__(
        self,
        settings: TrackingSettings,
        description: RunDescription,
        *,
        entries: Sequence[Entry] = (),
        record: Path | None = None,
        adopt: str | None = None,
        waits: tuple[float, float] = (FIRST_WAIT, LONGEST_WAIT),
        sample_every: float = SYSTEM_SECONDS,
        process: int | None = None,
        on_message: Callable[[str], None],
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._uri = mlflow_uri.resolve_uri(settings.uri)
        self._description = description
        self._record = record
        self._waits = waits
        self._sample_every = sample_every
        self._process = process
        self._on_progress = on_progress
        self._adopt = adopt
        self._on_message = on_message

        self.run: MlflowRun | None = None
        self._described = False
        self._known = KnownPoints()
        self._points: deque[tuple[dict[str, float], int, float]] = deque()  # as they were logged
        self._pending: list[Point] = []  # to be sent next
        self._samples: deque[Point] = deque(maxlen=MOST_SAMPLES)
        self._sampler: system_metrics.SystemSampler | None = None
        self._next_sample = 0.0
        self._uploads: deque[Callable[[MlflowRun], object]] = deque()
        self._logged = self.sent = 0
        self._status: Status | None = None  # set by finish, and the sign to come to an end
        self._ended = self._given_up = False
        self._report: TrackingReport | None = None
        self.trouble = ""  # the present outage's reason; empty while all is well
        self._refused = ""  # the first thing that could not be sent for a reason of its own
        self._told: set[str] = set()
        self._request_since: float | None = None

        self._wake, self._finishing, self._done = (threading.Event() for _ in range(3))
        for entry in entries:
            self.log(entry.metrics, step=entry.step, time=entry.time)
        # A daemon: the process ends without waiting for a server.
        self._thread = threading.Thread(target=self._main, name="minidl-tracking", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    # What the training orders: none of it waits, none of it raises.

    def log(self, metrics: Mapping[str, float], *, step: int, time: float) -> None:
        """Note the values of one step, taken at ``time`` (seconds since 1970)."""
        self._logged += len(metrics)
        self._points.append((dict(metrics), step, time))

    def artifact(self, path: Path, artifact_path: str | None = None) -> None:
        """Upload a file or a directory, as it is when its turn comes."""
        self._upload(lambda run: run.send_artifact(path, artifact_path))

    def model(self, directory: Path, *, example: Any, points: Sequence[Entry] = ()) -> None:
        """Log a model, if models are wanted."""
        if self._settings.log_model:
            self._upload(lambda run: send_model(run, directory, example, points))

    def finish(self, status: Status, *, deadline: float = FINISH_SECONDS) -> TrackingReport:
        """Send what is left, give the run its last status, and say how it went.

        Waits ``deadline`` seconds at most, and for a server that leaves a request unanswered no
        longer than 5 s. A second call returns the same report.
        """
        if self._report is None:
            self._status = status
            self._finishing.set()
            self._wake.set()
            self._wait(deadline)
            self._report = self._sum_up()
            if self._report.message != self._refused:  # which has been told
                self._tell("the end", self._report.message)
        return self._report

    def _wait(self, deadline: float) -> None:
        patience = mlflow_uri.answer_seconds()
        limit = clock.monotonic() + deadline
        while not self._done.wait(0.05):
            since, now = self._request_since, clock.monotonic()
            if since is not None and now - since > patience:
                self.trouble = f"no answer within {patience:g} s"
            elif now > limit:
                self.trouble = f"not done {deadline:g} s after the end of the run"
            else:
                continue
            self._given_up = True
            return

    def _upload(self, upload: Callable[[MlflowRun], object]) -> None:
        self._uploads.append(upload)
        self._wake.set()

    def _sum_up(self) -> TrackingReport:
        run, missing = self.run, self._logged - self.sent
        whole = self._ended and not missing and not self._uploads
        message = self._refused if whole else self._what_is_missing(missing)
        return TrackingReport(
            run_id=run.run_id if run else None,
            experiment_id=run.experiment_id if run else None,
            model_id=run.model_id if run else None,
            uri=self._uri,
            status="unavailable" if run is None else "partial" if message else "complete",
            message=message,
            points_sent=self.sent,
            points_missing=missing,
        )

    def _what_is_missing(self, points: int) -> str:
        return what_is_missing(
            self._uri,
            self._record,
            known=self.run is not None,
            points=points,
            uploads=len(self._uploads),
            trouble=self.trouble,
        )

    # What the thread does.

    def _main(self) -> None:
        try:
            from tenacity import Retrying, sleep_using_event, stop_when_event_set, wait_exponential

            persistently = Retrying(
                wait=wait_exponential(multiplier=self._waits[0], max=self._waits[1]),
                sleep=sleep_using_event(self._finishing),
                stop=stop_when_event_set(self._finishing),
                before_sleep=self._fail,
                reraise=True,
            )
            while True:
                persistently(self._advance)
                self._recover()
                self._on_progress()
                if self._ended:
                    return
                self._wake.wait(FLUSH_SECONDS)
                self._wake.clear()
        except Exception as error:  # tracking never stops a training
            self.trouble = mlflow_client.first_line(error)
            self._end_all_the_same()
        finally:
            self._done.set()

    def _advance(self) -> None:
        """Do what is to be done now. It may fail anywhere, and is then simply called again."""
        # Read first: what was logged before finish() is sent below.
        status = self._status
        run = self.run = self.run or self._open()
        if not self._described:
            self._describe(run)
            self._described = True
        self._sample(run)
        self._send(run)
        if status is not None:
            self._register(run, status)
            run.end(status)
            self._ended = True

    def _open(self) -> MlflowRun:
        # Asked before MLflow is imported: a server that is not there is known of at once.
        if reason := mlflow_uri.why_no_answer(self._uri, mlflow_uri.answer_seconds()):
            raise NotSentError(reason)
        mlflow_client.prepare_environment()
        run = MlflowRun(
            self._uri,
            self._settings.experiment,
            self._description,
            record=RunRecord.read(self._record) if self._record else None,
            adopt=self._adopt,
            parent=self._settings.parent_run_id,
            call=self._call,
        )
        if self._record:
            with suppress(OSError):  # without it the run is found by its tag
                run.record(self._uri, self._description.uid).write(self._record)
        if self._adopt not in (None, run.run_id) and run.is_new:
            self._tell(
                "adopt",
                f"MLFLOW_RUN_ID names run {self._adopt}, which {mlflow_uri.redacted(self._uri)} "
                f"does not have or another training uses; this training is run {run.run_id}",
            )
        if not run.is_new:
            journal = [
                point
                for metrics, step, time in tuple(self._points)
                for point in points_of(metrics, step=step, time=time)
            ]
            self._known = KnownPoints(run.known_points(), journal)
        return run

    def _describe(self, run: MlflowRun) -> None:
        if cut := run.send_params(self._description.params):
            self._tell(
                "cut",
                f"MLflow takes no longer names than {LONGEST_NAME} characters, nor "
                f"values than {mlflow_client.LONGEST_PARAM}; it was given a part of "
                f"{', '.join(name[:60] for name in cut)}",
            )
        run.send_datasets(self._description.datasets)
        if self._settings.system_metrics:
            if system_metrics.psutil_available():
                self._sampler = system_metrics.SystemSampler(self._process)
                self._next_sample = clock.monotonic() + self._sample_every
            else:
                self._tell("psutil", "system metrics need psutil: pip install 'minidl[mlflow]'")

    def _sample(self, run: MlflowRun) -> None:
        if self._sampler is not None and clock.monotonic() >= self._next_sample:
            self._next_sample = clock.monotonic() + self._sample_every
            now = clock.time()
            # Seconds since the run began: a resumed run's samples come after those it has.
            step = max(0, round(now - run.started / 1000))
            self._samples += points_of(self._sampler.sample(), step=step, time=now)

    def _send(self, run: MlflowRun) -> None:
        for _ in range(len(self._points)):
            metrics, step, time = self._points.popleft()
            points = points_of(metrics, step=step, time=time)
            lacking = [point for point in points if self._known.lack(point)]
            self._pending += lacking
            self.sent += len(points) - len(lacking)
        for arrived in run.send_points(tuple(self._pending)):
            del self._pending[:arrived]
            self.sent += arrived
        for arrived in run.send_points(tuple(self._samples)):
            for _ in range(arrived):
                self._samples.popleft()
        while self._uploads:
            try:
                self._uploads[0](run)
            except NotSentError as problem:
                self._refuse(problem)
            self._uploads.popleft()

    def _register(self, run: MlflowRun, status: Status) -> None:
        if self._settings.registered_model and run.model_id and status == "FINISHED":
            try:
                register(run, self._settings.registered_model, self._settings.alias)
            except NotSentError as problem:
                self._refuse(problem)

    def _refuse(self, problem: NotSentError) -> None:
        self._refused = self._refused or f"MLflow: {problem}"
        self._tell("refused", self._refused)

    def _end_all_the_same(self) -> None:
        """Try once to give a run that was begun its true status, whatever else it lacks."""
        if self.run is not None and self._status is not None:
            # A failure here is no news: the user will be told of the one before.
            with suppress(Exception):
                self.run.end(self._status)
                self._ended = True

    def _call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Make one request, marked as begun, so that finish() can tell that nobody answers."""
        if self._uri.startswith(("http://", "https://")):
            self._request_since = clock.monotonic()
        try:
            return function(*args, **kwargs)
        finally:
            self._request_since = None

    def _fail(self, attempt: RetryCallState) -> None:
        """Note why a try failed, and tell of the first."""
        error = attempt.outcome.exception() if attempt.outcome else None
        self.trouble = mlflow_client.first_line(error) if error else "unknown"
        where = mlflow_uri.redacted(self._uri)
        self._tell(
            "outage",
            f"MLflow at {where} is not available ({self.trouble}); the training goes on, its "
            "journal (metrics.jsonl) has everything, and MLflow is tried again",
        )
        self._on_progress()

    def _recover(self) -> None:
        if self.trouble and not self._given_up:
            self.trouble = ""
            where = mlflow_uri.redacted(self._uri)
            self._tell("recovery", f"MLflow at {where} is available again and has caught up")

    def _tell(self, what: str, message: str) -> None:
        """Pass a message on, the first of its kind; those that follow say the same."""
        if what not in self._told:
            self._told.add(what)
            self._say(message)

    def _say(self, message: str) -> None:
        with suppress(Exception):  # a broken terminal is no reason to stop either
            self._on_message(message)
