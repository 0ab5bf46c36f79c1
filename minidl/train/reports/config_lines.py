"""A config in a few lines: what differs from the defaults, written as calls in Python are."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

from minidl.train.config import TrackingSection, TrainerSection
from minidl.train.config.schema import DataSpec, Section, registry

_SECTIONS: dict[str, type[Section]] = {"trainer": TrainerSection, "tracking": TrackingSection}


def config_lines(config: Mapping[str, Any]) -> dict[str, str]:
    """Return a line for each section of a resolved config.

    Examples
    --------
    >>> config_lines({"seed": 1, "optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.0}})
    {'seed': '1', 'optimizer': 'SGD(lr=0.1)'}
    """
    known: dict[str, type] = {}
    for named in registry().values():
        known |= named
    lines = {}
    for name, value in config.items():
        if name in _SECTIONS and isinstance(value, dict):
            defaults = {key: f.get_default() for key, f in _SECTIONS[name].model_fields.items()}
            lines[name] = ", ".join(_arguments(value, defaults, known)) or "defaults"
        elif value is not None:
            lines[name] = _call(value, known)
    return lines


def _call(value: Any, known: Mapping[str, type]) -> str:
    """Write a value; an object as a call with the arguments that are not its defaults."""
    if isinstance(value, list):
        return f"[{', '.join(_call(child, known) for child in value)}]"
    if not (isinstance(value, dict) and isinstance(value.get("type"), str)):
        return value if isinstance(value, str) else json.dumps(value)
    name, rest = value["type"], {key: child for key, child in value.items() if key != "type"}
    layers = rest.get("layers")
    if name == "Sequential" and isinstance(layers, list):
        return " → ".join(_call(layer, known) for layer in layers)
    parts = _arguments(rest, _defaults(known.get(name)), known)
    return f"{name}({', '.join(parts)})" if parts else name


def _arguments(
    given: Mapping[str, Any], defaults: Mapping[str, Any], known: Mapping[str, type]
) -> list[str]:
    return [
        f"{key}={_call(value, known)}"
        for key, value in given.items()
        if not (key in defaults and _plain(defaults[key]) == _plain(value))
    ]


def _defaults(cls: type | None) -> dict[str, Any]:
    """Return the defaults of a class's arguments, and of what a dataset's section adds to them."""
    found = {key: f.get_default() for key, f in DataSpec.model_fields.items()}
    if cls is None:
        return found
    for key, parameter in inspect.signature(cls).parameters.items():
        if parameter.default is not inspect.Parameter.empty:
            found[key] = parameter.default
    return found


def _plain(value: Any) -> Any:
    return [_plain(child) for child in value] if isinstance(value, (list, tuple)) else value
