"""Drawings as SVG: curves, and how sure a model was against how often it was right.

Colours are classes of the page's style sheet, so that the drawings follow a dark screen. Each
drawing says in words what it shows, for those who do not see it. What a pointer reads off a curve
goes along as data, which the page's script looks up.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from minidl.train.metrics import Reliability
from minidl.train.reporter import figure
from minidl.train.reports.page.scales import Scale, scale_of

WIDTH, HEIGHT = 460, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 12, 38
_MOST_POINTS = 160  # in a drawing some 400 pixels wide, more would hide one another


@dataclass(frozen=True)
class Series:
    """One curve: ``role`` gives its colour (train, val, test), ``dash`` its pattern."""

    label: str
    metric: str
    steps: Sequence[int]
    values: Sequence[float]
    role: str = "train"
    dash: int = 0


@dataclass(frozen=True)
class Chart:
    """A drawing for the template: elements with their places, and words.

    ``lines`` are points of ``<polyline>``, ``bands`` of ``<polygon>``, both with their classes;
    ``x_ticks`` and ``y_ticks`` a place and a text; ``readout`` is JSON for the script.
    """

    title: str
    words: str
    lines: list[dict[str, Any]]
    bands: list[dict[str, Any]]
    marks: list[dict[str, Any]]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    readout: str
    legend: list[dict[str, str]] = field(default_factory=list)
    x_label: str = "step"
    note: str = ""
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM


@dataclass(frozen=True)
class Point:
    """The points of a share of the steps, as one: their mean and their range."""

    step: int
    mean: float
    low: float
    high: float


def gathered(steps: Sequence[int], values: Sequence[float], most: int) -> list[Point]:
    """Return at most ``most`` points, each of an equal number of finite values in a row."""
    finite = [(s, v) for s, v in zip(steps, values, strict=True) if math.isfinite(v)]
    size = max(-(-len(finite) // most), 1)
    points = []
    for start in range(0, len(finite), size):
        part = finite[start : start + size]
        found = [value for _, value in part]
        points.append(Point(part[-1][0], sum(found) / len(found), min(found), max(found)))
    return points


def line_chart(title: str, series: Sequence[Series], *, end: int) -> Chart:
    """Draw curves over the steps from 0 to ``end``."""
    points = [gathered(one.steps, one.values, _MOST_POINTS) for one in series]
    # The scale is that of the means: single batches, whose range is shown, may reach beyond it.
    values = [point.mean for found in points for point in found]
    x = Scale(0, max(end, 1), _LEFT, WIDTH - _RIGHT)
    y = scale_of(values, HEIGHT - _BOTTOM, _TOP)
    lines: list[dict[str, Any]] = []
    bands: list[dict[str, Any]] = []
    marks: list[dict[str, Any]] = []
    for one, found in zip(series, points, strict=True):
        look = f"{one.role} dash{one.dash}"
        lines.append({"look": look, "points": _path((x(p.step), y(p.mean)) for p in found)})
        if any(point.low < point.high for point in found):
            ways = [(x(p.step), y.held(p.high)) for p in found]
            ways += [(x(p.step), y.held(p.low)) for p in reversed(found)]
            bands.append({"look": one.role, "points": _path(ways)})
        if len(found) <= 40:
            marks += [{"look": one.role, "x": _px(x(p.step)), "y": _px(y(p.mean))} for p in found]
    metric = series[0].metric if series else ""
    return Chart(
        title,
        "; ".join(_in_words(one) for one in series),
        lines,
        bands,
        marks,
        [(_px(x(tick)), f"{tick:,.0f}") for tick in x.ticks() if tick == int(tick)],
        [(_px(y(tick)), tick_label(metric, tick)) for tick in y.ticks()],
        _readout(series, points, x),
        [_legend(one, found) for one, found in zip(series, points, strict=True)],
        note="logarithmic" if y.logarithmic else "",
    )


def _legend(series: Series, points: Sequence[Point]) -> dict[str, str]:
    last = figure(series.metric, points[-1].mean) if points else ""
    return {"label": series.label, "look": f"{series.role} dash{series.dash}", "last": last}


def _in_words(series: Series) -> str:
    finite = [value for value in series.values if math.isfinite(value)]
    if not finite:
        return f"{series.label}: no finite value"
    first, last = figure(series.metric, finite[0]), figure(series.metric, finite[-1])
    return f"{series.label} from {first} to {last}"


def _readout(series: Sequence[Series], points: Sequence[Sequence[Point]], x: Scale) -> str:
    """Return what the script needs: for each curve its places, steps and values as text."""
    curves = [
        {
            "label": one.label,
            "x": [_px(x(p.step)) for p in found],
            "steps": [p.step for p in found],
            "texts": [figure(one.metric, p.mean) for p in found],
        }
        for one, found in zip(series, points, strict=True)
    ]
    return json.dumps(curves)


def tick_label(metric: str, value: float) -> str:
    """Write the value of a tick: per cent for shares, few digits for all."""
    value = 0.0 if abs(value) < 1e-12 else value
    if metric.endswith("accuracy"):
        return f"{100 * value:.4g} %"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def reliability_chart(found: Reliability) -> Chart:
    """Draw how often the model was right, by how sure it was; on the diagonal it is as it says."""
    x, y = Scale(0, 1, _LEFT, WIDTH - _RIGHT), Scale(0, 1, HEIGHT - _BOTTOM, _TOP)
    bars: list[dict[str, Any]] = []
    most = max(int(found.samples.max()), 1)
    rows = zip(
        found.edges, found.edges[1:], found.samples, found.confidence, found.accuracy, strict=False
    )
    for low, high, samples, confidence, accuracy in rows:
        if not samples:
            continue
        corners = [(x(low), y(0)), (x(low), y(accuracy)), (x(high), y(accuracy)), (x(high), y(0))]
        bars.append(
            {
                "look": "val",
                "points": _path(corners),
                # A bin of three samples says little, and looks it.
                "opacity": round(0.25 + 0.65 * math.sqrt(samples / most), 3),
                "words": f"sure {100 * low:.0f} to {100 * high:.0f} %: {samples:,} samples, on "
                f"average {100 * confidence:.1f} % sure and {100 * accuracy:.1f} % right",
            }
        )
    diagonal = [{"look": "muted dash1", "points": _path([(x(0), y(0)), (x(1), y(1))])}]
    ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
    return Chart(
        "Calibration",
        "; ".join(bar["words"] for bar in bars),
        diagonal,
        bars,
        [],
        [(_px(x(tick)), f"{100 * tick:.0f} %") for tick in ticks],
        [(_px(y(tick)), f"{100 * tick:.0f} %") for tick in ticks],
        "[]",
        x_label="how sure the model was",
    )


def _path(places: Any) -> str:
    return " ".join(f"{_px(x)},{_px(y)}" for x, y in places)


def _px(value: float) -> float:
    return round(float(value), 1)
