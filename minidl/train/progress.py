"""Where a training stands: plain numbers, part of every checkpoint.

Besides the place (epoch, batch, step) it notes what has been done at this step. A training that is
taken up asks what was due and is not noted, and does only that: nothing is measured twice and
nothing is left out, wherever it was cut off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass
class Progress:
    """Where a training stands.

    Attributes
    ----------
    epoch
        The epoch that is being trained, from 1; 0 before the first.
    batch
        Batches of it that have been trained on; ``epoch_ended`` once these were all.
    step
        Optimizer steps, over all epochs.
    best, best_epoch, best_step
        The best value of the monitored metric, and when it was found.
    reference, waited
        The value that early stopping wants bettered, and the validations it has waited for that.
    logged, validated, saved
        The step of the last point of the training metrics, validation, and checkpoint.
    finished_epoch
        The last epoch whose end has been told.
    seconds
        Time spent so far, over all attempts.
    stopped
        Why the training stopped before its length was reached; empty while it has not.
    nonfinite, nonfinite_in_a_row
        Steps left out because loss or gradients were no numbers.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    epoch_ended: bool = False
    best: float | None = None
    best_epoch: int = 0
    best_step: int = 0
    reference: float | None = None
    waited: int = 0
    logged: int = 0
    validated: int = 0
    saved: int = 0
    finished_epoch: int = 0
    seconds: float = 0.0
    stopped: str = ""
    nonfinite: int = 0
    nonfinite_in_a_row: int = 0

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Self:
        """Make it from what ``vars(progress)`` gave.

        Raises
        ------
        ValueError
            Something is missing, or unknown.
        """
        known = {field.name for field in fields(cls)}
        if state.keys() != known:
            odd = ", ".join(sorted(state.keys() ^ known))
            raise ValueError(f"the progress has other entries than this version of minidl: {odd}")
        return cls(**state)
