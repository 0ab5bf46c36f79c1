"""Everything minidl says to MLflow, but of models (``logged_model``, ``flavor``).

It speaks through ``MlflowClient`` with the store's address given, never through the fluent
``mlflow.log_*`` functions: those keep an active run and an address for the whole process, and a
training may run inside somebody's notebook or beside other trainings. What cannot be kept out of
the process: the environment defaults of :func:`prepare_environment`, and quieter loggers.

The functions here block and raise; what to make of that is decided by who calls them (``sender``,
``sync``, a sweep's own run).
"""

from __future__ import annotations

import getpass
import json
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from minidl.train.tracking.description import UID_TAG, DatasetInfo, RunDescription, RunRecord
from minidl.train.tracking.mlflow_uri import artifact_location, redacted, sqlite_path
from minidl.train.tracking.points import Point, mlflow_name

if TYPE_CHECKING:
    pass

T = TypeVar("T")

# MLflow's own limits, on the client's and the server's side alike.
POINTS_PER_REQUEST = 1000
PARAMS_PER_REQUEST = 100
LONGEST_PARAM = 6000
LONGEST_TAG = 8000
LONGEST_DIGEST = 36


_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # MLflow's defaults make a dead server cost 4 minutes a call.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # Both would look at the working directory or the network when a model is saved.
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK": "true",
}


class NotSentError(Exception):
    """One thing could not be sent for a reason of its own; the store itself is fine."""


