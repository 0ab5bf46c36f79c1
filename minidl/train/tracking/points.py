"""Points of metrics, and which of them a run in MLflow has already.

MLflow takes a point that it has (same name, time, step and value) a second time without a word,
so sending everything again is safe. Asking first is better: it tells what was lacking, and it
keeps a curve single where the journal lost entries that had been sent (the machine lost power,
and the resumed training measured them anew, at another time).
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Mapping
from typing import NamedTuple

LONGEST_NAME = 250


class Point(NamedTuple):
    """One value of one metric; ``timestamp`` in milliseconds since 1970."""

    name: str
    value: float
    step: int
    timestamp: int


def points_of(metrics: Mapping[str, float], *, step: int, time: float) -> list[Point]:
    """Return the points of one step, taken at ``time`` (seconds since 1970)."""
    stamp = round(time * 1000)
    return [
        Point(mlflow_name(name), float(value), int(step), stamp) for name, value in metrics.items()
    ]


def mlflow_name(key: str) -> str:
    """Return ``key`` as MLflow accepts it: its characters, no path tricks, not too long.

    >>> mlflow_name("../a:b")
    'a_b'
    """
    allowed = re.sub(r"[^\w\-. /]", "_", key)
    parts = [part for part in allowed.split("/") if part.strip(". ")]
    return "/".join(parts)[:LONGEST_NAME].rstrip("/") or "_"


class KnownPoints:
    """The points that a run has in MLflow.

    Parameters
    ----------
    known
        As MLflow gives them back.
    journal
        All points of the run's journal. What MLflow has beyond these was lost from the journal:
        a point of the same metric and step takes its place, and is not to be sent.
    """

    def __init__(self, known: Iterable[Point] = (), journal: Iterable[Point] = ()) -> None:
        self._known = {_identity(point) for point in known}
        beyond = self._known - {_identity(point) for point in journal}
        self._replaced = {(name, step) for name, _, step, _ in beyond}

    def lack(self, point: Point) -> bool:
        """Whether ``point`` is to be sent."""
        return (
            _identity(point) not in self._known and (point.name, point.step) not in self._replaced
        )


def _identity(point: Point) -> tuple[str, float | str, int, int]:
    """Return what makes MLflow take two points for the same; NaN equals NaN there."""
    value: float | str = point.value
    if math.isnan(point.value):
        value = "NaN"
    elif math.isinf(point.value):  # MLflow's databases keep the largest number in its place
        value = math.copysign(sys.float_info.max, point.value)
    return point.name, value, point.step, point.timestamp
