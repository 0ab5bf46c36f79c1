"""Tensor: making one, operators, methods, indexing, conversion, representation."""

from __future__ import annotations

import copy
import inspect
import operator
import pickle
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import Tensor, ops, tensor


def test_numbers_from_python_are_float32_and_arrays_keep_their_dtype() -> None:
    assert tensor([1.0, 2.0]).dtype == np.float32
    assert tensor(1.5).dtype == np.float32
    assert tensor([1, 2]).dtype == np.int64
    assert tensor([True]).dtype == np.bool_
    for dtype in (np.float64, np.float32, np.uint8):
        assert tensor(np.ones(2, dtype)).dtype == dtype
    assert tensor(np.float64(1.0)).dtype == np.float64
    assert tensor([1, 2], dtype=np.float32).dtype == np.float32


def test_tensor_copies_and_Tensor_shares() -> None:
    a = np.zeros(3)
    shared, copied = Tensor(a), tensor(a)
    a[0] = 5.0
    assert (float(shared[0]), float(copied[0])) == (5.0, 0.0)
    assert np.shares_memory(minidl.from_numpy(a).numpy(), a)


def test_what_is_not_a_number_is_refused() -> None:
    for data in ("text", [None], [object()]):
        with pytest.raises(TypeError, match="numbers are wanted, got dtype"):
            Tensor(data)
    assert Tensor([1j]).dtype == np.complex64
    with pytest.raises(ValueError, match="inhomogeneous"):
        Tensor([[1.0], [1.0, 2.0]])


def test_makers() -> None:
    assert minidl.zeros(2, 3).shape == minidl.zeros((2, 3)).shape == (2, 3)
    np.testing.assert_array_equal(minidl.full((2,), 7).numpy(), [7.0, 7.0])
    assert minidl.ones(2, requires_grad=True).requires_grad
    assert minidl.arange(3).dtype == np.int64
    assert minidl.arange(0, 1, 0.5).dtype == np.float32
    x = tensor([[1, 2]])
    for like in (minidl.zeros_like(x), minidl.ones_like(x)):
        assert (like.shape, like.dtype) == ((1, 2), np.int64)
    assert tensor([tensor(1.0), tensor(2.0)]).shape == (2,)


ARITHMETIC = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow]
COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]


@pytest.mark.parametrize("op", ARITHMETIC + COMPARISONS)
def test_binary_operators_with_every_kind_of_partner(op: Any) -> None:
    a, b = np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0])
    for one, two in [(Tensor(a), Tensor(b)), (Tensor(a), b), (a, Tensor(b)), (Tensor(a), 2.0),
                     (2.0, Tensor(b)), (Tensor(a), 2), (np.float64(2.0), Tensor(b))]:  # fmt: skip
        found = op(one, two)
        assert isinstance(found, Tensor)
        plain = [v.numpy() if isinstance(v, Tensor) else v for v in (one, two)]
        np.testing.assert_allclose(found.numpy(), op(*plain))


def test_unary_and_boolean_operators() -> None:
    x, mask = tensor([-1.0, 2.0]), tensor([True, False])
    np.testing.assert_array_equal((-x).numpy(), [1.0, -2.0])
    np.testing.assert_array_equal(abs(x).numpy(), [1.0, 2.0])
    assert +x is x
    np.testing.assert_array_equal((~mask).numpy(), [False, True])
    np.testing.assert_array_equal((mask & tensor([True, True])).numpy(), [True, False])
    np.testing.assert_array_equal((mask | tensor([False, False])).numpy(), [True, False])
    assert (np.ones((2, 2)) @ tensor(np.ones((2, 1)))).shape == (2, 1)
    assert (tensor(np.ones((1, 2))) @ np.ones((2, 3))).shape == (1, 3)


def test_every_method_named_like_a_function_has_its_arguments() -> None:
    for name in ops.__all__:
        method = getattr(Tensor, name, None)
        # axis= too; the exponent, as in PyTorch; the order first.
        if method is None or name in ("sum", "mean", "pow", "polygamma", "trace"):
            continue
        function = getattr(ops, name)
        if not inspect.isfunction(function):
            continue
        wanted = list(inspect.signature(function).parameters.values())[1:]
        found = list(inspect.signature(method).parameters.values())[1:]
        assert [p.name for p in found] == [p.name for p in wanted] or name == "matmul", name
        assert [p.default for p in found] == [p.default for p in wanted], name


def test_every_method_that_pytorch_has(torch: Any) -> None:
    """Of the functions here; ``trace`` is taken by the engine's note in a Tensor."""
    missing = [
        name for name in ops.__all__ if hasattr(torch.Tensor, name) and not hasattr(Tensor, name)
    ]
    assert missing == []
    assert Tensor.trace is not ops.trace


