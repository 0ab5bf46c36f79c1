"""An LSTM along a sequence against its recurrence, step by step: values, both modes, any order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl
from minidl.autograd.check import gradcheck, gradgradcheck
from minidl.ops import lstm as ops
from minidl.ops.joining import cat, stack
from minidl.ops.products import linear
from minidl.ops.shape import shape_of

RNG = np.random.default_rng(3)


def drawn(length: int, count: int, width: int, bias: bool) -> list[Any]:
    shapes = [(length, count, 4 * width), (count, width), (count, width), (4 * width, width)]
    shapes += [(4 * width,)] * bias
    return [RNG.standard_normal(shape) for shape in shapes]


def in_one(shares: Any, hidden: Any, cell: Any, weight: Any, bias: Any = None) -> Any:
    found, last, memory = ops.lstm(shares, hidden, cell, weight, bias)
    return cat([found, last[None], memory[None]])


def step_by_step(shares: Any, hidden: Any, cell: Any, weight: Any, bias: Any = None) -> Any:
    found = []
    for t in range(shape_of(shares)[0]):
        hidden, cell = ops._cell(shares[t] + linear(hidden, weight, bias), cell)
        found.append(hidden)
    return stack([*found, hidden, cell])


each = pytest.mark.parametrize(
    "args",
    [drawn(3, 2, 2, True), drawn(1, 3, 1, True), drawn(4, 1, 2, False)],
    ids=["", "one step", "no bias"],
)


@each
def test_value_gradients_and_tangents_are_those_of_the_recurrence(args: list[Any]) -> None:
    out, pull = minidl.vjp(in_one, *args)
    wanted, wanted_pull = minidl.vjp(step_by_step, *args)
    np.testing.assert_allclose(out, wanted, rtol=1e-12, atol=1e-14)
    g = RNG.standard_normal(out.shape)
    for found, right in zip(pull(g), wanted_pull(g), strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-10, atol=1e-13)
    tangents = [RNG.standard_normal(x.shape) for x in args]
    found, right = (minidl.jvp(f, args, tangents)[1] for f in (in_one, step_by_step))
    np.testing.assert_allclose(found, right, rtol=1e-10, atol=1e-13)


def test_first_and_second_derivatives_are_right() -> None:
    args = drawn(3, 1, 1, True)
    gradcheck(in_one, args)
    gradgradcheck(in_one, args)


def test_examples_and_their_gradients() -> None:
    args = drawn(2, 1, 2, True)
    many = [np.stack([x, 2.0 * x]) for x in args]
    wanted = [in_one(*each) for each in zip(*many, strict=True)]
    np.testing.assert_allclose(minidl.vmap(in_one)(*many), wanted, rtol=1e-12)

    def energy(shares: Any) -> Any:
        return minidl.sum(in_one(shares, *args[1:]) ** 2)

    slopes = minidl.vmap(minidl.grad(energy))(many[0])
    np.testing.assert_allclose(slopes, [minidl.grad(energy)(x) for x in many[0]], rtol=1e-12)
