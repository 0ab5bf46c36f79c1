"""Table of `minidl.ops.embedding`."""

from __future__ import annotations

from typing import Any

import numpy as np

from optable.record import Op, bad
from optable.samples import labels


def reference_one_hot(labels: Any, num_classes: int | None = None) -> Any:
    return np.eye(labels.max() + 1 if num_classes is None else num_classes, dtype=int)[labels]


OPS = [
    Op(
        "one_hot",
        labels,
        reference_one_hot,
        lambda torch, x, num_classes=-1: torch.nn.functional.one_hot(x, num_classes),
        (bad(np.array([0, 3]), 3, raises=IndexError, match="0 to 3 do not fit 3 classes"),),
        False,
    ),
]
