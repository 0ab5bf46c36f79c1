"""Derivatives of every public function, in every mode, generated from the op table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from optable import CASES, OPS, joined, parts, plain
from optable.each_sample import each_sample
from optable.record import Op
from optable.samples import Sample, map_arrays, map_floats

import minidl
from minidl import Tensor

smooth = each_sample(
    lambda op, number, sample: op.differentiable and sample.smooth and bool(sample.floats)
)


def of_floats(op: Op, sample: Sample) -> Callable[..., Any]:
    """The function of the sample's float arrays alone."""

    def function(*values: Any) -> Any:
        args, kwargs = sample.with_floats(values)
        return joined(op(*args, **kwargs))

    return function


def large(sample: Sample) -> bool:
    """Difference quotients of a function of values near 10⁶ have no digits left."""
    return bool(max(np.abs(x).max(initial=0) for x in sample.floats) > 1e5)


@smooth
def test_gradcheck(op: Op, sample: Sample) -> None:
    if op.follows_dtype and not large(sample):  # a cast to float32 rounds the difference away
        assert minidl.gradcheck(of_floats(op, sample), sample.floats)


@smooth
def test_gradgradcheck(op: Op, sample: Sample) -> None:
    if op.follows_dtype and not large(sample):
        assert minidl.gradgradcheck(of_floats(op, sample), sample.floats)


@smooth
def test_forward_and_reverse_agree(op: Op, sample: Sample) -> None:
    """<u, J v> = <Jᵀ u, v>, to rounding: no step size, no tolerance to hide behind."""
    rng = np.random.default_rng(5)
    function, points = of_floats(op, sample), sample.floats
    v = [rng.standard_normal(x.shape) for x in points]
    out, pull = minidl.vjp(function, *points)
    u = rng.standard_normal(out.shape)
    _, pushed = minidl.jvp(function, points, v)
    found = sum(float((g * d).sum()) for g, d in zip(pull(u), v, strict=True))
    eps = 1e-10 if op.follows_dtype else 1e-6
    np.testing.assert_allclose(float((u * pushed).sum()), found, rtol=eps, atol=eps)


@smooth
def test_gradients_have_their_argument_s_shape_and_dtype(op: Op, sample: Sample) -> None:
    function = of_floats(op, sample)
    points = [x.astype(np.float32) for x in sample.floats]
    out, pull = minidl.vjp(function, *points)
    assert type(out) is np.ndarray
    for x, g in zip(points, pull(np.ones_like(out)), strict=True):
        assert type(g) is np.ndarray
        assert (g.shape, g.dtype) == (x.shape, np.float32)
    value, tangent = minidl.jvp(function, points, points)
    assert (tangent.shape, tangent.dtype) == (value.shape, value.dtype)


@smooth
def test_each_argument_of_two_precisions_gets_its_own(op: Op, sample: Sample) -> None:
    points = [x.astype(np.float32 if i % 2 else np.float64) for i, x in enumerate(sample.floats)]
    if len(points) == 1:
        return
    out, pull = minidl.vjp(of_floats(op, sample), *points)
    for x, g in zip(points, pull(np.ones_like(out)), strict=True):
        assert (g.shape, g.dtype) == (x.shape, x.dtype)


@smooth
def test_backward_gives_what_vjp_gives(op: Op, sample: Sample) -> None:
    leaves: list[Tensor] = []

    def lift(x: Any) -> Tensor:
        leaves.append(Tensor(x.copy(), requires_grad=x.dtype.kind == "f"))
        return leaves[-1]

    args, kwargs = map_arrays(lift, (sample.args, sample.kwargs))
    out = joined(op(*args, **kwargs))
    out.backward(np.ones(out.shape))
    pull = minidl.vjp(of_floats(op, sample), *sample.floats)[1]
    wanted = pull(np.ones(out.shape))
    grads = [leaf.grad for leaf in leaves if leaf.requires_grad]
    for found, g in zip(grads, wanted, strict=True):
        np.testing.assert_allclose(np.zeros(g.shape) if found is None else found.numpy(), g)


