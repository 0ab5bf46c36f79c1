"""What was measured, as a Markdown table, a plot, and the sentences around them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import summary
from harness.rounds import FLOOR
from harness.systems import MINIDL, MINIDL_NUMPY

OURS = (MINIDL, MINIDL_NUMPY)

Row = dict[str, Any]
Entry = dict[str, Any]


def best(row: Row, systems: Any) -> Entry | None:
    """Return the entry of these systems with the smallest median."""
    timed = [
        entry
        for entry in row["entries"]
        if entry["system"] in systems and entry["variant"] != FLOOR and "median" in entry
    ]
    return min(timed, key=lambda entry: float(entry["median"]), default=None)


def floor(row: Row) -> Entry | None:
    """Return what BLAS alone takes."""
    return next((entry for entry in row["entries"] if entry["variant"] == FLOOR), None)


def opponents(row: Row) -> list[str]:
    """Name the peers that the row's goal is about: PyTorch alone, for derivatives and processes."""
    peers = {entry["system"] for entry in row["entries"]} - set(OURS)
    only = row["kind"] in ("derivative", "first", "whole")
    return [name for name in sorted(peers) if not only or name == "torch"]


def over(ours: Entry | None, theirs: Entry | None) -> summary.Spread | None:
    """Return the quartiles of ours over theirs."""
    if ours is None or theirs is None:
        return None
    count = min(len(ours["rounds"]), len(theirs["rounds"]))
    return summary.ratios(ours["rounds"][:count], theirs["rounds"][:count])


def judged(row: Row) -> dict[str, Any]:
    """Return what the row says: the two medians, their ratio, and whether the goal is reached."""
    peer = best(row, opponents(row))
    ours, numpy = best(row, (MINIDL,)), best(row, (MINIDL_NUMPY,))
    if ours is None:
        ours = numpy
    ratio = over(ours, peer)
    said = summary.verdict(ratio.median if ratio else None, row["goal"])
    if row["kind"] in ("derivative", "first") and ours and said == "reached":
        peers = {entry["system"] for entry in row["entries"]} - set(OURS)
        behind = [
            name
            for name in sorted(peers)
            if (other := best(row, (name,))) and other["median"] < ours["median"]
        ]
        said = f"missed: {', '.join(behind)} faster" if behind else said
    ground = floor(row)
    return {
        "ours": ours,
        "numpy": numpy,
        "peer": peer,
        "ratio": ratio,
        "numpy_ratio": over(numpy, peer),
        "verdict": said,
        "floor": ground["median"] / ours["median"] if ground and ours else None,
    }


def shown(value: float, unit: str) -> str:
    """Write a number of seconds or megabytes with three digits."""
    if unit != "s":
        return f"{value:.0f} {unit}"
    for factor, name in ((1e6, "µs"), (1e3, "ms")):
        if value * factor < 1000:
            number = value * factor
            return f"{number:.{max(0, 2 - len(str(int(number))) + (number >= 1))}f} {name}"
    return f"{value:.1f} s"


def _cell(entry: Entry | None, unit: str) -> str:
    if entry is None:
        return "–"
    return f"{shown(entry['median'], unit)} ({entry['variant']})"


def _ratio(found: summary.Spread | None) -> str:
    return f"**{found.median:.2f}** ({found.low:.2f}–{found.high:.2f})" if found else "–"


