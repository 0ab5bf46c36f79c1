"""What a scalar in YAML means: YAML 1.2's core schema and ``${env:NAME,default}``.

PyYAML speaks YAML 1.1, where ``1e-3`` is text, ``no`` is false, ``12:30:45`` is 45045 and ``010``
is 8. This file holds what YAML 1.2 says instead, for reading and for writing: text that looks like
a number in one version only would otherwise change its type between a dump and the next load.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import yaml
from yaml.resolver import BaseResolver

from minidl.train.config.problems import clip

CORE = "tag:yaml.org,2002:"
# YAML 1.2.2, section 10.3.2; [0-9] and not \d, which takes the digits of all scripts.
CORE_SCALARS = {
    "null": re.compile(r"null|Null|NULL|~|"),
    "bool": re.compile(r"true|True|TRUE|false|False|FALSE"),
    "int": re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
    "float": re.compile(
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
        r"|[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN"
    ),
}
ENVIRONMENT = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)(?:,([^}]*))?\}")

Scalar: TypeAlias = bool | int | float | str | None


def core_type(text: str) -> str:
    """Say what a plain scalar is in YAML 1.2: ``null``, ``bool``, ``int``, ``float`` or ``str``.

    >>> [core_type(text) for text in ("1e-3", "no", "0o10", "12:30:45")]
    ['float', 'str', 'int', 'str']
    """
    return next((name for name, form in CORE_SCALARS.items() if form.fullmatch(text)), "str")


def scalar(text: str, kind: str) -> Scalar:
    """Return the value of a scalar of core type ``kind``.

    Raises
    ------
    ValueError
        ``text`` is not of that type, or is a whole number of more than 64 bits.
    """
    if kind == "str":
        return text
    if kind == "float" and CORE_SCALARS["int"].fullmatch(text):
        kind = "int"  # `!!float 3`
        return float(text)
    if not CORE_SCALARS[kind].fullmatch(text):
        raise ValueError(f"`{clip(text)}` is not of type {kind}")
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "float":
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    # Python refuses to read 5,000 digits, NumPy and JSON readers to hold 70.
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    value = int(text, base) if len(text) < 80 else 1 << 64
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f"whole number `{clip(text, 24)}` does not fit in 64 bits")
    return value


class CoreResolver(BaseResolver):
    """Gives scalars without a tag the types of YAML 1.2's core schema."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        """Return the tag of a node that carries none."""
        if kind is yaml.ScalarNode:
            return CORE + (core_type(value) if implicit[0] else "str")
        return CORE + ("seq" if kind is yaml.SequenceNode else "map")


def interpolate(text: str, environ: Mapping[str, str]) -> str:
    """Replace each ``${env:NAME,default}`` in ``text``.

    Raises
    ------
    ValueError
        A variable is unset and has no default, or ``${`` begins something else.
    """
    if "${" in ENVIRONMENT.sub("", text):
        wrong = text[text.index("${") :] if "${env:" not in text else text
        raise ValueError(
            f"`{clip(wrong)}`: what there is are ${{env:NAME}} and ${{env:NAME,default}}"
        )

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        found = environ.get(name, default)
        if found is None:
            raise ValueError(
                f"environment variable {name} is not set;"
                f" set it, or give a default: ${{env:{name},…}}"
            )
        if "${" in found:  # it could not be written into the resolved config and read again
            raise ValueError(f"environment variable {name} holds `${{`, which a config cannot hold")
        return str(found)

    return ENVIRONMENT.sub(value, text)


def variables(text: str) -> list[str]:
    """Return the names of the environment variables that ``text`` mentions."""
    return [match[1] for match in ENVIRONMENT.finditer(text)]


def unsayable(text: str) -> str | None:
    """Say what in ``text``, if anything, no file name, tag or JSON document could hold."""
    if "\0" in text:
        return "the text holds a NUL character"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "the text holds half a surrogate pair, which is no character"
    return None


class _Dumper(yaml.SafeDumper):
    """PyYAML's emitter, with quotes where YAML 1.2 (and not 1.1) would take text for a number."""

    resolve = CoreResolver.resolve

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        # In other styles U+0085 is a line break, which reads back as a newline; and escaped, a
        # text of several lines stays on one.
        style = '"' if "\x85" in data or "\n" in data else None
        return self.represent_scalar(CORE + "str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)


def dump_yaml(data: Any, *, width: float = 100) -> str:
    """Write plain data as YAML that this package reads back as equal data."""
    how: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": width}
    return str(yaml.dump(data, Dumper=_Dumper, **how))
