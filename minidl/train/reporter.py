"""What a training says: a bar on a terminal, plain lines elsewhere, or JSON for machines.

The trainer tells a `Reporter` what happens, in this order, and never asks who listens:

    with reporter:
        run_begins, then for each epoch: epoch_begins, step …, validated, epoch_ends
    run_ends

`say` may come at any time and from any thread. `reporter_for` chooses one: `BarReporter` (a
terminal), `LineReporter`, `JsonReporter` (``--json``) or `QuietReporter` (``--quiet``).
"""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Self, TextIO

from rich.console import Console

from minidl.train.strict_json import strict_json


@dataclass(frozen=True)
class Closing:
    """How a run ended: all that the closing table shows.

    ``status`` is MLflow's word (``FINISHED``, ``FAILED``, ``KILLED``), ``directory`` the run's,
    ``metrics`` those of the test samples. ``best_epoch`` is 0 where there was no best yet.
    ``seconds`` is the time of the whole run, ``samples_per_s`` the rate of its training alone.
    ``mlflow_command`` opens MLflow; ``error`` says what went wrong in a run that failed.
    """

    status: str
    directory: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    monitor: str | None = None
    best_epoch: int = 0
    best_step: int | None = None
    best: float | None = None
    epochs: int = 0
    steps: int = 0
    seconds: float = 0.0
    samples_per_s: float = 0.0
    exit_status: int = 0
    mlflow_run_id: str | None = None
    mlflow_command: str | None = None
    error: str | None = None

    def rows(self) -> dict[str, str]:
        """Return the closing table: a name and a text a row."""
        rows = {name: figure(name, value) for name, value in self.metrics.items()}
        if self.best_epoch:
            where = f"{self.best_epoch} (by {self.monitor})" if self.monitor else self.best_epoch
            rows["best epoch"] = str(where)
        rows["time"] = f"{self.seconds:.1f} s"
        if self.samples_per_s:
            rows["samples/s"] = f"{self.samples_per_s:,.0f} in training"
        rows["run directory"] = self.directory
        if self.mlflow_run_id is not None:
            rows["MLflow run"] = self.mlflow_run_id
        if self.mlflow_command is not None:
            rows["open MLflow"] = self.mlflow_command
        return rows


class Reporter:
    """Base of all: keeps count and says nothing. A context manager around the training.

    ``current_step`` and ``current_epoch`` are where the training stands, counted from 1.
    """

    def __init__(self) -> None:
        self.current_step = 0
        self.current_epoch = 0
        self.total_steps: int | None = None
        self._epoch_end: int | None = None
        self._begun = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def say(self, message: str) -> None:
        """Tell people a line; safe from any thread."""

    def table(self, title: str, rows: Mapping[str, str]) -> None:
        """Show rows of a name and a text."""

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
        """Training begins.

        Parameters
        ----------
        total_steps, epochs, max_seconds
            What ends it; each None where it does not. The bar shows what is known.
        first_step
            Steps that are done already, in a run that is taken up again.
        monitor
            The metric that tells the best model.
        """
        self._begun = True
        self.current_step = first_step
        self.total_steps = total_steps

    def epoch_begins(self, epoch: int, epochs: int | None, steps: int | None) -> None:
        """An epoch begins.

        Parameters
        ----------
        epochs
            How many there will be; None where that is not known.
        steps
            How many of its steps are still to do; None where that is not known.
        """
        if not self._begun:
            known = steps is not None and epochs is not None
            self.run_begins(
                total_steps=steps * epochs if known else None,  # type: ignore[operator]
                epochs=epochs,
                first_step=steps * (epoch - 1) if steps is not None else 0,
            )
        self.current_epoch = epoch
        self._epoch_end = None if steps is None else self.current_step + steps

    def step(self, figures: Mapping[str, float] | None = None) -> None:
        """A step is done; with ``figures`` where a point was logged."""
        if not self._begun:
            self.run_begins()
        self.current_step += 1

    def validated(self, figures: Mapping[str, float]) -> None:
        """The validation samples gave these figures, at the current step."""

    def epoch_ends(self, epoch: int, epochs: int | None, figures: Mapping[str, float]) -> None:
        """An epoch is over; ``figures`` sum it up."""

    def run_ends(self, closing: Closing) -> None:
        """The run is over, however it ended."""


