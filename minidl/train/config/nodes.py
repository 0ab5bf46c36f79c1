"""A config as it was read: a tree of values, each with the place where it was written.

Files, includes, the environment and the command line all end in one tree. What is wrong with a
value is told with the line of its own file, so a ``Source`` keeps the text of every file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from minidl.train.config.problems import ConfigError, Place, Problem
from minidl.train.config.yaml_scalars import Scalar, dump_yaml

KeyPath: TypeAlias = tuple[str | int, ...]


@dataclass
class Node:
    """A value with its place, and with its key's place where it stands in a mapping.

    ``fault`` is what made the value unreadable, if it is. It goes with the value, so that an unset
    variable is no problem where the command line gives another value. ``written`` is the text with
    its ``${env:…}``, where there is some in it.
    """

    value: Scalar | list[Node] | dict[str, Node]
    place: Place
    key: Place | None = None
    fault: Problem | None = None
    written: str | None = None

    def plain(self) -> Any:
        """Return the value without places: dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def faults(self) -> list[Problem]:
        """Return the faults of this value and of all values in it."""
        children: Iterable[Node] = ()
        if isinstance(self.value, (dict, list)):
            children = self.value.values() if isinstance(self.value, dict) else self.value
        own = [self.fault] if self.fault else []
        return own + [fault for child in children for fault in child.faults()]

    def child(self, part: str | int) -> Node | None:
        """Return the value under a key, or at an index, or None."""
        if isinstance(self.value, dict):
            return self.value.get(part) if isinstance(part, str) else None
        if isinstance(self.value, list) and isinstance(part, int):
            return self.value[part] if 0 <= part < len(self.value) else None
        return None


@dataclass
class Source:
    """A config before its meaning is checked: its texts, its tree, and what was wrong so far.

    ``texts`` holds the text of each file by its name: the config's first, then the included ones.
    ``size`` counts the values in them.
    """

    name: str
    texts: dict[str, str]
    root: Node
    problems: list[Problem] = field(default_factory=list)
    size: int = 0

    @property
    def text(self) -> str:
        """The text of the config's own file; one is made where it came from no file."""
        return self.texts[self.name] or dump_yaml(self.root.plain())

    def trail(self, path: KeyPath) -> list[Node]:
        """Return the nodes from the root along ``path``, as far as there are any."""
        nodes = [self.root]
        for part in path:
            child = nodes[-1].child(part)
            if child is None:
                break
            nodes.append(child)
        return nodes

    def problem(self, place: Place, message: str, suggestion: str | None = None) -> Problem:
        """Return the problem at ``place``, with the line of the file that it lies in."""
        text = self.texts.get(place.file, "")
        return Problem.at(place, message, text=text, suggestion=suggestion)

    def report(self, place: Place, message: str, suggestion: str | None = None) -> None:
        """Add a problem."""
        self.problems.append(self.problem(place, message, suggestion))

    def error(self) -> ConfigError:
        """Return the error that tells all problems, file by file."""
        return ConfigError(self.problems, self.texts)
