"""The recorded events, added up: by operation, by layer, by phase.

Each event's own time goes to exactly one row of each table, and a last row holds what no event
covers, so that every table accounts for the whole of the profiled block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from minidl.profiling.recorder import BACKWARD, Event, Kind, Layer, Shapes

OTHER = "[other]"
OUTSIDE = "[outside layers]"


@dataclass
class OperationRow:
    """One operation. Times are in seconds, ``bytes`` is what the results of forward occupy.

    For a row in brackets, ``forward`` is the time in it that belongs to no operation.
    """

    name: str
    shapes: Shapes | None = None
    calls: float = 0
    forward: float = 0.0
    backward_calls: float = 0
    backward: float = 0.0
    bytes: float = 0

    @property
    def self_time(self) -> float:
        """Forward and backward together."""
        return self.forward + self.backward


@dataclass
class LayerRow:
    """One layer. Times are in seconds; the whole times include the layers inside it."""

    name: str
    calls: float = 0
    input: Shapes = ()
    forward: float = 0.0
    forward_whole: float = 0.0
    backward: float = 0.0
    backward_whole: float = 0.0

    @property
    def self_time(self) -> float:
        """Own time forward and backward together."""
        return self.forward + self.backward


@dataclass
class PhaseRow:
    """One phase. Times are in seconds; ``self_time`` leaves out the phases inside it."""

    name: str
    calls: float = 0
    self_time: float = 0.0
    whole: float = 0.0


Row = TypeVar("Row", OperationRow, LayerRow, PhaseRow)
Column = tuple[str, Callable[[Any], str]]


@dataclass
class Table(Generic[Row]):
    """Rows, and how long the whole was; ``print`` it."""

    rows: list[Row]
    seconds: float
    columns: Sequence[Column] = field(repr=False)

    def __str__(self) -> str:
        share: Column = ("%", lambda row: f"{100 * row.self_time / self.seconds:.1f}")
        columns = [*self.columns, share]
        lines = [[head for head, _ in columns]]
        lines += [[show(row) for _, show in columns] for row in self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
        left = [head in _WORDS for head, _ in columns]
        text: list[str] = [
            "  ".join(
                cell.ljust(width) if to_left else cell.rjust(width)
                for cell, width, to_left in zip(line, widths, left, strict=True)
            ).rstrip()
            for line in lines
        ]
        rule = "-" * max(map(len, text))
        return "\n".join([text[0], rule, *text[1:], rule, f"{_ms(self.seconds)} ms in all"])


OperationTable = Table[OperationRow]
LayerTable = Table[LayerRow]
PhaseTable = Table[PhaseRow]

_WORDS = ("operation", "layer", "phase", "input", "shapes")


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3f}"


def _some_ms(seconds: float) -> str:
    return _ms(seconds) if seconds else ""


def _count(number: float) -> str:
    return f"{number:,.4g}" if number else ""


def _size(number: float) -> str:
    return f"{number / 1e6:.3f}" if number else ""


def _shapes(found: Shapes | None) -> str:
    return ", ".join(str(shape).replace(" ", "") for shape in found or ())


def by_operation(
    events: Sequence[Event], seconds: float, *, shapes: bool, per: int
) -> OperationTable:
    """Add up by operation; see `minidl.profiling.Profile.by_operation`."""
    rows: dict[Any, OperationRow] = {}
    rest: dict[str, OperationRow] = {}
    for event in events:
        if event.part:
            continue
        if event.kind in ("layer", "phase"):
            name = "[Python in layers]" if event.kind == "layer" else f"[{event.name}]"
            row = rest.setdefault(name, OperationRow(name))
            row.calls += 1
            row.forward += event.own / 1e9
            continue
        given = event.shapes if shapes else None
        row = rows.setdefault((event.name, given), OperationRow(event.name, given))
        if event.kind == "forward":
            row.calls += 1
            row.forward += event.own / 1e9
            row.bytes += event.bytes
        else:
            row.backward_calls += 1
            row.backward += event.own / 1e9
    listed = sorted(rows.values(), key=lambda row: row.self_time, reverse=True)
    listed += rest.values()
    listed.append(OperationRow(OTHER, forward=_uncovered(events, seconds)))
    for row in listed:
        _divide(row, per, "calls", "forward", "backward_calls", "backward", "bytes")
    columns: list[Column] = [
        ("operation", lambda row: row.name),
        ("calls", lambda row: _count(row.calls)),
        ("forward ms", lambda row: _some_ms(row.forward)),
        ("backward calls", lambda row: _count(row.backward_calls)),
        ("backward ms", lambda row: _some_ms(row.backward)),
        ("made MB", lambda row: _size(row.bytes)),
        ("self ms", lambda row: _ms(row.self_time)),
    ]
    if shapes:
        columns.insert(1, ("shapes", lambda row: _shapes(row.shapes)))
    return Table(listed, seconds / _positive(per), columns)


def by_layer(events: Sequence[Event], seconds: float, *, per: int) -> LayerTable:
    """Add up by layer; see `minidl.profiling.Profile.by_layer`."""
    layers: dict[Layer, LayerRow] = {}
    rest: dict[str, LayerRow] = {}
    for event in events:
        if event.part:
            continue
        own, layer = event.own / 1e9, event.layer
        if event.kind == "phase" or layer is None:
            name = f"[{event.name}]" if event.kind == "phase" else OUTSIDE
            row = rest.setdefault(name, LayerRow(name))
        else:
            row = layers.setdefault(layer, LayerRow(str(layer)))
        if event.kind == "backward":
            row.backward += own
        else:
            row.forward += own
        if event.kind == "layer":
            row.calls += 1
            row.input = row.input or event.shapes
            if not _called_within(event):
                row.forward_whole += event.whole / 1e9
        elif event.kind == "phase":
            row.calls += 1
    for outer, row in layers.items():
        inner = [other.backward for layer, other in layers.items() if _inside(layer, outer)]
        row.backward_whole = sum(inner)
    listed = [*layers.values(), *rest.values()]
    listed.append(LayerRow(OTHER, forward=_uncovered(events, seconds)))
    for row in listed:
        _divide(row, per, "calls", "forward", "forward_whole", "backward", "backward_whole")
    columns: list[Column] = [
        ("layer", lambda row: row.name),
        ("calls", lambda row: _count(row.calls)),
        ("input", lambda row: _shapes(row.input)),
        ("forward ms", lambda row: _some_ms(row.forward)),
        ("with inner", lambda row: _some_ms(row.forward_whole)),
        ("backward ms", lambda row: _some_ms(row.backward)),
        ("with inner", lambda row: _some_ms(row.backward_whole)),
        ("self ms", lambda row: _ms(row.self_time)),
    ]
    return Table(listed, seconds / _positive(per), columns)


def by_phase(events: Sequence[Event], seconds: float, *, per: int) -> PhaseTable:
    """Add up by phase; see `minidl.profiling.Profile.by_phase`."""
    rows: dict[str, PhaseRow] = {}
    for event in events:
        if not _is_phase(event):
            continue
        name = event.name if event.kind == "phase" else str(event.layer)
        row = rows.setdefault(name, PhaseRow(name))
        row.calls += 1
        row.self_time += event.whole / 1e9
        row.whole += event.whole / 1e9
        if event.parent is not None:  # a phase, since this one would be none inside anything else
            above = rows[event.parent.name]
            above.self_time -= event.whole / 1e9
    listed = list(rows.values())
    whole = sum(row.self_time for row in listed)
    listed.append(PhaseRow(OTHER, 0, seconds - whole, seconds - whole))
    for row in listed:
        _divide(row, per, "calls", "self_time", "whole")
    columns: list[Column] = [
        ("phase", lambda row: row.name),
        ("calls", lambda row: _count(row.calls)),
        ("with inner", lambda row: _ms(row.whole)),
        ("self ms", lambda row: _ms(row.self_time)),
    ]
    return Table(listed, seconds / _positive(per), columns)


def _is_phase(event: Event) -> bool:
    """Whether an event is a phase, or a whole model: what is called from outside all models."""
    kinds: tuple[Kind, ...] = ("phase", "layer")
    above = event.parent
    if event.kind not in kinds:
        return False
    return above is None or (above.kind == "phase" and above.name != BACKWARD and _is_phase(above))


def _called_within(event: Event) -> bool:
    """Whether a layer's call lies in another call of the same layer."""
    above = event.parent
    while above is not None:
        if above.kind == "layer" and above.layer is event.layer:
            return True
        above = above.parent
    return False


def _inside(layer: Layer, outer: Layer) -> bool:
    if layer is outer:
        return True
    return layer.root == outer.root and (outer.is_root or layer.path.startswith(f"{outer.path}."))


def _uncovered(events: Sequence[Event], seconds: float) -> float:
    return seconds - sum(event.whole for event in events if event.parent is None) / 1e9


def _positive(per: int) -> int:
    if per < 1:
        raise ValueError(f"per: a number of at least 1 is wanted, got {per}")
    return per


def _divide(row: Any, per: int, *names: str) -> None:
    for name in names:
        setattr(row, name, getattr(row, name) / _positive(per))
