"""Variants of a config: the same file with other values at some paths.

A sweep tries many values in one config. Each value keeps the place where it was written (a line of
the file's ``sweep`` section, or a word of the command line), so that a value which cannot be is
told as any other mistake is: with file, line, column and what would be right.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

from minidl.train.config.load import _check
from minidl.train.config.nodes import KeyPath, Node, Source
from minidl.train.config.overrides import _parts, _set
from minidl.train.config.problems import ConfigError, Place
from minidl.train.config.sections import NOT_OF_A_RUN, Config
from minidl.train.config.yaml_source import parse_value


def mistake(
    config: Config, place: Place, message: str, suggestion: str | None = None
) -> ConfigError:
    """Return an error about what was written at ``place``, with the line of its file."""
    return ConfigError([config._source.problem(place, message, suggestion)])


def together(config: Config, errors: Iterable[ConfigError]) -> ConfigError:
    """Return one error that tells what all do, file by file."""
    problems = [problem for error in errors for problem in error.problems]
    return ConfigError(problems, config._source.texts)


def written(config: Config, path: KeyPath) -> Node | None:
    """Return what was written at ``path``, with its place; None where nothing was."""
    trail = config._source.trail(path)
    return trail[-1] if len(trail) == len(path) + 1 else None


def parsed(config: Config, text: str, place: Place) -> Node:
    """Parse a value from a command line, as an override's value is.

    Raises
    ------
    ConfigError
        ``text`` is no YAML value.
    """
    return parse_value(text, config._source, place)


def vary(config: Config, values: Mapping[str, tuple[Place, Node]]) -> Config:
    """Return the run's config with other values.

    Parameters
    ----------
    values
        By dotted path: the place where the path was written, and the value.

    Raises
    ------
    ConfigError
        With all that is wrong with the variant.
    """
    before = config._source
    source = Source(before.name, before.texts, copy.deepcopy(before.root))
    assert isinstance(source.root.value, dict)  # a checked config is a mapping
    for section in NOT_OF_A_RUN:
        source.root.value.pop(section, None)
    for path, (place, node) in values.items():
        try:
            _set(source, _parts(path, place), copy.copy(node), place)
        except ConfigError as error:
            source.problems += [
                source.problem(place, problem.message, problem.suggestion)
                for problem in error.problems
            ]
    return _check(source, None)
