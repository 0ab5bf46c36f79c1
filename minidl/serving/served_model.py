"""A trained model with what is told of it: its name, its digest, what it takes and answers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from minidl.autograd.primitive import Array
from minidl.serving.inputs import InputError
from minidl.train.inference import Predictor, find_model


@dataclass(frozen=True)
class ServedModel:
    """A model to be served.

    Attributes
    ----------
    predictor : Predictor
        The model itself.
    name : str
        Of its run.
    digest : str
        SHA-256 of its weights' file, in hex.
    answer_shape : tuple of int
        Of the answer to one sample.
    answer_dtype : str
        Of answers.
    """

    predictor: Predictor
    name: str
    digest: str
    answer_shape: tuple[int, ...]
    answer_dtype: str

    @classmethod
    def load(cls, path: Path) -> ServedModel:
        """Load the best model of a run, a folder ``model``, or a model logged to MLflow.

        Raises
        ------
        CheckpointError
            ``path`` is none of them, or files are damaged, or the model answers no samples.
        """
        directory = find_model(path)
        predictor = Predictor.load(directory)
        digest = hashlib.sha256((directory / "model.safetensors").read_bytes()).hexdigest()
        blank = np.zeros((1, *predictor.sample_shape), predictor.dtype)
        answer = predictor.answers(blank)
        return cls(predictor, _name(path), digest, answer.shape[1:], str(answer.dtype))

    def warm_up(self, samples: int) -> None:
        """Answer a batch of blank samples, before anyone waits for it.

        Compiled kernels are loaded when a batch is first large enough for them: that takes seconds.
        """
        self.answers(np.zeros((samples, *self.predictor.sample_shape), self.predictor.dtype))

    @property
    def takes_pictures(self) -> bool:
        """Whether samples are pictures that can be read from a file: gray or colored pixels."""
        shape = self.predictor.sample_shape
        return self.predictor.dtype == np.uint8 and len(shape) == 3 and shape[0] in (1, 3)

    def answers(self, samples: Array) -> Array:
        """Return the model's answers; what overflows in it becomes Inf or NaN without a warning."""
        with np.errstate(all="ignore"):
            return self.predictor.answers(samples)

    def predictions(self, answers: Array) -> list[dict[str, Any]]:
        """Return answers as they are sent: for classes the likeliest and all probabilities."""
        classes = self.predictor.classes
        if self.predictor.task != "Classification":
            return [{"values": values} for values in answers.tolist()]
        return [
            {"class": classes[best], "probabilities": dict(zip(classes, row, strict=True))}
            for best, row in zip(answers.argmax(1).tolist(), answers.tolist(), strict=True)
        ]

    def example(self) -> dict[str, Any]:
        """Return a body that the model answers: one blank image, or one average sample."""
        predictor = self.predictor
        sample: Any = np.zeros(predictor.sample_shape, predictor.dtype)
        if predictor.dtype != np.uint8 and predictor.mean is not None:
            mean = np.asarray(predictor.mean)
            sample = sample + (mean.reshape(-1, 1, 1) if sample.ndim == 3 else mean)
        return {"inputs": [sample.tolist()]}

    def signature(self) -> dict[str, Any]:
        """Return what the model takes and gives, and which model it is, as plain data."""
        predictor = self.predictor
        inputs: dict[str, Any] = {
            "shape": [None, *predictor.sample_shape],
            "dtype": str(predictor.dtype),
        }
        if predictor.dtype == np.uint8:
            inputs |= {"minimum": 0, "maximum": 255}
        return {
            "task": predictor.task,
            "inputs": inputs,
            "outputs": {"shape": [None, *self.answer_shape], "dtype": self.answer_dtype},
            "classes": list(predictor.classes),
            "model": {
                "run": self.name,
                "type": predictor.config.model.type,
                "parameters": sum(p.numel() for p in predictor.model.parameters()),
                "sha256": self.digest,
            },
        }


def check_finite(answers: Array) -> None:
    """Refuse answers that JSON has no numbers for.

    Raises
    ------
    InputError
        An answer is NaN or infinite; says to which sample.
    """
    finite = np.isfinite(answers).reshape(len(answers), -1).all(axis=1)
    if not finite.all():
        sample = int(np.flatnonzero(~finite)[0])
        raise InputError(
            f"the model's answer to sample {sample} is not finite: its values are too large for it",
            sample=sample,
        )


def _name(path: Path) -> str:
    """Return a run's name; MLflow's id for a model that it has logged."""
    described = path / "MLmodel"
    if described.is_file():
        facts = yaml.safe_load(described.read_text(encoding="utf-8"))
        for key in ("model_id", "run_id"):
            if isinstance(facts, dict) and facts.get(key):
                return str(facts[key])
    full = path.resolve()
    return full.parent.name if full.name == "model" else full.name
