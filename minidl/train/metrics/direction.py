"""Which of two values of a metric is the better one, told by the metric's name alone.

The best checkpoint, early stopping, a sweep's direction and a curve's mark all ask here, so that
they cannot differ. A name is ``val/f1/cat``: part of the data, stem, and a class where it is of
one alone.
"""

from __future__ import annotations

import math

from minidl.train.metrics.regression import MeanAbsoluteError, MeanSquaredError
from minidl.train.metrics.scores import BrierScore, CalibrationError, LogLoss

_LOWER = frozenset(
    ["loss"]
    + [
        cls.stem
        for cls in (BrierScore, CalibrationError, LogLoss, MeanAbsoluteError, MeanSquaredError)
    ]
)


def higher_is_better(name: str) -> bool:
    """Whether larger values of the metric ``name`` are better: of ``val/f1/cat``, not of losses.

    Examples
    --------
    >>> [higher_is_better(name) for name in ("val/loss", "val/top5_accuracy", "val/mae")]
    [False, True, False]
    """
    _, _, rest = name.partition("/")
    return rest.partition("/")[0] not in _LOWER


def better(name: str, value: float, best: float | None) -> bool:
    """Whether ``value`` of the metric ``name`` is better than the best so far (None: none yet).

    NaN is never better, and anything else is better than NaN; an equal value is not.
    """
    if best is None or math.isnan(best):
        return best is None or not math.isnan(value)
    return value > best if higher_is_better(name) else value < best
