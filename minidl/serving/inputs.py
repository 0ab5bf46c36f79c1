"""From the bytes of a JSON request to samples, or to an error that says what is wrong.

A body is ``{"inputs": [...]}``: nested arrays of one sample's shape, or of many samples. Only
numbers are taken: strings, ``true``, ``null``, NaN and Infinity are refused, also where NumPy would
make numbers of them. Whole numbers from 0 to 255 are wanted for models that take pixels; 12.0 is
one, as JSON knows only one kind of number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic_core import from_json

from minidl.autograd.primitive import Array

#: Characters of a refused value that a message repeats.
SHOWN = 40


class InputError(ValueError):
    """What was sent is nothing that the model takes.

    Attributes
    ----------
    sample : int or None
        Which sample is wrong, where it is one.
    given : list of int or None
        The shape that was sent, where it is the shape that is wrong.
    """

    def __init__(
        self, message: str, *, sample: int | None = None, given: Sequence[int] | None = None
    ) -> None:
        super().__init__(message)
        self.sample = sample
        self.given = None if given is None else list(given)


@dataclass(frozen=True)
class InputSpec:
    """What a model takes: samples of a shape and dtype, and how many at once."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    max_samples: int

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes that one sample may be written in: an image of one channel also without it."""
        gray = len(self.shape) == 3 and self.shape[0] == 1
        return [self.shape, self.shape[1:]] if gray else [self.shape]

    @property
    def wanted(self) -> str:
        """What a message says that is right."""
        shapes = " or ".join(str(list(shape)) for shape in self.shapes)
        return f"one sample of shape {shapes}, or a list of such samples"


def read_samples(body: bytes, spec: InputSpec, *, keys: Sequence[str] = ("inputs",)) -> Array:
    """Return the samples in a JSON body, ``(N, *spec.shape)``, of ``spec.dtype``.

    Parameters
    ----------
    body
        A JSON object that has one of ``keys``, and nothing else.

    Raises
    ------
    InputError
        The body is no such thing; says which sample is wrong, and what would be right.
    """
    value = _value(body, keys)
    # NumPy reads "1.5" and true as numbers, and sets aside room for the longest string: what is no
    # number is found before. Two quotes are those of the key.
    if body.count(b'"') > 2 or any(word in body for word in (b"true", b"false", b"null")):
        _refuse_others(value)
    return _fitted(_array(value, spec), spec)


def _value(body: bytes, keys: Sequence[str]) -> Any:
    try:
        document = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        hint = ""
        if b"NaN" in body or b"Infinity" in body:
            hint = "; JSON has no NaN and Infinity"
        raise InputError(f"the body is not JSON: {error}{hint}") from error
    wanted = " or ".join(f'{{"{key}": [...]}}' for key in keys)
    if not isinstance(document, dict):
        raise InputError(f"the body must be a JSON object, {wanted}; got {_kind(document)}")
    if len(document) != 1 or next(iter(document)) not in keys:
        found = ", ".join(_shown(key) for key in list(document)[:5]) or "none"
        raise InputError(f"the body must be {wanted}, with that key alone; got the keys: {found}")
    return document[next(iter(document))]


def _array(value: Any, spec: InputSpec) -> Array:
    """Return nested lists of numbers as float64."""
    if not isinstance(value, list) and spec.shape:
        raise InputError(f"arrays are wanted ({spec.wanted}), got {_kind(value)}")
    try:
        return np.array(value, dtype=np.float64)
    except OverflowError as error:
        raise InputError("a whole number is too large to be a floating one") from error
    except (ValueError, TypeError) as error:  # lists of several lengths, or an object in a list
        _refuse_others(value)
        shapes = [_shape(sample) for sample in value]
        for i, shape in enumerate(shapes):
            if shapes[0] in spec.shapes and shape != shapes[0]:
                what = "is ragged" if shape is None else f"has shape {list(shape)}"
                raise InputError(
                    f"sample {i} {what}, sample 0 has {list(shapes[0])}; wanted: {spec.wanted}",
                    sample=i,
                    given=shape,
                ) from error
        raise InputError(
            f"there are lists of several lengths beside each other; wanted: {spec.wanted}"
        ) from error


def _shape(sample: Any) -> tuple[int, ...] | None:
    try:
        return np.array(sample, dtype=np.float64).shape
    except (ValueError, TypeError, OverflowError):
        return None


def _fitted(array: Array, spec: InputSpec) -> Array:
    """Return an array as a batch of samples, its values checked."""
    for shape in spec.shapes:
        if array.shape == shape:
            array = array[np.newaxis]
            break
        if array.ndim and array.shape[1:] == shape:
            break
    else:
        if not array.size:
            raise InputError(
                f"there are no numbers in it; wanted: {spec.wanted}", given=array.shape
            )
        raise InputError(
            f"got an array of shape {list(array.shape)}; wanted: {spec.wanted}", given=array.shape
        )
    if not len(array):
        raise InputError(f"there are no samples in it; wanted: {spec.wanted}", given=array.shape)
    if len(array) > spec.max_samples:
        raise InputError(
            f"{len(array)} samples in one request; at most {spec.max_samples} are taken",
            given=array.shape,
        )
    # What lies outside of the dtype becomes something else here, which is how it is found.
    with np.errstate(invalid="ignore", over="ignore"):
        samples = array.astype(spec.dtype)
    if spec.dtype == np.uint8:
        good, wanted = samples == array, "a whole number from 0 to 255"
    else:
        good, wanted = np.isfinite(samples), f"a number that fits into {spec.dtype}"
    if not good.all():
        sample, *place = (int(i) for i in np.argwhere(~good)[0])
        raise InputError(
            f"sample {sample} has {array[(sample, *place)]:g} at {place}; wanted is {wanted}",
            sample=sample,
        )
    return samples.reshape(-1, *spec.shape)


def _refuse_others(value: Any) -> None:
    """Refuse what is no number, and say where the first such thing is."""
    for place, leaf in _leaves(value):
        if isinstance(leaf, bool) or not isinstance(leaf, (int, float)):
            raise InputError(
                f"numbers are wanted, got {_kind(leaf)} at {list(place)}",
                sample=place[0] if len(place) > 1 else None,
            )


def _leaves(value: Any, place: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Any]]:
    # Recursion is safe: the JSON reader refuses what is nested 200 deep.
    if not isinstance(value, list):
        yield place, value
        return
    for i, part in enumerate(value):
        yield from _leaves(part, (*place, i))


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "an array"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, str):
        return f"the string {_shown(value)}"
    return {True: "true", False: "false", None: "null"}.get(value, f"the number {value}"[:SHOWN])


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN else text[:SHOWN] + "…")