@smooth
def test_layout_in_memory_does_not_matter_to_gradients(op: Op, sample: Sample) -> None:
    function = of_floats(op, sample)
    turned = [np.array(x.T, order="C").T for x in sample.floats]
    out, pull = minidl.vjp(function, *sample.floats)
    cotangent = np.random.default_rng(0).standard_normal(out.shape)
    strided = np.zeros((*out.shape, 2))
    strided[..., 1] = cotangent
    for one, two in zip(
        pull(cotangent), minidl.vjp(function, *turned)[1](strided[..., 1]), strict=True
    ):
        np.testing.assert_allclose(one, two, rtol=1e-10, atol=1e-12)


@smooth
def test_the_cotangent_is_not_written_to(op: Op, sample: Sample) -> None:
    out, pull = minidl.vjp(of_floats(op, sample), *sample.floats)
    cotangent = np.ones(out.shape)
    cotangent.setflags(write=False)
    one = pull(cotangent)
    for x, y in zip(one, pull(cotangent), strict=True):
        np.testing.assert_array_equal(x, y)


@each_sample(lambda op, number, sample: not op.differentiable)
def test_results_without_derivative_are_constants(op: Op, sample: Sample) -> None:
    def lift(x: Any) -> Tensor:
        return Tensor(x, requires_grad=x.dtype.kind == "f")

    args, kwargs = map_arrays(lift, (sample.args, sample.kwargs))
    found = op(*args, **kwargs)
    for part in parts(found):
        assert not part.requires_grad
        assert part.is_leaf


@pytest.mark.parametrize("op", [op for op in OPS if op.protocol and op.differentiable], ids=repr)
def test_numpy_s_functions_are_differentiable(op: Op) -> None:
    sample = next(s for o, _, s in CASES if o is op and s.floats)

    def through_numpy(*values: Any) -> Any:
        args, kwargs = sample.with_floats(values)
        return op.reference(*args, **kwargs)

    out, pull = minidl.vjp(through_numpy, *sample.floats)
    wanted = minidl.vjp(of_floats(op, sample), *sample.floats)[1](np.ones(out.shape))
    for one, two in zip(pull(np.ones(out.shape)), wanted, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-12)


# ---- against PyTorch ---------------------------------------------------------------------------

torch_cases = each_sample(lambda op, number, sample: op.torch is not None and sample.torch)


def torch_call(torch: Any, op: Op, args: Any, kwargs: Any) -> Any:
    if callable(op.torch):
        return op.torch(torch, *args, **kwargs)
    assert op.torch is not None
    function = torch
    for part in op.torch.split("."):
        function = getattr(function, part)
    return function(*args, **kwargs)


@torch_cases
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_values_and_gradients_are_pytorch_s(torch: Any, op: Op, sample: Sample, dtype: Any) -> None:
    call = map_floats(lambda x: x.astype(dtype), (sample.args, sample.kwargs))
    leaves: list[Any] = []

    def lift(x: Any) -> Any:
        leaf = torch.tensor(x if x.dtype.kind != "i" else x.astype(np.int64))
        leaves.append(leaf)
        return leaf.requires_grad_(x.dtype.kind == "f")

    args, kwargs = map_arrays(lift, call)
    theirs = torch_call(torch, op, args, kwargs)
    with np.errstate(all="ignore"):
        ours = op(*call[0], **call[1])
    tolerance = (
        {"rtol": 1e-9, "atol": 1e-10} if dtype is np.float64 else {"rtol": 3e-4, "atol": 2e-5}
    )
    if dtype is np.float32 and any(np.abs(x).max(initial=0) > 1e5 for x in sample.floats):
        return
    for one, two in zip(parts(ours), parts(theirs), strict=True):
        np.testing.assert_allclose(plain(one), two.detach().numpy(), **tolerance)
    if not op.differentiable or not sample.floats:
        return
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    cotangent = np.random.default_rng(1).uniform(0.5, 1.5, joined(ours).shape)
    with np.errstate(all="ignore"):
        _, pull = minidl.vjp(of_floats(op, sample), *[x.astype(dtype) for x in sample.floats])
        found = pull(cotangent)
    floats = [part for part in parts(theirs) if part.dtype.is_floating_point]
    out = floats[0] if len(floats) == 1 else torch.cat([part.reshape(-1) for part in floats])
    grads = torch.autograd.grad(
        out, wanted, torch.tensor(cotangent, dtype=out.dtype), allow_unused=True
    )
    for one, two in zip(found, grads, strict=True):
        if two is not None:  # PyTorch has no derivative there: a class weight, running statistics
            np.testing.assert_allclose(one, two.numpy(), **tolerance)
