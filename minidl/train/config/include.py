"""``include``: a config that begins where other files end.

::

    include: base.yaml          # or [base.yaml, fast.yaml]; relative to the including file
    optimizer: {lr: 1e-4}       # changes one key of what base.yaml says

Mappings are merged key by key; lists and scalars are replaced. Files are merged in the order of
the list, and the including file comes last. Where a later file names another ``type``, the
arguments of the former class go with it: they were said of something else. Every value keeps the
place at which it was written.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from minidl.train.config.nodes import Node, Source
from minidl.train.config.problems import ConfigError, Problem, clip, show
from minidl.train.config.schema import DataSpec
from minidl.train.config.yaml_source import (
    MAX_BYTES,
    MAX_NODES,
    NEEDED,
    neighbour,
    parse,
    read_text,
)

MAX_FILES = 50  # a file that two others include counts twice: chains of pairs would double
MAX_LEVELS = 10  # of files that include files
#: Sections that hold no classes: there, a key `type` is a key like any other.
WITHOUT_CLASSES = frozenset({"trainer", "tracking"})


def read_config(
    path: str | os.PathLike[str], *, environ: Mapping[str, str] | None = None
) -> Source:
    """Read a YAML file and all that it includes, into one source.

    Raises
    ------
    ConfigError
        A file cannot be read, is not YAML, or goes beyond a limit; or an ``include`` leads nowhere
        or round in a circle.
    """
    inclusion = _Inclusion(environ)
    name = os.fspath(path)
    source = inclusion.read(name, ())
    if inclusion.faults:  # what the missing files would have given is not known
        source.problems += [*inclusion.faults, *source.root.faults()]
        raise source.error()
    return source


class _Inclusion:
    """One reading of a file and all below it; limits are of all files together."""

    def __init__(self, environ: Mapping[str, str] | None) -> None:
        self.environ = environ
        self.files = self.size = self.values = 0
        self.faults: list[Problem] = []

    def read(self, name: str, trail: tuple[str, ...]) -> Source:
        """Read a file; ``trail`` are the real paths of those that led to it."""
        text = read_text(name)
        wants = "an included file holds sections" if trail else NEEDED
        trail = (*trail, os.path.realpath(name))
        self.size += len(text)
        source = parse(text, name=name, environ=self.environ, wants=wants)
        self.values += source.size
        base: Node | None = None
        for entry in self.entries(source):
            try:
                included = self.included(entry, source, trail)
            except ConfigError as error:
                self.faults += error.problems
                continue
            source.texts |= {**included.texts, **source.texts}
            source.problems += included.problems
            base = included.root if base is None else merged(base, included.root)
        if base is not None:
            source.root = merged(base, source.root)
        return source

    def entries(self, source: Source) -> list[Node]:
        """Take ``include`` out of a file's mapping, and return the paths in it."""
        root = source.root.value
        node = root.pop("include", None) if isinstance(root, dict) else None
        if node is None:
            return []
        entries = node.value if isinstance(node.value, list) else [node]
        for entry in entries:
            if entry.fault and entry.written is None:
                self.faults.append(entry.fault)
            elif message := _no_path(entry):
                self.faults.append(source.problem(entry.place, message))
        return [entry for entry in entries if not (entry.fault or _no_path(entry))]

    def included(self, entry: Node, source: Source, trail: tuple[str, ...]) -> Source:
        """Read the file that ``entry``, in the file of ``source``, names."""

        def refused(message: str, suggestion: str | None = None) -> ConfigError:
            return ConfigError([source.problem(entry.place, message, suggestion)])

        name = located(str(entry.value), source.name)
        real = os.path.realpath(name)
        self.files += 1
        if real in trail:
            circle = [os.path.basename(step) for step in [*trail[trail.index(real) :], real]]
            raise refused(f"files include each other in a circle: {' -> '.join(circle)}")
        if len(trail) > MAX_LEVELS:
            raise refused(f"files include files more than {MAX_LEVELS} levels deep")
        if self.files > MAX_FILES:
            raise refused(f"more than {MAX_FILES} files are included")
        if not os.path.isfile(name):
            is_there = os.path.exists(name)
            why = "is not a file" if is_there else "is not there"
            hint = None if is_there else neighbour(name)
            raise refused(f"the included file {clip(name, 200)} {why}", hint)
        if self.values > MAX_NODES or self.size + os.path.getsize(name) > MAX_BYTES:
            raise refused(
                f"the files together are larger than {MAX_BYTES:,} bytes or {MAX_NODES:,} values"
            )
        below = self.read(name, trail)
        if not isinstance(below.root.value, dict):
            got = show(below.root.plain())
            below.report(below.root.place, f"an included file is a mapping of sections, got {got}")
            raise below.error()
        return below


def located(entry: str, including: str) -> str:
    """Return the path of the file that an ``include`` in the file ``including`` names.

    Every included file passes here, before it is touched: who must forbid some (a service, those
    outside of a directory) does it here.
    """
    return os.path.join(os.path.dirname(including), entry)


def _no_path(entry: Node) -> str | None:
    """Say why an ``include`` names no file, if so."""
    if entry.written is not None:
        return "an `include` names its file outright: `${env:…}` is not replaced here"
    if not isinstance(entry.value, str) or not entry.value:
        return f"`include` must be a path or a list of paths, got {show(entry.plain())}"
    if "://" in entry.value:
        return f"`include` reads files by their path, and `{clip(entry.value)}` is an address"
    return None


def merged(under: Node, over: Node, path: tuple[str, ...] = ()) -> Node:
    """Return ``under`` with the changes that ``over`` makes to it."""
    if not (isinstance(under.value, dict) and isinstance(over.value, dict)):
        return over
    children = dict(under.value)
    if path and path[0] not in WITHOUT_CLASSES and _another_type(children, over.value):
        # How a dataset is cut into batches is no argument of its class, and stays.
        kept = DataSpec.not_arguments if path == ("data",) else frozenset()
        children = {key: child for key, child in children.items() if key in kept}
    for key, child in over.value.items():
        below = children.get(key)
        children[key] = child if below is None else merged(below, child, (*path, key))
    return Node(children, over.place, key=over.key)


def _another_type(under: Mapping[str, Node], over: Mapping[str, Node]) -> bool:
    return "type" in under and "type" in over and under["type"].value != over["type"].value
