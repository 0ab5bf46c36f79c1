"""NumPy's functions on Tensors: derivatives where minidl has them, TypeError where not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl
from minidl import Tensor, grad, tensor
from minidl.numpy_protocols import FUNCTIONS, UFUNCS


def leaf(*shape: int) -> Tensor:
    values = np.random.default_rng(0).uniform(0.5, 2.0, shape)
    return Tensor(values, requires_grad=True)


CALLS: dict[str, Any] = {
    "sum axis": lambda x: np.sum(x, axis=0),
    "sum positional": lambda x: np.sum(x, 1),
    "sum keepdims": lambda x: np.sum(x, axis=-1, keepdims=True),
    "mean": lambda x: np.mean(x, axis=(0, 1)),
    "var": lambda x: np.var(x),
    "var ddof": lambda x: np.var(x, axis=0, ddof=1),
    "std": lambda x: np.std(x, axis=1, keepdims=True),
    "max": lambda x: np.max(x, axis=1),
    "amin": lambda x: np.amin(x),
    "reshape": lambda x: np.reshape(x, (3, 2)),
    "ravel": lambda x: np.ravel(x),
    "transpose": lambda x: np.transpose(x),
    "transpose axes": lambda x: np.transpose(x, axes=(1, 0)),
    "swapaxes": lambda x: np.swapaxes(x, 0, 1),
    "expand_dims": lambda x: np.expand_dims(x, 1),
    "squeeze": lambda x: np.squeeze(np.expand_dims(x, 1), axis=1),
    "broadcast_to": lambda x: np.broadcast_to(x, (2, 2, 3)),
    "concatenate": lambda x: np.concatenate([x, 2.0 * x], axis=1),
    "stack": lambda x: np.stack([x, x], axis=-1),
    "where": lambda x: np.where(x > 1.0, x, 0.0),
    "copy": lambda x: np.copy(x),
    "dot vector": lambda x: np.dot(x, np.ones(3)),
    "dot matrix": lambda x: np.dot(x, np.ones((3, 2))),
    "dot scalar": lambda x: np.dot(x, 2.0),
    "dot deep": lambda x: np.dot(np.ones((2, 2, 2)), x),
    "add.reduce": lambda x: np.add.reduce(x, axis=1),
    "maximum.reduce": lambda x: np.maximum.reduce(x),
    "formula": lambda x: np.exp(-np.square(x)) / (1 + np.tanh(np.abs(x))) ** 2,
    "array on the left": lambda x: np.arange(3.0) * x - np.ones((2, 3)) / x,
    "matmul": lambda x: np.ones((2, 2)) @ x,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_function_written_for_numpy_can_be_differentiated(call: Any) -> None:
    x = leaf(2, 3)
    plain = x.detach().numpy()
    out = call(x)
    assert isinstance(out, Tensor)
    assert out.requires_grad
    np.testing.assert_allclose(out.detach().numpy(), call(plain), rtol=1e-12)
    assert minidl.gradcheck(call, [plain])


REFUSED: dict[str, tuple[Any, str]] = {
    "no derivative": (lambda x: np.sin(x), r"np\.sin has no derivative in minidl"),
    "function": (lambda x: np.sort(x), r"np\.sort has no derivative"),
    "linalg": (lambda x: np.linalg.det(x), r"np\.det has no derivative"),
    "out": (lambda x: np.add(x, 1.0, out=np.zeros((2, 3))), r"np\.add: out= cannot"),
    "in place": (lambda x: np.zeros((2, 3)).__iadd__(x), r"np\.add: out= cannot"),
    "where": (lambda x: np.add(x, 1.0, where=np.array(True)), r"np\.add with where"),
    "outer": (lambda x: np.multiply.outer(x, x), r"np\.multiply\.outer has no derivative"),
    "accumulate": (lambda x: np.add.accumulate(x), r"np\.add\.accumulate has no derivative"),
    "dtype": (lambda x: np.sum(x, dtype=np.float32), r"np\.sum: .*'dtype'"),
    "too many": (lambda x: np.mean(x, 0, np.float32), r"np\.mean: too many positional"),
    "dot": (lambda x: np.dot(x, np.ones((2, 3, 2))), r"np\.dot: at most 2 dimensions"),
}


@pytest.mark.parametrize(("call", "match"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_derivative_raises(call: Any, match: str) -> None:
    with pytest.raises(TypeError, match=match):
        call(leaf(2, 3))
    with pytest.raises(TypeError, match=match):
        grad(lambda x: call(x).sum())(np.ones((2, 3)))


def test_nothing_becomes_an_object_array_or_loses_the_graph() -> None:
    x = leaf(3)
    with pytest.raises(TypeError, match="would lose"):
        np.asarray(x)
    with pytest.raises(TypeError, match="would lose"):
        np.array([1.0, 2.0, 3.0])[:] = x
    assert np.asarray(x.detach()).dtype == np.float64
    assert np.array(tensor([1.0, 2.0]), dtype=np.float64).dtype == np.float64


def test_results_that_depend_on_the_shape_alone_are_plain() -> None:
    x = leaf(2, 3)
    assert (np.shape(x), np.ndim(x), np.size(x)) == ((2, 3), 2, 6)
    assert type(np.zeros_like(x)) is np.ndarray
    np.testing.assert_array_equal(np.ones_like(x), np.ones((2, 3)))


def test_every_entry_takes_a_tensor() -> None:
    """No entry of the tables may call back into NumPy's function of the same name: no recursion."""
    for ufunc in UFUNCS:
        x = tensor(np.ones((2, 2)) > 0) if ufunc.__name__.startswith("logical") else leaf(2, 2)
        assert isinstance(ufunc(*[x] * ufunc.nin), Tensor)
    assert {np.sum, np.concatenate, np.where} <= FUNCTIONS.keys()


def test_float_power_is_in_double_precision_as_numpy_s() -> None:
    x = tensor([2.0], requires_grad=True)
    out = np.float_power(x, 2)
    assert out.dtype == np.float64
    out.sum().backward()
    assert x.grad.dtype == np.float32
