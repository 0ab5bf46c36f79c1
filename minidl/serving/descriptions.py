"""What OpenAPI is told of the routes that ask the model: bodies, answers, errors, examples.

Bodies are read by minidl itself (as streams, within limits), so their schemas are written here.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.serving.inputs import InputSpec
from minidl.serving.served_model import ServedModel

#: Examples of more numbers than this would fill the page; /example has them.
LARGEST_EXAMPLE = 32

_ERRORS = {
    400: "The request is not well-formed",
    413: "The body is too large",
    415: "The body is of a type that is not taken",
    422: "The samples are not such as the model takes; says which, and what would be right",
    503: "The queue is full; try again after the seconds in Retry-After",
}
_ERROR_SCHEMA = {
    "type": "object",
    "required": ["detail"],
    "properties": {
        "detail": {"type": "string"},
        "expected": {"type": "object"},
        "given": {"type": "object"},
        "sample": {"type": "integer"},
    },
}


class Descriptions:
    """Arguments of the routes' decorators, for one model."""

    def __init__(self, served: ServedModel, spec: InputSpec) -> None:
        kind = f"{spec.dtype} {list(spec.shape)}"
        predictions = _object("predictions", {"type": "array", "items": _prediction(served)})
        arrays = {"type": "array", "items": _nested(served.answer_shape, {"type": "number"})}
        example = served.example() if math.prod(spec.shape) <= LARGEST_EXAMPLE else None
        samples = [_nested(shape, _number(spec)) for shape in spec.shapes]
        many = {"type": "array", "minItems": 1, "maxItems": spec.max_samples}
        batch = {"anyOf": samples + [many | {"items": sample} for sample in samples]}
        self.predict = _route(
            f"Answers to samples: {kind}, one or many",
            {"application/json": _media(_object("inputs", batch), example)},
            predictions,
        )
        self.invocations = _route(
            f"The same as arrays, as MLflow's scoring server answers: {kind}",
            {
                "application/json": _media(
                    {"anyOf": [_object("inputs", batch), _object("instances", batch)]}, example
                )
            },
            _object("predictions", arrays),
        )
        binary = {"type": "string", "format": "binary"}
        self.picture = _route(
            "The answer to a picture: PNG or JPEG, fitted to the model's input",
            {
                "multipart/form-data": _media(_object("image", binary, more=True)),
                "image/png": _media(binary),
                "image/jpeg": _media(binary),
            },
            predictions,
        )


def _route(summary: str, content: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    errors: dict[int | str, dict[str, Any]] = {
        status: {"description": text, "content": {"application/json": {"schema": _ERROR_SCHEMA}}}
        for status, text in _ERRORS.items()
    }
    answers = {200: {"description": "Answers", "content": {"application/json": _media(answer)}}}
    return {
        "summary": summary,
        "responses": answers | errors,
        "openapi_extra": {"requestBody": {"required": True, "content": content}},
    }


def _media(schema: dict[str, Any], example: Any = None) -> dict[str, Any]:
    return {"schema": schema} | ({} if example is None else {"example": example})


def _object(name: str, schema: dict[str, Any], *, more: bool = False) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [name],
        "properties": {name: schema},
        "additionalProperties": more,
    }


def _nested(shape: tuple[int, ...], leaf: dict[str, Any]) -> dict[str, Any]:
    for size in reversed(shape):
        leaf = {"type": "array", "items": leaf, "minItems": size, "maxItems": size}
    return leaf


def _number(spec: InputSpec) -> dict[str, Any]:
    if spec.dtype == np.uint8:
        return {"type": "integer", "minimum": 0, "maximum": 255}
    largest = float(np.finfo(spec.dtype).max)
    return {"type": "number", "minimum": -largest, "maximum": largest}


def _prediction(served: ServedModel) -> dict[str, Any]:
    classes = list(served.predictor.classes)
    if served.predictor.task != "Classification":
        return _object("values", _nested(served.answer_shape, {"type": "number"}))
    probability = {"type": "number", "minimum": 0, "maximum": 1}
    return {
        "type": "object",
        "required": ["class", "probabilities"],
        "properties": {
            "class": {"type": "string", "enum": classes},
            "probabilities": {
                "type": "object",
                "required": classes,
                "properties": dict.fromkeys(classes, probability),
            },
        },
    }
