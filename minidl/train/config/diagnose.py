"""What pydantic found, in the words of someone who writes YAML.

pydantic tells every mistake at once, but in Python's words and by its own notion of place.
Here each becomes a ``Problem``: the path into the config is recovered (pydantic's also names union
branches), the branches of a union become one sentence, and a suggestion is looked for in the same
section, in the other classes of it, and in the other sections.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from minidl.train.config.fields import keys_at
from minidl.train.config.nodes import KeyPath, Source
from minidl.train.config.problems import clip, did_you_mean, same_but_for_spelling, show, similar
from minidl.train.config.sections import SWEEP_CLASSES
from minidl.train.config.yaml_scalars import core_type

if TYPE_CHECKING:
    from pydantic import BaseModel


#: The keys that each class takes, by section and name.
Keys: TypeAlias = Mapping[str, Mapping[str, Sequence[str]]]

EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping with `type`",
    "none_required": "null",
}
BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}
# The branch of a union that was not meant fails in one of these ways.
WRONG_KIND = {*EXPECTED, "literal_error"}
KEYS_LISTED = 14  # a longer list of what there is helps nobody
ERRORS_READ = 500  # of a damaged file; suggestions for thousands would take seconds


class Diagnosis:
    """Turns pydantic's errors about a source's data into the source's problems."""

    def __init__(self, source: Source, shape: type[BaseModel], classes: Keys) -> None:
        self.source = source
        self.data = source.root.plain()
        self.shape = shape
        self.sections = list(shape.model_fields)
        self.classes = classes

    def report(self, errors: Sequence[Any]) -> None:
        """Add a problem for each mistake to the source."""
        found: dict[KeyPath, list[Any]] = {}
        for error in errors[:ERRORS_READ]:
            found.setdefault(self.path(error), []).append(error)
        inside = {path[:length] for path in found for length in range(len(path))}
        misspelt = {
            (*path[:-1], meant)
            for path, (error, *_) in found.items()
            if error["type"] == "extra_forbidden"
            and (meant := same_or_similar(str(path[-1]), self.keys(path[:-1])))
        }
        for path, at_path in found.items():
            trail = self.source.trail(path)
            missing = at_path[0]["type"] == "missing"
            if any(node.fault for node in trail) or (missing and path in misspelt):
                continue  # told already
            # In a union the branch that came further was the one meant: [3, -1] is a list with a
            # wrong number in it, and not a whole number that failed.
            further = [error for error in at_path if error["type"] not in WRONG_KIND]
            if further or path not in inside:
                self.problem(path, further[:1] or at_path)

    def path(self, error: Any) -> KeyPath:
        """Return the path into the data that an error's ``loc`` means, union branches left out."""
        path: KeyPath = ()
        here, fresh = self.data, True
        missing = error["type"] == "missing"
        loc = error["loc"][:-1] if missing else error["loc"]
        for at, part in enumerate(loc):
            if isinstance(here, list) and isinstance(part, int):
                path, here, fresh = (*path, part), here[part], True
            elif isinstance(here, dict) and isinstance(part, str):
                if fresh and part == here.get("type") and (missing or at < len(loc) - 1):
                    fresh = False  # pydantic names the class that it went into
                elif part in here and (missing or here is not error["input"]):
                    path, here, fresh = (*path, part), here[part], True
        return (*path, error["loc"][-1]) if missing else path

    def problem(self, path: KeyPath, errors: list[Any]) -> None:
        """Add the one problem that the errors at ``path`` amount to."""
        error = errors[0]
        kind, value, context = error["type"], error["input"], error.get("ctx", {})
        trail = self.source.trail(path)
        name = _name(path)
        place, suggestion = trail[-1].place, None
        if kind == "missing":
            return self.missing(path)
        if kind == "union_tag_not_found":
            return self.missing((*path, "type"))
        if kind == "extra_forbidden":
            return self.unknown_key(path)
        if kind == "union_tag_invalid":
            return self.unknown_class(path)
        if kind == "literal_error" and path[-1] == "type":  # a section with one class
            return self.unknown_class(path[:-1])
        if kind in BOUNDS:
            word, limit = BOUNDS[kind]
            message = f"{name} must be {word} {context[limit]:g}, got {show(value)}"
        elif kind == "finite_number":
            message = f"{name} must be a finite number, got {show(value)}"
        elif kind == "too_short":
            message = f"{name} must hold at least {context['min_length']}, got {len(value)}"
        elif kind == "too_long":
            message = f"{name} must hold at most {context['max_length']}, got {len(value)}"
        elif kind in WRONG_KIND:
            message, suggestion = _wrong_kind(name, value, errors)
        else:
            message = f"{name} cannot be {show(value)}"
        return self.source.report(place, message, suggestion)

    def missing(self, path: KeyPath) -> None:
        """Report a key that is not there, at the start of what lacks it."""
        owner = self.source.trail(path[:-1])[-1]
        place = owner.key or owner.place
        if isinstance(path[-1], int):
            needs = f"{_name(path[:-1])} is too short: its item number {path[-1] + 1} is missing"
            self.source.report(owner.place, needs)
        elif len(path) == 1:
            self.source.report(place, f"section `{path[-1]}` is missing")
        else:
            names = list(self.named(path[:-1])) if path[-1] == "type" else []
            hint = f"there are: {', '.join(names)}" if names else None
            self.source.report(place, f"{self.owner(path[:-1])} needs `{path[-1]}`", hint)

    def unknown_key(self, path: KeyPath) -> None:
        """Report a key that nothing takes, with what was probably meant."""
        node = self.source.trail(path)[-1]
        *_, key = path
        message = f"{self.owner(path[:-1])} has no key `{clip(str(key))}`"
        if len(path) == 1:
            message = f"there is no section `{clip(str(key))}`"
        hint = self.left_over(path) or self.meant(str(key), path[:-1])
        self.source.report(node.key or node.place, message, hint)

    def left_over(self, path: KeyPath) -> str | None:
        """Say what to do with a key whose class the command line has changed."""
        kind = self.source.trail((*path[:-1], "type"))[-1]
        changed = kind.place.line is None and kind.place.file.startswith("command line")
        node = self.source.trail(path)[-1]
        if not changed or node.place.line is None or not isinstance(kind.value, str):
            return None
        owner = ".".join(map(str, path[:-1]))
        return (
            f"`type` was changed on the command line; {owner}={{type: {kind.value}, …}} there"
            " replaces the other keys too"
        )

    def meant(self, key: str, owner: KeyPath) -> str | None:
        """Suggest what an unknown ``key`` in the mapping at ``owner`` should have been."""
        own = self.keys(owner)
        section = str(owner[0]) if owner else None
        if name := same_but_for_spelling(key, own):
            return f"did you mean `{name}`?"
        if key == "include" or (not owner and similar(key, ["include"], cutoff=0.8)):
            return "an `include` stands at the top of a file: `include: base.yaml`"
        siblings = [n for n, keys in self.classes.get(section or "", {}).items() if key in keys]
        if siblings:
            return f"`{key}` is an argument of {', '.join(siblings)}"
        keys = {name: self.section_keys(name) for name in self.sections if name != section}
        homes = [f"`{name}`" for name, names in keys.items() if key in names]
        if homes:
            return f"`{key}` belongs to {' or '.join(homes)}"
        if name := similar(key, own):
            return f"did you mean `{name}`?"
        for home, names in keys.items():
            if far := same_but_for_spelling(key, names) or similar(key, names, cutoff=0.8):
                return f"did you mean `{far}`? It belongs to `{home}`"
        return f"there are: {', '.join(own)}" if 0 < len(own) <= KEYS_LISTED else None

    def unknown_class(self, path: KeyPath) -> None:
        """Report a ``type`` that names no class of its section."""
        section = str(path[-1] if path in SWEEP_CLASSES else path[0])
        names = list(self.named(path))
        node = self.source.trail((*path, "type"))[-1]
        word = node.value
        message = f"`type` must be the name of a class, got {show(node.plain())}"
        hint = f"there are: {', '.join(names)}"
        if isinstance(word, str):
            message = f"{section} has no class `{clip(word)}`"
            others = {name: home for home, known in self.classes.items() for name in known}
            near = same_but_for_spelling(word, names)
            far = None if near else same_but_for_spelling(word, others)
            near = near or (None if far else similar(word, names))
            far = far or (None if near else similar(word, list(others)))
            if near:
                hint = f"did you mean `{near}`?"
            elif far:
                hint = f"`{far}` belongs to `{others[far]}`"
        self.source.report(node.place, message, hint)

    def keys(self, path: KeyPath) -> list[str]:
        """Return the keys that the mapping at ``path`` may have."""
        if not path:
            return self.sections
        section = str(path[0])
        if section in self.classes:
            node = self.source.trail((*path, "type"))[-1]
            known = self.classes[section]
            return list(known.get(node.value, [])) if isinstance(node.value, str) else []
        return keys_at(self.shape, self.data, path)

    def named(self, path: KeyPath) -> Mapping[str, Any]:
        """Return the classes that the mapping at ``path`` can be of, by name; none for others."""
        return SWEEP_CLASSES.get(path) or self.classes.get(str(path[0]), {})

    def section_keys(self, section: str) -> list[str]:
        """Return all keys that a section has, in whatever class."""
        classes = self.classes.get(section, {}).values()
        keys = dict.fromkeys(key for known in classes for key in known)
        return list(keys) or keys_at(self.shape, {}, (section,))

    def owner(self, path: KeyPath) -> str:
        """Say whose keys the mapping at ``path`` holds: ``Conv2d``, or ``trainer``."""
        if path and (classes := self.named(path)):
            kind = self.source.trail((*path, "type"))[-1].value
            if isinstance(kind, str) and kind in classes:
                return kind
        return _name(path)


