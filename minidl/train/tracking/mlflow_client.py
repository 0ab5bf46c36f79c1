"""Everything minidl says to MLflow; the only file (with ``mlflow_model.py``) that imports it.

It speaks through ``MlflowClient`` with the store's address given, never through the fluent
``mlflow.log_*`` functions: those keep an active run and an address for the whole process, and a
training may run inside somebody's notebook or beside other trainings. What cannot be kept out of
the process: the environment defaults of :func:`prepare_environment`, quieter loggers, and, while
a model is logged, the module ``code_model_…`` that MLflow makes of ``mlflow_model.py``.

The functions here are called from the tracking thread alone (``tracking.py``). They block and
raise; what to make of that is decided there.
"""

from __future__ import annotations

import getpass
import importlib.metadata
import json
import logging
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from minidl.train.tracking.mlflow_uri import artifact_location, sqlite_path

if TYPE_CHECKING:
    from minidl.train.journal import Entry
    from minidl.train.tracking.tracker import DatasetInfo

T = TypeVar("T")

# MLflow's own limits, on the client's and the server's side alike.
POINTS_PER_REQUEST = 1000
PARAMS_PER_REQUEST = 100
LONGEST_NAME = 250
LONGEST_PARAM = 6000
LONGEST_TAG = 8000
LONGEST_DIGEST = 36

MODEL_NAME = "model"
# What a served model imports; minidl itself travels with the model.
_MODEL_REQUIREMENTS = ("mlflow", "numpy", "pydantic", "pyyaml", "safetensors")

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


class Point(NamedTuple):
    """One value of one metric; ``timestamp`` in milliseconds since 1970."""

    name: str
    value: float
    step: int
    timestamp: int


class NotSentError(Exception):
    """One thing could not be sent for a reason of its own; the store itself is fine."""


