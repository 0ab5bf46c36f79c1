"""The one text that is submitted: a file, what it includes, and changes, put together on this side.

The service reads no files of its users, so includes are followed here, and ``${env:NAME}`` is
replaced from this side's environment; but for the variables that are the service's own matter
(where data lie, where MLflow is), which travel as they were written. Paths belong to the service's
machine. A file that needs none of this is sent byte for byte, with its comments.

What the service finds wrong in the text is told at the lines of the files that it came from: every
value of the text that was put together has a line of its own, and a place where it was written.
"""

from __future__ import annotations

import math
import os
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minidl.train.config.load import compose
from minidl.train.config.nodes import Node, Source
from minidl.train.config.problems import ConfigError, Place, Problem
from minidl.train.config.yaml_scalars import ENVIRONMENT, dump_yaml, interpolate, variables
from minidl.train.config.yaml_source import parse

#: What the service says itself, so nothing of this side may be put in.
OF_THE_SERVICE = ("MINIDL_DATA", "MLFLOW_TRACKING_URI")


@dataclass(frozen=True)
class ConfigText:
    """What is sent, and where each place in it was written.

    ``places`` maps line and column in ``text`` to a place in a file of the user's, or on the
    command line; it is empty where the text is the file's own.
    """

    text: str
    source: Source
    places: Mapping[tuple[int, int], Place]

    def error(self, problems: Iterable[Mapping[str, Any]]) -> ConfigError:
        """Return what the service said of the text, as said of the user's files."""
        return ConfigError([self._problem(one) for one in problems], self.source.texts)

    def _problem(self, said: Mapping[str, Any]) -> Problem:
        message, hint = str(said.get("message", "")), said.get("suggestion")
        suggestion = str(hint) if hint else None
        line, column = said.get("line"), said.get("column")
        if not isinstance(line, int):
            return self.source.problem(Place(self.source.name), message, suggestion)
        spot = line, column if isinstance(column, int) else 1
        return self.source.problem(self._origin(spot), message, suggestion)

    def _origin(self, spot: tuple[int, int]) -> Place:
        if not self.places:
            return Place(self.source.name, *spot)
        known = sorted(self.places)
        # Most are exactly there; what begins within a value is told at its beginning.
        return self.places[known[max(bisect_right(known, spot) - 1, 0)]]


def config_text(
    path: Path, overrides: Sequence[str] = (), *, environ: Mapping[str, str] | None = None
) -> ConfigText:
    """Return the text to submit for a file and changes to it.

    Raises
    ------
    ConfigError
        A file cannot be read or is no YAML, or a change cannot be made.
    """
    own = os.environ if environ is None else environ
    # Set to something: whether the service has them is for the service to say.
    source = compose(path, overrides, environ={**own, **dict.fromkeys(OF_THE_SERVICE, "")})
    written = source.texts[source.name]
    alone = len(source.texts) == 1 and not overrides
    if alone and set(variables(written)) <= set(OF_THE_SERVICE):
        return ConfigText(written, source, {})
    source.problems += source.root.faults()
    if source.problems:
        raise source.error()
    files = ", ".join(Path(name).name for name in source.texts)
    heading = " ".join([f"# Put together by minidl submit: {files}", *overrides])
    text = f"{_one_line(heading)}\n{dump_yaml(_sendable(source.root, own), width=math.inf)}"
    return ConfigText(text, source, _places(text, source))


def _sendable(node: Node, environ: Mapping[str, str]) -> Any:
    """Return plain data, in which the service's own variables stand as they were written."""
    if isinstance(node.value, dict):
        return {key: _sendable(child, environ) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [_sendable(child, environ) for child in node.value]
    if node.written is None or not set(variables(node.written)) & set(OF_THE_SERVICE):
        return node.value
    return ENVIRONMENT.sub(
        lambda match: match[0] if match[1] in OF_THE_SERVICE else interpolate(match[0], environ),
        node.written,
    )


def _places(text: str, source: Source) -> dict[tuple[int, int], Place]:
    sent = parse(text, name="config", environ=dict.fromkeys(OF_THE_SERVICE, ""))
    found: dict[tuple[int, int], Place] = {}
    pairs = [(sent.root, source.root)]
    while pairs:
        here, there = pairs.pop()
        for at, origin in ((here.place, there.place), (here.key, there.key or there.place)):
            if at is not None and at.line and at.column:
                # A block mapping begins where its first key does: the key's place is the finer.
                spot = at.line, at.column
                found[spot] = origin if at is here.key else found.get(spot, origin)
        if isinstance(here.value, dict) and isinstance(there.value, dict):
            pairs += [(child, there.value[key]) for key, child in here.value.items()]
        elif isinstance(here.value, list) and isinstance(there.value, list):
            pairs += list(zip(here.value, there.value, strict=True))
    return found


def _one_line(text: str) -> str:
    """Return text that a YAML comment can hold."""
    return "".join(c if c.isprintable() else " " for c in text)[:500]
