"""The best model of a run, looked at once more on the test samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minidl.autograd.primitive import Array
from minidl.train.evaluation import evaluate_run
from minidl.train.metrics import Reliability
from minidl.train.metrics.mistakes import Mistake


@dataclass(frozen=True)
class Examination:
    """What the best model makes of the test samples.

    Of a task without classes ``confusion`` and ``reliability`` are None, and there are no
    ``mistakes`` (the worst first); ``pictures`` are raw samples, one a mistake, where samples are
    pictures.
    """

    metrics: dict[str, float]
    samples: int
    dataset: str
    parameters: int
    sample_shape: tuple[int, ...]
    classes: tuple[str, ...]
    confusion: Array | None
    reliability: Reliability | None
    mistakes: list[Mistake]
    pictures: list[Array]


def examine(directory: Path, overrides: Sequence[str] = (), *, worst: int = 24) -> Examination:
    """Evaluate the best model of a run on the test samples, and keep its worst mistakes.

    Raises
    ------
    CheckpointError
        The model is missing, damaged, or of another shape.
    ConfigError
        The run's config cannot be built: its data are not there, say.
    """
    found, experiment = evaluate_run(directory, overrides, worst=worst, reliability=True)
    data = experiment.data
    inputs = data.test.dataset.inputs
    return Examination(
        found.metrics,
        len(data.test.dataset),
        data.name,
        sum(parameter.numel() for parameter in experiment.model.parameters()),
        tuple(data.sample_shape),
        tuple(data.classes),
        found.confusion,
        found.reliability,
        found.mistakes,
        [np.asarray(inputs[mistake.index]) for mistake in found.mistakes],
    )
