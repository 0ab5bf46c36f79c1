"""What a sweep varies: dimensions, read from the config's ``sweep`` section and the command line.

A dimension is a dotted path with a list of values or a range. On the command line a list is
written as ``optimizer.lr=1e-4,1e-3`` and a range as in YAML, ``optimizer.lr={low: 1e-4, high:
1e-1, log: true}``. Optuna can keep numbers, text, booleans and null; lists and mappings are kept
as JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minidl.train.config import Config, ConfigError
from minidl.train.config.nodes import Node
from minidl.train.config.problems import Place, show
from minidl.train.config.sections import Range
from minidl.train.config.variants import mistake, parsed, together, written

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Stored = bool | int | float | str | None


@dataclass(frozen=True)
class Dimension:
    """One thing that a sweep varies.

    ``place`` is where its path was written, ``nodes`` are its values with their places: all of a
    list, or the two ends of a range.
    """

    path: str
    place: Place
    nodes: tuple[Node, ...]
    span: Range | None = None

    @property
    def whole(self) -> bool:
        """Whether a range is one of whole numbers."""
        span = self.span
        return span is not None and all(
            isinstance(value, int) for value in (span.low, span.high, span.step or 1)
        )

    def stored(self) -> list[Stored]:
        """Return the values of a list as Optuna keeps them."""
        return [as_stored(node.plain()) for node in self.nodes]

    def node(self, stored: Stored) -> Node:
        """Return the value that Optuna kept, with a place."""
        if self.span is not None:
            if self.span.step is not None and isinstance(stored, float):
                stored = _decimal(stored)
            return Node(stored, self.nodes[0].place)
        for node, value in zip(self.nodes, self.stored(), strict=True):
            if value == stored and type(value) is type(stored):
                return node
        raise ValueError(f"{self.path} has no value {stored!r}")

    def distribution(self) -> BaseDistribution:
        """Return what Optuna samples from."""
        from optuna.distributions import (
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )

        span = self.span
        if span is None:
            return CategoricalDistribution(self.stored())
        if self.whole:
            step = 1 if span.step is None else int(span.step)
            return IntDistribution(int(span.low), int(span.high), log=span.log, step=step)
        return FloatDistribution(float(span.low), float(span.high), log=span.log, step=span.step)

    def grid(self) -> list[Stored] | None:
        """Return every value, or None where there is no end to them."""
        span = self.span
        if span is None:
            return self.stored()
        if span.log or (span.step is None and not self.whole):
            return None
        step = 1 if span.step is None else span.step
        count = round((span.high - span.low) / step) + 1
        values = [span.low + number * step for number in range(count)]
        return [value if isinstance(value, int) else _decimal(value) for value in values]

    def describe(self) -> str:
        """Say the values in a few words."""
        if self.span is None:
            return ", ".join(_short(node.plain()) for node in self.nodes)
        more = f" in steps of {self.span.step:g}" if self.span.step is not None else ""
        return f"{self.span.low:g} to {self.span.high:g}{more}{' (log)' if self.span.log else ''}"


def _decimal(value: float) -> float:
    """Return a value as it was meant: 0.1 + 2 * 0.1 is 0.30000000000000004."""
    return float(f"{value:.12g}")


def as_stored(value: Any) -> Stored:
    """Return a value as Optuna keeps it: lists and mappings as JSON."""
    return json.dumps(value) if isinstance(value, (list, dict)) else value


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


# ---- the command line ----------------------------------------------------------------------------


def split_choices(text: str) -> list[str]:
    """Split at the commas that stand outside of brackets and quotes.

    >>> split_choices("[64],[128, 64]")
    ['[64]', '[128, 64]']
    """
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'" and not parts[-1].strip():
            quote = character
        elif character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        elif character == "," and depth == 0:
            parts.append("")
            continue
        parts[-1] += character
    return parts


def is_dimension(override: str) -> bool:
    """Say whether an override gives several values, or a range, and not one value."""
    path, equals, value = override.partition("=")
    if not equals or path.startswith("~"):
        return False
    return len(split_choices(value)) > 1 or _is_range(value)


def _is_range(value: str) -> bool:
    value = value.strip()
    return value.startswith("{") and "low:" in value and "high:" in value


# ---- reading -------------------------------------------------------------------------------------


def read_dimensions(config: Config, overrides: Sequence[str]) -> list[Dimension]:
    """Return what is varied: by the file, in its order, and then by the command line.

    Parameters
    ----------
    overrides
        Those that are dimensions replace the file's; others fix what the file varies.

    Raises
    ------
    ConfigError
        With all that is wrong.
    """
    problems: list[ConfigError] = []
    found: dict[str, Dimension] = {}
    for path in config.sweep.parameters if config.sweep else {}:
        node = written(config, ("sweep", "parameters", path))
        assert node is not None
        found[path] = _dimension(config, path, node.key or node.place, node)
    for text in overrides:
        path, _, value = text.partition("=")
        path = path.strip().removeprefix("~").removeprefix("+")
        if not is_dimension(text):
            found.pop(path, None)
            continue
        place = Place(f"command line: {text}")
        try:
            if _is_range(value):
                node = parsed(config, value, place)
            else:
                choices = [parsed(config, part, place) for part in split_choices(value)]
                node = Node(list(choices), place)
            found[path] = _dimension(config, path, place, node)
        except ConfigError as error:
            problems.append(error)
    dimensions = list(found.values())
    for dimension in dimensions:
        problems += _mistakes(config, dimension, dimensions)
    if problems:
        raise together(config, problems)
    return dimensions


def _dimension(config: Config, path: str, place: Place, node: Node) -> Dimension:
    if isinstance(node.value, list):
        return Dimension(path, place, tuple(node.value))
    from pydantic import ValidationError

    try:
        span = Range.model_validate(node.plain())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"] if part not in ("int", "float"))
        raise mistake(config, node.place, f"not a range: `{key}`: {first['msg']}") from None
    low, high = node.child("low"), node.child("high")
    assert low is not None
    assert high is not None
    return Dimension(path, place, (low, high), span)


#: Where a run is written and tracked is the sweep's own business.
_NOT_VARIED = ("sweep", "tracking", "trainer.run_root", "trainer.name")


def _mistakes(
    config: Config, dimension: Dimension, dimensions: Sequence[Dimension]
) -> Iterator[ConfigError]:
    path, place = dimension.path, dimension.place
    if any(path == name or path.startswith(f"{name}.") for name in _NOT_VARIED):
        yield mistake(config, place, f"`{path}` is nothing that a sweep can vary")
    for other in dimensions:
        if other.path.startswith(f"{path}."):
            yield mistake(
                config,
                other.place,
                f"`{other.path}` lies in `{path}`, which is varied too",
                "vary one of the two",
            )
    if dimension.span is not None:
        yield from _mistakes_of_range(config, dimension, dimension.span)
        return
    seen: dict[Stored, Node] = {}
    for node, value in zip(dimension.nodes, dimension.stored(), strict=True):
        if value in seen:
            hint = "to Optuna true is 1, 1.0 is 1, and a list is its JSON"
            yield mistake(config, node.place, f"{show(node.plain())} is given twice", hint)
        seen[value] = node


def _mistakes_of_range(config: Config, dimension: Dimension, span: Range) -> Iterator[ConfigError]:
    low, high = dimension.nodes
    if span.low > span.high:
        yield mistake(config, high.place, f"`high` of {span.high:g} is below `low` of {span.low:g}")
        return
    if span.log and span.low <= 0:
        yield mistake(
            config,
            low.place,
            f"`log` wants `low` above 0, got {span.low:g}",
            "choose a small one",
        )
    if span.step is None:
        return
    if span.step <= 0:
        yield mistake(config, dimension.place, f"`step` must be above 0, got {span.step:g}")
    elif span.log:
        yield mistake(
            config, dimension.place, "`log` and `step` exclude each other", "leave one out"
        )
    else:
        steps = (span.high - span.low) / span.step
        if not math.isclose(steps, round(steps), abs_tol=1e-9):
            reached = span.low + math.floor(steps) * span.step
            yield mistake(
                config,
                high.place,
                f"steps of {span.step:g} from {span.low:g} do not lead to {span.high:g}",
                f"write high: {reached:g}",
            )
