"""Weights of a loss that follow from the training samples: ``weight: balanced``.

Where classes are of different sizes, a rare one weighs more, so that each counts the same in sum.
The weights are those of the samples that are trained on; held-out ones have no say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.train.config import Config
from minidl.train.config.schema import BALANCED

if TYPE_CHECKING:
    from minidl.train.data_parts import Data


def class_weights(labels: Any, classes: tuple[str, ...]) -> list[float]:
    """Return ``n / (k · count)`` for each of ``k`` classes, with ``n`` labels in all.

    It is what scikit-learn calls balanced; the weights of all samples sum to ``n``.

    Raises
    ------
    ValueError
        A class has no label.

    Examples
    --------
    >>> class_weights(np.array([0, 0, 0, 1]), ("no", "yes"))
    [0.6666666666666666, 2.0]
    """
    counts = np.bincount(labels, minlength=len(classes))
    if not counts.all():
        names = ", ".join(str(classes[i]) for i in np.flatnonzero(counts == 0))
        raise ValueError(f"no training sample is of class {names}, which so has no weight")
    return [float(weight) for weight in len(labels) / (len(classes) * counts)]


def positive_weights(targets: Any) -> list[float]:
    """Return the negatives for each positive, in each column of targets that are 0 or 1.

    Raises
    ------
    ValueError
        Other targets are among them, or none is positive.

    Examples
    --------
    >>> positive_weights(np.array([0, 0, 0, 1]))
    [3.0]
    """
    columns = np.asarray(targets).reshape(len(targets), -1)
    if not np.isin(columns, (0, 1)).all():
        raise ValueError("training targets other than 0 and 1 are neither positive nor negative")
    positive = columns.sum(axis=0, dtype=np.float64)
    if not positive.all():
        raise ValueError("a target is 0 in every training sample, and so has no weight")
    return [float(weight) for weight in (len(columns) - positive) / positive]


def loss_weights(config: Config, data: Data) -> dict[str, Any]:
    """Return the weights that the loss is given in place of ``balanced``.

    Raises
    ------
    ConfigError
        The samples give none, or the weights written are not one a class.
    """
    name = BALANCED.get(config.loss.type, "")
    given = config.loss.arguments().get(name)
    if given is None:
        return {}
    by_class = name == "weight"
    targets = data.train.dataset.targets
    try:
        if given != "balanced":
            if by_class and data.classes and len(given) != len(data.classes):
                raise ValueError(
                    f"`weight` has {len(given)} numbers, and {data.name} has "
                    f"{len(data.classes)} classes: wanted one a class"
                )
            return {}
        if not by_class:
            return {name: positive_weights(targets)}
        if not data.classes:
            raise ValueError(f"{data.name} has no classes to balance")
        return {name: class_weights(targets, data.classes)}
    except ValueError as error:
        raise config.problem(("loss", name), str(error)) from error