class QuietReporter(Reporter):
    """Prints one line: the run's directory, when the run has ended; errors are the caller's."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self._stream = sys.stdout if stream is None else stream

    def run_ends(self, closing: Closing) -> None:
        """Print the run's directory."""
        _write_line(self._stream, closing.directory)


class JsonReporter(Reporter):
    """One JSON object a line, each with ``event`` and ``time`` (seconds since 1970).

    Events: ``run_begins``, ``point``, ``validation``, ``epoch_ends``, ``message``, ``run_ends``.
    The JSON is strict: see `minidl.train.strict_json`.
    """

    def __init__(
        self, stream: TextIO | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__()
        self._stream = sys.stdout if stream is None else stream
        self._clock = clock
        self._lock = threading.Lock()
        self._lost = False

    def _event(self, event: str, **facts: Any) -> None:
        line = strict_json({"event": event, "time": round(self._clock(), 3), **facts})
        with self._lock:
            self._lost = self._lost or not _write_line(self._stream, line)

    def _point(self, event: str, figures: Mapping[str, float]) -> None:
        place = {"step": self.current_step, "epoch": self.current_epoch}
        self._event(event, **place, metrics={name: float(v) for name, v in figures.items()})

    def say(self, message: str) -> None:
        """Write a ``message``."""
        self._event("message", text=message)

    def table(self, title: str, rows: Mapping[str, str]) -> None:
        """Write a ``table``; a run's end is told by ``run_ends`` instead."""
        self._event("table", title=title, rows=dict(rows))

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
        """Write ``run_begins`` with all that is known beforehand."""
        known = {
            "total_steps": total_steps,
            "epochs": epochs,
            "max_seconds": max_seconds,
            "first_step": first_step,
            "monitor": monitor,
            "directory": directory,
        }
        super().run_begins(**known)  # type: ignore[arg-type]
        self._event("run_begins", **known)

    def step(self, figures: Mapping[str, float] | None = None) -> None:
        """Write a ``point`` where there are figures."""
        super().step(figures)
        if figures is not None:
            self._point("point", figures)

    def validated(self, figures: Mapping[str, float]) -> None:
        """Write a ``validation``."""
        self._point("validation", figures)

    def epoch_ends(self, epoch: int, epochs: int | None, figures: Mapping[str, float]) -> None:
        """Write ``epoch_ends``."""
        self._point("epoch_ends", figures)

    def run_ends(self, closing: Closing) -> None:
        """Write ``run_ends`` with all that the closing table has."""
        self._event("run_ends", **asdict(closing))


class LineReporter(Reporter):
    """Plain lines: one an epoch, one a validation within an epoch, and a sign of life a minute.

    Parameters
    ----------
    console
        Where to; standard output by default.
    patience
        Seconds without a line after which the next point is printed: a log that stands still for
        an hour looks like a training that hangs.
    """

    def __init__(
        self,
        console: Console | None = None,
        *,
        patience: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.console = Console() if console is None else console
        self._patience = patience
        self._clock = clock
        self._last_line = clock()
        self._epochs: int | None = None

    def say(self, message: str) -> None:
        """Print a line."""
        self._last_line = self._clock()
        try:
            self.console.print(message, markup=False, highlight=False, soft_wrap=True)
        except OSError as error:  # a log on a full disk, say
            self.console.quiet = True
            _lose_stream(self.console.file, error)

    def table(self, title: str, rows: Mapping[str, str]) -> None:
        """Print a title, and the rows below it."""
        # Without a terminal a path must stay whole in its line, to be copied or grepped.
        self.say(title)
        width = max((len(name) for name in rows), default=0)
        for name, value in rows.items():
            self.say(f"  {name:<{width}}  {value}")

    def epoch_begins(self, epoch: int, epochs: int | None, steps: int | None) -> None:
        """Keep the number of epochs, for the lines."""
        self._epochs = epochs
        super().epoch_begins(epoch, epochs, steps)

    def step(self, figures: Mapping[str, float] | None = None) -> None:
        """Print a point where nothing was printed for long."""
        super().step(figures)
        if figures is not None and self._clock() - self._last_line >= self._patience:
            self.say(f"{self._place()}  {line_of(figures)}")

    def validated(self, figures: Mapping[str, float]) -> None:
        """Print the figures, but not at the end of an epoch: its own line has them."""
        if self.current_step != self._epoch_end:
            self.say(f"{self._place()}  {line_of(figures)}")

    def epoch_ends(self, epoch: int, epochs: int | None, figures: Mapping[str, float]) -> None:
        """Print the line that stays of an epoch."""
        self.say(f"{epoch_of(epoch, epochs)}  {line_of(figures)}")

    def run_ends(self, closing: Closing) -> None:
        """Print the closing table."""
        self.table(f"run {closing.status}", closing.rows())

    def _place(self) -> str:
        total = "" if self.total_steps is None else f"/{self.total_steps:,}"
        where = f"step {self.current_step:,}{total}"
        if self._epochs is not None or self.current_epoch > 0:
            where = f"{epoch_of(self.current_epoch, self._epochs)}  {where}"
        return where


def reporter_for(*, json: bool = False, quiet: bool = False) -> Reporter:
    """Return the reporter for standard output as it is: a terminal, or a file or pipe."""
    if json:
        return JsonReporter()
    if quiet:
        return QuietReporter()
    console = Console()
    if console.is_terminal:
        from minidl.train.progress_bar import BarReporter

        return BarReporter(console)
    return LineReporter(console)


def _write_line(stream: TextIO, line: str) -> bool:
    """Write a line at once; say whether that went well.

    Where nobody reads any more, the run ends, as the shell's tools do.
    """
    try:
        stream.write(line + "\n")
        stream.flush()
    except BrokenPipeError:
        _silence(stream)
        raise SystemExit(1) from None
    except OSError as error:
        _lose_stream(stream, error)
        return False
    return True


def _lose_stream(stream: Any, error: OSError) -> None:
    _silence(stream)
    print(f"standard output is lost ({error}); the training goes on", file=sys.stderr)


def _silence(stream: Any) -> None:
    """Send what is still to come to nowhere: Python flushes once more when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        with suppress(io.UnsupportedOperation):  # a stream that is no file
            os.dup2(nowhere, stream.fileno())
    finally:
        os.close(nowhere)


_SHORT: dict[str, str] = {"throughput/samples_per_s": "samples/s"}


def epoch_of(epoch: int, epochs: int | None) -> str:
    """Write an epoch, out of how many where that is known."""
    return f"epoch {epoch}" if epochs is None else f"epoch {epoch:>{len(str(epochs))}}/{epochs}"


def line_of(figures: Mapping[str, float]) -> str:
    """Write metrics as a line: accuracies in per cent, rates without decimals.

    Those of single classes (``val/f1/cat``) are left out: a line has no room for them.
    """
    shown = [(name, value) for name, value in figures.items() if name.count("/") < 2]
    return "  ".join(f"{_SHORT.get(name, name)} {figure(name, value)}" for name, value in shown)


def figure(name: str, value: Any) -> str:
    """Write one metric."""
    if name.endswith("accuracy"):
        return f"{100 * value:.2f} %"
    if name.endswith("samples_per_s"):
        return f"{value:,.0f}"
    return f"{value:.2e}" if name == "lr" else f"{value:.4f}"
