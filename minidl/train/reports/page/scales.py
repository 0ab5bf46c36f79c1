"""From values to places in a drawing: a scale of an axis, with ticks at round numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Maps values from ``low`` to ``high`` onto ``start`` to ``end``, by logarithm where asked."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def held(self, value: float) -> float:
        """Return the place of a value, or the end of the scale that it lies beyond."""
        return self(min(max(value, self.low), self.high))

    def ticks(self) -> list[float]:
        """Return round values within the scale."""
        if self.logarithmic:
            powers = range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
            return [10.0**power for power in powers]
        step = round_step((self.high - self.low) / 4)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def round_step(rough: float) -> float:
    """Return 1, 2 or 5 times a power of ten, near ``rough``.

    Examples
    --------
    >>> [round_step(rough) for rough in (0.013, 30.0, 800.0)]
    [0.01, 20.0, 1000.0]
    """
    power = 10.0 ** math.floor(math.log10(rough))
    return power * next(factor for factor in (1, 2, 5, 10) if rough / power <= factor * 1.5)


def scale_of(values: Sequence[float], start: float, end: float) -> Scale:
    """Return a scale that holds all finite values; a logarithmic one for what spans decades."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if low > 0 and high / low > 100:
        return Scale(
            10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high)), start, end, True
        )
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        margin = abs(high) / 10 or 1.0
        return Scale(low - margin, high + margin, start, end)
    margin = (high - low) / 20
    # Nothing below zero is shown of what is never negative.
    bottom = max(low - margin, 0.0) if low >= 0 else low - margin
    return Scale(bottom, high + margin, start, end)
