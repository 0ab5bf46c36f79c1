"""A trained model without its training: load it, ask it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from minidl.autograd import no_grad
from minidl.autograd.primitive import Array
from minidl.data import normalize
from minidl.nn import Module
from minidl.ops import softmax
from minidl.tensor import Tensor
from minidl.train.build import Data, build_model
from minidl.train.checkpoint import CheckpointError, read_arrays, save_model
from minidl.train.config import Config, ConfigError, load_config
from minidl.train.run_directory import RunDirectory


def save_best(path: Path, model: Module, data: Data) -> None:
    """Write a model and what is needed to feed it and to name its classes."""
    about = {
        "sample_shape": list(data.sample_shape),
        "classes": list(data.classes),
        "mean": data.mean,
        "std": data.std,
    }
    # Under one key: safetensors writes several in an order of chance, and the same training would
    # not give the same bytes.
    save_model(path, model, {"minidl": json.dumps(about)})


class Predictor:
    """A model that takes raw samples and gives class probabilities."""

    def __init__(
        self,
        config: Config,
        model: Module,
        *,
        sample_shape: tuple[int, int, int],
        classes: tuple[str, ...],
        mean: Any,
        std: Any,
    ) -> None:
        self.config = config
        self.model = model.eval()
        self.sample_shape = sample_shape
        self.classes = classes
        self.mean = mean
        self.std = std

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
            channels, height, width = facts["sample_shape"]
            shape = (int(channels), int(height), int(width))
            config = load_config(directory / "config.yaml")
            if config.task is not None and config.task.type != "Classification":
                raise ValueError(f"{config.task.type} has no classes to predict")
            model = build_model(config, shape, np.random.default_rng(0))
            model.load_state_dict(arrays)
            return cls(
                config,
                model,
                sample_shape=shape,
                classes=tuple(facts["classes"]),
                mean=_statistic(facts["mean"]),
                std=_statistic(facts["std"]),
            )
        except (ConfigError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{directory}: config.yaml and model.safetensors do not make a model: {error}"
            ) from error

    def probabilities(self, samples: Array) -> Array:
        """Return the probability of each class.

        Shapes: raw uint8 samples ``(N, C, H, W)`` -> float32 ``(N, classes)``.

        Raises
        ------
        ValueError
            The samples are not uint8, or not of the shape that the model was trained on.
        """
        if samples.shape[1:] != self.sample_shape:
            raise ValueError(
                f"samples of shape (N, {', '.join(map(str, self.sample_shape))}) are wanted, "
                f"got {samples.shape}"
            )
        if samples.dtype != np.uint8:
            # Floats would be normalized as if they were 0..1 already, and give nonsense quietly.
            raise ValueError(f"raw uint8 samples (0..255) are wanted, got {samples.dtype}")
        parts = []
        with no_grad():
            for start in range(0, len(samples), 256):
                batch = normalize(samples[start : start + 256], mean=self.mean, std=self.std)
                parts.append(softmax(self.model(Tensor(batch)), 1).numpy())
        return np.concatenate(parts) if parts else np.zeros((0, len(self.classes)), np.float32)


def load_best(run: Path) -> tuple[Module, tuple[int, ...]]:
    """Return the best model of a run, of whatever task, and the shape of a sample.

    Raises
    ------
    CheckpointError
        A file is missing or damaged, or they do not belong together.
    """
    directory = RunDirectory(run).model
    arrays, about = read_arrays(directory / "model.safetensors")
    try:
        shape = tuple(int(n) for n in json.loads(about["minidl"])["sample_shape"])
        model = build_model(load_config(directory / "config.yaml"), shape, np.random.default_rng(0))
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

    onnx.export(model, np.zeros((1, *sample_shape), np.float32), path)


def _statistic(value: Any) -> Any:
    """Return a number, or numbers, one a channel."""
    return [float(part) for part in value] if isinstance(value, list) else float(value)
