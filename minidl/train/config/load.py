"""From a YAML file, or plain data, to a checked ``Config``.

Defaults are overruled by what the file includes, that by the file, the file by the environment
(``${env:NAME,default}``), and all by the command line. Everything that is wrong is told at once,
with its place, before anything is created; see ``yaml_source`` for what YAML means here,
``include`` and ``overrides`` for what becomes of it, ``schema`` for what the classes accept and
``diagnose`` for how mistakes are told.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import Field, ValidationError, create_model

from minidl.train.config.diagnose import Diagnosis
from minidl.train.config.fields import field_at, is_list
from minidl.train.config.include import read_config
from minidl.train.config.monitor import check_monitor
from minidl.train.config.nodes import KeyPath, Node, Source
from minidl.train.config.overrides import apply_overrides
from minidl.train.config.problems import ConfigError, Place, Problem, show
from minidl.train.config.schema import (
    Registry,
    SpecModels,
    one_of,
    registry,
    spec_keys,
    spec_models,
)
from minidl.train.config.sections import Config
from minidl.train.config.yaml_scalars import interpolate, unsayable
from minidl.train.config.yaml_source import MAX_BYTES, MAX_DEPTH, MAX_NODES, decode, fault, parse


def load_config(
    path: str | os.PathLike[str],
    overrides: Sequence[str] = (),
    *,
    classes: Registry | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Read and check a config.

    Parameters
    ----------
    path
        A YAML file.
    overrides
        Changes as on the command line: ``optimizer.lr=3e-4``, ``~trainer.early_stop``.
    classes
        What can be named as ``type``; by default ``registry()``.
    environ
        Where ``${env:NAME}`` looks; by default the process's environment.

    Raises
    ------
    ConfigError
        With all that is wrong.
    """
    return _check(compose(path, overrides, classes=classes, environ=environ), classes)


