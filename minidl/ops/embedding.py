"""Looking rows up by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd.primitive import Box
from minidl.ops.arithmetic import eq
from minidl.ops.shape import cast, unsqueeze

__all__ = [
    "one_hot",
]


def one_hot(labels: Any, num_classes: int = -1) -> Any:
    """Return 1 at each label's place and 0 elsewhere: ``(*) -> (*, num_classes)``, as int64.

    ``num_classes=-1`` counts up to the largest label.

    Raises
    ------
    TypeError
        The labels are not integers.
    IndexError
        A label is negative or not below ``num_classes``.
    ValueError
        There are no labels to tell the number of classes.
    """
    if not hasattr(labels, "dtype"):
        labels = np.asarray(labels)
    known = labels
    while isinstance(known, Box):  # under vmap: those of all examples
        known = known.value
    if known.dtype.kind not in "iu":
        raise TypeError(f"one_hot: labels must be integers, got {known.dtype}")
    if num_classes == -1 and not known.size:
        raise ValueError("one_hot: num_classes is wanted where there are no labels to tell it")
    classes = int(known.max()) + 1 if num_classes == -1 else num_classes
    if known.size and (known.min() < 0 or known.max() >= classes):
        raise IndexError(
            f"one_hot: labels {known.min()} to {known.max()} do not fit {classes} classes"
        )
    return cast(eq(unsqueeze(labels, -1), np.arange(classes)), np.int64)
