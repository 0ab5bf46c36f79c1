"""`no_grad` and `enable_grad`: with, decorated, inside and around transforms, in threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import minidl
from minidl import enable_grad, grad, jvp, no_grad, ops, tensor


def test_nothing_is_recorded_inside() -> None:
    x = tensor(2.0, requires_grad=True)
    with no_grad():
        y = x * x
        assert not y.requires_grad
        with enable_grad():
            assert (x * x).requires_grad
        assert not (x * x).requires_grad
    assert (x * x).requires_grad
    assert x.requires_grad


def test_as_a_decorator() -> None:
    x = tensor(2.0, requires_grad=True)

    @no_grad()
    def quiet() -> minidl.Tensor:
        return x * x

    @enable_grad()
    def loud() -> minidl.Tensor:
        return x * x

    for _ in range(2):
        assert not quiet().requires_grad
        with no_grad():
            assert loud().requires_grad


def test_inside_a_transform_it_makes_constants() -> None:
    def f(x):
        with no_grad():
            y = x * x
        return x * y

    assert float(grad(f)(3.0)) == 9.0  # y is a constant 9
    assert float(jvp(f, (np.array(3.0),), (np.array(1.0),))[1]) == 9.0


def test_a_transform_opened_inside_still_differentiates() -> None:
    with no_grad():
        assert float(grad(lambda x: x**3)(2.0)) == 12.0
        assert minidl.derivative(lambda x: x**3, 2.0) == 12.0

    def f(x):
        with no_grad():
            slope = grad(lambda y: y**2 * x)(x)  # 2x², but a constant to the outer level
        return x * slope

    assert float(grad(f)(3.0)) == 18.0


def test_around_a_transform_the_outer_level_is_off() -> None:
    w = tensor(np.array(2.0), requires_grad=True)
    with no_grad():
        assert not grad(lambda x: w * x**2)(np.array(3.0)).requires_grad


def test_an_exception_restores_recording() -> None:
    x = tensor(2.0, requires_grad=True)
    with pytest.raises(KeyError), no_grad(), enable_grad(), no_grad():
        raise KeyError
    assert (x * x).requires_grad


def test_another_thread_is_not_affected() -> None:
    x, seen = tensor(2.0, requires_grad=True), []
    with no_grad():
        thread = threading.Thread(target=lambda: seen.append((x * x).requires_grad))
        thread.start()
        thread.join()
    assert seen == [True]


def test_detach_is_a_constant_with_the_same_memory() -> None:
    x = tensor([1.0, 2.0], requires_grad=True)
    assert not x.detach().requires_grad
    assert np.shares_memory(x.detach().numpy(), x.value)
    assert float(grad(lambda v: v * v.detach())(3.0)) == 3.0


def test_detach_inside_nested_transforms_is_a_constant_to_all_of_them() -> None:
    def f(x):
        return grad(lambda y: y * (x * y).detach())(x)  # (x·y) as a constant: its value x²

    assert float(grad(f)(3.0)) == 0.0


def test_threads_get_the_numbers_that_one_gets() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((8, 5)), rng.standard_normal((5, 5))

    def work() -> np.ndarray:
        found = []
        for _ in range(15):
            second = grad(lambda v: (grad(lambda u: ops.tanh(u @ w).sum())(v) ** 2).sum())(x)
            leaf = tensor(w, requires_grad=True)
            ops.logsumexp(minidl.Tensor(x) @ leaf, 1).sum().backward()
            tangent = jvp(lambda v: ops.softmax(v @ w, 1), (x,), (np.ones_like(x),))[1]
            with no_grad():
                assert not (leaf * 2.0).requires_grad
            found.append(
                np.concatenate([second.ravel(), leaf.grad.numpy().ravel(), tangent.ravel()])
            )
        return np.stack(found)

    wanted, results = work(), [None] * 8

    def store(i: int) -> None:
        results[i] = work()

    threads = [threading.Thread(target=store, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for found in results:
        np.testing.assert_array_equal(found, wanted)
