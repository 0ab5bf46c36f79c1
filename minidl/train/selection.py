"""Which model is the best so far, and whether it is still worth going on.

One metric, ``trainer.monitor``, decides both.
"""

from __future__ import annotations

import math

from minidl.train.config import TrainerSection
from minidl.train.metrics.direction import better, higher_is_better
from minidl.train.progress import Progress


def note_if_best(progress: Progress, monitor: str, value: float, *, keep: bool = False) -> bool:
    """Note a value of the monitored metric if it is the best so far; return whether it is.

    Parameters
    ----------
    keep
        Whether it counts as the best in any case.
    """
    if not (keep or (math.isfinite(value) and better(monitor, value, progress.best))):
        return False
    progress.best, progress.best_epoch, progress.best_step = value, progress.epoch, progress.step
    return True


def reason_to_stop(progress: Progress, settings: TrainerSection, value: float) -> str | None:
    """Count a validation that found ``value``; return why to stop early, or None."""
    early = settings.early_stop
    if early is None:
        return None
    margin = -early.min_delta if higher_is_better(settings.monitor) else early.min_delta
    if math.isfinite(value) and better(settings.monitor, value + margin, progress.reference):
        progress.reference, progress.waited = value, 0
        return None
    progress.waited += 1
    if progress.waited < early.patience:
        return None
    return (
        f"early stop: {settings.monitor} has not been better than in epoch {progress.best_epoch} "
        f"for {progress.waited} validations"
    )
