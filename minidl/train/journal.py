"""The journal of a run: ``metrics.jsonl``, one JSON object a line, written before anything else.

A training may lose its MLflow server, its terminal or its power; what it measured is still here.
Each entry goes to the operating system as one whole line, so a killed process leaves at most one
torn line, at the end. Reading forgives that line and no other; opening the journal again for
writing removes it, so that the next entry does not grow out of a stump.

The lines are strict JSON, which has no NaN: non-finite values stand there as the strings
``"NaN"``, ``"Infinity"`` and ``"-Infinity"``, and are floats again when read.
"""

from __future__ import annotations

import json
import math
import os
import time as clock
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True)
class Entry:
    """What was measured at one step.

    ``time`` is in seconds since the epoch (1970), ``epoch`` and ``step`` are the training's own.
    """

    time: float
    epoch: int
    step: int
    metrics: Mapping[str, float] = field(default_factory=dict)


class Journal:
    """An append-only file of entries; a context manager that closes the file.

    Parameters
    ----------
    path
        The file, made with its directories where it does not exist; an existing one is continued.

    Raises
    ------
    ValueError
        The existing file is damaged elsewhere than in its last line.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            _mend_last_line(self.path)
        # Unbuffered: each write is one call to the operating system, with one whole line.
        self._file = self.path.open("ab", buffering=0)

    def write(
        self, step: int, epoch: int, metrics: Mapping[str, float], time: float | None = None
    ) -> Entry:
        """Append one entry, dated now where ``time`` is not given, and return it."""
        entry = Entry(
            time=clock.time() if time is None else float(time),
            epoch=int(epoch),
            step=int(step),
            metrics={name: float(value) for name, value in metrics.items()},
        )
        self._file.write(_to_line(entry))
        return entry

    def close(self) -> None:
        """Put what was written on the disk itself, and close the file; twice is fine."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def read_journal(path: str | os.PathLike[str]) -> list[Entry]:
    """Read all entries in the order in which they were written.

    A torn last line (the writer was killed) is left out.

    Raises
    ------
    ValueError
        Another line is no entry; the message names the file and the line.
    """
    lines = Path(path).read_bytes().splitlines()
    entries = []
    for number, line in enumerate(lines, start=1):
        try:
            entries.append(_from_line(line))
        except ValueError as error:
            if number == len(lines):
                break
            raise ValueError(f"{path}:{number}: not a journal entry: {error}") from None
    return entries


def _to_line(entry: Entry) -> bytes:
    record = {
        "time": entry.time,
        "epoch": entry.epoch,
        "step": entry.step,
        "metrics": {
            name: value if math.isfinite(value) else _non_finite_name(value)
            for name, value in entry.metrics.items()
        },
    }
    # ASCII only: an escaped name can hold no character that splitlines takes for a line's end.
    return json.dumps(record, allow_nan=False).encode("ascii") + b"\n"


def _non_finite_name(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _from_line(line: bytes) -> Entry:
    record = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    if not isinstance(record, dict):
        raise ValueError(f"expected an object, got {line[:60].decode()!r}")
    metrics = record.get("metrics")
    if not isinstance(metrics, dict):
        raise ValueError(f"'metrics' must be an object, got {metrics!r}")
    return Entry(
        time=float(_number(record, "time")),
        epoch=_whole_number(record, "epoch"),
        step=_whole_number(record, "step"),
        metrics={name: float(_number(metrics, name)) for name in metrics},
    )


def _number(record: dict[str, Any], name: str) -> float:
    value = record.get(name)
    if isinstance(value, str) and value in _NON_FINITE:
        return _NON_FINITE[value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name!r} must be a number, got {value!r}")
    return value


def _whole_number(record: dict[str, Any], name: str) -> int:
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name!r} must be a whole number, got {value!r}")
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON; the journal writes it as the string {name!r}")


def _mend_last_line(path: Path) -> None:
    """Leave the file with a whole last line: end it where only its end is missing, else cut it."""
    entries = len(read_journal(path))  # damage before the last line is refused here
    with path.open("r+b") as file:
        content = file.read()
        lines = content.splitlines(keepends=True)
        if entries < len(lines):
            file.truncate(len(content) - len(lines[-1]))
        elif content and not content.endswith(b"\n"):
            file.write(b"\n")
