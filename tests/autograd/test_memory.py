"""Graphs are freed by reference counting, saved arrays as backward passes, chains of any length."""

from __future__ import annotations

import gc
import resource
import tracemalloc
import weakref
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import Tensor, grad, jvp, ops, tensor
from minidl.nn import functional


@pytest.fixture
def without_gc() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def loss(w: Any, x: Any) -> Any:
    hidden = ops.tanh(functional.linear(x, w))
    hidden[:, 0] = hidden[:, 1] * 2.0
    return functional.cross_entropy(ops.cat([hidden, hidden * 0.5], 1), np.zeros(len(x), int))


@pytest.mark.usefixtures("without_gc")
@pytest.mark.parametrize("walk", ["backward", "create_graph", "never", "raises"])
def test_a_graph_goes_with_its_last_tensor(walk: str) -> None:
    w, x = tensor(np.ones((3, 4)), requires_grad=True), np.ones((2, 4))
    out = loss(w, x)
    node, saved = weakref.ref(out), weakref.ref(x)
    if walk == "backward":
        out.backward()
    elif walk == "create_graph":
        out.backward(create_graph=True)
        w.grad = None
    elif walk == "raises":
        with pytest.raises(RuntimeError):
            out.backward(np.ones(3))
    del out, x
    assert node() is None
    assert saved() is None


@pytest.mark.usefixtures("without_gc")
@pytest.mark.parametrize("mode", ["reverse", "forward", "nested"])
def test_a_transform_frees_what_it_used(mode: str) -> None:
    x = np.ones((2, 4))
    saved = weakref.ref(x)
    f = partial(loss, x=x)
    w = np.ones((3, 4))
    if mode == "reverse":
        grad(f)(w)
    elif mode == "forward":
        jvp(f, (w,), (w,))
    else:
        jvp(grad(f), (w,), (w,))
    del f, x
    assert saved() is None


@pytest.mark.usefixtures("without_gc")
def test_training_steps_take_no_more_memory_than_one() -> None:
    w, x = tensor(np.ones((64, 64)), requires_grad=True), np.ones((32, 64))

    def step() -> None:
        w.grad = None
        loss(w, x).backward()
        grad(lambda v: loss(v, x))(w.detach().numpy())
        w.copy_(w.detach().numpy() - 0.1 * w.grad.numpy())

    for _ in range(3):
        step()
    tracemalloc.start()
    try:
        step()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(20):
            step()
        assert tracemalloc.get_traced_memory()[0] - before < 16_000  # half of one gradient
    finally:
        tracemalloc.stop()


@pytest.mark.usefixtures("without_gc")
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="wants Linux's /proc")
def test_the_process_does_not_grow_over_1_000_steps() -> None:
    """One graph that stays behind in each step would be 80 MB in all."""
    w, x = tensor(np.ones((64, 64)), requires_grad=True), np.ones((32, 64))

    def resident() -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    def steps(count: int) -> None:
        for _ in range(count):
            w.grad = None
            loss(w, x).backward()
            w.copy_(w.detach().numpy() - 0.1 * w.grad.numpy())

    steps(100)
    before = resident()
    steps(1000)
    assert resident() - before < 2_000_000


@pytest.mark.usefixtures("without_gc")
def test_saved_arrays_go_as_backward_passes_them() -> None:
    """Walking a chain of 40 arrays of 1 MB back must not hold their 40 gradients too."""
    x = tensor(np.ones(1 << 17), requires_grad=True)
    y = x
    for _ in range(40):
        y = ops.tanh(y)
    out = y.sum()
    del y
    tracemalloc.start()
    try:
        out.backward()
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_arrays_that_no_rule_reads_are_not_kept() -> None:
    x = tensor(np.ones(1000), requires_grad=True)
    big = np.ones((50, 1000))
    kept = weakref.ref(big)
    y = x + big
    z = y * 2.0
    del big, y
    assert kept() is None
    z.sum().backward()


@pytest.mark.parametrize("n", [200_000])
def test_a_chain_of_200_000_operations(n: int) -> None:
    x = tensor(np.array(1.0), requires_grad=True)
    y = x
    for _ in range(n):
        y = y + 1.0
    y.backward()
    assert float(x.grad) == 1.0
    assert float(y.detach()) == n + 1.0
    del y  # freed without recursion in Python


def test_a_long_chain_is_freed_though_never_walked() -> None:
    x = tensor(np.array(1.0), requires_grad=True)
    y = x
    for _ in range(100_000):
        y = y * 1.0
    last = weakref.ref(y)
    del y
    assert last() is None


def test_a_deep_diamond_is_walked_once_a_node() -> None:
    """2⁶⁰ paths, 60 nodes."""
    x = tensor(np.array(1.0), requires_grad=True)
    y = x
    for _ in range(60):
        y = y + y
    y.backward()
    assert float(x.grad) == 2.0**60
    assert float(grad(lambda v: _double(v, 60))(1.0)) == 2.0**60


def _double(v: Any, n: int) -> Any:
    for _ in range(n):
        v = v + v
    return v


def test_no_grad_keeps_nothing() -> None:
    x = tensor(np.ones(10), requires_grad=True)
    with minidl.no_grad():
        y = x
        for _ in range(10):
            y = ops.exp(y * 0.1)
    assert isinstance(y, Tensor)
    assert y.trace is None
