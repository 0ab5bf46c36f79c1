"""Medians, quartiles, ratios, and when a result is refused."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

#: Results of the first steps must agree so far.
TOLERANCE = 1e-3
#: Steps whose results are compared.
COMPARED = 20


class Spread(NamedTuple):
    """Median and quartiles."""

    low: float
    median: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Return quartiles (the inclusive method; one value is all three).

    Raises
    ------
    ValueError
        There are no values.
    """
    if not values:
        raise ValueError("no values, so no median")
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    return Spread(*statistics.quantiles(values, n=4, method="inclusive"))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Return quartiles of ours over theirs, round by round: both had the same moment."""
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])


def disagreement(results: Sequence[float], reference: Sequence[float]) -> str | None:
    """Say where results part from the reference, or None where they agree.

    ``|a - b| ≤ 1e-3 · max(1, |b|)`` is wanted at every step.
    """
    if len(results) != len(reference):
        return f"{len(results)} results where the reference has {len(reference)}"
    for i, (a, b) in enumerate(zip(results, reference, strict=True)):
        if not math.isfinite(a) or abs(a - b) > TOLERANCE * max(1.0, abs(b)):
            return f"step {i + 1}: {a:.6g} where the reference has {b:.6g}"
    return None


def fastest(medians: Mapping[str, float]) -> str | None:
    """Name the key of the smallest value."""
    return min(medians, key=lambda name: medians[name]) if medians else None


def verdict(ratio: float | None, goal: float | None) -> str:
    """Say how a ratio stands to its goal."""
    if ratio is None or goal is None:
        return ""
    return "reached" if ratio <= goal else "missed"


def described(row: Mapping[str, Any]) -> str:
    """Write a ratio with its quartiles."""
    found = row.get("ratio")
    if not found:
        return "–"
    return f"{found['median']:.2f} ({found['low']:.2f} to {found['high']:.2f})"
