"""What a training says: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text


class Reporter:
    """Tell the user how the training goes. A context manager: leaving it puts the bar away.

    Parameters
    ----------
    console
        Where to; whether it is a terminal decides between a bar and lines.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = Console() if console is None else console
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}"),
                TimeRemainingColumn(compact=True),
                console=self.console,
                transient=True,
            )

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, message: str) -> None:
        """Print a line; safe from any thread."""
        self.console.print(message, markup=False, highlight=False, soft_wrap=True)

    def epoch_begins(self, epoch: int, epochs: int, steps: int) -> None:
        """Show a fresh bar for an epoch of so many steps."""
        if self._bar is not None:
            if self._task is not None:
                self._bar.remove_task(self._task)
            name = f"epoch {epoch}/{epochs}"
            self._task = self._bar.add_task(name, total=steps, figures="")

    def step(self, figures: Mapping[str, float] | None = None) -> None:
        """Move the bar by one step; show new figures where there are any."""
        if self._bar is not None and self._task is not None:
            if figures is None:
                self._bar.advance(self._task)
            else:
                self._bar.update(self._task, advance=1, figures=line_of(figures))

    def epoch_ends(self, epoch: int, epochs: int, figures: Mapping[str, float]) -> None:
        """Print the line that stays of an epoch."""
        width = len(str(epochs))
        self.say(f"epoch {epoch:>{width}}/{epochs}  {line_of(figures)}")

    def table(self, title: str, rows: Mapping[str, str]) -> None:
        """Print the closing table."""
        # As Text: in a plain string, brackets (of a path, say) would be taken for markup.
        heading = Text(title, style="bold")
        table = Table(title=heading, title_justify="left", show_header=False)
        table.add_column(style="cyan", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in rows.items():
            table.add_row(name, value)
        if self.console.is_terminal:
            self.console.print(table, markup=False)
            return
        # Without a terminal a path must stay whole in its line, to be copied or grepped.
        self.say(title)
        width = max(len(name) for name in rows)
        for name, value in rows.items():
            self.say(f"  {name:<{width}}  {value}")


_SHORT: dict[str, str] = {"throughput/samples_per_s": "samples/s"}


def line_of(figures: Mapping[str, float]) -> str:
    """Write metrics as a line: accuracies in per cent, rates without decimals."""
    return "  ".join(f"{_SHORT.get(name, name)} {figure(name, v)}" for name, v in figures.items())


def figure(name: str, value: Any) -> str:
    """Write one metric."""
    if name.endswith("accuracy"):
        return f"{100 * value:.2f} %"
    if name.endswith("samples_per_s"):
        return f"{value:,.0f}"
    return f"{value:.2e}" if name == "lr" else f"{value:.4f}"