def config_from_text(
    text: str | bytes,
    *,
    name: str = "config",
    overrides: Sequence[str] = (),
    classes: Registry | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Check a config that is a YAML text by itself, of no file: `include` is refused in it.

    Parameters
    ----------
    name
        What messages call it: ``name:line:column``.
    overrides, classes, environ
        As for `load_config`.

    Raises
    ------
    ConfigError
        With all that is wrong.
    """
    if isinstance(text, bytes):
        text = decode(text, name)
    elif len(text) > MAX_BYTES:
        raise fault(Place(name), f"the text is larger than {MAX_BYTES:,} bytes; is it a config?")
    source = parse(text, name=name, environ=environ)
    if isinstance(source.root.value, dict):
        if "include" in source.root.value:  # what it would have given is missing everywhere
            place = source.trail(("include",))[-1].key or source.root.place
            hint = "put what it names into the text"
            raise ConfigError(
                [source.problem(place, "`include` reads files, and this is a text", hint)]
            )
        apply_overrides(source, overrides, environ=environ, wants_list=_lists(source, classes))
    return _check(source, classes)


def config_from_data(
    data: Mapping[str, Any],
    *,
    classes: Registry | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Check a config that is plain data already: a checkpoint's, or one written in Python.

    Parameters
    ----------
    classes, environ
        As for `load_config`.

    Raises
    ------
    ConfigError
        With all that is wrong; places are paths (``data: trainer.epochs``).

    Examples
    --------
    >>> model = {"type": "Sequential", "layers": [{"type": "Linear", "out_features": 10}]}
    >>> data = {"data": {"type": "MNISTSample"}, "model": model, "optimizer": {"type": "SGD"}}
    >>> config_from_data(data).flat()["trainer.epochs"]
    '5'
    >>> config_from_data({**data, "seed": -1})
    Traceback (most recent call last):
        ...
    minidl.train.config.problems.ConfigError: data: seed: `seed` must be at least 0, got -1
    """
    source = Source("data", {"data": ""}, Node(None, Place("data")))
    source.root = _tree(data, (), source, os.environ if environ is None else environ)
    return _check(source, classes)


def compose(
    path: str | os.PathLike[str],
    overrides: Sequence[str] = (),
    *,
    classes: Registry | None = None,
    environ: Mapping[str, str] | None = None,
) -> Source:
    """Read a config, what it includes, and changes to it, and check nothing of what they say.

    Changes that cannot be made are among the source's ``problems``. Parameters are those of
    `load_config`.

    Raises
    ------
    ConfigError
        A file cannot be read, is not YAML, or includes what it cannot.
    """
    source = read_config(path, environ=environ)
    if isinstance(source.root.value, dict):
        apply_overrides(source, overrides, environ=environ, wants_list=_lists(source, classes))
    return source


def _check(source: Source, classes: Registry | None) -> Config:
    data = source.root.plain()
    if not isinstance(data, dict):
        source.report(source.root.place, f"a config is a mapping of sections, got {show(data)}")
        raise source.error()
    if "include" in data:  # that of a file was replaced by what it names
        del data["include"]
        place = source.trail(("include",))[-1].place
        source.report(place, "`include` has a meaning in a file only, at its top")
    model, _ = config_shape(classes, _types(data))
    config = None
    try:
        config = model.model_validate(data)
    except ValidationError as error:
        everything = spec_keys(registry() if classes is None else classes)
        Diagnosis(source, model, everything).report(error.errors(include_url=False))
    check_monitor(source, data, registry() if classes is None else classes)
    source.problems += source.root.faults()
    if config is None or source.problems:
        raise source.error()
    config._source = source
    return config


def _lists(source: Source, classes: Registry | None) -> Callable[[Sequence[str]], bool]:
    """Return the question whether the schema wants a list at a path."""

    def answer(path: Sequence[str]) -> bool:
        data = source.root.plain()
        return is_list(field_at(config_shape(classes, _types(data))[0], data, path))

    return answer


def _types(data: Any) -> frozenset[str]:
    """Return all names of classes that a config mentions."""
    found: set[str] = set()
    stack = [data]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if isinstance(name := value.get("type"), str):
                found.add(name)
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
    return frozenset(found)


def config_shape(
    classes: Registry | None, mentioned: frozenset[str] | None = None
) -> tuple[type[Config], SpecModels]:
    """Return the model of configs, and of each class.

    Parameters
    ----------
    mentioned
        Only these classes: some 200 take a second to make models of, and a config names ten.
    """
    known = registry() if classes is None else classes
    if mentioned is not None and sum(map(len, known.values())) > FEW:
        known = {section: _wanted(named, mentioned) for section, named in known.items()}
    shape: tuple[type[Config], SpecModels] = _shape_of(
        tuple((name, tuple(named.items())) for name, named in known.items())
    )
    return shape


def _wanted(named: Mapping[str, type], mentioned: frozenset[str]) -> dict[str, type]:
    """Return the classes mentioned, and others up to two: with one there is nothing to choose."""
    wanted = {name: cls for name, cls in named.items() if name in mentioned or name in _ALWAYS}
    for name, cls in named.items():
        if len(wanted) >= 2:
            break
        wanted[name] = cls
    return wanted


#: So many classes are made models of in no time.
FEW = 40
#: The loss that a config has without saying so.
_ALWAYS = frozenset({"CrossEntropyLoss"})


@functools.lru_cache(maxsize=64)
def _shape_of(known: tuple[tuple[str, tuple[tuple[str, type], ...]], ...]) -> Any:
    specs = spec_models({name: dict(named) for name, named in known})
    fields: dict[str, Any] = {
        name: (one_of(named), ...) for name, named in specs.items() if name != "augment"
    }
    if loss := specs["loss"].get("CrossEntropyLoss"):
        usual = functools.partial(loss, type="CrossEntropyLoss")
        fields["loss"] = (fields["loss"][0], Field(default_factory=usual))
    for several in ("metrics", "callbacks"):
        if entry := fields.pop(several, None):
            fields[several] = (list[entry[0]], Field(default_factory=list))  # type: ignore[valid-type]
    for optional in ("schedule", "task"):
        if optional in fields:
            fields[optional] = (fields[optional][0] | None, None)
    model = create_model("Config", __base__=Config, __doc__="A run of minidl.", **fields)
    return model, specs


def _tree(
    data: Any,
    path: KeyPath,
    source: Source,
    environ: Mapping[str, str],
    count: list[int] | None = None,
) -> Node:
    """Turn plain data into nodes, whose places are their paths."""
    count = [0] if count is None else count
    count[0] += 1
    place = Place(": ".join(["data", ".".join(map(str, path))]) if path else "data")
    if len(path) > MAX_DEPTH or count[0] > MAX_NODES:
        raise ConfigError(
            [
                Problem.at(
                    place, f"deeper than {MAX_DEPTH} levels, or more than {MAX_NODES:,} values"
                )
            ]
        )
    if isinstance(data, Mapping):
        for key in [key for key in data if not isinstance(key, str)]:
            source.report(place, f"a key must be text, got {key!r}")
        children = {
            key: _tree(child, (*path, key), source, environ, count)
            for key, child in data.items()
            if isinstance(key, str)
        }
        return Node(children, place)
    if isinstance(data, (list, tuple)):
        return Node(
            [_tree(child, (*path, i), source, environ, count) for i, child in enumerate(data)],
            place,
        )
    try:
        if isinstance(data, str):
            data = interpolate(data, environ)
            if fault := unsayable(data):
                raise ValueError(fault)
        elif not (data is None or isinstance(data, (bool, int, float))):
            raise ValueError(f"a config holds plain data, got {type(data).__name__}")
    except ValueError as error:
        return Node(None, place, fault=Problem.at(place, str(error)))
    return Node(data, place)
