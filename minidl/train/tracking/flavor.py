"""minidl's flavor of MLflow models: weights as safetensors, the architecture as YAML, no pickle.

A saved model is a directory: ``MLmodel`` (MLflow's), ``data/minidl/`` with ``config.yaml`` and
``model.safetensors``, and ``code/`` with minidl itself. That copy travels along because minidl is
on no package index: `mlflow models serve`, a container built from the model, or a machine without
minidl can only have it from there. Where minidl is imported already, that one is used. MLflow
loads the model through `_load_pyfunc` below, so nothing is unpickled and no code but minidl's runs.

    model = mlflow.pyfunc.load_model("runs:/RUN_ID/model")
    model.predict(images)                      # uint8 (N, C, H, W) -> probabilities (N, classes)

The answer follows the model's task: probabilities of classes, numbers, or pixels. For
`mlflow.models.evaluate`, which compares labels, a classifier gives the indices of classes when it
is loaded with ``model_config={"output": "label"}``.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

import minidl
from minidl.autograd.primitive import Array
from minidl.nn import Module
from minidl.train.inference import Predictor, find_model, load_best

FLAVOR_NAME = "minidl"
#: What a model may give; the first is what it gives when nothing is said.
OUTPUTS = ("answer", "label")

#: Where config and weights lie in a saved model: MLflow puts a folder under ``data``.
_DATA = "data/minidl"
# What a served model imports; minidl itself travels with the model.
_REQUIREMENTS = ("mlflow", "numpy", "pydantic", "pyyaml", "safetensors")


def save_model(
    path: str | Path,
    directory: str | Path,
    *,
    input_example: Any = None,
    mlflow_model: Any = None,
) -> None:
    """Write a trained model as an MLflow model.

    Parameters
    ----------
    path
        The directory to write; new or empty.
    directory
        A run directory, or its folder ``model``.
    input_example
        A few raw samples ``(n, *sample_shape)``, shown to those who want to ask the model.
    mlflow_model
        What MLflow has noted of the model so far; `mlflow.models.Model.log` passes it.

    Raises
    ------
    CheckpointError
        There is no model in ``directory``, or a damaged one.
    """
    import mlflow.pyfunc
    from mlflow.models import Model

    source = find_model(Path(directory))
    predictor = Predictor.load(source)
    described = Model() if mlflow_model is None else mlflow_model
    described.add_flavor(FLAVOR_NAME, minidl_version=minidl.__version__, data=_DATA, code="code")
    with tempfile.TemporaryDirectory(prefix="minidl-model-") as folder:
        data, code = Path(folder) / _DATA, Path(folder) / "code" / "minidl"
        data.mkdir(parents=True)
        for name in ("config.yaml", "model.safetensors"):
            shutil.copyfile(source / name, data / name)
        _copy_minidl(code)
        mlflow.pyfunc.save_model(
            path=str(path),
            loader_module=__name__,
            data_path=str(data),
            code_paths=[str(code)],
            model_config={"output": OUTPUTS[0]},
            signature=_signature(predictor),
            input_example=input_example,
            pip_requirements=_requirements(),
            mlflow_model=described,
        )


def log_model(
    directory: str | Path,
    name: str = "model",
    *,
    input_example: Any = None,
    registered_model_name: str | None = None,
) -> Any:
    """Log a trained model to MLflow's active run, and return MLflow's ``ModelInfo``.

    For use by hand, say in a notebook; a training with a ``tracking`` section does it by itself.
    """
    from mlflow.models import Model

    return Model.log(
        artifact_path=None,  # the deprecated word for the name, which MLflow still insists on
        name=name,
        flavor=sys.modules[__name__],
        directory=directory,
        input_example=input_example,
        registered_model_name=registered_model_name,
    )


def load_model(model_uri: str) -> Module:
    """Load a logged model as minidl's own, in evaluation mode.

    ``model_uri`` is ``runs:/RUN_ID/model``, ``models:/NAME@ALIAS``, or a path.

    Raises
    ------
    CheckpointError
        It is no model of minidl's.
    """
    from mlflow.artifacts import download_artifacts

    model, _ = load_best(Path(download_artifacts(artifact_uri=model_uri)))
    return model.eval()


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> ServedByMlflow:
    """Load what lies in ``path``; MLflow calls this."""
    output = (model_config or {}).get("output", OUTPUTS[0])
    return ServedByMlflow(Predictor.load(Path(path)), output)


class ServedByMlflow:
    """A trained model as MLflow asks it."""

    def __init__(self, predictor: Predictor, output: str) -> None:
        if output not in OUTPUTS:
            raise ValueError(f"output must be one of {', '.join(OUTPUTS)}, got {output!r}")
        if output == "label" and predictor.task != "Classification":
            raise ValueError(f"a model of the task {predictor.task} gives no labels")
        self._predictor, self._output = predictor, output

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Array:
        """Return the model's answers to raw samples ``(N, *sample_shape)``."""
        answers = self._predictor.answers(np.asarray(model_input))
        return answers if self._output == OUTPUTS[0] else np.asarray(answers.argmax(axis=1))


def _signature(predictor: Predictor) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    shape = predictor.sample_shape
    asked = predictor.answers(np.zeros((1, *shape), predictor.dtype))
    return ModelSignature(
        inputs=Schema([TensorSpec(predictor.dtype, (-1, *shape))]),
        outputs=Schema([TensorSpec(asked.dtype, (-1, *asked.shape[1:]))]),
    )


def _copy_minidl(target: Path) -> None:
    """Copy the package's code, not its data, as it is now."""
    ignored = shutil.ignore_patterns("__pycache__", "*.gz", "*.so")
    shutil.copytree(Path(minidl.__path__[0]), target, ignore=ignored)


def _requirements() -> list[str]:
    """Pin what is installed: letting MLflow find it out takes seconds and wants the network."""
    pinned = []
    for name in _REQUIREMENTS:
        with suppress(importlib.metadata.PackageNotFoundError):
            pinned.append(f"{name}=={importlib.metadata.version(name)}")
    return pinned
