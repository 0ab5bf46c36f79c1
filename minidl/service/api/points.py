"""A run's journal as points of curves, from any place in it on.

The place is the byte offset of a line in ``metrics.jsonl``. The times stand in ``clock.jsonl``,
line by line beside it, so lines are counted up to the place; how far that has come is remembered. A
journal that has been cut off, or begun anew, since the place was told is read from its beginning.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from minidl.service.api.containment import NoSuchFileError, open_beneath

PIECE = 1 << 20
REMEMBERED = 256


@dataclass(frozen=True)
class Reading:
    """Points, each with the offset behind it.

    ``next`` is the offset to go on from, ``complete`` says whether that is the end so far, and
    ``reset`` whether these are the first ones although later ones were asked for.
    """

    points: list[tuple[int, dict[str, Any]]]
    next: int
    complete: bool = True
    reset: bool = False


class Journals:
    """Reads journals, and remembers which line of the clock belongs to which place."""

    def __init__(self) -> None:
        self._marks: OrderedDict[tuple[Path, int], tuple[int, int]] = OrderedDict()

    def read(self, run: Path, *, after: int, most: int) -> Reading:
        """Return the points after a place, so many at most."""
        try:
            journal = os.fdopen(open_beneath(run, "metrics.jsonl"), "rb")
        except NoSuchFileError:
            return Reading([], after)  # not yet, or just now it is set aside
        with journal:
            facts = os.fstat(journal.fileno())
            reset = after > 0 and not _is_line(journal, after, facts.st_size)
            after = 0 if reset else after
            try:
                clock: BinaryIO | None = os.fdopen(open_beneath(run, "clock.jsonl"), "rb")
            except NoSuchFileError:
                clock = None
            try:
                key = (run, facts.st_ino)
                self._go_to(journal, clock, after, self._marks.get(key, (0, 0)))
                points, place, complete = _points(journal, clock, after, most)
                self._marks[key] = (place, clock.tell() if clock else 0)
            finally:
                if clock is not None:
                    clock.close()
        self._marks.move_to_end(key)
        while len(self._marks) > REMEMBERED:
            self._marks.popitem(last=False)
        return Reading(points, place, complete, reset)

    def _go_to(
        self, journal: BinaryIO, clock: BinaryIO | None, after: int, mark: tuple[int, int]
    ) -> None:
        """Put both files at the same line."""
        begin, behind = mark if mark[0] <= after else (0, 0)
        journal.seek(begin)
        lines, left = 0, after - begin
        while left > 0 and (piece := journal.read(min(left, PIECE))):
            lines += piece.count(b"\n")
            left -= len(piece)
        if clock is not None:
            clock.seek(behind)
            for _ in range(lines):
                clock.readline()


def _is_line(journal: BinaryIO, after: int, size: int) -> bool:
    """Whether a line begins at an offset, or may begin there later."""
    if after > size:
        return False
    journal.seek(after - 1)
    return journal.read(1) == b"\n"


def _points(
    journal: BinaryIO, clock: BinaryIO | None, place: int, most: int
) -> tuple[list[tuple[int, dict[str, Any]]], int, bool]:
    points: list[tuple[int, dict[str, Any]]] = []
    time = 0.0
    while len(points) < most:
        line = journal.readline()
        if not line.endswith(b"\n"):
            return points, place, True
        told = _record(clock.readline()) if clock is not None else {}
        record = _record(line)
        place += len(line)
        if "step" in record:
            time = float(told.get("time", time))
            metrics = record.get("metrics", {}) | told.get("metrics", {})
            point = {"step": record["step"], "epoch": record["epoch"], "time": time}
            points.append((place, point | {"metrics": metrics}))
    return points, place, False


def _record(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