def test_numpy_s_names_are_taken_by_sum_and_mean() -> None:
    x = tensor(np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(x.sum(axis=0).numpy(), [3.0, 5.0, 7.0])
    assert x.mean(axis=1, keepdims=True).shape == (2, 1)
    with pytest.raises(TypeError, match=r"unexpected arguments \['dims'\]"):
        x.sum(dims=0)


def test_views_and_properties() -> None:
    x = tensor(np.arange(6.0).reshape(1, 2, 3))
    assert (x.ndim, x.numel(), len(x)) == (3, 6, 1)
    assert (x.size(), x.size(-1)) == ((1, 2, 3), 3)
    assert (x.T.shape, x.mT.shape) == ((3, 2, 1), (1, 3, 2))
    assert x.view(3, 2).shape == x.view((-1, 2)).shape == (3, 2)
    assert tensor(1.0).numel() == 1
    assert minidl.zeros(0, 3).numel() == 0


def test_conversions() -> None:
    x = tensor([1.5, 2.5])
    assert x.double().dtype == np.float64
    assert x.double().float().dtype == np.float32
    assert x.to(np.int64).tolist() == [1, 2]
    assert x.to(np.float32) is x
    assert x.astype(np.float64).dtype == np.float64
    assert x.tolist() == [1.5, 2.5]
    assert type(x[0].item()) is float
    with pytest.raises(ValueError, match=r"exactly one element is wanted, got shape \(2,\)"):
        x.item()
    assert (float(tensor(2.5)), int(tensor(2.5)), bool(tensor(0.0))) == (2.5, 2, False)
    assert [10, 20, 30][tensor(1)] == 20
    with pytest.raises(TypeError, match="float32 cannot be an index"):
        [1, 2][tensor(1.0)]
    with pytest.raises(ValueError, match="exactly one element"):
        bool(x)


def test_leaving_the_graph_is_explicit() -> None:
    x = tensor([1.0], requires_grad=True)
    with pytest.raises(TypeError, match=r"detach\(\)\.numpy\(\)"):
        x.numpy()
    assert np.shares_memory(x.detach().numpy(), x.value)


def test_zero_d_tensors_have_no_length() -> None:
    with pytest.raises(TypeError, match="0-d"):
        len(tensor(1.0))
    with pytest.raises(TypeError, match="0-d"):
        iter(tensor(1.0))


def test_iteration_is_differentiable() -> None:
    x = tensor([1.0, 2.0, 3.0], requires_grad=True)
    total: Any = 0.0
    for i, part in enumerate(x):
        total = total + part * float(i)
    total.backward()
    assert x.grad.tolist() == [0.0, 1.0, 2.0]


def test_hash_is_by_identity() -> None:
    x, y = tensor([1.0]), tensor([1.0])
    assert len({x, y, x}) == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (tensor([1.0, 2.0]), "tensor([1., 2.])"),
        (tensor([1, 2]), "tensor([1, 2])"),
        (tensor(np.ones(1)), "tensor([1.], dtype=float64)"),
        (tensor(1.0, requires_grad=True), "tensor(1., requires_grad=True)"),
        (tensor(1.0, requires_grad=True) * 2.0, "tensor(2., grad_fn=mul)"),
    ],
)
def test_repr(value: Tensor, text: str) -> None:
    assert repr(value) == text


def test_repr_inside_a_transform_says_so() -> None:
    seen: list[str] = []
    minidl.grad(lambda x: (seen.append(repr(x)), x)[1])(np.array(1.0))
    assert seen == ["tensor(1., dtype=float64, traced)"]


def test_assignment_to_parts() -> None:
    x = tensor(np.arange(4.0), requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf that requires a gradient"):
        x[0] = 1.0
    y = x.clone()
    y[1:3] = x[0] * 10.0
    y[-1] += 5.0
    y.sum().backward()
    assert x.grad.tolist() == [21.0, 0.0, 0.0, 1.0]
    constant = tensor([1.0, 2.0])
    constant[0] = 9.0
    assert constant.tolist() == [9.0, 2.0]
    constant[1] = tensor(3.0, requires_grad=True)
    assert constant.requires_grad


def test_copy_overwrites_a_leaf() -> None:
    x = tensor([1.0, 2.0], requires_grad=True)
    array = x.value
    assert x.copy_([3.0, 4.0]) is x
    assert array.tolist() == [3.0, 4.0]
    with pytest.raises(RuntimeError, match="only a leaf"):
        (x * 1.0).copy_([0.0, 0.0])
    with pytest.raises(ValueError, match="broadcast"):
        x.copy_(np.zeros(3))


def test_leaves_can_be_copied_and_pickled() -> None:
    x = tensor([1.0, 2.0], requires_grad=True)
    for twin in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert twin.requires_grad
        assert twin.tolist() == [1.0, 2.0]
        assert not np.shares_memory(twin.value, x.value)
    with pytest.raises(RuntimeError, match="only leaves"):
        copy.deepcopy(x * 2.0)


def test_a_result_without_gradient_is_a_leaf() -> None:
    x = tensor([1.0])
    assert (x * 2.0).is_leaf
    assert not (tensor([1.0], requires_grad=True) * 2.0).is_leaf
