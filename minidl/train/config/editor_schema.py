"""JSON Schema of configs, for editors that complete, explain and check YAML while it is written.

pydantic makes one from the same models that the loader checks with. It is rewritten here for those
who read it: draft 7, which YAML language servers know; one definition a class, chosen by its
``type``, so that a mistake is told of that class and not of all; docstrings as descriptions;
``${env:…}`` where a number may stand; and with an ``include``, nothing is missing.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable
from typing import Any

from minidl.train.config.fields import kinds
from minidl.train.config.load import config_shape
from minidl.train.config.schema import Registry, SpecModels, registry
from minidl.train.config.sections import Config
from minidl.train.config.yaml_scalars import ENVIRONMENT

Schema = dict[str, Any]

PATH: Schema = {"type": "string", "minLength": 1}
INCLUDE: Schema = {
    "description": "Files that this one begins with, by their paths from here. Mappings are merged,"
    " all else is replaced; a later file overrules an earlier one, and this one all of them.",
    "anyOf": [PATH, {"type": "array", "items": PATH}],
}
SCALARS = {"integer", "number", "boolean"}


def schema_text(classes: Registry | None = None) -> str:
    """Return ``json_schema()`` as the text of a file, a line for each key and each definition."""

    def lines(entries: Schema, indent: str) -> str:
        shown = [
            f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in entries.items()
        ]
        return f",\n{indent}".join(shown)

    schema = json_schema(classes)
    definitions = schema.pop("definitions")
    top = lines(schema, " ")
    return f'{{\n {top},\n "definitions": {{\n  {lines(definitions, "  ")}\n }}\n}}\n'


def json_schema(classes: Registry | None = None) -> Schema:
    """Return the JSON Schema of configs. Bounds and keys are the loader's own."""
    known = registry() if classes is None else classes
    shape, models = config_shape(known)
    raw = shape.model_json_schema()
    writing = _Writing(models, raw.pop("$defs"))
    chosen = {
        name: _nullable(field.annotation)
        for name, field in shape.model_fields.items()
        if name in models and not any(hasattr(k, "__origin__") for k in kinds(field.annotation))
    }
    properties: Schema = {"include": INCLUDE}
    for name, field in raw["properties"].items():
        said = {} if name in chosen else writing.rewritten(field)
        properties[name] = said | {"description": Config.model_fields[name].description or name}

    def sections(suffix: str) -> Schema:
        return {name: {"$ref": f"#/definitions/{name}{suffix}"} for name in chosen}

    definitions = writing.definitions()
    for name, nullable in chosen.items():
        for suffix, partial in (("", False), ("_changed", True)):
            how = {"partial": partial, "nullable": nullable}
            definitions[name + suffix] = writing.choice(models[name], **how)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A run of minidl",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "if": {"required": ["include"]},
        "then": {"properties": sections("_changed")},
        "else": {"properties": sections(""), "required": raw["required"]},
        "definitions": dict(sorted(definitions.items())),
    }


