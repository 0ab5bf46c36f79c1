"""The shape of a config, taken from the signatures of the classes that it names.

``{type: Conv2d, out_channels: 32}`` is checked against ``Conv2d.__init__``: its arguments' names,
types, defaults and bounds (``minidl.arguments``). There is no second list of what a class accepts,
and only the classes in the registry can be named: a config holds no import path.
"""

from __future__ import annotations

import collections.abc
import functools
import inspect
import os
import types
from collections.abc import Collection, Mapping
from typing import (
    Annotated,
    Any,
    ClassVar,
    ForwardRef,
    Literal,
    TypeAlias,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import BaseModel, ConfigDict, Field, Strict, create_model

from minidl.arguments import Bound
from minidl.nn.module import Module

Registry: TypeAlias = Mapping[str, Mapping[str, type]]
SpecModels: TypeAlias = dict[str, dict[str, type["Spec"]]]

# Filled in by the builder and the trainer: a config has no way to write them.
NOT_IN_YAML = frozenset(
    ["self", "params", "dtype", "rng", "device", "optimizer", "total_steps", "generator"]
)


@functools.cache
def registry() -> dict[str, dict[str, type]]:
    """Return the classes that a config can name, by section and name."""
    from minidl import data, models, nn, optim
    from minidl.data import augment
    from minidl.train import callbacks, metrics, tasks

    modules = {**_classes(nn, nn.Module), **_classes(models, nn.Module)}
    losses = {name: cls for name, cls in modules.items() if issubclass(cls, nn.Loss)}
    kinds = (nn.Loss, nn.Lazy)  # a layer is lazy where a size is left out
    holders = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
    bases = {"Module", "FunctionModule", "Loss"}
    return {
        "data": _classes(data, data.DatasetFiles, without={"DatasetFiles"}),
        "augment": _classes(augment, object, without={"Augment", "Compose"}),
        "model": {
            name: cls
            for name, cls in modules.items()
            if not issubclass(cls, (*kinds, *holders)) and name not in bases
        },
        "callbacks": _classes(callbacks, callbacks.Callback, without={"Callback"}),
        "task": _classes(tasks, tasks.Task, without={"Task"}),
        "loss": {name: cls for name, cls in losses.items() if name not in bases},
        "optimizer": _classes(optim, optim.Optimizer, without=NOT_IN_RUNS),
        "schedule": {
            **_classes(optim, optim.Schedule, without=NOT_IN_RUNS),
            "ReduceLROnPlateau": optim.ReduceLROnPlateau,
        },
        "metrics": _classes(
            metrics, metrics.Metric, without={"Metric", "ClassMetric", "NumberMetric"}
        ),
    }


#: Optimizers and schedules that take functions or other objects, which YAML cannot say.
NOT_IN_RUNS = frozenset(
    [
        *("Optimizer", "LBFGS", "Schedule", "LambdaLR", "MultiplicativeLR", "SequentialLR"),
        "ChainedScheduler",
    ]
)


def _classes(
    module: types.ModuleType, base: type, without: Collection[str] = ()
) -> dict[str, type]:
    """Return the public classes of a module that descend from ``base``."""
    found = {}
    names = getattr(module, "__all__", [n for n in vars(module) if not n.startswith("_")])
    for name in sorted(names):
        value = getattr(module, name)
        if isinstance(value, type) and issubclass(value, base) and name not in without:
            found[name] = value
    return found


class Section(BaseModel):
    """A mapping of a config: unknown keys are refused, and types are taken at their word."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,  # true is no 1, and "3" is no 3
        allow_inf_nan=False,
        protected_namespaces=(),
        use_attribute_docstrings=True,
    )


class Spec(Section):
    """What a config says of one object: its class's name, and arguments for its constructor."""

    python_class: ClassVar[type] = object
    inferred: ClassVar[frozenset[str]] = frozenset()
    holds_specs: ClassVar[bool] = False
    not_arguments: ClassVar[frozenset[str]] = frozenset({"type"})

    type: str

    def arguments(self) -> dict[str, Any]:
        """Return the arguments that the config gives; nested objects are ``Spec`` themselves."""
        given = self.model_fields_set - self.not_arguments
        return {name: getattr(self, name) for name in type(self).model_fields if name in given}

    def resolved(self) -> dict[str, Any]:
        """Return all keys as plain data, with defaults; those left to be inferred are not there."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {
            name: plain(value)
            for name, value in values.items()
            if name not in self.inferred or name in self.model_fields_set
        }


class DataSpec(Spec):
    """A dataset, and how it is cut into batches."""

    not_arguments: ClassVar[frozenset[str]] = frozenset(
        {"type", "batch_size", "val_fraction", "drop_last", "augment", "prefetch"}
    )

    batch_size: Annotated[int, Field(ge=1)] = 64
    """Samples in a training step."""
    val_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Part of the training samples that is held back for validation; 0 for none."""
    drop_last: bool = False
    """Leave out an epoch's last batch where it is smaller than the others."""
    augment: Annotated[list[Any], Field(max_length=0)] = []
    """How training samples are changed before a model sees them, in this order."""
    prefetch: Annotated[int, Field(ge=0)] = 2
    """Batches made ahead in a thread while the step before is computed; 0 for none."""


def plain(value: Any) -> Any:
    """Return ``value`` as YAML has it: specs and sections as mappings, tuples as lists."""
    if isinstance(value, Spec):
        return value.resolved()
    if isinstance(value, BaseModel):
        return {name: plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, dict):
        return {key: plain(child) for key, child in value.items()}
    return [plain(child) for child in value] if isinstance(value, (list, tuple)) else value


def spec_models(classes: Registry) -> SpecModels:
    """Return a pydantic model for each class of the registry, by section and class name.

    Raises
    ------
    TypeError
        A class has a required argument that YAML cannot express.
    """
    models: SpecModels = {}
    for section, named in classes.items():
        base = DataSpec if section == "data" else Spec
        models[section] = {
            name: _spec_model(name, named[name], base, augmented=bool(classes.get("augment")))
            for name in named
        }
    space = {"Layer": one_of(models["model"])}
    if models.get("augment"):
        space["Augmentation"] = one_of(models["augment"])
    for section in ("model", "data"):
        for model in models[section].values():  # Sequential holds layers, itself among them
            if model.holds_specs:
                model.model_rebuild(force=True, _types_namespace=space)
    return models


def one_of(models: Mapping[str, type[Spec]]) -> Any:
    """Return the type "one of these", told apart by the key ``type``."""
    if len(models) == 1:  # pydantic wants two or more to tell apart
        return next(iter(models.values()))
    return Annotated[Union[tuple(models.values())], Field(discriminator="type")]  # noqa: UP007


def spec_keys(classes: Registry) -> dict[str, dict[str, list[str]]]:
    """Return the keys that each class takes, by section and name: what the models have, sooner."""
    keys: dict[str, dict[str, list[str]]] = {}
    for section, named in classes.items():
        base = DataSpec if section == "data" else Spec
        augmented = bool(classes.get("augment"))
        keys[section] = {
            name: list(
                dict.fromkeys(
                    [*base.model_fields, *_fields(name, cls, base, augmented=augmented)[0]]
                )
            )
            for name, cls in named.items()
        }
    return keys


def _spec_model(name: str, cls: type, base: type[Spec], *, augmented: bool) -> type[Spec]:
    holds = _fields(name, cls, base, augmented=augmented)[1]
    # What holds others is rebuilt once these are known, and so is made anew for each config.
    return (_new_model if holds else _lasting_model)(name, cls, base, augmented=augmented)


def _new_model(name: str, cls: type, base: type[Spec], *, augmented: bool) -> type[Spec]:
    fields, holds = _fields(name, cls, base, augmented=augmented)
    summary = (inspect.getdoc(cls) or name).partition("\n")[0]
    model = create_model(name, __base__=base, __doc__=summary, **fields)
    model.python_class = cls
    model.inferred = frozenset(getattr(cls, "infer", {}))
    model.holds_specs = holds
    return model


_lasting_model = functools.cache(_new_model)


@functools.cache
def _fields(
    name: str, cls: type, base: type[Spec], *, augmented: bool
) -> tuple[dict[str, Any], bool]:
    """Return the fields of a class's model, and whether it holds specs of other classes."""
    inferred = frozenset(getattr(cls, "infer", {}))
    fields: dict[str, Any] = {"type": (Literal[name], ...)}
    holds = base is DataSpec and augmented
    if holds:
        said_of_it = base.model_fields["augment"].description
        fields["augment"] = (
            list["Augmentation"],  # type: ignore[name-defined]  # noqa: F821
            Field(default_factory=list, description=said_of_it),
        )
    for parameter, hint in _parameters(cls):
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            fields["layers"] = (Annotated[list["Layer"], Field(min_length=1)], ...)  # type: ignore[name-defined]  # noqa: F821
            holds = True
            continue
        said = in_yaml(hint)
        if said is not None and BALANCED.get(name) == parameter.name:
            said = said | Literal["balanced"]
        holds = holds or _mentions_layer(said)
        required = parameter.default is inspect.Parameter.empty
        if parameter.name in inferred:
            # A factory and not a default: `in_features: null` stays an error, in JSON Schema too.
            fields[parameter.name] = (said, Field(default_factory=lambda: None))
        elif said is not None:
            fields[parameter.name] = (said, ... if required else parameter.default)
        elif required:
            raise TypeError(f"{name}.{parameter.name}: {hint!r} cannot be written in YAML")
    return fields, holds


#: Weights that a loss can be given as `balanced`: they follow from the training samples.
BALANCED = {
    "CrossEntropyLoss": "weight",
    "NLLLoss": "weight",
    "FocalLoss": "weight",
    "MultiMarginLoss": "weight",
    "BCEWithLogitsLoss": "pos_weight",
}


def _mentions_layer(said: Any) -> bool:
    return said == LAYER or any(_mentions_layer(part) for part in get_args(said))


#: Stands for "one of the layers" until these are known.
LAYER = ForwardRef("Layer")


def _parameters(cls: type) -> list[tuple[inspect.Parameter, Any]]:
    """Return the constructor's parameters that a config may give, each with its hint."""
    constructor = inspect.unwrap(cls.__init__)  # type: ignore[misc]
    if constructor is object.__init__:  # its signature claims *args; it takes none
        return []
    hints = get_type_hints(constructor, include_extras=True)
    return [
        (parameter, hints.get(name, str))
        for name, parameter in inspect.signature(constructor).parameters.items()
        if name not in NOT_IN_YAML and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]


def in_yaml(hint: Any) -> Any | None:
    """Return the pydantic type for what of ``hint`` YAML can say; None where it can say nothing.

    Bounds become pydantic's, tuples are lists in YAML, paths are text; arrays, functions and other
    objects drop out of a union.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and issubclass(hint, Module):
        return LAYER
    if origin is Annotated:
        inner = in_yaml(arguments[0])
        bounds = [note for note in arguments[1:] if isinstance(note, Bound)]
        for bound in bounds if inner is not None else ():
            inner = Annotated[inner, Field(gt=bound.gt, ge=bound.ge, lt=bound.lt, le=bound.le)]
        return inner
    if origin in (Union, types.UnionType):
        said = [part for part in map(in_yaml, arguments) if part is not None]
        if not any(part is not type(None) for part in said):
            return None
        return Union[tuple(dict.fromkeys(said))]  # noqa: UP007
    if hint in (bool, int, float, str, type(None)) or origin is Literal:
        return hint
    if (isinstance(hint, type) and issubclass(hint, os.PathLike)) or origin is os.PathLike:
        return str
    parts = [part if part is Ellipsis else in_yaml(part) for part in arguments]
    if not parts or None in parts:
        return None
    if origin is tuple:
        return Annotated[tuple[tuple(parts)], Strict(False)]  # type: ignore[misc]  # a YAML list
    if origin in (list, collections.abc.Sequence):
        return list[parts[0]]  # type: ignore[valid-type]
    if origin in (dict, collections.abc.Mapping):
        return dict[parts[0], parts[1]]  # type: ignore[valid-type]
    return None
