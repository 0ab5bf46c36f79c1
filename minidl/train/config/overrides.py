"""Changes to a config from the command line.

::

    optimizer.lr=3e-4                    # set, whether it was there or not
    +tracking.tags.note=first            # add what must not be there yet
    +data.augment={type: RandomShift}    # append to a list
    ~trainer.early_stop                  # delete

A path names keys and list indices, joined by dots; a value is what may stand in a YAML flow
collection: ``0.1``, ``null``, ``[3, 3]``, ``{type: SGD, lr: 0.1}``. Whether a key is known is
the schema's business; here a path must only lead somewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from minidl.train.config.nodes import Node, Source
from minidl.train.config.problems import ConfigError, Place, Problem, did_you_mean, show
from minidl.train.config.yaml_source import MAX_DEPTH, parse_value


def apply_overrides(
    source: Source,
    overrides: Sequence[str],
    *,
    environ: Mapping[str, str] | None = None,
    wants_list: Callable[[Sequence[str]], bool] = lambda path: False,
) -> None:
    """Change ``source`` in place, one override after the other; the last one wins.

    ``wants_list`` says whether the schema has a list at a path: there, ``+`` appends to the empty
    list that nobody wrote.

    An override that cannot be applied is added to the source's problems, and the others are
    applied all the same, so that all mistakes are seen at once.
    """
    for text in overrides:
        # Arguments that are not UTF-8 reach Python as lone surrogates, which cannot be printed.
        shown = text.encode("utf-8", "backslashreplace").decode()
        place = Place(f"command line: {shown}")
        try:
            if text.startswith("~"):
                _delete(source, _parts(text[1:], place), place)
            else:
                path, equals, value = text.removeprefix("+").partition("=")
                if not equals:
                    raise _fault(
                        place, "an override needs a `=`", "write a.b=value to set, ~a.b to delete"
                    )
                if path.startswith("+"):
                    raise _fault(
                        place,
                        "there is no `++` here",
                        f"write {path[1:]}={value}: it sets what is there and adds what is not",
                    )
                parts = _parts(path, place)
                node = parse_value(value, source, place, environ=environ)
                if text.startswith("+"):
                    _add(source, parts, node, place, wants_list)
                else:
                    _set(source, parts, node, place)
        except ConfigError as error:
            source.problems += error.problems


def _parts(path: str, place: Place) -> list[str]:
    parts = path.strip().split(".")
    if not all(parts):
        raise _fault(place, f"`{path}` is no path", "join keys by single dots, as in optimizer.lr")
    if len(parts) > MAX_DEPTH:
        raise _fault(place, f"a path has at most {MAX_DEPTH} parts, got {len(parts)}")
    return parts


def _add(
    source: Source,
    parts: list[str],
    node: Node,
    place: Place,
    wants_list: Callable[[Sequence[str]], bool],
) -> None:
    path = ".".join(parts)
    parent = _parent(source, parts, place)
    if isinstance(parent.value, list):
        hint = f"+{'.'.join(parts[:-1])}=… appends an item, {path}=… changes one"
        raise _fault(place, f"`+` takes no index, got `{parts[-1]}`", hint)
    old = _step(parent, parts, len(parts) - 1, place)
    if old is not None and isinstance(old.value, list):
        old.value.append(node)
    elif old is None or (old.value is None and not old.fault):
        if wants_list(parts):
            node = Node([node], place)
        node.key = old.key if old else place
        _put(parent, parts[-1], node)
    else:
        there = (
            f"`{path}` is there already, at {old.place}"
            if old.place.line
            else f"`{path}` is there already"
        )
        raise _fault(place, there, f"write {path}=… to change it")


def _set(source: Source, parts: list[str], node: Node, place: Place) -> None:
    parent = _parent(source, parts, place)
    old = _step(parent, parts, len(parts) - 1, place)
    node.key = place if old is None else old.key
    _put(parent, parts[-1], node)


def _parent(source: Source, parts: list[str], place: Place) -> Node:
    """Return what holds the last part of a path, made where it is not there."""
    parent = source.root
    for depth, part in enumerate(parts[:-1]):
        child = _step(parent, parts, depth, place)
        if child is None or (child.value is None and not child.fault):
            # `trainer.epochs=3` works where the file has no trainer, or an empty one.
            child = Node({}, place, key=child.key if child else place)
            _put(parent, part, child)
        parent = child
    return parent


def _delete(source: Source, parts: list[str], place: Place) -> None:
    if "=" in parts[-1]:
        raise _fault(
            place, "a deletion takes no value", f"write ~{'.'.join(parts).partition('=')[0]}"
        )
    parent = source.root
    for depth, part in enumerate(parts):
        child = _step(parent, parts, depth, place)
        if child is None:
            here = ".".join(parts[: depth + 1])
            hint = (
                did_you_mean(part, list(parent.value)) if isinstance(parent.value, dict) else None
            )
            raise _fault(place, f"there is no `{here}` to delete", hint)
        if depth < len(parts) - 1:
            parent = child
    if isinstance(parent.value, list):
        del parent.value[int(parts[-1])]
    elif isinstance(parent.value, dict):
        del parent.value[parts[-1]]


def _step(parent: Node, parts: list[str], depth: int, place: Place) -> Node | None:
    """Return the child that ``parts[depth]`` names; None where a mapping has no such key."""
    part, above = parts[depth], ".".join(parts[:depth]) or "the config"
    if isinstance(parent.value, dict):
        return parent.value.get(part)
    if not isinstance(parent.value, list):
        raise _fault(place, f"`{above}` is {show(parent.value)}: `{part}` cannot be below it")
    count = len(parent.value)
    # int() takes "１", "1_0" and "-1" as well, which nobody means here.
    if not (part.isascii() and part.isdigit() and len(part) < 9 and int(part) < count):
        indices = f"0 to {count - 1}" if count else "none: the list is empty"
        raise _fault(
            place,
            f"`{above}` is a list of {count}, and `{part}` is no index of it",
            f"indices are {indices}",
        )
    return parent.value[int(part)]


def _put(parent: Node, part: str, node: Node) -> None:
    if isinstance(parent.value, list):
        parent.value[int(part)] = node
    elif isinstance(parent.value, dict):
        parent.value[part] = node


def _fault(place: Place, message: str, suggestion: str | None = None) -> ConfigError:
    return ConfigError([Problem.at(place, message, suggestion=suggestion)])