def summary_table(rows: list[Row]) -> list[str]:
    """Return the table of the goals."""
    lines = [
        "| case | minidl | without numba | fastest peer | ratio (quartiles) | goal | | floor |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        found = judged(row)
        unit, peer = row["unit"], found["peer"]
        theirs = f"{peer['system']}: {_cell(peer, unit)}" if peer else "–"
        lines.append(
            f"| {row['title']} | {_cell(found['ours'], unit)} | {_cell(found['numpy'], unit)} "
            f"| {theirs} | {_ratio(found['ratio'])} | {row['goal']:g} | {found['verdict']} "
            f"| {format(found['floor'], '.2f') if found['floor'] else ''} |"
        )
    return lines


def systems_table(rows: list[Row], systems: list[str]) -> list[str]:
    """Return the table of every system's fastest way."""
    lines = [f"| case | {' | '.join(systems)} |", "| --- " * (len(systems) + 1) + "|"]
    for row in rows:
        cells = []
        for system in systems:
            entry = best(row, (system,))
            if entry is not None:
                cells.append(_cell(entry, row["unit"]))
            else:
                why = row["cannot"].get(system, "")
                refused = any(name.startswith(system) for name in row["refused"])
                absent = "no such case" if "no such case" in why else "–"
                cells.append("refused" if refused else absent)
        lines.append(f"| {row['title']} | {' | '.join(cells)} |")
    return lines


def refusals(rows: list[Row]) -> list[str]:
    """Say who was refused, and why."""
    lines = []
    for row in rows:
        for way, why in row["refused"].items():
            lines.append(f"- {row['title']}: {way}: {why}")
        for system, why in row["cannot"].items():
            if "no such case" not in why:
                lines.append(f"- {row['title']}: {system}: {why}")
    return lines


def ways_tried(rows: list[Row]) -> list[str]:
    """List the ways that were slower than another of the same system, by their first steps."""
    lines = []
    for row in rows:
        tried = [
            f"{entry['system']} {entry['variant']} {shown(entry['pilot'], row['unit'])}"
            for entry in row["entries"]
            if "median" not in entry and entry["variant"] != FLOOR
        ]
        if tried:
            lines.append(f"- {row['title']}: {'; '.join(tried)}")
    return lines


def markdown(results: Mapping[str, Any]) -> str:
    """Write all of it."""
    rows = list(results["rows"].values())
    present = [name for name, about in results["systems"].items() if "missing" not in about]
    missing = {
        name: about["missing"] for name, about in results["systems"].items() if "missing" in about
    }
    versions = [
        f"- {name}: " + ", ".join(f"{k} {v}" for k, v in results["systems"][name].items())
        for name in present
    ]
    parts = [
        ["# Measured", "", results["machine"], "", f"Command: `{results['command']}`", ""],
        [*versions, *(f"- {name} is missing: {why}" for name, why in missing.items()), ""],
        [*summary_table(rows), ""],
        ["## Every system in its fastest way", "", *systems_table(rows, present), ""],
    ]
    if lines := refusals(rows):
        parts.append(["## Refused", "", *lines, ""])
    if lines := ways_tried(rows):
        parts.append(["## Tried and slower, quickest of the first steps", "", *lines, ""])
    return "\n".join(line for part in parts for line in part)


def plot(rows: list[Row], path: Path) -> bool:
    """Draw ratios and goals; False where matplotlib is missing."""
    try:
        import matplotlib

        matplotlib.use("svg")
        from matplotlib import pyplot
    except ImportError:
        return False
    drawn = [(row, found) for row in rows if (found := judged(row))["ratio"] is not None]
    if not drawn:
        return True
    matplotlib.rcParams["svg.hashsalt"] = "minidl"  # the same drawing, the same file
    figure, axes = pyplot.subplots(figsize=(8, 0.32 * len(drawn) + 1.2))
    for place, (row, found) in enumerate(drawn):
        y, ratio = len(drawn) - place, found["ratio"]
        reached = found["verdict"] == "reached"
        axes.barh(y, ratio.median, 0.6, color="#2a7f62" if reached else "#8fb8de")
        axes.plot([ratio.low, ratio.high], [y, y], color="black", linewidth=1)
        axes.plot([row["goal"]] * 2, [y - 0.4, y + 0.4], color="#c0392b", linewidth=2)
        if found["numpy_ratio"]:
            axes.plot(found["numpy_ratio"].median, y, "o", color="#555555", markersize=3)
    axes.axvline(1.0, color="black", linewidth=0.6, linestyle=":")
    axes.set_yticks(range(len(drawn), 0, -1), [row["title"] for row, _ in drawn], fontsize=8)
    axes.set_xlabel("minidl's time over the fastest peer's; red: goal, dot: without numba")
    highest = max(found["ratio"].high for _, found in drawn)
    axes.set_xlim(0, min(3.0, 1.1 * max(1.0, highest)))
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return True
