"""The floor: the matrix products of a case, by NumPy's BLAS, and nothing else.

The same shapes as in a step, transposed where a gradient transposes, each into an array that is
there already. Convolutions are products of im2col's patches, as many images at a time as fill a
megabyte, so that the patches are in cache, as they are where they have just been copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from peers.cases import Case

#: One product (rows, inner, columns), with the left or the right side transposed in memory, and how
#: many of them in one call (0: a plain matrix).
Product = tuple[int, int, int, bool, bool, int]

PATCH_BYTES = 1 << 20

#: (images' side after the convolution, kernel's numbers C·KH·KW, outputs) of each convolution.
_CONVOLUTIONS = {
    "cnn": [(28, 9, 32), (14, 288, 64)],
    "lenet5": [(28, 25, 6), (10, 150, 16)],
    "resnet8": [
        (28, 9, 16), (28, 144, 16), (28, 144, 16), (14, 144, 32), (14, 288, 32), (14, 16, 32),
        (7, 288, 64), (7, 576, 64), (7, 32, 64),
    ],
    "vit": [(7, 16, 64)],
}  # fmt: skip

#: (rows an image, inputs, outputs) of each linear layer; whether the first needs no input gradient.
_LAYERS: dict[str, list[tuple[int, int, int]]] = {
    "mlp": [(1, 784, 256), (1, 256, 128), (1, 128, 10)],
    "cnn": [(1, 3136, 128), (1, 128, 10)],
    "lenet5": [(1, 400, 120), (1, 120, 84), (1, 84, 10)],
    "resnet8": [(1, 64, 10)],
    "lstm": [(1, 128, 10)],
    "vit": [(50, 64, 192), (50, 64, 64), (50, 64, 128), (50, 128, 64)] * 4 + [(1, 64, 10)],
}


def _dense(rows: int, inputs: int, outputs: int, *, backward: bool, first: bool) -> list[Product]:
    forward = [(rows, inputs, outputs, False, True, 0)]
    if not backward:
        return forward
    weight = (outputs, rows, inputs, True, False, 0)
    return [*forward, weight] + ([] if first else [(rows, outputs, inputs, False, False, 0)])


def _convolved(
    batch: int, side: int, patch: int, outputs: int, *, backward: bool, first: bool
) -> Iterator[Product]:
    at_once = max(1, PATCH_BYTES // (side * side * patch * 4))
    for start in range(0, batch, at_once):
        rows = min(at_once, batch - start) * side * side
        yield (rows, patch, outputs, False, False, 0)
        if backward:
            yield (patch, rows, outputs, True, False, 0)
            if not first:
                yield (rows, outputs, patch, False, False, 0)


def _recurrent(batch: int) -> list[Product]:
    each = [(batch, 128, 512, False, True, 0), (batch, 512, 128, False, False, 0)] * 28
    whole = 28 * batch
    inputs = [(whole, 28, 512, False, True, 0), (512, whole, 28, True, False, 0)]
    return [*each, *inputs, (512, whole, 128, True, False, 0)]


def _attention(batch: int) -> list[Product]:
    heads = 4 * batch
    scores, mixed = (50, 16, 50, False, True, heads), (50, 50, 16, False, False, heads)
    backward = [
        (50, 16, 50, False, True, heads),
        (50, 50, 16, True, False, heads),
        (50, 50, 16, False, False, heads),
        (50, 50, 16, True, False, heads),
    ]
    return [scores, mixed, *backward] * 4


def products(case: Case) -> list[Product]:
    """List the matrix products of one step."""
    backward = case.kind == "train"
    made: list[Product] = []
    for place, (side, patch, outputs) in enumerate(_CONVOLUTIONS.get(case.model, [])):
        made += _convolved(case.batch, side, patch, outputs, backward=backward, first=place == 0)
    for place, (rows, inputs, outputs) in enumerate(_LAYERS[case.model]):
        first = place == 0 and case.model == "mlp"
        made += _dense(rows * case.batch, inputs, outputs, backward=backward, first=first)
    if case.model == "lstm":
        made += _recurrent(case.batch)
    if case.model == "vit":
        made += _attention(case.batch)
    return made


def _matrix(rows: int, columns: int, turned: bool, count: int, made: dict[Any, Any]) -> np.ndarray:
    """Return a matrix of ones; one memory for all of the same size, as in a reused buffer."""
    key = (rows * columns * max(1, count),)
    flat = made.setdefault(key, np.full(key[0], 0.5, np.float32))
    front = (count,) if count else ()
    if turned:
        return np.swapaxes(flat.reshape(*front, columns, rows), -1, -2)
    return np.asarray(flat.reshape(*front, rows, columns))


def products_alone(case: Case) -> Callable[[int], float]:
    """Return a step that multiplies the matrices of a case."""
    made: dict[Any, np.ndarray] = {}
    outs: dict[Any, np.ndarray] = {}
    calls = []
    for rows, inner, columns, left_turned, right_turned, count in products(case):
        left = _matrix(rows, inner, left_turned, count, made)
        right = _matrix(inner, columns, right_turned, count, made)
        shape = (*((count,) if count else ()), rows, columns)
        out = outs.setdefault(shape, np.empty(shape, np.float32))
        calls.append((left, right, out))

    def step(_: int) -> float:
        for left, right, out in calls:
            np.matmul(left, right, out=out)
        return 0.0

    return step
