"""What the schema has at a path of a config: which keys, and whether a list.

A path leads through sections (``trainer.early_stop``), through the class that a ``type`` names
(``model.layers.0``), and through lists; a config's data say which class it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel


def field_at(shape: type[BaseModel], data: Any, path: Sequence[str | int]) -> Any | None:
    """Return the type that the schema has at ``path``, or None where it has nothing.

    Parameters
    ----------
    shape
        The model of the whole config.
    data
        The config as plain data, which may be wrong anywhere.
    """
    return _walk(shape, data, path)[0]


def keys_at(shape: type[BaseModel], data: Any, path: Sequence[str | int]) -> list[str]:
    """Return the keys that the mapping at ``path`` may have."""
    model = _model(*_walk(shape, data, path))
    return list(model.model_fields) if model else []


def _walk(shape: type[BaseModel], data: Any, path: Sequence[str | int]) -> tuple[Any, Any]:
    """Follow ``path`` in the schema and in the data, as far as there are any."""
    here: Any = shape
    for part in path:
        if isinstance(data, list) and str(part).isdecimal():
            here = next((item for kind in kinds(here) for item in _items(kind)), None)
            data = data[int(part)] if int(part) < len(data) else None
        else:
            model = _model(here, data)
            field = model.model_fields.get(str(part)) if model else None
            here = field.annotation if field else _values(here)
            data = data.get(part) if isinstance(data, dict) else None
    return here, data


def is_list(annotation: Any) -> bool:
    """Whether a list may stand there, and nothing else but null."""
    found = [kind for kind in kinds(annotation) if kind is not type(None)]
    return bool(found) and all(get_origin(kind) is list for kind in found)


def kinds(annotation: Any) -> list[Any]:
    """Return the alternatives of a type, notes and unions taken apart."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return kinds(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [kind for part in get_args(annotation) for kind in kinds(part)]
    return [] if annotation is None else [annotation]


def _items(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) is list else ()


def _values(annotation: Any) -> Any | None:
    """Return the type of a dictionary's values."""
    found = (kind for kind in kinds(annotation) if get_origin(kind) is dict)
    return next((get_args(kind)[1] for kind in found), None)


def _model(annotation: Any, data: Any) -> type[BaseModel] | None:
    """Return the model that is meant: the only one, or the one that ``type`` names."""
    models = [
        kind for kind in kinds(annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)
    ]
    if len(models) == 1:
        return models[0]
    named = data.get("type") if isinstance(data, dict) else None
    return next((model for model in models if model.__name__ == named), None)
