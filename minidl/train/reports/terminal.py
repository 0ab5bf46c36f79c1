"""Runs as text: on a terminal in colours and as wide as it is, elsewhere in plain columns.

Without a terminal nothing is cut or folded, so that a line can be searched for and cut by tools.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from minidl.train.reports import overview
from minidl.train.reports.comparison import config_differences, curves, outcomes
from minidl.train.reports.config_lines import config_lines
from minidl.train.reports.records import RunRecord
from minidl.train.reports.sparkline import BLOCKS, resample, sparkline

_COLOURS = {
    "finished": "green",
    "running": "cyan",
    "failed": "red",
    "killed": "yellow",
    "unfinished": "yellow",
    "empty": "red",
    # Of jobs, and their attempts.
    "succeeded": "green",
    "queued": "blue",
    "starting": "cyan",
    "cancelling": "yellow",
    "cancelled": "yellow",
    "interrupted": "yellow",
    "timed_out": "red",
}
_ASCII = "_.-:=+*#"  # heights, for an encoding that lacks the blocks
_MOST_CURVES = 12


class Page:
    """Where text goes: headings, tables, pairs, lines."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = Console(highlight=False) if console is None else console
        self.wide = self.console.width if self.console.is_terminal else None

    def line(self, text: str = "", style: str = "") -> None:
        """Print a line whole."""
        self.console.print(Text(text, style=style), soft_wrap=True)

    def heading(self, text: str) -> None:
        """Print what the next lines are about, after an empty line."""
        self.line()
        self.line(text, "bold")

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table."""
        if self.wide is None:
            for cells in _aligned([headings, *rows]):
                self.line(cells)
            return
        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        for heading in headings:
            table.add_column(heading, overflow="fold")
        for row in rows:
            table.add_row(*[Text(cell, style=_COLOURS.get(cell, "")) for cell in row])
        self.console.print(table)

    def pairs(self, pairs: Mapping[str, str]) -> None:
        """Print names, and a text beside each."""
        if self.wide is None:
            for cells in _aligned([[f"  {name}", text] for name, text in pairs.items()]):
                self.line(cells)
            return
        table = Table(box=None, show_header=False, padding=(0, 2))
        table.add_column(no_wrap=True, style="cyan")
        table.add_column(overflow="fold")
        for name, text in pairs.items():
            table.add_row(Text(name), Text(text))
        self.console.print(table)

    def blocks(self, text: str) -> str:
        """Return a sparkline in characters that can be shown here."""
        try:
            BLOCKS.encode(self.console.encoding)
        except (UnicodeEncodeError, LookupError):
            return text.translate(str.maketrans(BLOCKS, _ASCII))
        return text


def print_list(
    runs: Sequence[RunRecord], *, extra: Sequence[str] = (), page: Page | None = None
) -> None:
    """Print a line for each run, and below what is wrong with any."""
    page = Page() if page is None else page
    headings = overview.columns(runs, extra)
    page.table(headings, [overview.row(run, headings) for run in runs])
    wrong = [(run.name, problem) for run in runs for problem in run.problems]
    if wrong:
        page.line()
    for name, problem in wrong:
        page.line(f"{name}: {problem}", "yellow")


def print_run(run: RunRecord, page: Page | None = None) -> None:
    """Print all there is to a run."""
    page = Page() if page is None else page
    page.line(f"{run.directory}", "bold")
    facts: dict[str, str] = {"state": run.state}
    facts["began"] = overview.moment(run.began)
    facts["time"] = overview.duration(run.seconds)
    if run.steps is not None:
        facts["trained"] = f"{run.steps:,} steps, {run.epochs} epochs"
    if run.samples_per_s:
        facts["samples/s"] = f"{run.samples_per_s:,.0f}"
    if run.best:
        value = overview.shown(run.best.metric, run.best.value)
        where = f"in epoch {run.best.epoch}, step {run.best.step:,}"
        facts["best"] = f"{run.best.metric} {value} {where}"
    if isinstance(run.summary.get("mlflow_run_id"), str):
        facts["MLflow run"] = run.summary["mlflow_run_id"]
    page.pairs({name: text for name, text in facts.items() if text})
    for problem in run.problems:
        page.line(f"  {problem}", "yellow")
    if run.config:
        page.heading("config (what differs from the defaults)")
        page.pairs(config_lines(run.config))
    _print_metrics(run, page)
    page.heading("files")
    page.pairs(_files(run))


def _print_metrics(run: RunRecord, page: Page) -> None:
    names = curves([run])
    once = [name for name in run.metrics if name not in names]
    roomy = page.wide is None or page.wide >= 100
    if names:
        page.heading("curves")
        rows = []
        for name in names:
            steps, values = run.series(name)
            beside = 70 if roomy else 50
            means = resample(steps, values, end=run.steps or 1, width=_width(page, beside))
            drawn = page.blocks(sparkline(means))
            finite = [value for value in values if math.isfinite(value)] or [math.nan]
            found = [values[0], values[-1], *([min(finite), max(finite)] if roomy else [])]
            ends = [overview.shown(name, value) for value in found]
            rows.append([name, drawn, *ends])
        headings = ["first", "last", *(["least", "most"] if roomy else [])]
        page.table(["metric", "", *headings], rows)
    if once:
        page.heading("metrics")
        page.pairs({name: overview.shown(name, run.metrics[name]) for name in once})


def print_comparison(runs: Sequence[RunRecord], page: Page | None = None) -> None:
    """Print what differs between runs, and their curves on one scale."""
    page = Page() if page is None else page
    names = distinct_names(runs)
    for heading, found, nothing in (
        ("config", config_differences(runs), "the configs are the same"),
        ("outcome", outcomes(runs), "there is no outcome yet"),
    ):
        if found:
            rows = [[name, *(value or "–" for value in values)] for name, values in found.items()]
            page.table([heading, *names], rows)
        else:
            page.line(nothing)
        page.line()
    for run, name in zip(runs, names, strict=True):
        for problem in run.problems:
            page.line(f"{name}: {problem}", "yellow")
    width = _width(page, max(map(len, names)) + 12)
    for metric in curves(runs)[:_MOST_CURVES]:
        _print_curves(runs, names, metric, width, page)


def _print_curves(
    runs: Sequence[RunRecord], names: Sequence[str], metric: str, width: int, page: Page
) -> None:
    """Print a metric of several runs on one scale, of steps and of values."""
    end, longest = max(run.steps or 1 for run in runs), max(map(len, names))
    drawn = [resample(*run.series(metric), end=end, width=width) for run in runs]
    finite = [value for values in drawn for value in values if math.isfinite(value)]
    if not finite:
        return
    low, high = min(finite), max(finite)
    ends = f"{overview.shown(metric, low)} … {overview.shown(metric, high)}"
    page.line(f"{metric}  {ends}, to step {end:,}", "bold")
    for run, name, values in zip(runs, names, drawn, strict=True):
        line = page.blocks(sparkline(values, low=low, high=high))
        last = overview.shown(metric, run.metrics[metric]) if metric in run.metrics else "–"
        page.line(f"  {name:<{longest}}  {line:<{min(width, end)}}  {last}")


def distinct_names(runs: Sequence[RunRecord]) -> list[str]:
    """Return the runs' names; their paths where two runs have one name."""
    names = [run.name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.directory) for run in runs]


def _width(page: Page, beside: int) -> int:
    """Return how long a sparkline may be, with so many characters beside it."""
    return 40 if page.wide is None else min(max(page.wide - beside, 10), 60)


def _files(run: RunRecord) -> dict[str, str]:
    found = {}
    for path in sorted(run.directory.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            found[str(path.relative_to(run.directory))] = file_size(path.stat().st_size)
    return found


def file_size(count: int) -> str:
    """Write so many bytes: ``999 B``, ``1.6 kB``, ``72 kB``, ``1.2 MB``."""
    if count < 1000:
        return f"{count} B"
    unit, size = ("kB", count / 1e3) if count < 1e6 else ("MB", count / 1e6)
    return f"{size:.1f} {unit}" if size < 10 else f"{size:,.0f} {unit}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines, their cells below one another, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
