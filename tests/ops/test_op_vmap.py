"""vmap of every public function against a Python loop, generated from the op table."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from optable import CASES, OPS, joined, plain
from optable.each_sample import each_sample
from optable.record import Op
from optable.samples import Sample, map_arrays
from test_op_table import all_primitives

import minidl

SIZE = 3


def mapped_over(*, smooth: bool) -> Any:
    """Samples with float arrays; with ``smooth``, those that have derivatives."""
    return each_sample(
        lambda op, number, sample: (
            bool(sample.floats)
            and not op.random
            and not op.no_vmap
            and ((op.differentiable and sample.smooth) or not smooth)
        )
    )


mapped = mapped_over(smooth=False)
mapped_smooth = mapped_over(smooth=True)


def tolerance(op: Op, dtype: Any) -> float:
    return op.float32_rtol if dtype == "f4" else op.rtol


def batches(sample: Sample) -> list[Any]:
    """Three examples of each float array, in the order of sizes that the sample has."""
    scales = np.array([1.0, 0.5, 0.75])
    return [np.stack([(x * scale).astype(x.dtype) for scale in scales]) for x in sample.floats]


def function_of(op: Op, sample: Sample) -> Any:
    def function(*values: Any) -> Any:
        args, kwargs = sample.with_floats(values)
        return joined(op(*args, **kwargs))

    return function


def which(count: int) -> list[tuple[bool, ...]]:
    """All non-empty choices of arguments that are batched; for many arguments all, or one."""
    if count <= 3:
        return [chosen for chosen in product([True, False], repeat=count) if any(chosen)]
    single = [tuple(i == k for i in range(count)) for k in range(count)]
    return [(True,) * count, *single]


def example(values: list[Any], sample: Sample, chosen: tuple[bool, ...], i: int) -> list[Any]:
    return [v[i] if own else x for v, x, own in zip(values, sample.floats, chosen, strict=True)]


@mapped
def test_vmap_is_the_loop(op: Op, sample: Sample) -> None:
    function, stacked = function_of(op, sample), batches(sample)
    for chosen in which(len(stacked)):
        args = [v if own else x for v, x, own in zip(stacked, sample.floats, chosen, strict=True)]
        axes = tuple(0 if own else None for own in chosen)
        with np.errstate(all="ignore"):
            loop = [plain(function(*example(stacked, sample, chosen, i))) for i in range(SIZE)]
            found = plain(minidl.vmap(function, in_axes=axes)(*args))
        wanted = np.stack(loop)
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(
            found, wanted, rtol=1e-5 if found.dtype == "f4" else max(op.rtol, 1e-12)
        )


@mapped
def test_other_axes(op: Op, sample: Sample) -> None:
    function, stacked = function_of(op, sample), batches(sample)
    moved = [np.moveaxis(v, 0, -1) for v in stacked]
    with np.errstate(all="ignore"):
        wanted = plain(minidl.vmap(function)(*stacked))
        found = plain(minidl.vmap(function, in_axes=-1, out_axes=-1)(*moved))
    np.testing.assert_array_equal(np.moveaxis(found, -1, 0), wanted)


@mapped_smooth
def test_derivatives_under_vmap_are_the_loop(op: Op, sample: Sample) -> None:
    function, stacked = function_of(op, sample), batches(sample)
    shape = plain(function(*sample.floats)).shape
    u = np.random.default_rng(3).uniform(0.5, 1.5, shape)

    def gradients(*values: Any) -> Any:
        out, pull = minidl.vjp(function, *values)
        return pull(u.astype(out.dtype))

    def slope(*values: Any) -> Any:
        return minidl.jvp(function, values, [np.ones(v.shape, v.dtype) for v in values])[1]

    everything = (True,) * len(stacked)
    with np.errstate(all="ignore"):
        for derive in (gradients, slope):
            loop = [derive(*example(stacked, sample, everything, i)) for i in range(SIZE)]
            found = minidl.vmap(derive)(*stacked)
            parts = zip(found, *loop, strict=True) if derive is gradients else [(found, *loop)]
            for part, *examples in parts:
                wanted = np.stack([plain(one) for one in examples])
                tolerance = 1e-4 if wanted.dtype == "f4" else 1e-9
                np.testing.assert_allclose(plain(part), wanted, rtol=tolerance, atol=tolerance)


@mapped_smooth
def test_gradient_through_vmap_is_the_loop(op: Op, sample: Sample) -> None:
    function, stacked = function_of(op, sample), batches(sample)

    def through_vmap(*values: Any) -> Any:
        return minidl.vmap(function)(*values)

    def through_loop(*values: Any) -> Any:
        return minidl.stack([function(*(v[i] for v in values)) for i in range(SIZE)])

    with np.errstate(all="ignore"):
        out, pull = minidl.vjp(through_vmap, *stacked)
        _, pull_loop = minidl.vjp(through_loop, *stacked)
        g = np.random.default_rng(4).uniform(0.5, 1.5, out.shape).astype(out.dtype)
        for found, wanted in zip(pull(g), pull_loop(g), strict=True):
            tolerance = 1e-4 if wanted.dtype == "f4" else 1e-9
            np.testing.assert_allclose(plain(found), plain(wanted), rtol=tolerance, atol=tolerance)


#: A number of classes counted from the labels, so these must be the same for all examples.
LABELS_SHARED = {("one_hot", 0)}


@each_sample(
    lambda op, number, sample: (
        not op.random
        and not op.no_vmap
        and (op.name, number) not in LABELS_SHARED
        # Lengths and offsets decide how the computation goes.
        and op.name not in ("ctc_loss", "embedding_bag")
    )
)
def test_every_array_may_be_batched(op: Op, sample: Sample) -> None:
    """Indices, masks and labels too; and once more with examples of examples."""
    arrays: list[Any] = []
    map_arrays(arrays.append, (sample.args, sample.kwargs))
    if not arrays:
        return

    def function(*values: Any) -> Any:
        rest = iter(values)
        args, kwargs = map_arrays(lambda _: next(rest), (sample.args, sample.kwargs))
        return joined(op(*args, **kwargs))

    with np.errstate(all="ignore"):
        wanted = np.asarray(plain(function(*arrays)))
        once = plain(minidl.vmap(function)(*(np.stack([x] * 2) for x in arrays)))
        nested = minidl.vmap(minidl.vmap(function), in_axes=-1)
        twice = plain(nested(*(np.stack([np.stack([x] * 2)] * 3, -1) for x in arrays)))
    for found, size in ((once, (2,)), (twice, (3, 2))):
        assert found.dtype == wanted.dtype
        repeated = np.broadcast_to(wanted, size + wanted.shape)
        np.testing.assert_allclose(
            found, repeated, rtol=1e-5 if found.dtype == "f4" else max(op.rtol, 1e-12)
        )


@pytest.mark.parametrize("op", [op for op in OPS if op.no_vmap], ids=repr)
def test_what_vmap_cannot_do_says_so(op: Op) -> None:
    sample = next(s for o, _, s in CASES if o is op)
    arrays: list[Any] = []
    map_arrays(arrays.append, (sample.args, sample.kwargs))

    def function(*values: Any) -> Any:
        rest = iter(values)
        args, kwargs = map_arrays(lambda _: next(rest), (sample.args, sample.kwargs))
        return joined(op(*args, **kwargs))

    with pytest.raises(TypeError, match="vmap"):
        minidl.vmap(function)(*(np.stack([x, x]) for x in arrays))


#: Run example by example under vmap, with the reason.
ONE_BY_ONE = {
    "_batch_norm": "each example is a batch of its own, with its own moments",
    "_channel_sum": "over the batch of one example, beside `_conv2d_weight`",
    "_conv2d_weight": "the examples' kernels have no common axis to fold into",
    "_course": "a recurrence is run step by step, for one batch",
    "_depthwise_weight": "as `_conv2d_weight`",
    "_gates": "reads the course of one batch",
    "_moments": "of a batch: those of one example",
    "_outputs": "reads the course of one batch",
    "_shares": "counts the rows that one example names",
    "_sums": "of a batch, as `_moments`",
    "_survives": "numbers the writes of one index",
    "_weight_gradient": "reads the course of one batch",
}


def test_an_operation_without_a_batching_rule_is_a_decision() -> None:
    without = {name for name, record in all_primitives().values() if record.batch is None}
    assert without == set(ONE_BY_ONE)
