"""Values, dtypes and kinds of every public function, generated from the op table."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from optable import OPS, parts, plain
from optable.each_sample import each_sample
from optable.record import Op
from optable.samples import Sample, map_arrays, map_floats

from minidl import Tensor, ops, vmap

cases = each_sample()


def run(op: Op, call: tuple[tuple[Any, ...], dict[str, Any]]) -> Any:
    with np.errstate(all="ignore"):  # the extreme samples overflow, on purpose
        return op(*call[0], **call[1])


def assert_same(found: Any, wanted: Any, rtol: float = 1e-12, atol: float = 1e-13) -> None:
    found, wanted = plain(found), plain(wanted)
    if isinstance(wanted, tuple) or isinstance(found, tuple):
        for one, two in zip(found, wanted, strict=True):
            assert_same(one, two, rtol, atol)
        return
    assert np.shape(found) == np.shape(wanted)
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=atol)


@cases
def test_value_is_the_reference_s(op: Op, sample: Sample) -> None:
    with np.errstate(all="ignore"):
        wanted = op.reference(*sample.args, **sample.kwargs)
    assert_same(run(op, (sample.args, sample.kwargs)), wanted, rtol=op.rtol)


@cases
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept(op: Op, sample: Sample, dtype: Any) -> None:
    call = map_floats(lambda x: x.astype(dtype), (sample.args, sample.kwargs))
    array, tensor = parts(run(op, call)), parts(run(op, map_arrays(Tensor, call)))
    if op.follows_dtype and op.differentiable and sample.floats:
        floats = {part.dtype for part in array if part.dtype.kind == "f"}
        assert floats == {np.dtype(dtype)}
    else:
        with np.errstate(all="ignore"):
            wanted = parts(op.reference(*call[0], **call[1]))
        assert [part.dtype for part in array] == [np.asarray(part).dtype for part in wanted]
    assert [part.dtype for part in tensor] == [part.dtype for part in array]


@cases
def test_float32_is_near_float64(op: Op, sample: Sample) -> None:
    call = map_floats(lambda x: x.astype(np.float32), (sample.args, sample.kwargs))
    double = map_floats(lambda x: x.astype(np.float64), call)
    scale = (
        1e-1 if sample.floats and np.abs(sample.floats[0]).max(initial=0) > 1e5 else op.float32_rtol
    )
    if not sample.smooth:
        return  # overflow comes earlier in float32
    assert_same(run(op, call), run(op, double), rtol=scale, atol=2e-6)


@cases
def test_tensors_give_tensors_with_the_same_values(op: Op, sample: Sample) -> None:
    boxed = run(op, map_arrays(Tensor, (sample.args, sample.kwargs)))
    for part in parts(boxed):
        assert isinstance(part, Tensor)
        assert type(part.value) is np.ndarray  # 0-d results stay arrays
    assert_same(boxed, run(op, (sample.args, sample.kwargs)))


@cases
def test_inputs_are_not_modified(op: Op, sample: Sample) -> None:
    before = map_arrays(np.copy, (sample.args, sample.kwargs))

    def freeze(x: Any) -> Any:
        x = x.copy()
        x.setflags(write=False)
        return x

    call = map_arrays(freeze, (sample.args, sample.kwargs))
    run(op, call)
    kept, old = [], []
    map_arrays(kept.append, call)
    map_arrays(old.append, before)
    for x, y in zip(kept, old, strict=True):
        np.testing.assert_array_equal(x, y)


def transposed(x: Any) -> Any:
    return np.array(x.T, order="C").T


def spread(x: Any) -> Any:
    """The same elements, each second one of a larger array, read backward."""
    wide = np.zeros(tuple(2 * n for n in x.shape), x.dtype)
    part = wide[(..., *(slice(None, None, -2) for _ in x.shape))]
    part[...] = x
    return part


def channels_last(x: Any) -> Any:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1) if x.ndim > 1 else x


@cases
@pytest.mark.parametrize("layout", [transposed, spread, channels_last])
def test_layout_in_memory_does_not_matter(op: Op, sample: Sample, layout: Any) -> None:
    call = map_arrays(layout, (sample.args, sample.kwargs))
    assert_same(run(op, call), run(op, (sample.args, sample.kwargs)))


errors = [pytest.param(op, e, id=f"{op.name}-{i}") for op in OPS for i, e in enumerate(op.errors)]


@pytest.mark.parametrize("kind", [np.asarray, Tensor])
@pytest.mark.parametrize(("op", "error"), errors)
def test_errors_name_the_operation_and_what_is_wrong(op: Op, error: Any, kind: Any) -> None:
    args, kwargs, exception, match = error
    with pytest.raises(exception, match=match) as caught:
        run(op, map_arrays(kind, (args, kwargs)))
    aliases = {"concatenate": "cat", "max": "(arg|a)max", "min": "(arg|a)min"}
    named = aliases.get(op.name, op.name.split(".")[-1])
    assert op.name == "getitem" or re.match(named, str(caught.value)), str(caught.value)


#: `where` begins with the condition, the method with a value; ``trace`` is a Tensor's node.
OTHER_METHODS = {"where", "trace"}


@cases
def test_method_agrees_with_the_function(op: Op, sample: Sample) -> None:
    method = None if op.name in OTHER_METHODS else getattr(Tensor, op.name, None)
    if method is None or op.function is not None or not isinstance(sample.args[0], np.ndarray):
        return
    args, kwargs = map_arrays(Tensor, (sample.args, sample.kwargs))
    with np.errstate(all="ignore"):
        found = method.fget(*args) if isinstance(method, property) else method(*args, **kwargs)
    assert_same(found, run(op, (sample.args, sample.kwargs)))


@cases
def test_numpy_s_function_takes_tensors(op: Op, sample: Sample) -> None:
    if not op.protocol:
        return
    args, kwargs = map_arrays(Tensor, (sample.args, sample.kwargs))
    with np.errstate(all="ignore"):
        found = op.reference(*args, **kwargs)
        wanted = op.reference(*sample.args, **sample.kwargs)
    assert isinstance(found, Tensor)
    assert_same(found, wanted, rtol=1e-9)


def test_a_list_of_numbers_is_an_array() -> None:
    np.testing.assert_array_equal(ops.add([1.0, 2.0], 1.0), [2.0, 3.0])
    np.testing.assert_allclose(ops.erf([1, 2]), [0.8427007929497148, 0.9953222650189527])


def test_allclose_and_equal_answer_with_python_s_bools() -> None:
    x = np.array([1.0, np.nan])
    assert ops.allclose(x[:1], x[:1] + 1e-9) is True
    assert ops.allclose(x[:1], Tensor(x[:1] + 1.0)) is False
    assert ops.allclose(x, x) is False
    assert ops.allclose(x, x, equal_nan=True) is True
    assert ops.equal(Tensor(x[:1]), x[:1]) is True
    assert ops.equal(x[:1], np.ones((1, 1))) is False
    with pytest.raises(TypeError, match=r"equal\(\) inside vmap"):
        vmap(lambda v: ops.equal(v, v))(np.ones((2, 3)))
