"""How a run ended, as `Trainer.run` returns it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from minidl.train.tracking import TrackingReport

Status = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass
class Result:
    """How a run ended.

    ``status`` is MLflow's word for it; ``exit_status`` is 0, or tells a shell of a signal.
    ``seconds`` is the time of the whole run, over all attempts, ``samples_per_s`` the rate of this
    attempt's training alone. ``error`` says what went wrong in a run that failed.
    """

    status: Status
    directory: Path
    metrics: dict[str, float] = field(default_factory=dict)
    best_epoch: int = 0
    seconds: float = 0.0
    samples_per_s: float = 0.0
    tracking: TrackingReport | None = None
    exit_status: int = 0
    error: str | None = None
