"""A YAML 1.2 file, read so that every value knows where it was written.

PyYAML scans, parses and composes; it never constructs anything here, so a file cannot name a
Python object or run code. What a scalar means is said in ``yaml_scalars``.

The result is a ``Source``: a tree of plain values, each with its ``Place``. Whatever would let a
small file do much (aliases that multiply, endless nesting, huge numbers) has a limit.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.scanner import Scanner

from minidl.train.config.nodes import Node, Source
from minidl.train.config.problems import ConfigError, Place, Problem, clip, did_you_mean
from minidl.train.config.yaml_scalars import (
    CORE,
    CORE_SCALARS,
    ENVIRONMENT,
    CoreResolver,
    core_type,
    interpolate,
    scalar,
    unsayable,
)

MAX_BYTES = 1_000_000
MAX_NODES = 10_000
MAX_DEPTH = 64
NEEDED = "a config needs at least data, model and optimizer"


def parse(
    text: str, *, name: str, environ: Mapping[str, str] | None = None, wants: str = NEEDED
) -> Source:
    """Parse the text of a file called ``name``; ``wants`` says what an empty one lacks.

    Mistakes that leave the rest readable (a key given twice, an unset variable) are collected in
    the source's ``problems``.

    Raises
    ------
    ConfigError
        The text is not YAML, or goes beyond a limit.
    """
    document = compose(text, Place(name))
    if document is None:
        raise fault(Place(name, 1, 1), f"the file is empty; {wants}")
    source = Source(name, {name: text}, Node(None, Place(name, 1, 1)))
    reading = _Reading(source, os.environ if environ is None else environ)
    source.root = reading.node(document)
    source.size = reading.count
    return source


def parse_value(
    text: str, source: Source, place: Place, *, environ: Mapping[str, str] | None = None
) -> Node:
    """Parse one YAML flow value, as it stands on a command line; all of it lies at ``place``.

    Raises
    ------
    ConfigError
        ``text`` is no YAML value.
    """
    document = compose(text, place)
    if document is None:
        return Node(None, place)
    if isinstance(document, yaml.CollectionNode) and not document.flow_style:
        raise fault(place, "a value here is one line: text with `: ` or `- ` in it needs quotes")
    if document.end_mark.index < len(text.rstrip()):
        raise fault(place, "` #` begins a comment in YAML: put the value in quotes")
    return _Reading(source, os.environ if environ is None else environ, at=place).node(document)


def read_text(name: str) -> str:
    """Return a file's text, after the checks that need its bytes."""
    try:
        with open(name, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise fault(Place(name), "there is no such file", suggestion=neighbour(name)) from None
    except IsADirectoryError:
        raise fault(Place(name), "this is a directory; a config is a YAML file") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise fault(Place(name), f"the file cannot be read: {why}") from None
    return decode(data, name)


def decode(data: bytes, name: str) -> str:
    """Return the text of a file called ``name``.

    Raises
    ------
    ConfigError
        It is too large, or not UTF-8.
    """
    if len(data) > MAX_BYTES:
        raise fault(Place(name), f"the file is larger than {MAX_BYTES:,} bytes; is it a config?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig")
        raise fault(
            _end_of(before, name),
            f"byte 0x{data[error.start]:02x} is not UTF-8",
            text=data.decode("utf-8-sig", "replace"),
            suggestion="save the file as UTF-8",
        ) from None


def compose(text: str, place: Place) -> yaml.Node | None:
    """Compose ``text`` into PyYAML's nodes; a mark in it becomes a line of ``place.file``."""
    odd = Reader.NON_PRINTABLE.search(text)
    if odd:
        spot = _end_of(text[: odd.start()], place.file)
        raise _syntax_error(
            text, place, spot, f"character U+{ord(odd[0]):04X} has no place in YAML"
        )
    if yaml.__with_libyaml__:
        with contextlib.suppress(yaml.YAMLError, ValueError, OverflowError):
            return _FastComposer(text).get_single_node()
    composer = _Composer(text)
    try:
        return composer.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark or composer.get_mark()
        spot, message, hint = Place(place.file, mark.line + 1, mark.column + 1), *_wording(error)
        lines = text.splitlines()
        if lines and "${env:" in lines[min(mark.line, len(lines) - 1)]:
            hint = 'inside { } and [ ], quotes are needed: "${env:NAME,default}"'
        raise _syntax_error(text, place, spot, message, hint) from None
    except (yaml.YAMLError, ValueError, OverflowError):
        # PyYAML passes on what chr() and int() raise: "\UFFFFFFFF", %YAML 1.99…9
        mark = composer.get_mark()
        spot = Place(place.file, mark.line + 1, mark.column + 1)
        raise _syntax_error(text, place, spot, "a number or escape here is too large") from None


class _Limited(Composer):
    """PyYAML's composer with limits; it is recursive, and so must not follow any depth."""

    depth = count = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[attr-defined]
        self.depth += 1
        self.count += 1
        if self.depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(
                None, None, f"nested deeper than {MAX_DEPTH} levels", event.start_mark
            )
        if self.count > MAX_NODES:
            raise yaml.MarkedYAMLError(
                None, None, f"more than {MAX_NODES:,} values", event.start_mark
            )
        if getattr(event, "tag", None) == "!" and isinstance(event, yaml.ScalarEvent):
            event.tag = CORE + "str"  # YAML 1.2: `! 12` is text; PyYAML resolves it
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Composer(_Limited, Reader, Scanner, Parser, CoreResolver):
    """All in Python: its errors have the better words."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        for part in (Scanner, Parser, Composer, CoreResolver):
            part.__init__(self)


_LibYAML: Any = getattr(yaml.cyaml, "CParser") if yaml.__with_libyaml__ else Parser  # noqa: B009


class _FastComposer(_Limited, _LibYAML, CoreResolver):  # type: ignore[misc]
    """On libyaml's events, where PyYAML was built with it: some six times as fast."""

    def __init__(self, text: str) -> None:
        _LibYAML.__init__(self, text)
        Composer.__init__(self)
        CoreResolver.__init__(self)


class _Reading:
    """One pass over PyYAML's nodes, which turns them into ours and collects what is wrong."""

    def __init__(self, source: Source, environ: Mapping[str, str], at: Place | None = None) -> None:
        self.source = source
        self.environ = environ
        self.at = at
        self.open: set[int] = set()  # the collections that we are inside of
        self.count = 0

    def node(self, raw: yaml.Node) -> Node:
        place = self.place(raw)
        self.count += 1
        if self.count > MAX_NODES:  # only aliases can get here: the composer has counted the rest
            raise fault(
                place, f"aliases make this more than {MAX_NODES:,} values", text=self.source.text
            )
        if id(raw) in self.open:
            return self.broken(place, "this value contains itself, through an alias")
        if isinstance(raw, yaml.ScalarNode):
            return self.scalar(raw, place)
        if raw.tag not in (CORE + "seq", CORE + "map"):
            return self.broken(
                place, f"unknown tag `{_tag(raw)}`", "a config holds plain data: remove the tag"
            )
        if raw.tag != CORE + ("seq" if isinstance(raw, yaml.SequenceNode) else "map"):
            return self.broken(place, f"tag `{_tag(raw)}` does not fit what follows it")
        self.open.add(id(raw))
        if isinstance(raw, yaml.SequenceNode):
            node = Node([self.node(child) for child in raw.value], place)
        else:
            node = self.mapping(raw, place)
        self.open.discard(id(raw))
        return node

    def mapping(self, raw: yaml.Node, place: Place) -> Node:
        children: dict[str, Node] = {}
        for raw_key, raw_value in raw.value:
            at = self.place(raw_key)
            if raw_key.tag != CORE + "str" or not isinstance(raw_key, yaml.ScalarNode):
                hint = (
                    f'put it in quotes: "{clip(raw_key.value)}"'
                    if isinstance(raw_key, yaml.ScalarNode)
                    else None
                )
                self.source.report(at, "a key must be text", hint)
            elif raw_key.value == "<<" and not raw_key.style:
                self.source.report(
                    at, "merge keys (<<) are not part of YAML 1.2", "write the keys out"
                )
            elif raw_key.value in children:
                first = children[raw_key.value].key
                self.source.report(
                    at,
                    f"key `{clip(raw_key.value)}` is given twice; first at {first}",
                    "keep one of the two",
                )
            elif wrong := unsayable(raw_key.value):
                self.source.report(at, wrong)
            else:
                child = self.node(raw_value)
                child.key = at
                if self.at is None and raw_value.value == "" and not raw_value.style:
                    # Where nothing stands, the two composers name different places.
                    end = raw_key.end_mark
                    child.place = Place(self.source.name, end.line + 1, end.column + 2)
                children[raw_key.value] = child
        return Node(children, place)

    def scalar(self, raw: yaml.ScalarNode, place: Place) -> Node:
        kind = raw.tag.removeprefix(CORE)
        if kind not in ("str", *CORE_SCALARS):
            return self.broken(
                place, f"unknown tag `{_tag(raw)}`", "a config holds plain data: remove the tag"
            )
        text = raw.value
        try:
            if kind == "str" and "${" in text:
                text = interpolate(text, self.environ)
                if not raw.style and ENVIRONMENT.fullmatch(raw.value):
                    kind = core_type(text)
            if wrong := unsayable(text):
                raise ValueError(wrong)
            return Node(scalar(text, kind), place, written=None if text is raw.value else raw.value)
        except ValueError as error:
            return self.broken(place, str(error))

    def broken(self, place: Place, message: str, suggestion: str | None = None) -> Node:
        return Node(None, place, fault=self.source.problem(place, message, suggestion))

    def place(self, raw: yaml.Node) -> Place:
        mark = raw.start_mark
        return self.at or Place(self.source.name, mark.line + 1, mark.column + 1)


def _wording(error: yaml.MarkedYAMLError) -> tuple[str, str | None]:
    problem = error.problem or error.context or "this is not YAML"
    if problem == "but found another document":
        return "a second document begins here; a config is one document", "remove the `---`"
    if problem == "second occurrence":
        return "an anchor of this name is there already", "give each anchor a name of its own"
    if "'\\t'" in problem:
        return "a tab where YAML wants blanks", "indent with blanks"
    if problem == "mapping values are not allowed here":
        return (
            "`:` is not expected here",
            "check the indentation, or put text that holds `: ` in quotes",
        )
    problem = problem.replace("'<stream end>'", "the end of the text")
    problem = problem.replace("'<block end>'", "the end of the block")
    opened, here = error.context_mark, error.problem_mark
    if opened and here and opened.line != here.line:
        problem += f" ({error.context} that begins at {opened.line + 1}:{opened.column + 1})"
    return problem, None


def _syntax_error(
    text: str, place: Place, spot: Place, message: str, suggestion: str | None = None
) -> ConfigError:
    # An override is its own text already: "command line: a=[1" needs no line and no caret.
    on_command_line = place.file.startswith("command line: ")
    return fault(place if on_command_line else spot, message, text=text, suggestion=suggestion)


def fault(
    place: Place, message: str, *, text: str = "", suggestion: str | None = None
) -> ConfigError:
    """Return the error of a single problem, for the caller to raise."""
    return ConfigError([Problem.at(place, message, text=text, suggestion=suggestion)])


def _end_of(text: str, name: str) -> Place:
    lines = f"{text}.".splitlines()
    return Place(name, len(lines), len(lines[-1]))


def _tag(raw: yaml.Node) -> str:
    return str(raw.tag).replace(CORE, "!!")


def neighbour(name: str) -> str | None:
    """Suggest a YAML file beside ``name``, which is not there, that is called alike."""
    try:
        files = [
            entry.name for entry in Path(name).parent.iterdir() if entry.suffix in (".yaml", ".yml")
        ]
    except (OSError, ValueError):
        return None
    return did_you_mean(Path(name).name, files)
