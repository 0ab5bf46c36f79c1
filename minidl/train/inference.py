"""A trained model without its training: load it, ask it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from minidl.autograd import no_grad
from minidl.autograd.primitive import Array
from minidl.compiling import Compiled
from minidl.data import normalize
from minidl.nn import Module
from minidl.nn.functional import sigmoid
from minidl.nn.summary import model_dtype
from minidl.ops import softmax
from minidl.tensor import Tensor
from minidl.train.build import build_model, in_its_dtype
from minidl.train.checkpoint import CheckpointError, model_bytes, read_arrays
from minidl.train.config import Config, ConfigError, load_config
from minidl.train.data_parts import Data
from minidl.train.run_directory import RunDirectory

#: Samples that the model is asked about at once.
_MOST = 256

#: Numbers of samples for which the model is recorded and replayed: a single one, and as many as go.
#: Each takes memory for good, so others are left to eager execution, which gives the same bits.
_REPLAYED = (1, _MOST)


def best_model(model: Module, data: Data) -> bytes:
    """Return a model's file: its weights, what is needed to feed it, and its classes' names."""
    about = {
        "sample_shape": list(data.sample_shape),
        "dtype": str(data.train.dataset.inputs.dtype),
        "classes": list(data.classes),
        "mean": data.mean,
        "std": data.std,
    }
    # Under one key: safetensors writes several in an order of chance, and the same training would
    # not give the same bytes.
    return model_bytes(model, {"minidl": json.dumps(about)})


def find_model(path: Path) -> Path:
    """Return the directory of ``config.yaml`` and ``model.safetensors`` that ``path`` stands for.

    ``path`` is a run directory, its folder ``model``, or a model that MLflow has logged (a
    directory with a file ``MLmodel``).

    Raises
    ------
    CheckpointError
        It is none of them.
    """
    logged = sorted(path.glob("**/model.safetensors")) if (path / "MLmodel").is_file() else []
    for directory in (path, RunDirectory(path).model, *(file.parent for file in logged)):
        if (directory / "model.safetensors").is_file() and (directory / "config.yaml").is_file():
            return directory
    if not path.is_dir():
        raise CheckpointError(f"{path}: no such file or directory")
    if RunDirectory(path).config.is_file():
        raise CheckpointError(f"{path}: the run has no model yet ({RunDirectory(path).weights})")
    raise CheckpointError(
        f"{path}: neither a run, nor its folder `model`, nor a model logged to MLflow: there is no "
        "model.safetensors beside a config.yaml"
    )


class Predictor:
    """A model that takes raw samples and answers as its task does.

    Attributes
    ----------
    task : str
        ``"Classification"``, ``"Regression"`` or ``"Reconstruction"``.
    sample_shape : tuple of int
        Of one sample, without the batch's axis.
    dtype : numpy.dtype
        Of raw samples: uint8 (0..255), or a floating one.
    classes : tuple of str
        Empty where there are none.
    """

    def __init__(
        self,
        config: Config,
        model: Module,
        *,
        sample_shape: tuple[int, ...],
        classes: tuple[str, ...],
        mean: Any,
        std: Any,
        dtype: Any = np.uint8,
    ) -> None:
        self.config = config
        self.model = model.eval()
        # A model that cannot be replayed runs as it is, without a word.
        self._replayed = Compiled(self.model, tell=lambda reason: None)
        self.sample_shape = sample_shape
        self.classes = classes
        self.mean = mean
        self.std = std
        self.dtype = np.dtype(dtype)
        self.task = config.task.type if config.task else _usual_task(classes)
        if self.task not in _ANSWERS:
            raise ValueError(f"a model of the task {self.task} has no answer to a sample")

    @classmethod
    def load(cls, directory: Path) -> Predictor:
        """Load the model in a directory with ``config.yaml`` and ``model.safetensors``.

        Raises
        ------
        CheckpointError
            A file is missing or damaged, or they do not belong together.
        """
        arrays, about = read_arrays(directory / "model.safetensors")
        try:
            facts: dict[str, Any] = json.loads(about["minidl"])
            shape = tuple(int(size) for size in facts["sample_shape"])
            config = load_config(directory / "config.yaml")
            model = in_its_dtype(config, build_model(config, shape, np.random.default_rng(0)))
            model.load_state_dict(arrays)
            return cls(
                config,
                model,
                sample_shape=shape,
                classes=tuple(facts["classes"]),
                mean=_statistic(facts["mean"]),
                std=_statistic(facts["std"]),
                dtype=facts.get("dtype", np.uint8),  # what all were before it was written down
            )
        except (ConfigError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{directory}: config.yaml and model.safetensors do not make a model: {error}"
            ) from error

    def answers(self, samples: Array) -> Array:
        """Return what the model says of raw samples ``(N, *sample_shape)``.

        Shapes: of classes, their probabilities ``(N, classes)``; of numbers to predict, the numbers
        ``(N, numbers)``; of a reconstruction, its pixels ``(N, *sample_shape)``, 0 to 1.

        Raises
        ------
        ValueError
            The samples are not of the shape and kind that the model was trained on.
        """
        if samples.shape[1:] != self.sample_shape:
            raise ValueError(
                f"samples of shape (N, {', '.join(map(str, self.sample_shape))}) are wanted, "
                f"got {samples.shape}"
            )
        if samples.dtype != self.dtype:
            # Floats would be normalized as if they were 0..1 already, and give nonsense quietly.
            limits = " (0..255)" if self.dtype == np.uint8 else ""
            raise ValueError(f"raw {self.dtype} samples{limits} are wanted, got {samples.dtype}")
        # None at all is asked as one is: the answer has the right shape and no rows.
        some = samples if len(samples) else np.zeros((1, *self.sample_shape), self.dtype)
        parts = []
        with no_grad():
            for start in range(0, len(some), _MOST):
                batch = normalize(some[start : start + _MOST], mean=self.mean, std=self.std)
                batch = batch.astype(self.config.dtype, copy=False)
                ask = self._replayed if len(batch) in _REPLAYED else self.model
                parts.append(_ANSWERS[self.task](ask(Tensor(batch))).numpy())
        return np.concatenate(parts)[: len(samples)]

    def probabilities(self, samples: Array) -> Array:
        """Return the probability of each class.

        Shapes: raw samples ``(N, *sample_shape)`` -> float32 ``(N, classes)``.

        Raises
        ------
        ValueError
            The model tells no classes apart, or the samples are not such as it was trained on.
        """
        if self.task != "Classification":
            raise ValueError(f"a model of the task {self.task} gives no probabilities of classes")
        return self.answers(samples)


def _usual_task(classes: tuple[str, ...]) -> str:
    """Return the task that a config without one has, which follows from its data."""
    return "Classification" if classes else "Regression"


def _pixels(output: Any) -> Any:
    """Return pixels of an autoencoder's logits, or of the first of a VAE's three outputs."""
    return sigmoid(output[0] if isinstance(output, tuple) else output)


#: From a model's output to its answer, by task.
_ANSWERS: dict[str, Callable[[Any], Any]] = {
    "Classification": lambda logits: softmax(logits, 1),
    "Regression": lambda numbers: numbers.reshape(len(numbers), -1),
    "Reconstruction": _pixels,
}


def answers_samples(config: Config) -> bool:
    """Whether a model of this config's task has an answer to a sample; a generator has none."""
    return config.task is None or config.task.type in _ANSWERS