class _Writing:
    """pydantic's definitions, rewritten."""

    def __init__(self, models: SpecModels, raw: Schema) -> None:
        self.models = models
        self.raw = raw
        self.classes = {name for named in models.values() for name in named}

    def definitions(self) -> Schema:
        """Return a definition for each class, for each choice of classes, and for each section."""
        found = {name: self.rewritten(schema) for name, schema in self.raw.items()}
        for section, named in self.models.items():
            found[section] = self.choice(named)
            for name, model in named.items():
                found[name] = self.of_class(name, model.python_class)
        return found | {"variable": VARIABLE}

    def of_class(self, name: str, cls: type) -> Schema:
        """Return what a class takes; what it needs is said where it is chosen."""
        made: Schema = self.rewritten(self.raw[name])
        prose, arguments = explained(inspect.getdoc(cls) or name)
        made["properties"]["type"] |= {"description": prose}
        for argument, text in arguments.items():
            if argument in made["properties"]:
                made["properties"][argument].setdefault("description", text)
        return {k: v for k, v in made.items() if k not in ("required", "description")}

    def choice(
        self, names: Iterable[str], *, partial: bool = False, nullable: bool = False
    ) -> Schema:
        """Return "one of these classes"; in part, what one of them needs may be left out."""
        branches = []
        for name in sorted(names):
            is_it: Schema = {"properties": {"type": {"const": name}}, "required": ["type"]}
            if nullable:  # null has no properties that could be wrong
                is_it["type"] = "object"
            branches.append({"if": is_it, "then": self.complete(name, partial=partial)})
        made: Schema = {
            "type": ["object", "null"] if nullable else "object",
            "properties": {"type": {"enum": sorted(names)}},
            "allOf": branches,
        }
        return made if partial else made | {"required": ["type"]}

    def complete(self, name: str, *, partial: bool = False) -> Schema:
        """Refer to a class, with what it needs."""
        reference = {"$ref": f"#/definitions/{name}"}
        required = self.raw[name].get("required", [])
        # Draft 7 reads nothing beside a `$ref`.
        return reference if partial else {"allOf": [reference], "required": required}

    def rewritten(self, schema: Schema) -> Schema:
        """Return a schema of pydantic's in our words."""
        if "discriminator" in schema:
            named = {part["$ref"].rpartition("/")[2] for part in schema["oneOf"]}
            sections = [name for name, known in self.models.items() if set(known) == named]
            chosen = {"$ref": f"#/definitions/{sections[0]}"} if sections else self.choice(named)
            return self._described(schema, chosen)
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            plain = {"$ref": f"#/definitions/{name}"}
            return self._described(schema, self.complete(name) if name in self.classes else plain)
        made: Schema = {}
        for key, value in schema.items():
            if key == "properties":
                made[key] = {name: self.rewritten(part) for name, part in value.items()}
            elif key == "prefixItems":
                made["items"] = [self.rewritten(part) for part in value]
            elif key in ("anyOf", "oneOf", "allOf"):
                made[key] = [self.rewritten(part) for part in value]
            elif key in ("items", "additionalProperties") and isinstance(value, dict):
                made[key] = self.rewritten(value)
            elif key not in ("title", "format"):
                made[key] = value
        return _or_variable(made)

    @staticmethod
    def _described(schema: Schema, reference: Schema) -> Schema:
        notes = {key: schema[key] for key in ("description", "default") if key in schema}
        if notes and "$ref" in reference:
            reference = {"allOf": [reference]}
        return reference | notes


VARIABLE: Schema = {
    "type": "string",
    "pattern": f"^{ENVIRONMENT.pattern}$",
    "description": "The value of an environment variable, or what stands behind the comma.",
}


def _or_variable(schema: Schema) -> Schema:
    """Let ``${env:…}`` stand where a number, true or false, or one of some words may."""
    variable = {"$ref": "#/definitions/variable"}
    if "anyOf" in schema:
        inner = [part for part in schema["anyOf"] if part != variable]
        taken = [
            part["anyOf"][0] if part.get("anyOf", [])[1:] == [variable] else part for part in inner
        ]
        more = [variable] if taken != inner or len(inner) < len(schema["anyOf"]) else []
        return schema | {"anyOf": [*taken, *more]}
    if schema.get("type") not in SCALARS and "enum" not in schema:
        return schema
    notes: Schema = {key: schema.pop(key) for key in ("description", "default") if key in schema}
    return {"anyOf": [schema, variable], **notes}


def _nullable(annotation: Any) -> bool:
    return type(None) in kinds(annotation)


def explained(doc: str) -> tuple[str, dict[str, str]]:
    """Take a NumPy-style docstring apart: its prose, and what it says of each parameter."""
    prose, *rest = re.split(r"\n*^(\w[\w ]*)\n-{3,}\n", doc, flags=re.MULTILINE)
    blocks = dict(zip(rest[::2], rest[1::2], strict=True))
    said: dict[str, str] = {}
    names: list[str] = []
    for line in blocks.get("Parameters", "").splitlines():
        if line[:1].strip():
            names = [name.strip("* ") for name in line.partition(":")[0].split(",")]
        elif line.strip():
            said |= {name: f"{said.get(name, '')} {line.strip()}".strip() for name in names}
    return prose.strip(), said
