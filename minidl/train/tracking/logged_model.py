"""The best model of a run, as MLflow keeps models: one LoggedModel, linked to the run."""

from __future__ import annotations

import hashlib
import importlib.metadata
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
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

# What a served model imports; minidl itself travels with the model.
_MODEL_REQUIREMENTS = ("mlflow", "numpy", "pydantic", "pyyaml", "safetensors")


def send_model(run: MlflowRun, directory: Path, example: Any, points: Sequence[Entry]) -> bool:
    """Log the run's model as one LoggedModel, and return whether it was lacking.

    A model of the same weights that the run has already is left as it is; one whose upload
    was broken off is completed.

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
    with tempfile.TemporaryDirectory(prefix="minidl-model-") as folder:
        try:
            saved = save_model(directory, example, Path(folder), run.run_id, model)
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


def save_model(
    directory: Path,
    example: Any,
    folder: Path,
    run_id: str | None = None,
    logged_model: Any = None,
) -> Path:
    """Write an MLflow model under ``folder`` and return its directory.

    It holds ``config.yaml`` and ``model.safetensors`` of ``directory``, the code that reads them
    (``mlflow_model.py``) and minidl itself, which is on no package index.

    Shapes: input as ``example``, raw pixels ``(N, *sample_shape)``; output float32
    ``(N, classes)``.
    """
    import mlflow.pyfunc
    import numpy as np
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    example = np.asarray(example)
    files = {"config": directory / "config.yaml", "weights": directory / "model.safetensors"}
    for path in files.values():
        if not path.is_file():
            raise FileNotFoundError(f"there is no {path}")
    signature = ModelSignature(
        inputs=Schema([TensorSpec(example.dtype, (-1, *example.shape[1:]))]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, -1))]),
    )
    saved = folder / MODEL_NAME
    mlflow.pyfunc.save_model(
        path=str(saved),
        python_model=str(Path(__file__).with_name("mlflow_model.py")),
        artifacts={name: path.absolute().as_uri() for name, path in files.items()},
        code_paths=[str(_copy_of_minidl(folder))],
        signature=signature,
        input_example=example,
        pip_requirements=_requirements(),
        mlflow_model=Model(
            artifact_path=getattr(logged_model, "artifact_location", None),
            run_id=run_id,
            model_id=getattr(logged_model, "model_id", None),
        ),
    )
    return saved


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
