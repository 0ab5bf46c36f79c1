"""Trees of arguments, argnums, auxiliary results, and what the transforms refuse."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

import minidl
from minidl import grad, jvp, value_and_grad, vjp
from minidl.autograd.tree import leaves, tree_map
from minidl.nn import functional


class Pair(NamedTuple):
    weight: Any
    bias: Any


PARAMETERS = {
    "layers": [Pair(np.array([1.0, 2.0]), None), Pair(np.array([3.0]), np.array(4.0))],
    "scale": (np.array(5.0),),
}


def loss(p: Any) -> Any:
    one, two = p["layers"]
    return (one.weight**2).sum() * p["scale"][0] + (two.weight * two.bias).sum()


def test_gradients_come_back_in_the_shape_of_the_tree() -> None:
    found = grad(loss)(PARAMETERS)
    assert isinstance(found["layers"][0], Pair)
    assert found["layers"][0].bias is None
    np.testing.assert_array_equal(found["layers"][0].weight, [10.0, 20.0])
    np.testing.assert_array_equal(found["layers"][1].weight, [4.0])
    assert float(found["layers"][1].bias) == 3.0
    assert float(found["scale"][0]) == 5.0


def test_jvp_and_vjp_take_trees_in_and_out() -> None:
    def f(p: Any) -> Any:
        return {"out": [p[0] * p[1], None], "sum": p[0] + 1.0}

    x, y = np.array(2.0), np.array(3.0)
    value, tangent = jvp(f, ((x, y),), ((np.array(1.0), np.array(10.0)),))
    assert float(value["out"][0]) == 6.0
    assert value["out"][1] is tangent["out"][1] is None
    assert (float(tangent["out"][0]), float(tangent["sum"])) == (23.0, 1.0)
    _, pull = vjp(f, (x, y))
    ((gx, gy),) = pull({"out": [np.array(1.0), None], "sum": np.array(100.0)})
    assert (float(gx), float(gy)) == (103.0, 2.0)


def test_tree_map_and_leaves_agree_on_the_order() -> None:
    tree = {"b": [1, (2, None)], "a": {"x": 3}}
    assert list(leaves(tree)) == [1, 2, 3]
    assert tree_map(lambda v: v * 10, tree) == {"b": [10, (20, None)], "a": {"x": 30}}
    assert tree_map(lambda a, b: a + b, tree, tree) == {"b": [2, (4, None)], "a": {"x": 6}}


@pytest.mark.parametrize(
    ("one", "two"),
    [([1, 2], [1]), ({"a": 1}, {"b": 1}), ([1], 1), ({"a": 1}, [1]), ((1,), {"a": 1})],
)
def test_trees_that_differ_are_refused(one: Any, two: Any) -> None:
    with pytest.raises(ValueError, match="trees differ"):
        tree_map(lambda a, b: a, one, two)


def product(x: Any, y: Any, z: Any = 1.0) -> Any:
    return x * y**2 * z**3


@pytest.mark.parametrize(
    ("argnums", "wanted"),
    [(0, 18.0 * 4), (1, 12.0 * 8), (-1, 18.0 * 12), (2, 18.0 * 12), (-3, 72.0)],
)
def test_argnums_of_one(argnums: int, wanted: float) -> None:
    x, y, z = (np.array(v) for v in (2.0, 3.0, 2.0))
    wanted = {0: 72.0, 1: 96.0, 2: 216.0}[argnums % 3]
    assert float(grad(product, argnums)(x, y, z)) == wanted


def test_argnums_of_several_keep_their_order() -> None:
    x, y = np.array(2.0), np.array(3.0)
    both = grad(product, (1, 0))(x, y)
    assert isinstance(both, tuple)
    assert tuple(map(float, both)) == (12.0, 9.0)
    assert tuple(map(float, grad(product, [0, -1])(x, y, np.array(1.0)))) == (9.0, 54.0)
    (one,) = grad(product, (0,))(x, y)
    assert float(one) == 9.0
    assert grad(product, ())(x, y) == ()


@pytest.mark.parametrize("argnums", [2, -3, (0, 5)])
def test_argnums_out_of_range(argnums: Any) -> None:
    with pytest.raises(IndexError, match=r"argnums names argument -?\d, but 2 were given"):
        grad(product, argnums)(1.0, 2.0)


def test_keyword_arguments_are_constants() -> None:
    assert float(grad(product)(2.0, y=3.0)) == 9.0


def test_other_arguments_may_be_anything() -> None:
    def f(x: Any, name: str, labels: Any) -> Any:
        assert name == "name"
        return functional.nll_loss(x, labels)

    assert grad(f)(np.ones((2, 3)), "name", np.array([0, 2])).shape == (2, 3)


def test_auxiliary_results_pass_through_without_boxes() -> None:
    def f(x: Any) -> Any:
        y = x * x
        return y.sum(), {"y": y, "n": 3, "name": "f", "none": None}

    (value, aux), slope = value_and_grad(f, has_aux=True)(np.array([1.0, 2.0]))
    assert float(value) == 5.0
    assert type(aux["y"]) is np.ndarray
    assert (aux["n"], aux["name"], aux["none"]) == (3, "f", None)
    np.testing.assert_array_equal(slope, [2.0, 4.0])
    slope, aux = grad(f, has_aux=True)(np.array([1.0]))
    np.testing.assert_array_equal(aux["y"], [1.0])
    _, _, aux = vjp(f, np.array([1.0]), has_aux=True)
    np.testing.assert_array_equal(aux["y"], [1.0])


def test_auxiliary_results_of_nested_transforms_belong_to_the_outer_one() -> None:
    def f(x: Any) -> Any:
        slope, aux = grad(lambda y: (x * y**2, x * y), has_aux=True)(x)
        return slope * aux  # 2x² · x²

    assert float(grad(f)(2.0)) == 64.0


def test_what_cannot_be_differentiated_is_refused() -> None:
    with pytest.raises(TypeError, match=r"single float.*returned float64\[2\]"):
        grad(lambda x: x * 2.0)(np.ones(2))
    with pytest.raises(TypeError, match=r"single float.*returned int64"):
        grad(lambda x: x.argmax())(np.ones(2))
    with pytest.raises(TypeError, match="single float"):
        grad(lambda x: None)(1.0)
    with pytest.raises(TypeError, match=r"single float.*tuple"):
        grad(lambda x: (x, x))(1.0)
    with pytest.raises(TypeError, match=r"vjp: a floating dtype is wanted .* int64"):
        grad(lambda x: x.sum())(np.array([1, 2]))
    with pytest.raises(TypeError, match="jvp: a floating dtype"):
        jvp(lambda x: x, (np.array([1]),), (np.array([1.0]),))
    with pytest.raises(ValueError, match="2 primals, but 1 tangents"):
        jvp(product, (1.0, 2.0), (1.0,))
    with pytest.raises(ValueError, match=r"a tangent has shape \(3,\), wanted \(2,\)"):
        jvp(lambda x: x, (np.ones(2),), (np.ones(3),))
    with pytest.raises(ValueError, match=r"the cotangent has shape \(3,\), wanted \(2,\)"):
        vjp(lambda x: x, np.ones(2))[1](np.ones(3))
    with pytest.raises(TypeError, match=r"single number, got shape \(2,\)"):
        minidl.derivative(lambda x: x, np.ones(2))


def test_a_result_that_does_not_depend_on_the_input() -> None:
    assert float(grad(lambda x: np.array(3.0))(2.0)) == 0.0
    assert minidl.derivative(lambda x: np.array(3.0), 2.0) == 0.0
    np.testing.assert_array_equal(
        vjp(lambda x: np.ones(2), np.ones(3))[1](np.ones(2))[0], np.zeros(3)
    )


def test_ndarrays_in_ndarrays_out_and_tensors_likewise() -> None:
    assert type(grad(lambda x: x**2)(np.array(3.0))) is np.ndarray
    assert type(grad(lambda x: x**2)(3.0)) is np.ndarray
    assert isinstance(grad(lambda x: x**2)(minidl.tensor(3.0)), minidl.Tensor)
    assert grad(lambda x: x**2)(np.float32(3.0)).dtype == np.float32


def test_float_inside_a_transform_is_refused() -> None:
    import math

    with pytest.raises(TypeError, match=r"float\(\) inside a transform loses the derivative"):
        grad(lambda x: math.sin(x) * x)(1.0)
