"""The bar that a training shows on a terminal: where it stands, how long it will take, figures.

It spans the whole training, not an epoch, so that the time left is the time until the user can
go home. What is not known beforehand is left out: a training that ends by the clock has a bar of
time, and one that ends by neither a bar that only moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from minidl.train.reporter import LineReporter, epoch_of, line_of


class BarReporter(LineReporter):
    """Lines as elsewhere, above a bar that goes when the training ends."""

    def __init__(self, console: Console | None = None) -> None:
        super().__init__(console, patience=float("inf"))
        self._bar = _Bar(console=self.console)
        self._task: TaskID | None = None
        self._latest: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def table(self, title: str, rows: Mapping[str, str]) -> None:
        """Print the rows in a frame."""
        # As Text: in a plain string, brackets (of a path, say) would be taken for markup.
        heading = Text(title, style="bold")
        table = Table(title=heading, title_justify="left", show_header=False)
        table.add_column(style="cyan", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in rows.items():
            table.add_row(name, value)
        self.console.print(table, markup=False)

    def run_begins(
        self,
        *,
        total_steps: int | None = None,
        epochs: int | None = None,
        max_seconds: float | None = None,
        first_step: int = 0,
        monitor: str | None = None,
        directory: str | None = None,
    ) -> None:
        """Show the bar."""
        super().run_begins(total_steps=total_steps, epochs=epochs, first_step=first_step)
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(
            "training", total=total_steps, completed=first_step, max_seconds=max_seconds
        )

    def epoch_begins(self, epoch: int, epochs: int | None, steps: int | None) -> None:
        """Name the epoch before the bar."""
        super().epoch_begins(epoch, epochs, steps)
        if self._task is not None:
            self._bar.update(self._task, description=epoch_of(epoch, epochs))

    def step(self, figures: Mapping[str, float] | None = None) -> None:
        """Move the bar by one step; show new figures where there are any."""
        super().step(figures)
        if figures is not None:
            self._show(figures)
        if self._task is not None:
            self._bar.update(self._task, completed=self.current_step)

    def validated(self, figures: Mapping[str, float]) -> None:
        """Show the figures below the bar, beside the training's."""
        super().validated(figures)
        self._show(figures)

    def _show(self, figures: Mapping[str, float]) -> None:
        self._latest |= figures
        self._bar.figures = line_of(self._latest)


class _Bar(Progress):
    """A bar with a line of figures below it."""

    def __init__(self, *, console: Console) -> None:
        self.figures = ""  # before the rest: rendering begins in there
        super().__init__(
            "{task.description}",
            _ShareColumn(bar_width=None),
            MofNCompleteColumn(),
            _TimeLeftColumn(),
            console=console,
            transient=True,
            expand=True,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return the bar, and the figures as one line however narrow the terminal is."""
        yield from super().get_renderables()
        if self.figures:
            yield Text(self.figures, style="dim", no_wrap=True, overflow="ellipsis")


def _seconds_left(task: Task) -> float | None:
    """Return how long the training will take at most, None where nothing says so."""
    limit: float | None = task.fields["max_seconds"]
    by_clock = None if limit is None else max(limit - (task.elapsed or 0.0), 0.0)
    known = [seconds for seconds in (task.time_remaining, by_clock) if seconds is not None]
    return min(known, default=None)


class _ShareColumn(BarColumn):
    """The bar: steps of the steps to do, or, where the clock ends the training, time of the time.

    Of both, the one that is further on, for it will end the training.
    """

    max_refresh = 0.1

    def render(self, task: Task) -> ProgressBar:
        """Draw the bar."""
        bar = super().render(task)
        limit: float | None = task.fields["max_seconds"]
        if limit is not None and task.elapsed is not None:
            by_clock = min(task.elapsed / limit, 1.0)
            by_steps = task.completed / task.total if task.total else 0.0
            bar.total, bar.completed, bar.pulse = 1.0, max(by_clock, by_steps), False
        return bar


class _TimeLeftColumn(ProgressColumn):
    """Time left; the time that has passed where the end is not known."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        """Write the time."""
        left = _seconds_left(task)
        if left is not None:
            return Text(f"{_clock(left)} left", style="progress.remaining")
        word = "passed" if task.total is None else "left"
        shown = _clock(task.elapsed or 0.0) if task.total is None else "--:--"
        return Text(f"{shown} {word}", style="progress.elapsed")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"
