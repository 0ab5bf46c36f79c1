"""Jacobians, Hessians and their products, against closed forms and PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest

import minidl
from minidl import hessian, hvp, jacfwd, jacobian, jacrev, linearize

RNG = np.random.default_rng(0)
both = pytest.mark.parametrize("jac", [jacfwd, jacrev, jacobian])


def rosenbrock(x: Any) -> Any:
    return minidl.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def rosenbrock_hessian(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    n = len(x)
    h = np.zeros((n, n))
    for i in range(n - 1):
        h[i, i] += 1200 * x[i] ** 2 - 400 * x[i + 1] + 2
        h[i + 1, i + 1] += 200
        h[i, i + 1] -= 400 * x[i]
        h[i + 1, i] -= 400 * x[i]
    return h


@both
def test_a_vector_function_of_a_matrix(jac: Callable[..., Any]) -> None:
    x = RNG.standard_normal((2, 3))
    found = jac(lambda a: minidl.exp(a).sum(1))(x)
    wanted = np.einsum("ij,ik->ikj", np.exp(x), np.eye(2))
    np.testing.assert_allclose(found, wanted)
    assert found.shape == (2, 2, 3)


@both
@pytest.mark.parametrize("chunk", [None, 1, 2, 5, 100])
def test_chunks(jac: Callable[..., Any], chunk: int | None) -> None:
    w = RNG.standard_normal((4, 5))
    found = jac(lambda x: minidl.tanh(w @ x), chunk_size=chunk)(np.linspace(-1, 1, 5))
    slope = 1 - np.tanh(w @ np.linspace(-1, 1, 5)) ** 2
    np.testing.assert_allclose(found, slope[:, None] * w)


class Pair(NamedTuple):
    a: Any
    b: Any


@both
def test_trees(jac: Callable[..., Any]) -> None:
    def f(p: dict[str, Any]) -> Any:
        return Pair(p["x"] ** 2, [p["x"].sum() * p["y"]])

    x, y = np.array([1.0, 2.0]), np.array(3.0)
    found = jac(f)({"x": x, "y": y})
    assert isinstance(found, Pair)
    np.testing.assert_allclose(found.a["x"], np.diag(2 * x))
    np.testing.assert_allclose(found.a["y"], np.zeros(2))
    np.testing.assert_allclose(found.b[0]["x"], [3.0, 3.0])
    np.testing.assert_allclose(found.b[0]["y"], 3.0)


@both
def test_argnums(jac: Callable[..., Any]) -> None:
    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    first, second = jac(lambda a, b: a * b**2, (0, -1))(x, y)
    np.testing.assert_allclose(first, np.diag(y**2))
    np.testing.assert_allclose(second, np.diag(2 * x * y))
    np.testing.assert_allclose(jac(lambda a, b: a * b, np.int64(1))(x, y), np.diag(x))
    with pytest.raises(IndexError, match="argument 2, but 2 were given"):
        jac(lambda a, b: a, 2)(x, y)


@both
def test_dtypes(jac: Callable[..., Any]) -> None:
    assert jac(lambda x: x * 2)(np.ones(3, np.float32)).dtype == np.float32
    assert jac(lambda x: x * 2)(3.0) == 2.0
    with pytest.raises(TypeError, match="floating dtype"):
        jac(lambda x: x * 2)(np.arange(3))


@both
def test_tensors_give_tensors(jac: Callable[..., Any]) -> None:
    found = jac(lambda x: x**2)(minidl.tensor([1.0, 3.0]))
    assert isinstance(found, minidl.Tensor)
    assert found.tolist() == [[2.0, 0.0], [0.0, 6.0]]


MODES = [jacfwd, jacrev]


@pytest.mark.parametrize(("outer", "inner"), list(product(MODES, MODES)))
def test_the_hessian_of_rosenbrock_by_every_pair_of_modes(
    outer: Callable[..., Any], inner: Callable[..., Any]
) -> None:
    x = RNG.uniform(-2, 2, 100)
    found, wanted = outer(inner(rosenbrock))(x), rosenbrock_hessian(x)
    assert np.abs(found - wanted).max() <= 1e-10 * np.abs(wanted).max()


def test_hessian_and_its_product() -> None:
    x, v = RNG.uniform(-2, 2, 30), RNG.standard_normal(30)
    h = hessian(rosenbrock, chunk_size=7)(x)
    np.testing.assert_allclose(h, rosenbrock_hessian(x), rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(hvp(rosenbrock, (x,), (v,)), h @ v, rtol=1e-9)
    xx, xy = hvp(lambda a, b: (a**2 * b).sum(), (x, v), (v, np.zeros(30)))
    np.testing.assert_allclose(xx, 2 * v * v)
    np.testing.assert_allclose(xy, 2 * x * v)


def test_hessian_over_two_arguments() -> None:
    (aa, ab), (ba, bb) = hessian(lambda a, b: (a * b**2).sum(), (0, 1))(np.ones(2), 2 * np.ones(2))
    np.testing.assert_allclose(aa, np.zeros((2, 2)))
    np.testing.assert_allclose(ab, 4 * np.eye(2))
    np.testing.assert_allclose(ba, 4 * np.eye(2))
    np.testing.assert_allclose(bb, 2 * np.eye(2))


def test_third_derivatives() -> None:
    third = jacfwd(jacfwd(jacrev(lambda x: (x**4).sum())))(np.array([1.0, 2.0]))
    wanted = np.zeros((2, 2, 2))
    wanted[0, 0, 0], wanted[1, 1, 1] = 24.0, 48.0
    np.testing.assert_allclose(third, wanted)


def test_linearize_evaluates_once() -> None:
    calls = []

    def f(x: Any, y: Any) -> Any:
        calls.append(1)
        return minidl.sigmoid(x) * y

    x, y = RNG.standard_normal((2, 5))
    out, push = linearize(f, x, y)
    assert len(calls) == 1
    for _ in range(3):
        tangents = RNG.standard_normal((2, 5))
        wanted = minidl.jvp(f, (x, y), tuple(tangents))
        calls.pop()
        np.testing.assert_allclose(push(*tangents), wanted[1])
    np.testing.assert_allclose(out, wanted[0])
    assert len(calls) == 1


def test_against_torch() -> None:
    torch = pytest.importorskip("torch", reason="comparison with PyTorch: torch is not installed")
    w, x = RNG.standard_normal((3, 4)), RNG.standard_normal(4)

    def ours(a: Any) -> Any:
        return minidl.softmax(minidl.tanh(w @ a), 0)

    def theirs(a: Any) -> Any:
        return torch.softmax(torch.tanh(torch.tensor(w) @ a), 0)

    def compare(found: Any, wanted: Any) -> None:
        np.testing.assert_allclose(found, wanted.numpy(), atol=1e-12)

    point = torch.tensor(x)
    wanted = torch.autograd.functional.jacobian(theirs, point)
    compare(jacfwd(ours)(x), wanted)
    compare(jacrev(ours)(x), wanted)
    mine = hessian(lambda a: (ours(a) ** 2).sum())(x)
    compare(mine, torch.autograd.functional.hessian(lambda a: (theirs(a) ** 2).sum(), point))


def test_the_jacobian_of_a_number_needs_no_axis_of_directions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("vmap")

    monkeypatch.setattr("minidl.autograd.jacobians.vmap", refuse)
    x, y = np.array([1.0, 3.0]), np.array([2.0, 5.0])
    np.testing.assert_array_equal(minidl.jacrev(lambda x: (x**2).sum())(x), 2 * x)
    by_x, by_y = minidl.jacrev(lambda x, y: (x * y).sum(), (0, 1))(x, y)
    np.testing.assert_array_equal(by_x, y)
    np.testing.assert_array_equal(by_y, x)
    slope, aux = minidl.jacrev(lambda x: ((x**2).sum(), "aux"), has_aux=True)(x)
    np.testing.assert_array_equal(slope, 2 * x)
    assert aux == "aux"
