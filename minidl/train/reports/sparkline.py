"""A curve in one line of text: eight heights of block characters."""

from __future__ import annotations

import math
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(
    values: Sequence[float], *, low: float | None = None, high: float | None = None
) -> str:
    """Draw one character a value; one that is no finite number is a space.

    Parameters
    ----------
    low, high
        Values of the lowest and the highest block; by default the smallest and the largest one.
        To compare curves, give all the same.

    Examples
    --------
    >>> sparkline([0, 1, 2, 3, 4, 5, 6, 7])
    '▁▂▃▄▅▆▇█'
    >>> sparkline([3.0, 3.0, float("nan"), 3.0])
    '▄▄ ▄'
    """
    finite = [value for value in values if math.isfinite(value)]
    low = min(finite, default=0.0) if low is None else low
    high = max(finite, default=0.0) if high is None else high
    return "".join(_block(value, low, high) for value in values)


def resample(steps: Sequence[int], values: Sequence[float], *, end: int, width: int) -> list[float]:
    """Return the curve from step 1 to step ``end`` as ``width`` values, evenly spaced.

    Each is the mean of the finite values in its share of the steps; where a share has no point, it
    has the value of the next one, for a metric tells of the steps before it. After the last point
    there is NaN. So curves with the same ``end`` can stand below one another.

    Examples
    --------
    >>> resample([2, 4, 6], [1.0, 3.0, 5.0], end=8, width=4)
    [1.0, 3.0, 5.0, nan]
    """
    width = min(width, end)
    bins: list[list[float]] = [[] for _ in range(width)]
    for step, value in zip(steps, values, strict=True):
        bins[min(max(step - 1, 0) * width // end, width - 1)].append(value)
    means: list[float] = []
    following = math.nan
    for found in reversed(bins):
        if found:
            following = _mean(found)
        means.append(following)
    return means[::-1]


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def _block(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return " "
    # The mean of equal values may differ from them in the last bit, which is no slope.
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        return BLOCKS[3]
    share = (min(max(value, low), high) - low) / (high - low)
    return BLOCKS[round(share * (len(BLOCKS) - 1))]
