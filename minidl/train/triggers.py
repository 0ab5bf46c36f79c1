"""When something is done: every so many steps or epochs.

Chainer's form: a number and a unit, ``[500, steps]`` in YAML, ``Every(500, "steps")`` in Python.
A trigger looks at where the training stands and keeps nothing, so that an interrupted training
does again exactly what was due.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from minidl.train.progress import Progress


@dataclass(frozen=True)
class Every:
    """Every ``number`` steps, or at the end of every ``number`` epochs.

    >>> Every(2, "epochs").due(Progress(epoch=4, epoch_ended=True))
    True
    >>> Every(500, "steps").due(Progress(step=750))
    False
    """

    number: int
    unit: Literal["steps", "epochs"]

    def __post_init__(self) -> None:
        if self.unit not in ("steps", "epochs"):
            raise ValueError(f"Every: the unit is 'steps' or 'epochs', got {self.unit!r}")
        if self.number < 1:
            raise ValueError(f"Every: a number of at least 1 is wanted, got {self.number}")

    def due(self, progress: Progress) -> bool:
        """Whether it is time."""
        if self.unit == "steps":
            return progress.step > 0 and progress.step % self.number == 0
        return progress.epoch_ended and progress.epoch % self.number == 0


def seconds_of(text: str) -> float:
    """Return the seconds that ``"HH:MM:SS"`` or ``"DD:HH:MM:SS"`` means.

    >>> seconds_of("01:00:30"), seconds_of("1:00:00:00")
    (3630.0, 86400.0)
    """
    parts = [int(part) for part in text.split(":")]
    units = (1, 60, 3600, 86400)[: len(parts)]
    return float(sum(n * unit for n, unit in zip(reversed(parts), units, strict=True)))
