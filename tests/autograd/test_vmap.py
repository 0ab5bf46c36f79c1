"""vmap beyond single operations: axes, trees, chunks, nesting, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import nn, vmap
from minidl.nn import functional

RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 3))
W = RNG.standard_normal((3, 2))


def test_axes_of_arguments_and_results() -> None:
    out = vmap(lambda a, b: a @ b, in_axes=(0, None), out_axes=1)(X, W)
    np.testing.assert_allclose(out, (X @ W).T)
    np.testing.assert_allclose(
        vmap(lambda a, b: (a * b).sum(), in_axes=(-1, 0))(X.T, X), (X**2).sum(1)
    )


def test_trees_of_arguments_axes_and_results() -> None:
    def f(parameters: dict[str, Any], pair: tuple[Any, Any]) -> dict[str, Any]:
        a, b = pair
        return {"y": a @ parameters["w"] + parameters["b"], "parts": [a + b, b]}

    axes = ({"w": None, "b": 0}, (0, 1))
    out = vmap(f, in_axes=axes, out_axes={"y": 0, "parts": [1, 0]})(
        {"w": W, "b": X[:, :2]}, (X, X.T)
    )
    np.testing.assert_allclose(out["y"], X @ W + X[:, :2])
    np.testing.assert_allclose(out["parts"][0], (2 * X).T)
    np.testing.assert_allclose(out["parts"][1], X)


@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 9])
def test_chunks(chunk: int) -> None:
    out = vmap(lambda a: minidl.tanh(a).sum(), chunk_size=chunk)(X)
    np.testing.assert_allclose(out, np.tanh(X).sum(1))
    out = vmap(lambda a: a * 2, in_axes=1, out_axes=1, chunk_size=chunk)(X)
    np.testing.assert_allclose(out, 2 * X)


def test_a_constant_result_is_repeated() -> None:
    np.testing.assert_array_equal(vmap(lambda a: np.arange(2.0))(X), [[0.0, 1.0]] * 4)


def test_vmap_of_vmap() -> None:
    outer = vmap(vmap(lambda a, b: a * b + 1, in_axes=(0, None)), in_axes=(None, 0))(X[0], X[:, 0])
    np.testing.assert_allclose(outer, np.outer(X[:, 0], X[0]) + 1)


def test_gradients_of_each_example() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, rng=np.random.default_rng(1)),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8, 3, rng=np.random.default_rng(2)),
    ).double()
    images = RNG.standard_normal((5, 1, 1, 6, 6))
    labels = np.array([[0], [2], [1], [1], [0]])

    def loss(image: Any, label: Any) -> Any:
        return functional.cross_entropy(model(image), label)

    each = vmap(minidl.grad(loss))(images, labels)
    loop = [minidl.grad(loss)(i, y) for i, y in zip(images, labels, strict=True)]
    wanted = minidl.stack(loop).detach().numpy()
    np.testing.assert_allclose(each.detach().numpy(), wanted, atol=1e-12)


def test_labels_that_are_ignored_differ_over_the_examples() -> None:
    logits, labels = RNG.standard_normal((2, 3, 4)), np.array([[1, -100, 2], [0, 3, -100]])
    each = vmap(lambda x, y: functional.cross_entropy(x, y))(logits, labels)
    loop = [functional.cross_entropy(x, y) for x, y in zip(logits, labels, strict=True)]
    np.testing.assert_allclose(each, loop)


def test_inside_and_around_derivatives() -> None:
    def f(a: Any) -> Any:
        return vmap(lambda row: minidl.exp(row).sum() ** 2)(a).sum()

    wanted = 2 * np.exp(X) * np.exp(X).sum(1, keepdims=True)
    np.testing.assert_allclose(minidl.grad(f)(X), wanted)
    np.testing.assert_allclose(minidl.jvp(f, (X,), (np.ones_like(X),))[1], wanted.sum())
    second = vmap(minidl.hessian(lambda row: (row**3).sum()))(X)
    np.testing.assert_allclose(second, [np.diag(6 * row) for row in X])


def test_tensors_give_tensors_and_record() -> None:
    x = minidl.tensor(X, requires_grad=True)
    out = vmap(lambda row: (row * row).sum())(x)
    assert isinstance(out, minidl.Tensor)
    out.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * X)
    assert isinstance(vmap(lambda row: row * 2)(X), np.ndarray)


def test_assignment_comparison_and_detach() -> None:
    def f(row: Any) -> Any:
        row[0] = row[1] * 2
        kept = minidl.where(row > 0, row, 0.0)
        return kept * row.detach()

    expected = X.copy()
    expected[:, 0] = 2 * X[:, 1]
    np.testing.assert_allclose(vmap(f)(X), np.maximum(expected, 0) * expected)
    np.testing.assert_allclose(
        minidl.grad(lambda a: vmap(lambda r: r * minidl.stop_gradient(r))(a).sum())(X), X
    )


INDEXES: dict[str, Callable[[Any, Any], Any]] = {
    "an array of the examples'": lambda a, i: a[i],
    "beside a slice": lambda a, i: a[:, i],
    "separated arrays": lambda a, i: a[i, :, np.array([0, 1])],
    "a number and an array": lambda a, i: a[0, :, i],
    "a mask": lambda a, i: a[np.array([True, False, True])],
    "new axes": lambda a, i: a[None, ..., 1],
}


@pytest.mark.parametrize("index", INDEXES.values(), ids=INDEXES.keys())
def test_indexing(index: Callable[[Any, Any], Any]) -> None:
    a = RNG.standard_normal((4, 3, 3, 3))
    i = np.array([[0, 2], [1, 1], [2, 0], [0, 1]])
    loop = np.stack([index(x, j) for x, j in zip(a, i, strict=True)])
    np.testing.assert_array_equal(vmap(index)(a, i), loop)
    shared = np.stack([index(x, i[0]) for x in a])
    np.testing.assert_array_equal(vmap(index, in_axes=(0, None))(a, i[0]), shared)


def test_a_dropout_mask_is_shared() -> None:
    rng = np.random.default_rng(3)
    out = vmap(lambda row: functional.dropout(row, 0.5, rng=rng))(np.ones((6, 50)))
    assert (out == out[0]).all()


@pytest.mark.parametrize(
    "use",
    [
        lambda row: row.sum().item(),
        lambda row: float(row.sum()),
        lambda row: bool(row[0] > 0),
        lambda row: np.asarray(row),
        lambda row: row.numpy(),
        lambda row: row.tolist(),
    ],
)
def test_what_leaves_the_transform_is_refused(use: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"inside vmap: the value differs over the 4 examples"):
        vmap(use)(X)


def test_a_box_can_be_printed() -> None:
    seen = []
    vmap(lambda row: seen.append(repr(row)) or row)(X)
    assert seen[0].startswith("tensor(")
    assert "traced" in seen[0]


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: vmap(lambda a, b: a)(X, W), r"differ in the number of examples: 4 in argument 0 .*3"),
    (lambda: vmap(lambda a: a, in_axes=None)(X), "no argument has an axis of examples"),
    (lambda: vmap(lambda a: a, in_axes=2)(X), r"argument 0 of shape \(4, 3\) has no axis 2"),
    (lambda: vmap(lambda a: a, in_axes=(0, 0))(X), "in_axes has 2 entries, but 1 arguments"),
    (lambda: vmap(lambda a: a)(1.0), r"argument 0 of shape \(\) has no axis 0"),
]


@pytest.mark.parametrize(("call", "match"), REFUSED)
def test_wrong_axes(call: Callable[[], Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()


def test_running_statistics_cannot_differ_over_the_examples() -> None:
    norm = nn.BatchNorm1d(3)
    with pytest.raises(TypeError, match="running statistics inside vmap"):
        vmap(norm)(RNG.standard_normal((2, 4, 3)).astype("f4"))


def test_a_leaked_box_is_refused() -> None:
    leaked: list[Any] = []
    vmap(lambda row: leaked.append(row) or row)(X)
    with pytest.raises(RuntimeError, match="after the transform had returned"):
        leaked[0] + 1


def test_threads() -> None:
    def work(seed: int) -> Any:
        x = np.random.default_rng(seed).standard_normal((8, 5))
        return vmap(minidl.grad(lambda row: (row**3).sum()))(x)

    with ThreadPoolExecutor(8) as pool:
        for seed, found in enumerate(pool.map(work, range(16))):
            x = np.random.default_rng(seed).standard_normal((8, 5))
            np.testing.assert_allclose(found, 3 * x**2)
