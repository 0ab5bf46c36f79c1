"""Gradients are handed over during backward to who listens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import minidl
from minidl.autograd.arrival import listener
from minidl.autograd.reverse import Leaf


@pytest.fixture
def told() -> Iterator[list[tuple[int, Leaf, Any]]]:
    """What the listener was told: operations walked by then, the leaf, its gradient then."""
    found: list[tuple[int, Leaf, Any]] = []
    walked.clear()

    def hear(leaf: Leaf) -> None:
        found.append((len(walked), leaf, leaf.grad.value.copy()))

    token = listener.set(hear)
    yield found
    listener.reset(token)


walked: list[str] = []


def step(x: Any, w: Any, name: str) -> Any:
    """A product that tells when backward passes it."""
    y = minidl.sin(x * w)
    y.register_hook(lambda gradient: walked.append(name))
    return y


def test_a_gradient_comes_when_the_last_use_has_been_walked(told: list[Any]) -> None:
    a, b, c = (minidl.tensor(v, requires_grad=True, dtype="float64") for v in (0.5, 0.7, 1.1))
    y = step(step(step(minidl.tensor(2.0), a, "1"), b, "2"), c, "3") * b
    y.backward()
    assert walked == ["3", "2", "1"]
    names = {id(a.trace): "a", id(b.trace): "b", id(c.trace): "c"}
    # b is used again at the end, but first in the second step: only then it is complete.
    assert [(names[id(leaf)], count) for count, leaf, _ in told] == [("c", 1), ("b", 2), ("a", 3)]
    for _, leaf, gradient in told:
        assert gradient == leaf.grad.value


def test_who_listens_changes_no_bit(told: list[Any]) -> None:
    x = np.random.default_rng(0).standard_normal((5, 4))

    def gradients() -> list[bytes]:
        rng = np.random.default_rng(1)
        weights = [minidl.Tensor(rng.standard_normal((4, 4)), requires_grad=True) for _ in "ab"]
        weights[0].register_hook(lambda gradient: gradient * 2.0)
        for _ in range(2):  # the second is added to the first
            y = minidl.tanh(minidl.tanh(minidl.Tensor(x) @ weights[0]) @ weights[1]) @ weights[0]
            (y * y).sum().backward()
        return [weight.grad.numpy().tobytes() for weight in weights]

    heard = gradients()
    assert len(told) == 4
    token = listener.set(None)
    assert gradients() == heard
    listener.reset(token)


def test_a_recorded_walk_hands_over_at_its_end(told: list[Any]) -> None:
    x = minidl.tensor(0.5, requires_grad=True)
    step(x, x, "1").backward(create_graph=True)
    assert [(count, leaf is x.trace) for count, leaf, _ in told] == [(1, True)]
    assert x.grad.requires_grad
