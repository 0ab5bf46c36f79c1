"""`.backward()`: accumulation, ownership of arrays, retained graphs, stale parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl
from minidl import Tensor, ops, tensor


def leaf(data: Any, **kwargs: Any) -> Tensor:
    return tensor(np.array(data, dtype=float), requires_grad=True, **kwargs)


def test_gradients_accumulate_until_they_are_reset() -> None:
    x = leaf([1.0, 2.0])
    for times in (1, 2, 3):
        (x * x).sum().backward()
        np.testing.assert_array_equal(x.grad.numpy(), times * np.array([2.0, 4.0]))
    x.grad = None
    (x * 3.0).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [3.0, 3.0])


def test_a_tensor_used_many_times_collects_every_share() -> None:
    x = leaf(3.0)
    (x * x * x + x - x / x + x**2).backward()
    assert float(x.grad) == 27.0 + 1.0 + 6.0


def test_a_leaf_is_its_own_graph() -> None:
    x = leaf(2.0)
    x.backward()
    x.backward()
    assert float(x.grad) == 2.0


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("reduce", [False, True], ids=["array", "sum"])
def test_two_leaves_never_share_a_gradient_s_memory(create_graph: bool, reduce: bool) -> None:
    x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    given = np.array([1.0, 1.0])
    for _ in range(2):
        out = x + y
        if reduce:
            out.sum().backward(create_graph=create_graph)
        else:
            out.backward(given, create_graph=create_graph)
    (x * 5.0).sum().backward()  # in place where the engine thinks that it may
    np.testing.assert_array_equal(x.grad.numpy(), [7.0, 7.0])
    np.testing.assert_array_equal(y.grad.numpy(), [2.0, 2.0])
    np.testing.assert_array_equal(given, [1.0, 1.0])
    assert not np.shares_memory(x.grad.detach().numpy(), y.grad.detach().numpy())


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_gradient_passed_in_is_not_written_to(create_graph: bool) -> None:
    x = leaf([1.0, 2.0])
    given = Tensor(np.array([1.0, 10.0]))
    ops.clone(x).backward(given, create_graph=create_graph)
    (x * 2.0).sum().backward()
    np.testing.assert_array_equal(given.numpy(), [1.0, 10.0])
    np.testing.assert_array_equal(x.grad.numpy(), [3.0, 12.0])


def test_views_of_broadcast_gradients_are_never_written() -> None:
    x = leaf(np.zeros((2, 3)))
    (x.sum() + x.sum(0).sum() + ops.broadcast_to(x.mean(), (4,)).sum()).backward()
    (x.sum()).backward()
    np.testing.assert_allclose(x.grad.numpy(), np.full((2, 3), 3.0 + 4.0 / 6.0))
    assert x.grad.numpy().flags.writeable


def test_the_user_s_arrays_are_not_written() -> None:
    a, b = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    x, y = Tensor(a, requires_grad=True), Tensor(b)
    z = x * y
    z[0] = 100.0
    z += x
    z.sum().backward()
    np.testing.assert_array_equal(a, [1.0, 2.0])
    np.testing.assert_array_equal(b, [3.0, 4.0])


def test_earlier_results_keep_the_value_they_had() -> None:
    x = leaf([1.0, 2.0, 3.0])
    y = x * 1.0
    view, square = y[1:], y * y
    y[1] = 50.0
    np.testing.assert_array_equal(view.detach().numpy(), [2.0, 3.0])
    (square.sum() + y.sum()).backward()
    np.testing.assert_array_equal(x.grad.numpy(), [3.0, 4.0, 7.0])


def test_create_graph_can_be_differentiated_again() -> None:
    x = leaf(2.0)
    (x**4).backward(create_graph=True)
    assert float(x.grad) == 32.0
    first = x.grad
    x.grad = None
    first.backward(create_graph=True)
    assert float(x.grad) == 48.0
    second = x.grad
    x.grad = None
    second.backward()
    assert float(x.grad) == 48.0
    assert not x.grad.requires_grad


def test_create_graph_reaches_the_cotangent_too() -> None:
    x, g = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    (x * x).backward(g, create_graph=True)
    (x.grad * x.grad).sum().backward()
    # Σ (2xg)²: by g, 8x²g
    np.testing.assert_allclose(g.grad.numpy(), 8.0 * np.array([1.0, 4.0]) * [3.0, 4.0])


def test_backward_twice_needs_retain_graph() -> None:
    x = leaf(2.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert float(x.grad) == 8.0
    with pytest.raises(
        RuntimeError, match=r"mul: backward\(\) has already walked.*retain_graph=True"
    ):
        y.backward()


def test_create_graph_retains_unless_told_otherwise() -> None:
    x = leaf(2.0)
    y = x * x
    y.backward(create_graph=True)
    y.backward(retain_graph=False)
    with pytest.raises(RuntimeError, match="already walked"):
        y.backward()


def test_errors_say_what_is_missing() -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(RuntimeError, match=r"shape \(2,\) needs a gradient"):
        (x * x).backward()
    with pytest.raises(RuntimeError, match=r"gradient has shape \(3,\), the Tensor \(2,\)"):
        (x * x).backward(np.ones(3))
    with pytest.raises(RuntimeError, match="depends on nothing with requires_grad"):
        (x.detach() * 2.0).sum().backward()
    with pytest.raises(RuntimeError, match="they nest"):
        minidl.grad(lambda v: (v.backward(), v)[1])(1.0)


def test_integers_have_no_gradient() -> None:
    with pytest.raises(TypeError, match="floating dtype, got int64"):
        Tensor([1, 2], requires_grad=True)
    with pytest.raises(TypeError, match="got bool"):
        Tensor([True]).requires_grad_()
    x = leaf([1.0, 2.0])
    y = x * Tensor([3, 4])
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [3.0, 4.0])
    assert not x.to(np.int64).requires_grad


def test_only_leaves_can_change_what_they_require() -> None:
    x = leaf(1.0)
    with pytest.raises(RuntimeError, match="only a leaf"):
        (x * 2.0).requires_grad_(False)
    assert not x.requires_grad_(False).requires_grad


# ---- parameters overwritten in between --------------------------------------------------------


def test_a_stale_parameter_raises_and_is_named() -> None:
    w = leaf([[1.0, 2.0]])
    y = (w * w).sum()
    w.copy_(np.array([[5.0, 6.0]]))
    with pytest.raises(RuntimeError, match=r"mul: a parameter of shape \(1, 2\) was overwritten"):
        y.backward()
    (w * w).sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), [[10.0, 12.0]])


def test_a_step_after_backward_is_no_harm() -> None:
    w = leaf([1.0, 2.0])
    for _ in range(3):
        w.grad = None
        (w * w).sum().backward()
        w.copy_(w.detach().numpy() - 0.1 * w.grad.numpy())
    np.testing.assert_allclose(w.detach().numpy(), 0.8**3 * np.array([1.0, 2.0]))


def test_a_value_that_nothing_reads_may_be_overwritten() -> None:
    w = leaf([1.0, 2.0])
    y = (w + 1.0).sum()
    w.copy_(np.zeros(2))
    y.backward()
    np.testing.assert_array_equal(w.grad.numpy(), [1.0, 1.0])


@pytest.mark.parametrize(
    "view",
    [
        lambda w: w.T,
        lambda w: ops.permute(w, 1, 0),
        lambda w: ops.reshape(w, (2, 2)),
        lambda w: w[:],
        lambda w: ops.broadcast_to(w, (1, 2, 2)),
        lambda w: ops.cast(w, np.float64),
    ],
)
def test_a_stale_view_of_a_parameter_raises_too(view: Any) -> None:
    """``x @ w.T`` saves a view of w's memory; an update in between would change it."""
    w, x = leaf([[1.0, 2.0], [3.0, 4.0]]), leaf([[1.0, 1.0]])
    y = (x @ view(w)).sum()
    w.copy_(np.zeros((2, 2)))
    with pytest.raises(RuntimeError, match="overwritten"):
        y.backward()


def test_grad_can_be_set_and_is_checked() -> None:
    x = leaf([1.0, 2.0])
    x.grad = np.array([5.0, 5.0])
    (x * 1.0).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [6.0, 6.0])
    with pytest.raises(ValueError, match=r"wanted float64\[2\], got float64\[3\]"):
        x.grad = np.zeros(3)
    with pytest.raises(RuntimeError, match="not a leaf"):
        (x * 1.0).grad = np.zeros(2)