def same_or_similar(word: str, names: Sequence[str]) -> str | None:
    """Return the name that ``word`` is a misspelling of, or None."""
    return same_but_for_spelling(word, names) or similar(word, names)


def _name(path: KeyPath) -> str:
    """Name a value by its own key; an item of a list by the list's."""
    names = [clip(part) for part in path if isinstance(part, str)]
    if not names:
        return "a config"
    own = isinstance(path[-1], str)
    return f"`{names[-1]}`" if own else f"item {int(path[-1]) + 1} of `{names[-1]}`"


def _wrong_kind(name: str, value: Any, errors: list[Any]) -> tuple[str, str | None]:
    words: list[str] = []
    choices: list[str] = []
    for error in errors:
        if error["type"] == "literal_error":
            choices += re.findall(r"'([^']*)'", error["ctx"]["expected"])
        else:
            words.append(EXPECTED[error["type"]])
    expected = list(dict.fromkeys(words + [f"`{choice}`" for choice in choices]))
    message = f"{name} must be {_either(expected)}, got {show(value)}"
    return message, _way_out(value, words, choices)


def _either(words: list[str]) -> str:
    return " or ".join(words) if len(words) < 3 else f"{', '.join(words[:-1])} or {words[-1]}"


def _way_out(value: Any, words: list[str], choices: list[str]) -> str | None:
    """Suggest how a value of the wrong kind can be mended."""
    if isinstance(value, str):
        if (hint := did_you_mean(value, choices)) is not None:
            return hint
        number = core_type(value.replace("_", ""))
        if number == "int" and ("a whole number" in words or "a number" in words):
            return f"remove the {'underscores' if '_' in value else 'quotes'}"
        if number == "float" and "a number" in words:
            return f"remove the {'underscores' if '_' in value else 'quotes'}"
        truth = {
            "yes": "true",
            "on": "true",
            "true": "true",
            "no": "false",
            "off": "false",
            "false": "false",
        }
        if "true or false" in words and value.lower() in truth:
            return f"write {truth[value.lower()]}, without quotes: YAML 1.2 has only true and false"
    if isinstance(value, float) and "a whole number" in words and value.is_integer():
        return f"write {int(value)}"
    if isinstance(value, (bool, int, float)) and words == ["text"]:
        return "put it in quotes"
    if value is None and words:
        return "give it a value, or remove the key"
    return None
