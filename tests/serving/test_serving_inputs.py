"""What is taken from a JSON body, and what is refused, with the words that say so."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from minidl.serving.inputs import InputError, InputSpec, read_samples

PIXELS = InputSpec((1, 2, 3), np.dtype(np.uint8), 5)
COLORS = InputSpec((3, 2, 2), np.dtype(np.uint8), 5)
NUMBERS = InputSpec((4,), np.dtype(np.float32), 5)
SCALARS = InputSpec((), np.dtype(np.float64), 5)


def body(value: Any, key: str = "inputs") -> bytes:
    return json.dumps({key: value}).encode()


@pytest.mark.parametrize(
    ("spec", "shape", "wanted"),
    [
        (PIXELS, (1, 2, 3), (1, 1, 2, 3)),
        (PIXELS, (2, 3), (1, 1, 2, 3)),  # an image of one channel needs no axis for it
        (PIXELS, (4, 2, 3), (4, 1, 2, 3)),
        (PIXELS, (4, 1, 2, 3), (4, 1, 2, 3)),
        (COLORS, (3, 2, 2), (1, 3, 2, 2)),
        (COLORS, (5, 3, 2, 2), (5, 3, 2, 2)),
        (NUMBERS, (4,), (1, 4)),
        (NUMBERS, (3, 4), (3, 4)),
        (NUMBERS, (4, 4), (4, 4)),
        (SCALARS, (), (1,)),
        (SCALARS, (3,), (3,)),
    ],
)
def test_one_sample_or_many(
    spec: InputSpec, shape: tuple[int, ...], wanted: tuple[int, ...]
) -> None:
    sent = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    found = read_samples(body(sent.tolist()), spec)
    assert found.shape == wanted
    assert found.dtype == spec.dtype
    np.testing.assert_array_equal(found.ravel(), sent.ravel())


def test_limits_of_pixels_and_floats() -> None:
    edges = [[0, 255, 12.0], [1e0, 2.55e2, -0.0]]
    np.testing.assert_array_equal(
        read_samples(body(edges), PIXELS).ravel(), [0, 255, 12, 1, 255, 0]
    )
    floats = [-1.5, 3, 1e-3, 3e38]
    np.testing.assert_array_equal(
        read_samples(body(floats), NUMBERS)[0], np.array(floats, np.float32)
    )


ROW = [1, 2, 3]


@pytest.mark.parametrize(
    ("spec", "value", "words", "sample"),
    [
        (
            PIXELS,
            [[ROW, ROW], [ROW, [1, 2, 256]]],
            "sample 1 has 256 at [1, 2]; wanted is a whole",
            1,
        ),
        (PIXELS, [[ROW, [1, -1, 2]]], "sample 0 has -1 at [0, 1, 1]", 0),
        (PIXELS, [[ROW, [1, 0.5, 2]]], "sample 0 has 0.5", 0),
        (PIXELS, [[ROW, [1, 1e300, 2]]], "sample 0 has 1e+300", 0),
        (NUMBERS, [[0, 0, 0, 0], [0, 1e39, 0, 0]], "fits into float32", 1),
        (PIXELS, [ROW, [1, 2]], "several lengths beside each other; wanted: one sample", None),
        (PIXELS, [[ROW, ROW], [ROW]], "sample 1 has shape [1, 3]", 1),
        (PIXELS, [[ROW, ROW], [ROW, [1]]], "sample 1 is ragged", 1),
        (NUMBERS, [[1, 2, 3, 4], [1, 2, 3]], "sample 1 has shape [3]", 1),
        (NUMBERS, [1, 2, 3], "got an array of shape [3]; wanted: one sample of shape [4]", None),
        (NUMBERS, [[[1, 2, 3, 4]]], "got an array of shape [1, 1, 4]", None),
        (NUMBERS, [], "there are no numbers", None),
        (NUMBERS, [[]], "there are no numbers", None),
        (PIXELS, [[[[]]]], "there are no numbers", None),
        (NUMBERS, 3, "arrays are wanted", None),
        (NUMBERS, "1234", "got the string '1234'", None),
        (NUMBERS, {"a": 1}, "got an object", None),
        (NUMBERS, None, "got null", None),
        (NUMBERS, [["1", 2, 3, 4]], "got the string '1' at [0, 0]", 0),
        (NUMBERS, [[1, 2, 3, 4], [1, True, 3, 4]], "got true at [1, 1]", 1),
        (NUMBERS, [[1, None, 3, 4]], "got null at [0, 1]", 0),
        (NUMBERS, [[1, {}, 3, 4]], "got an object at [0, 1]", 0),
        (NUMBERS, [1, 10**400, 3, 4], "too large", None),
        (NUMBERS, [[0] * 4] * 6, "6 samples in one request; at most 5", None),
    ],
)
def test_what_is_refused(spec: InputSpec, value: Any, words: str, sample: int | None) -> None:
    with pytest.raises(InputError) as caught:
        read_samples(body(value), spec)
    assert words in str(caught.value)
    if sample is not None:
        assert caught.value.sample == sample


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"inputs": [NaN]}', "JSON has no NaN and Infinity"),
        (b'{"inputs": [Infinity]}', "JSON has no NaN and Infinity"),
        (b'{"inputs": [1e999, 1, 1, 1]}', "fits into float32"),
        (b'{"inputs": [1]} x', "trailing"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "recursion"),
        (b'{"inputs": ' + b"[" * 150 + b"]" * 150 + b"}", "wanted: one sample"),
        (b"[[1, 2, 3, 4]]", "must be a JSON object"),
        (b"{}", "got the keys: none"),
        (b'{"input": [1, 2, 3, 4]}', "got the keys: 'input'"),
        (b'{"inputs": [1, 2, 3, 4], "more": 1}', "got the keys: 'inputs', 'more'"),
        (b'{"' + b"k" * 500 + b'": 1}', "k…"),
    ],
)
def test_bodies_that_are_none(text: bytes, words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_samples(text, NUMBERS)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 300


def test_one_long_string_among_numbers_takes_no_memory() -> None:
    # NumPy would make 200,000 strings of the longest one's length: 400 GB.
    text = b'{"inputs": [' + b"1, " * 200_000 + b'"' + b"x" * 500_000 + b'"]}'
    with pytest.raises(InputError, match="got the string 'xxxx"):
        read_samples(text, NUMBERS)


def test_either_of_two_keys() -> None:
    keys = ("inputs", "instances")
    for key in keys:
        assert read_samples(body([1, 2, 3, 4], key), NUMBERS, keys=keys).shape == (1, 4)
    with pytest.raises(InputError, match=r'"inputs": .* or .*"instances"'):
        read_samples(b'{"inputs": [1], "instances": [1]}', NUMBERS, keys=keys)