def prepare_environment() -> None:
    """Set MLflow's switches before it is imported, where the user has not set them."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if os.environ["MLFLOW_LOGGING_LEVEL"] == "WARNING":
        for chatty in ("alembic", "mlflow"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        # It would like to write down the version of pip, which an environment need not have.
        logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)


def create_database(database: Path) -> None:
    """Make a SQLite store where there is none yet: whole, or not at all.

    MLflow builds it by some 50 migrations (3 s); killed among them, it leaves a file with which
    no later run can begin. So it is built under another name, and given its own when it is done;
    of two runs that begin together, one gives it and both use it.
    """
    from mlflow import MlflowClient

    if database.exists():
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    new = database.with_name(f".{database.name}.{uuid.uuid4().hex[:8]}.new")
    try:
        MlflowClient(tracking_uri=f"sqlite:///{new.as_posix()}").search_experiments(max_results=1)
        try:
            os.link(new, database)  # unlike a renaming, this replaces no file
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            new.rename(database)
    finally:
        new.unlink(missing_ok=True)


class MlflowRun:
    """One run in an MLflow store: found there by the constructor, or made.

    Parameters
    ----------
    uri
        The store, as :func:`~minidl.train.tracking.mlflow_uri.resolve_uri` returns it.
    experiment
        Its name; created where it does not exist.
    description
        What a new run is made of. An old one is given the tags that it lacks.
    record
        Where MLflow kept this run when it was last heard of.
    adopt
        A run that somebody made for this one to use (``mlflow run`` does). It is used unless it
        is another run's already.
    parent
        The id of the run that this one is shown under.
    reopen
        Whether an old run is set RUNNING again.
    call
        Makes every short request to the store: ``call(function, *args, **kwargs)``. The caller
        sees through it that a request has begun and not ended. (Uploads do not go through it:
        they may rightly take long.)

    Raises
    ------
    mlflow.exceptions.MlflowException
        The store cannot be reached or refuses.
    NotSentError
        The run, or its experiment, was deleted there.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        description: RunDescription,
        *,
        record: RunRecord | None = None,
        adopt: str | None = None,
        parent: str | None = None,
        reopen: bool = True,
        call: Callable[..., Any] | None = None,
    ) -> None:
        from mlflow import MlflowClient

        self.call = call or (lambda function, *args, **kwargs: function(*args, **kwargs))
        if database := sqlite_path(uri):
            create_database(database)
        self.client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self.experiment_id = ""
        self._tags = {
            mlflow_name(key): text[:LONGEST_TAG] for key, text in description.tags.items()
        }
        self._tags[UID_TAG] = description.uid
        if parent is not None:
            self._tags["mlflow.parentRunId"] = parent
        if record is not None and record.uri != redacted(uri):
            record = None
        run = self._by_id(record.run_id) if record else None
        if run is None and adopt and (made := self._by_id(adopt)) is not None:
            owner = made.data.tags.get(UID_TAG, description.uid)
            run = made if owner == description.uid else None
        if run is None:
            self.experiment_id = self._experiment(uri, experiment)
            run = self._by_uid(description.uid)
        self.is_new = run is None
        if run is None:
            run = self._create(description)
        else:
            self._continue(run, reopen)
        self.experiment_id = str(run.info.experiment_id)
        self.run_id: str = run.info.run_id
        self.status: str = run.info.status
        self.started: int = run.info.start_time
        self.end_time: int | None = run.info.end_time
        self._known_params = set(run.data.params)
        self._known_metrics = tuple(run.data.metrics)
        self.model_id: str | None = None
        self._listed: dict[str, dict[str, int]] = {}

    def record(self, uri: str, uid: str) -> RunRecord:
        """Return where this run is, to be found again."""
        return RunRecord(redacted(uri), self.experiment_id, self.run_id, uid)

    def _by_id(self, run_id: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return self._alive(self.call(self.client.get_run, run_id))
        except MlflowException as error:
            # Any other error is the store's trouble, and no news of the run.
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def _by_uid(self, uid: str) -> Any:
        """Find the run of a process that died between making it and noting where it is."""
        from mlflow.entities import ViewType

        found = self.call(
            self.client.search_runs,
            [self.experiment_id],
            f"tags.`{UID_TAG}` = '{uid}'",
            run_view_type=ViewType.ALL,
            max_results=1,
        )
        return self._alive(found[0]) if found else None

    def _alive(self, run: Any) -> Any:
        if run.info.lifecycle_stage == "deleted":
            raise NotSentError(
                f"run {run.info.run_id} was deleted in this store; bring it back with "
                f"`mlflow runs restore --run-id {run.info.run_id}`"
            )
        return run

    def _create(self, description: RunDescription) -> Any:
        tags = {
            # The fluent API would set these; a client's run has none, and the UI shows them.
            "mlflow.source.type": "LOCAL",
            "mlflow.source.name": "minidl",
            "mlflow.user": _user(),
            **self._tags,
        }
        started = None if description.started is None else round(description.started * 1000)
        return self.call(
            self.client.create_run,
            self.experiment_id,
            start_time=started,
            tags=tags,
            run_name=description.run_name,
        )

    def _continue(self, run: Any, reopen: bool) -> None:
        from mlflow.entities import RunTag

        lacking = [
            RunTag(key, text) for key, text in self._tags.items() if run.data.tags.get(key) != text
        ]
        if lacking:
            self.call(self.client.log_batch, run.info.run_id, tags=lacking)
        if reopen and run.info.status != "RUNNING":
            self.call(self.client.update_run, run.info.run_id, status="RUNNING")

    def _experiment(self, uri: str, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self.call(self.client.get_experiment_by_name, name)
        if found is None:
            try:
                created = self.call(
                    self.client.create_experiment,
                    name,
                    artifact_location=artifact_location(uri, name),
                )
                return str(created)
            except MlflowException:
                # Another run, started at the same time, may have been faster.
                found = self.call(self.client.get_experiment_by_name, name)
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            raise NotSentError(
                f"experiment {name!r} was deleted in this store; bring it back with `mlflow "
                f"experiments restore --experiment-id {found.experiment_id}`, or use another name"
            )
        return str(found.experiment_id)

    def send_params(self, params: Mapping[str, str]) -> list[str]:
        """Record the configuration; return the names of those that had to be cut short.

        MLflow never changes a param: those that the run has stay as they are.
        """
        from mlflow.entities import Param

        cut = {mlflow_name(key): value[:LONGEST_PARAM] for key, value in params.items()}
        new = [Param(*item) for item in cut.items() if item[0] not in self._known_params]
        for some in chunks(new, PARAMS_PER_REQUEST):
            self.call(self.client.log_batch, self.run_id, params=some)
        self._known_params |= {param.key for param in new}
        return [
            key
            for key, value in params.items()
            if mlflow_name(key) != key or len(value) > LONGEST_PARAM
        ]

    def known_points(self) -> set[Point]:
        """Return the points that the run had when it was opened."""
        return {
            Point(name, point.value, point.step, point.timestamp)
            for name in self._known_metrics
            for point in self.call(self.client.get_metric_history, self.run_id, name)
        }

    def send_datasets(self, datasets: Sequence[DatasetInfo]) -> None:
        """Record what the run reads. MLflow would digest 10,000 values; ours covers all."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = [
            DatasetInput(
                Dataset(
                    name=data.name[:500],
                    digest=data.digest[:LONGEST_DIGEST],
                    source_type="local",
                    source=json.dumps({"uri": data.source}),
                    profile=json.dumps(dict(data.profile)),
                ),
                tags=[InputTag("mlflow.data.context", data.context)],
            )
            for data in datasets
        ]
        if inputs:
            self.call(self.client.log_inputs, self.run_id, inputs)

    def send_points(self, points: Sequence[Point]) -> Iterator[int]:
        """Send metric values; yield the number that has arrived, request by request."""
        from mlflow.entities import Metric

        for some in chunks(points, POINTS_PER_REQUEST):
            metrics = [
                Metric(point.name, point.value, point.timestamp, point.step) for point in some
            ]
            self.call(self.client.log_batch, self.run_id, metrics=metrics)
            yield len(metrics)

    def send_artifact(self, path: Path, artifact_path: str | None) -> None:
        """Upload a file, or a directory with what is in it.

        Raises
        ------
        NotSentError
            There is nothing at ``path``.
        """
        if path.is_dir():
            self.client.log_artifacts(self.run_id, str(path), artifact_path)
        elif path.is_file():
            self.client.log_artifact(self.run_id, str(path), artifact_path)
        else:
            raise NotSentError(f"there is no file {path} to upload")

    def lacks_artifact(self, path: Path, artifact_path: str) -> bool:
        """Whether MLflow has no file of this name and size."""
        if artifact_path not in self._listed:
            listed = self.call(self.client.list_artifacts, self.run_id, artifact_path)
            self._listed[artifact_path] = {item.path: item.file_size for item in listed}
        size = self._listed[artifact_path].get(f"{artifact_path}/{path.name}")
        return size != path.stat().st_size

    def end(self, status: str, ended: float | None = None) -> None:
        """Set the run's last status (FINISHED, FAILED or KILLED) and its end: by default, now."""
        now = time.time() if ended is None else ended
        self.call(self.client.set_terminated, self.run_id, status, round(now * 1000))
        self.status = status


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, with its class where that says more."""
    message = str(error).strip().split("\n")[0]
    kind = type(error).__name__
    return (
        message if message and kind in ("MlflowException", "NotSentError") else f"{kind}: {message}"
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"


def chunks(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    """Cut ``items`` into parts of ``size``."""
    return (items[start : start + size] for start in range(0, len(items), size))
