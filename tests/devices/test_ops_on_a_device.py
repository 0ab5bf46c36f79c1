"""Every operation on an array type like CuPy's: it stays there, in every mode, with equal values.

What copies an array to the host on the way is listed, with the reason: `ON_THE_HOST`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from optable import CASES, joined, parts, plain
from optable.record import Op
from optable.samples import Sample, map_arrays
from stand_in import DeviceArray, copies, stand_in

import minidl
from minidl import Tensor

#: Operations of which a part is computed on the host, and why.
ON_THE_HOST = {
    "cummax": "CuPy has no maximum.accumulate",
    "cummin": "CuPy has no minimum.accumulate",
    "scatter": "the last of several writes to a place: CuPy leaves open which it is",
    "max_unpool1d": "scatter",
    "max_unpool2d": "scatter",
    "max_unpool3d": "scatter",
    "scatter_reduce": "CuPy has no multiply.at; it and the extrema serve the same function",
    "linalg.matrix_rank": "CuPy's has an absolute tolerance only",
    "linalg.lstsq": "matrix_rank",
    "matrix_exp": "how often to square is decided by the largest column",
    "masked_select": "the result's shape depends on values",
    "repeat_interleave": "the result's shape depends on values",
    "embedding_bag": "the result's shape depends on the offsets",
    "ctc_loss": "lengths and labels are taken apart in Python",
}

#: Operations with kernels for ndarrays: a device composes them (`Primitive.elsewhere`)
#: and sums in another order.
COMPOSED = {
    *("batch_norm", "layer_norm", "scaled_dot_product_attention", "gelu"),
    *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def on_device() -> Iterator[Any]:
    with stand_in() as put:
        yield put


def _chosen() -> list[Any]:
    """Two samples an operation: the first smooth one, and the last, which is often odd."""
    found = {}
    for op, number, sample in CASES:
        smooth = op.differentiable and sample.smooth and bool(sample.floats)
        known = found.setdefault(op.name, {})
        if smooth and "smooth" not in known:
            known["smooth"] = (op, number, sample)
        known["last"] = (op, number, sample)
    return [
        pytest.param(op, sample, id=f"{op.name}-{number}")
        for known in found.values()
        for op, number, sample in {entry[1]: entry for entry in known.values()}.values()
    ]


def assert_on_device(value: Any) -> None:
    for part in parts(plain(value)):
        assert type(part) is DeviceArray, f"{type(part).__name__} came out"


def assert_same(found: Any, wanted: Any, composed: bool) -> None:
    assert_on_device(found)
    for one, two in zip(parts(plain(found)), parts(plain(wanted)), strict=True):
        assert one.dtype == two.dtype
        if composed:
            np.testing.assert_allclose(one.inner, two, rtol=1e-9, atol=1e-11)
        else:
            np.testing.assert_array_equal(one.inner, two)


@pytest.mark.parametrize(("op", "sample"), _chosen())
def test_it_stays_there(op: Op, sample: Sample, on_device: Any) -> None:
    before = copies["get"]
    with np.errstate(all="ignore"):
        wanted = op(*map_arrays(Tensor, sample.args), **map_arrays(Tensor, sample.kwargs))
        there = lambda x: Tensor(on_device(x))
        found = op(*map_arrays(there, sample.args), **map_arrays(there, sample.kwargs))
    assert copies["get"] == before or op.name in ON_THE_HOST
    assert_same(found, wanted, op.name in COMPOSED)
    if op.differentiable and sample.smooth and sample.floats:
        check_derivatives(op, sample, on_device)


def test_the_list_of_what_the_host_computes_holds(on_device: Any) -> None:
    there = lambda x: Tensor(on_device(x))
    for name in ON_THE_HOST:
        before = copies["get"]
        for op, _, sample in CASES:
            if op.name == name:
                op(*map_arrays(there, sample.args), **map_arrays(there, sample.kwargs))
        assert copies["get"] > before, name


def check_derivatives(op: Op, sample: Sample, on_device: Any) -> None:
    """Reverse, forward, and forward over reverse."""

    def function(*values: Any) -> Any:
        args, kwargs = sample.with_floats(values)
        still = lambda x: x if isinstance(x, Tensor) else on_device(x) if there else x
        return joined(op(*map_arrays(still, args), **map_arrays(still, kwargs)))

    def derivatives(points: list[Any]) -> list[Any]:
        out, pull = minidl.vjp(function, *points)
        shares = pull(out)
        tangent = minidl.jvp(function, points, points)[1]
        second = minidl.jvp(lambda *x: minidl.vjp(function, *x)[1](out), points, points)[1]
        return [out, *shares, tangent, *second]

    with np.errstate(all="ignore"):
        there = False
        wanted = derivatives(sample.floats)
        there = True
        found = derivatives([on_device(x) for x in sample.floats])
    for one, two in zip(found, wanted, strict=True):
        assert_same(one, two, op.name in COMPOSED)
