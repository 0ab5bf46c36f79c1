"""Programs do nothing twice and nothing in vain, and give the bits of the function all the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import nn, optim

Function = Callable[..., Any]

_DTYPES = (np.float32, np.float64)


def _twice(x: Any) -> Any:
    return np.exp(x[1:]) * x[1:] + np.exp(x[1:])


#: A function of eight numbers; what its program must not do more often than so.
SHORTER: dict[str, tuple[Function, dict[str, int]]] = {
    "common": (_twice, {"exp": 1, "getitem": 1}),
    "powers": (lambda x: x**2 + x**1 + x**0, {"pow": 0, "square": 1}),
    "ones": (lambda x: np.sin(x * 1) + np.cos(1.0 * x / 1), {"mul": 0, "div": 0}),
    "views": (lambda x: np.sin(x[:].reshape(8)) * 2.0, {"getitem": 0, "reshape": 0}),
    "constants": (
        lambda x: x + minidl.sin(minidl.ones(8)) * 2.0,
        {"sin": 0, "mul": 0},
    ),
    "signs": (lambda x: x * 1.0 + x * -1.0 + x * -0.0 + x * 0.0, {"mul": 3}),
    "kinds": (lambda x: x * True + x * 1 + x * 2 + x * 2.0, {}),
    "grad": (minidl.grad(lambda x: (x**2).sum()), {"pow": 0}),
    "hessian": (minidl.hessian(lambda x: (100 * (x[1:] - x[:-1] ** 2) ** 2).sum()), {"pow": 0}),
}  # fmt: skip

_ENDS = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-42, 3.0, -2.5]


def _bits(value: Any) -> tuple[Any, bytes]:
    array = np.asarray(value.numpy() if isinstance(value, minidl.Tensor) else value)
    return array.dtype, array.tobytes()


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
@pytest.mark.parametrize("dtype", _DTYPES)
@pytest.mark.parametrize("name", SHORTER)
def test_a_program_is_shorter_and_gives_the_same_bits(name: str, dtype: Any) -> None:
    function, most = SHORTER[name]
    compiled = minidl.compile(function, strict=True)
    rng = np.random.default_rng(0)
    for given in (rng.standard_normal(8), rng.standard_normal(8), rng.standard_normal(8), _ENDS):
        x = np.asarray(given, dtype)
        wanted, found = function(x), compiled(x)
        assert _bits(found) == _bits(wanted)
        assert not np.shares_memory(np.asarray(found), x)
    for operation, count in most.items():
        calls = re.findall(rf"= (?:_array\()?{operation}(?:_\d+)?\(", compiled.explain())
        assert len(calls) <= count, compiled.explain()


def test_an_array_from_outside_is_no_constant() -> None:
    weight = np.ones(3)
    compiled = minidl.compile(lambda x: x * weight, strict=True)
    x = np.arange(3.0)
    for _ in range(3):
        compiled(x)
    weight[:] = 5.0
    np.testing.assert_array_equal(compiled(x), x * weight)


def test_results_that_are_alike_are_two_arrays() -> None:
    compiled = minidl.compile(lambda x: (x * 2.0, x * 2.0, x**1), strict=True)
    x = np.arange(3.0)
    for _ in range(3):
        one, two, three = compiled(x)
    one += 1.0
    np.testing.assert_array_equal(two, x * 2.0)
    three += 1.0
    np.testing.assert_array_equal(x, np.arange(3.0))


def test_a_parameter_is_read_anew_after_a_step() -> None:
    def made() -> tuple[Any, Any]:
        weight = nn.Parameter(np.arange(1.0, 4.0))
        optimizer = optim.SGD([weight], lr=0.1)

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            before = weight**1 * x
            before.sum().backward()
            optimizer.step()
            with minidl.no_grad():
                return before.detach(), weight**1 * x, weight * x

        return step, weight

    (eager, one), (second, two) = made(), made()
    compiled = minidl.compile(second, strict=True)
    x = minidl.Tensor(np.arange(3.0))
    for _ in range(4):
        for wanted, found in zip(eager(x), compiled(x), strict=True):
            assert _bits(found) == _bits(wanted)
        assert _bits(one.detach()) == _bits(two.detach())


def test_what_is_written_in_place_is_left_alone() -> None:
    def step(x: Any) -> Any:
        first = x**1
        second = np.sin(x)
        third = np.sin(x)
        np.add(second, 1.0, out=second)
        first = first * 1.0
        return first + second + third

    compiled = minidl.compile(step, strict=False)
    x = np.arange(3.0)
    for _ in range(4):
        np.testing.assert_array_equal(compiled(x), step(x))


def test_batch_norm_takes_the_sums_of_its_gradients_once() -> None:
    model, optimizer = (made := nn.BatchNorm2d(3)), optim.SGD(made.parameters(), lr=0.1)

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = (model(x) ** 3).mean()
        loss.backward()
        optimizer.step()
        return loss

    taken: Any = minidl.compile(step, strict=True)
    x = minidl.Tensor(np.random.default_rng(0).standard_normal((4, 3, 5, 5)).astype(np.float32))
    for _ in range(3):
        taken(x)
    assert taken.programs[0].source.count("batch_norm_sums") == 1
