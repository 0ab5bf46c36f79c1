"""What a sweep says: a line a trial and a table at the end, or JSON for machines."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from minidl.train.reporter import figure
from minidl.train.strict_json import strict_json

#: What the closing says, by the facts' names.
CLOSING = {
    "best_trial": "best trial",
    "best_config": "best config",
    "plots": "plots",
    "trials": "trials",
    "mlflow_run_id": "MLflow run",
    "mlflow_command": "open MLflow",
}
ROWS_SHOWN = 20  # the best ones; trials.csv has them all


class SweepReporter:
    """Tells a person; what it is told may come at any time."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = Console() if console is None else console

    def say(self, message: str) -> None:
        """Print a line."""
        self.console.print(message, markup=False, highlight=False, soft_wrap=True)

    def sweep_begins(self, **facts: Any) -> None:
        """Say what is going to be done."""
        done = f", {facts['done']} of them done" if facts["done"] else ""
        self.say(
            f"sweep {facts['study']}: {facts['trials']} trials{done}, {facts['jobs']} at a time; "
            f"{facts['sampler']} over {facts['dimensions']}; {facts['goal']} {facts['metric']}"
        )

    def trial_begins(
        self, number: int, words: str, *, parameters: Mapping[str, Any], again: bool
    ) -> None:
        """Say which trial begins, with which values."""
        self.say(f"trial {number} {'goes on' if again else 'begins'}: {words}")

    def trial_ends(
        self,
        number: int,
        state: str,
        *,
        metric: str,
        value: float | None,
        seconds: float,
        best: tuple[int, float] | None,
        reason: str | None = None,
    ) -> None:
        """Say how a trial ended, and which is the best so far."""
        parts = [f"trial {number} {state}"]
        if value is not None:
            parts.append(f"{metric} {figure(metric, value)}")
        if reason is not None:
            parts.append(reason)
        parts.append(f"{seconds:.1f} s")
        if best is not None:
            parts.append(f"best so far {figure(metric, best[1])} of trial {best[0]}")
        self.say("  ".join(parts))

    def sweep_ends(self, facts: Mapping[str, Any], rows: Sequence[Mapping[str, str]]) -> None:
        """Print the best trials as a table, and what the sweep came to."""
        title = f"sweep {facts['study']}: {facts['outcome']}"
        shown = list(rows[:ROWS_SHOWN])
        if shown:
            self._table(f"{title}; the best {len(shown)} of {len(rows)} trials", shown)
        else:
            self.say(title)
        for name, word in CLOSING.items():
            if facts.get(name):
                self.say(f"  {word:<11}  {facts[name]}")

    def _table(self, title: str, rows: Sequence[Mapping[str, str]]) -> None:
        if not self.console.is_terminal:
            # Without a terminal a row must stay whole in its line.
            names = list(rows[0])
            widths = {n: max(len(n), *(len(row[n]) for row in rows)) for n in names}
            self.say(title)
            for row in [{n: n for n in names}, *rows]:
                self.say("  " + "  ".join(row[n].ljust(widths[n]) for n in names).rstrip())
            return
        table = Table(title=Text(title, style="bold"), title_justify="left")
        for name in rows[0]:
            table.add_column(Text(name))
        for row in rows:
            # As Text: in a plain string, brackets would be taken for markup.
            table.add_row(*(Text(cell) for cell in row.values()))
        self.console.print(table)


class JsonSweepReporter(SweepReporter):
    """One JSON object a line, each with ``event`` and ``time`` (seconds since 1970).

    Events: ``message``, ``sweep_begins``, ``trial_begins``, ``trial_ends``, ``sweep_ends``.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self._stream = sys.stdout if stream is None else stream

    def _event(self, event: str, **facts: Any) -> None:
        line = strict_json({"event": event, "time": round(time.time(), 3), **facts})
        print(line, file=self._stream, flush=True)

    def say(self, message: str) -> None:
        """Write a ``message``."""
        self._event("message", text=message)

    def sweep_begins(self, **facts: Any) -> None:
        """Write ``sweep_begins``."""
        self._event("sweep_begins", **facts)

    def trial_begins(
        self, number: int, words: str, *, parameters: Mapping[str, Any], again: bool
    ) -> None:
        """Write ``trial_begins``."""
        self._event("trial_begins", number=number, parameters=dict(parameters), again=again)

    def trial_ends(self, number: int, state: str, **facts: Any) -> None:
        """Write ``trial_ends``; ``best`` is a trial's number and its value."""
        self._event("trial_ends", number=number, state=state, **facts)

    def sweep_ends(self, facts: Mapping[str, Any], rows: Sequence[Mapping[str, str]]) -> None:
        """Write ``sweep_ends`` with all trials, the best first."""
        self._event("sweep_ends", **facts, table=[dict(row) for row in rows])