def prepare_environment() -> None:
    """Set MLflow's switches before it is imported, where the user has not set them."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if os.environ["MLFLOW_LOGGING_LEVEL"] == "WARNING":
        for chatty in ("alembic", "mlflow"):
            logging.getLogger(chatty).setLevel(logging.WARNING)


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
    """One run in an MLflow store, created by the constructor.

    Parameters
    ----------
    uri
        The store, as :func:`~minidl.train.mlflow_uri.resolve_uri` returns it.
    experiment
        Its name; created where it does not exist.
    call
        Makes every short request to the store: ``call(function, *args, **kwargs)``. The caller
        sees through it that a request has begun and not ended. (Uploads do not go through it:
        they may rightly take long.)

    Raises
    ------
    mlflow.exceptions.MlflowException
        The store cannot be reached or refuses.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        run_name: str,
        tags: Mapping[str, str],
        call: Callable[..., Any] | None = None,
    ) -> None:
        from mlflow import MlflowClient

        self._call = call or (lambda function, *args, **kwargs: function(*args, **kwargs))
        if database := sqlite_path(uri):
            create_database(database)
        self.client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self.experiment_id: str = self._experiment(uri, experiment)
        tags = {
            # The fluent API would set these; a client's run has none, and the UI shows them.
            "mlflow.source.type": "LOCAL",
            "mlflow.source.name": "minidl",
            "mlflow.user": _user(),
            **{_name(key): value[:LONGEST_TAG] for key, value in tags.items()},
        }
        run = self._call(self.client.create_run, self.experiment_id, tags=tags, run_name=run_name)
        self.run_id: str = run.info.run_id
        self.model_id: str | None = None

    def _experiment(self, uri: str, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self._call(self.client.get_experiment_by_name, name)
        if found is None:
            try:
                created = self._call(
                    self.client.create_experiment,
                    name,
                    artifact_location=artifact_location(uri, name),
                )
                return str(created)
            except MlflowException:
                # Another run, started at the same time, may have been faster.
                found = self._call(self.client.get_experiment_by_name, name)
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            raise NotSentError(
                f"experiment {name!r} was deleted in this store; bring it back with `mlflow "
                f"experiments restore --experiment-id {found.experiment_id}`, or use another name"
            )
        return str(found.experiment_id)

    def send_params(self, params: Mapping[str, str]) -> list[str]:
        """Record the configuration; return the names of those that had to be cut short."""
        from mlflow.entities import Param

        cut = {_name(key): value[:LONGEST_PARAM] for key, value in params.items()}
        for some in _chunks([Param(*item) for item in cut.items()], PARAMS_PER_REQUEST):
            self._call(self.client.log_batch, self.run_id, params=some)
        return [
            key for key, value in params.items() if _name(key) != key or len(value) > LONGEST_PARAM
        ]

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
            self._call(self.client.log_inputs, self.run_id, inputs)

    def send_points(self, points: Sequence[Point]) -> Iterator[int]:
        """Send metric values; yield the number that has arrived, request by request."""
        from mlflow.entities import Metric

        for some in _chunks(points, POINTS_PER_REQUEST):
            metrics = [
                Metric(_name(point.name), float(point.value), point.timestamp, int(point.step))
                for point in some
            ]
            self._call(self.client.log_batch, self.run_id, metrics=metrics)
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

    def send_model(
        self,
        directory: Path,
        sample_shape: Sequence[int],
        example: Any,
        points: Sequence[Entry],
    ) -> None:
        """Log the run's model as one LoggedModel that ``mlflow models serve`` can serve.

        Raises
        ------
        NotSentError
            MLflow could not make a model of what lies in ``directory``.
        """
        from mlflow.entities import LoggedModelOutput, Metric

        model = self._call(
            self.client.create_logged_model,
            self.experiment_id,
            name=MODEL_NAME,
            source_run_id=self.run_id,
            model_type="minidl",
        )
        step = max((entry.step for entry in points), default=0)
        with tempfile.TemporaryDirectory(prefix="minidl-model-") as folder:
            try:
                saved = save_model(
                    directory, sample_shape, example, Path(folder), self.run_id, model
                )
            except Exception as error:
                self._call(self.client.finalize_logged_model, model.model_id, "FAILED")
                raise NotSentError(f"the model was not logged: {first_line(error)}") from error
            self.client.log_model_artifacts(model.model_id, str(saved))
        self._call(self.client.finalize_logged_model, model.model_id, "READY")
        self._call(
            self.client.log_outputs, self.run_id, [LoggedModelOutput(model.model_id, step=step)]
        )
        # Same name, step, time and value as the points already sent: MLflow adds the link to the
        # model and no second point.
        metrics = [
            Metric(
                _name(name),
                value,
                round(entry.time * 1000),
                entry.step,
                model_id=model.model_id,
                run_id=self.run_id,
            )
            for entry in points
            for name, value in entry.metrics.items()
        ]
        for some in _chunks(metrics, POINTS_PER_REQUEST):
            self._call(self.client.log_batch, self.run_id, metrics=some)
        self.model_id = str(model.model_id)

    def end(self, status: str) -> None:
        """Set the run's last status (FINISHED, FAILED or KILLED) and its end, which is now."""
        self._call(self.client.set_terminated, self.run_id, status, int(time.time() * 1000))


def save_model(
    directory: Path,
    sample_shape: Sequence[int],
    example: Any,
    folder: Path,
    run_id: str | None = None,
    logged_model: Any = None,
) -> Path:
    """Write an MLflow model under ``folder`` and return its directory.

    It holds ``config.yaml`` and ``model.safetensors`` of ``directory``, the code that reads them
    (``mlflow_model.py``) and minidl itself, which is on no package index.

    Shapes: input uint8 ``(N, *sample_shape)``, raw pixels; output float32 ``(N, classes)``.
    """
    import mlflow.pyfunc
    import numpy as np
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    files = {"config": directory / "config.yaml", "weights": directory / "model.safetensors"}
    for path in files.values():
        if not path.is_file():
            raise FileNotFoundError(f"there is no {path}")
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, *sample_shape))]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, -1))]),
    )
    saved = folder / "model"
    mlflow.pyfunc.save_model(
        path=str(saved),
        python_model=str(Path(__file__).with_name("mlflow_model.py")),
        artifacts={name: path.absolute().as_uri() for name, path in files.items()},
        code_paths=[str(_copy_of_minidl(folder))],
        signature=signature,
        input_example=np.asarray(example, dtype=np.uint8),
        pip_requirements=_requirements(),
        mlflow_model=Model(
            artifact_path=getattr(logged_model, "artifact_location", None),
            run_id=run_id,
            model_id=getattr(logged_model, "model_id", None),
        ),
    )
    return saved


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, with its class where that says more."""
    message = str(error).strip().split("\n")[0]
    kind = type(error).__name__
    return (
        message if message and kind in ("MlflowException", "NotSentError") else f"{kind}: {message}"
    )


def _copy_of_minidl(folder: Path) -> Path:
    """Copy the package's code (not its data) as it is now, for the model to be served with."""
    package = Path(__file__).parents[2]
    copy = folder / "code" / package.name
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__", "*.gz", "*.so"))
    return copy


def _requirements() -> list[str]:
    """Pin what is installed: letting MLflow find it out takes seconds and wants the network."""
    pinned = []
    for name in _MODEL_REQUIREMENTS:
        with suppress(importlib.metadata.PackageNotFoundError):
            pinned.append(f"{name}=={importlib.metadata.version(name)}")
    return pinned


def _name(key: str) -> str:
    """Return ``key`` as MLflow accepts it: its characters, no path tricks, not too long."""
    allowed = re.sub(r"[^\w\-. /]", "_", key)
    parts = [part for part in allowed.split("/") if part.strip(". ")]
    return "/".join(parts)[:LONGEST_NAME].rstrip("/") or "_"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"


def _chunks(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
