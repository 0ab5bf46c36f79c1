"""The best model of a run, as MLflow keeps it: one LoggedModel, and a version in the registry."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidl.train.tracking.mlflow_client import (
    POINTS_PER_REQUEST,
    MlflowRun,
    NotSentError,
    chunks,
    first_line,
)
from minidl.train.tracking.points import points_of

if TYPE_CHECKING:
    from minidl.train.journal import Entry

MODEL_NAME = "model"
#: Tells a model from others of the same run.
WEIGHTS_TAG = "minidl.weights.sha256"


def send_model(
    run: MlflowRun, directory: Path, example: Any = None, points: Sequence[Entry] = ()
) -> bool:
    """Log the run's model as one LoggedModel, and return whether it was lacking.

    A model of the same weights that the run has already is left as it is; one whose upload was
    broken off is completed. ``points`` are linked to it: the entries that say how good it is.

    Raises
    ------
    NotSentError
        MLflow could not make a model of what lies in ``directory``.
    """
    weights = directory / "model.safetensors"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.exists() else ""
    model = _model_of(run, digest)
    lacking = model is None or str(model.status) != "READY"
    if model is None:
        model = run.call(
            run.client.create_logged_model,
            run.experiment_id,
            name=MODEL_NAME,
            source_run_id=run.run_id,
            tags={WEIGHTS_TAG: digest},
            model_type="minidl",
        )
    if lacking:
        _upload(run, model, directory, example)
    _link(run, model.model_id, points)
    run.model_id = str(model.model_id)
    return lacking


def _model_of(run: MlflowRun, digest: str) -> Any:
    found = run.call(
        run.client.search_logged_models,
        [run.experiment_id],
        filter_string=f"source_run_id = '{run.run_id}'",
    )
    alike = [model for model in found if model.tags.get(WEIGHTS_TAG) == digest]
    whole = [model for model in alike if str(model.status) == "READY"]
    begun = [model for model in alike if str(model.status) == "PENDING"]
    return next(iter(whole + begun), None)


def _upload(run: MlflowRun, model: Any, directory: Path, example: Any) -> None:
    from mlflow.models import Model

    from minidl.train.tracking import flavor  # which brings the models, and they the layers

    described = Model(
        artifact_path=model.artifact_location, run_id=run.run_id, model_id=model.model_id
    )
    with tempfile.TemporaryDirectory(prefix="minidl-model-") as folder:
        saved = Path(folder) / MODEL_NAME
        try:
            flavor.save_model(saved, directory, input_example=example, mlflow_model=described)
        except Exception as error:
            run.call(run.client.finalize_logged_model, model.model_id, "FAILED")
            raise NotSentError(f"the model was not logged: {first_line(error)}") from error
        run.client.log_model_artifacts(model.model_id, str(saved))
    run.call(run.client.finalize_logged_model, model.model_id, "READY")


def _link(run: MlflowRun, model_id: str, points: Sequence[Entry]) -> None:
    """Show the model among the run's outputs, with the points that say how good it is."""
    from mlflow.entities import LoggedModelOutput, Metric

    step = max((entry.step for entry in points), default=0)
    outputs = run.call(run.client.get_run, run.run_id).outputs
    linked = {output.model_id for output in outputs.model_outputs} if outputs else set()
    if model_id not in linked:  # MLflow would list it twice
        run.call(run.client.log_outputs, run.run_id, [LoggedModelOutput(model_id, step=step)])
    # Same name, step, time and value as the points already sent: MLflow adds the link to the
    # model and no second point.
    metrics = [
        Metric(
            point.name,
            point.value,
            point.timestamp,
            point.step,
            model_id=model_id,
            run_id=run.run_id,
        )
        for entry in points
        for point in points_of(entry.metrics, step=entry.step, time=entry.time)
    ]
    for some in chunks(metrics, POINTS_PER_REQUEST):
        run.call(run.client.log_batch, run.run_id, metrics=some)


def register(run: MlflowRun, name: str, alias: str | None) -> bool:
    """Make the run's model a version of a registered model; return whether it was none yet.

    The alias goes to the newest finished run's version: it is left where it is when that run
    began later than this one.

    Raises
    ------
    NotSentError
        MLflow does not take the name or the alias.
    """
    from mlflow.exceptions import MlflowException

    try:
        version = _version_of(run, name)
        lacking = version is None
        if version is None:
            _make_registered_model(run, name)
            version = run.call(
                run.client.create_model_version,
                name,
                f"models:/{run.model_id}",
                run_id=run.run_id,
                model_id=run.model_id,
                await_creation_for=0,
            )
        if alias is not None and _is_newest(run, name, alias):
            run.call(run.client.set_registered_model_alias, name, alias, version.version)
    except MlflowException as error:
        if error.error_code == "INVALID_PARAMETER_VALUE":
            raise NotSentError(f"the model was not registered: {first_line(error)}") from error
        raise
    return lacking


def _version_of(run: MlflowRun, name: str) -> Any:
    found = run.call(run.client.search_model_versions, f"run_id = '{run.run_id}'")
    # (A database gives versions back without the model_id that they were made with.)
    alike = [v for v in found if v.name == name and v.source == f"models:/{run.model_id}"]
    return next(iter(alike), None)


def _make_registered_model(run: MlflowRun, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        run.call(run.client.create_registered_model, name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _is_newest(run: MlflowRun, name: str, alias: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        holder = run.call(run.client.get_model_version_by_alias, name, alias)
        other = run.call(run.client.get_run, holder.run_id) if holder.run_id else None
    except MlflowException as error:
        # No version has the alias (MLflow says so in two ways), or its run is gone.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return True
        raise
    return other is None or other.info.start_time <= run.started
