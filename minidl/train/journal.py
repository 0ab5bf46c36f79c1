"""The journal of a run, written before anything else.

A training may lose its MLflow server, its terminal or its power; what it measured is still here.
It is two files of JSON lines that belong together line by line:

``metrics.jsonl``
    epoch, step and metrics: what follows from config, seed and data. Two trainings that are the
    same have the same bytes here, also where one of them was killed and taken up again.
``clock.jsonl``
    when each entry was made, and metrics of speed (``throughput/…``), which are never the same.

A killed process leaves at most one torn line at an end. Reading forgives that line and no other;
opening the journal again for writing removes it.

A training that is taken up repeats what came after its checkpoint. What it measures again is
compared with the entries that are there already, and these stay, with their times: so a tracking
server that has got them already gets nothing twice.

The lines are strict JSON, which has no NaN: non-finite values stand there as the strings
``"NaN"``, ``"Infinity"`` and ``"-Infinity"``, and are floats again when read.
"""

from __future__ import annotations

import json
import math
import os
import time as clock
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from minidl.train.lines import LineFile

#: Metrics of this family tell of the machine and not of the training.
CLOCK_FAMILY = "throughput/"

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
        ``metrics.jsonl``, made with its directories where it does not exist; an existing journal
        is continued. ``clock.jsonl`` lies beside it.
    position
        How many of its entries a training that is taken up stands behind; those after it are
        expected to be written again. By default, all.
    on_trouble
        Is told once where entries cannot be written; they then wait in memory, and every later
        write tries again. By default the error is raised.
    on_difference
        Is told once where an entry is not what was expected; the old entries from there on are
        given up.

    Raises
    ------
    ValueError
        The existing file is damaged elsewhere than in its last line, or has fewer entries than
        ``position``.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        position: int | None = None,
        on_trouble: Callable[[OSError], None] | None = None,
        on_difference: Callable[[Entry], None] | None = None,
    ) -> None:
        self.path = Path(path)
        known = read_journal(self.path) if self.path.exists() else []
        position = len(known) if position is None else position
        if position > len(known):
            raise ValueError(f"{self.path}: {position} entries are wanted, there are {len(known)}")
        self.count = position
        self._expected = deque(known[position:])
        self._on_difference = on_difference
        self._metrics = LineFile(self.path, whole=_is_entry, on_trouble=on_trouble)
        self._clock = LineFile(clock_path(self.path), whole=_is_clock, on_trouble=on_trouble)
        self._align_clock(len(known))

    def write(
        self, step: int, epoch: int, metrics: Mapping[str, float], time: float | None = None
    ) -> Entry:
        """Append one entry, dated now where ``time`` is not given, and return it.

        Where an entry of the same step with the same metrics was expected, that one stays and is
        returned, with its time.
        """
        entry = Entry(
            time=clock.time() if time is None else float(time),
            epoch=int(epoch),
            step=int(step),
            metrics={name: float(value) for name, value in metrics.items()},
        )
        if self._expected:
            old = self._expected.popleft()
            if _metrics_line(old) == _metrics_line(entry):
                self.count += 1
                return old
            self.forget_expected()
            if self._on_difference is not None:
                self._on_difference(entry)
        self._clock.write(_clock_line(entry))
        self._metrics.write(_metrics_line(entry))
        self.count += 1
        return entry

    def forget_expected(self) -> None:
        """Remove the entries behind the position: the training goes another way from here."""
        self._expected.clear()
        for file in (self._metrics, self._clock):
            lines = file.path.read_bytes().splitlines(keepends=True)[: self.count]
            file.truncate(sum(len(line) for line in lines))

    def sync(self) -> None:
        """Put what was written on the disk itself.

        Raises
        ------
        OSError
            Entries are waiting in memory still, and cannot be written.
        """
        self._metrics.sync()
        self._clock.sync()

    def close(self) -> None:
        """Sync and close the files; twice is fine."""
        try:
            self._metrics.close()
        finally:
            self._clock.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _align_clock(self, entries: int) -> None:
        """Give the clock as many lines as there are entries: a kill may have come in between."""
        lines = self._clock.path.read_bytes().splitlines(keepends=True)
        self._clock.truncate(sum(len(line) for line in lines[:entries]))
        for _ in range(entries - len(lines)):
            self._clock.write(b"{}\n")  # no time: it is read as the entry's before


def clock_path(path: Path) -> Path:
    """Return where the times of a journal lie."""
    return path.with_name("clock.jsonl")


def read_journal(path: str | os.PathLike[str]) -> list[Entry]:
    """Read all entries in the order in which they were written.

    A torn last line (the writer was killed) is left out. An entry whose time is lost has that of
    the one before.

    Raises
    ------
    ValueError
        Another line is no entry; the message names the file and the line.
    """
    path = Path(path)
    lines = path.read_bytes().splitlines()
    try:
        times = clock_path(path).read_bytes().splitlines()
    except FileNotFoundError:
        times = []
    entries: list[Entry] = []
    for number, line in enumerate(lines, start=1):
        try:
            epoch, step, metrics = _read_metrics(line)
        except ValueError as error:
            if number == len(lines):
                break
            raise ValueError(f"{path}:{number}: not a journal entry: {error}") from None
        time = entries[-1].time if entries else 0.0
        speed: dict[str, float] = {}
        if number <= len(times):
            with suppress(ValueError):
                time, speed = _read_clock(times[number - 1])
        entries.append(Entry(time, epoch, step, metrics | speed))
    return entries


def _metrics_line(entry: Entry) -> bytes:
    kept = {n: v for n, v in entry.metrics.items() if not n.startswith(CLOCK_FAMILY)}
    return _line({"epoch": entry.epoch, "step": entry.step, "metrics": _named(kept)})


def _clock_line(entry: Entry) -> bytes:
    speed = {n: v for n, v in entry.metrics.items() if n.startswith(CLOCK_FAMILY)}
    return _line({"time": entry.time, "metrics": _named(speed)})


def _line(record: dict[str, Any]) -> bytes:
    # ASCII only: an escaped name can hold no character that splitlines takes for a line's end.
    return json.dumps(record, allow_nan=False).encode("ascii") + b"\n"


def _named(metrics: Mapping[str, float]) -> dict[str, Any]:
    return {n: v if math.isfinite(v) else _non_finite_name(v) for n, v in metrics.items()}


def _non_finite_name(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _is_entry(line: bytes) -> bool:
    try:
        _read_metrics(line)
    except ValueError:
        return False
    return True


def _is_clock(line: bytes) -> bool:
    try:
        _object(line)
    except ValueError:
        return False
    return True


def _read_metrics(line: bytes) -> tuple[int, int, dict[str, float]]:
    record = _object(line)
    return _whole_number(record, "epoch"), _whole_number(record, "step"), _metrics_of(record)


def _read_clock(line: bytes) -> tuple[float, dict[str, float]]:
    record = _object(line)
    return float(_number(record, "time")), _metrics_of(record)


def _object(line: bytes) -> dict[str, Any]:
    record = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    if not isinstance(record, dict):
        raise ValueError(f"expected an object, got {line[:60].decode()!r}")
    return record


def _metrics_of(record: dict[str, Any]) -> dict[str, float]:
    metrics = record.get("metrics")
    if not isinstance(metrics, dict):
        raise ValueError(f"'metrics' must be an object, got {metrics!r}")
    return {name: float(_number(metrics, name)) for name in metrics}


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
