"""Configs beside each other, and each value beside whose word it is: ``minidl config``."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minidl.train.config.load import load_config
from minidl.train.config.nodes import KeyPath, Node
from minidl.train.config.sections import Config
from minidl.train.config.yaml_scalars import dump_yaml
from minidl.train.config.yaml_source import parse

WIDEST = 60  # comments stand in one column, as far as lines are not longer than this


def load_resolved(path: str | os.PathLike[str]) -> Config:
    """Load a config, or that of a run by its directory.

    Raises
    ------
    ConfigError
        It cannot be read, or is wrong.
    """
    given = Path(path)
    return load_config(given / "config.yaml" if given.is_dir() else given)


def with_sources(config: Config) -> str:
    """Return ``config.to_yaml()`` with a comment behind each value that says whose word it is."""
    text = dump_yaml(config.resolved(), width=math.inf)  # a line for each value
    origins: dict[int, str] = {}
    stack: list[tuple[KeyPath, Node]] = [((), parse(text, name="config", environ={}).root)]
    while stack:
        path, node = stack.pop()
        if isinstance(node.value, dict) and node.value:
            stack += [((*path, key), child) for key, child in node.value.items()]
        elif isinstance(node.value, list) and node.value:
            stack += [((*path, i), child) for i, child in enumerate(node.value)]
        elif node.place.line:
            origins[node.place.line - 1] = config.origin(path)
    lines = text.splitlines()
    width = max(len(lines[at]) for at in origins if len(lines[at]) <= WIDEST)
    for at, origin in origins.items():
        lines[at] = f"{lines[at]:{width}}  # {origin}"
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Difference:
    """A dotted path at which two configs differ; a side that has nothing there is not in it."""

    path: str
    sides: dict[str, Any]

    def __str__(self) -> str:
        shown = {side: _shown(value) for side, value in self.sides.items()}
        if len(shown) == 2:
            return f"  {self.path}: {shown['old']} -> {shown['new']}"
        sign = "-" if "old" in shown else "+"
        return f"{sign} {self.path}: {next(iter(shown.values()))}"


def differences(old: Config, new: Config) -> list[Difference]:
    """Return where two resolved configs differ, in the order of the config."""
    before, after = old.resolved(), new.resolved()
    found = []
    for section in before:
        leaves = {"old": _leaves(before[section], section), "new": _leaves(after[section], section)}
        for path in dict.fromkeys([*leaves["old"], *leaves["new"]]):
            sides = {side: values[path] for side, values in leaves.items() if path in values}
            if len(sides) == 1 or sides["old"] != sides["new"]:
                found.append(Difference(path, sides))
    return found


def _leaves(value: Any, path: str) -> dict[str, Any]:
    """Return the values at the ends of all paths; a list of scalars is one value."""
    children: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        children = list(value.items())
    elif isinstance(value, list) and any(isinstance(child, (dict, list)) for child in value):
        children = list(enumerate(value))
    if not children:
        return {path: value}
    found: dict[str, Any] = {}
    for key, child in children:
        found |= _leaves(child, f"{path}.{key}")
    return found


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)