def load_best(run: Path) -> tuple[Module, tuple[int, ...]]:
    """Return the best model of a run, of whatever task, and the shape of a sample.

    Raises
    ------
    CheckpointError
        A file is missing or damaged, or they do not belong together.
    """
    directory = find_model(run)
    arrays, about = read_arrays(directory / "model.safetensors")
    try:
        shape = tuple(int(n) for n in json.loads(about["minidl"])["sample_shape"])
        config = load_config(directory / "config.yaml")
        model = in_its_dtype(config, build_model(config, shape, np.random.default_rng(0)))
        model.load_state_dict(arrays)
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{directory}: config.yaml and model.safetensors do not make a model: {error}"
        ) from error
    return model, shape


def export_onnx(model: Module, sample_shape: tuple[int, ...], path: Path) -> None:
    """Write a model as ONNX; see `minidl.onnx.export`.

    Raises
    ------
    ModuleNotFoundError
        The package ``onnx`` is not installed.
    """
    from minidl import onnx

    onnx.export(model, np.zeros((1, *sample_shape), model_dtype(model)), path)


def _statistic(value: Any) -> Any:
    """Return a number, or numbers, one a channel; None where inputs are left as they are."""
    if value is None:
        return None
    return [float(part) for part in value] if isinstance(value, list) else float(value)
