"""The memory of a program: planned once, shared by results, and the same after many replays."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np

import minidl
from minidl import nn, optim
from minidl.compiling import Compiled
from minidl.compiling.plan import Place, Plan
from minidl.compiling.program import REPLAYS


def cnn() -> nn.Module:
    rng = np.random.default_rng(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1, rng=rng), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1, rng=rng), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(3136, 10, rng=rng)),
    )


def make_step() -> Callable[..., Any]:
    model, loss_of = cnn(), nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.parameters())

    def step(x: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    return step


def batch(size: int) -> tuple[minidl.Tensor, minidl.Tensor]:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((size, 1, 28, 28), np.float32)
    return minidl.Tensor(x), minidl.Tensor(rng.integers(0, 10, size))


def peak(step: Callable[..., Any], *args: Any) -> int:
    """Bytes that a step takes at its worst, beside what was there before."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    step(*args)
    found = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return found


def planned(size: int) -> tuple[Compiled[..., Any], Plan]:
    step: Compiled[..., Any] = minidl.compile(make_step(), strict=True)
    for _ in range(3):
        step(*batch(size))
    (program,) = step.programs
    return step, program.plan


def test_the_peak_is_below_that_of_an_eager_step() -> None:
    step, plan = planned(64)
    eager = make_step()
    eager(*batch(64))
    assert plan.size + peak(step, *batch(64)) < 0.9 * peak(eager, *batch(64))
    assert plan.size < 0.6 * plan.unshared


def test_places_that_are_used_at_once_do_not_overlap() -> None:
    _, plan = planned(8)
    assert len(plan.places) > 10

    def at_once(one: Place, two: Place) -> bool:
        return one.begin <= two.end and two.begin <= one.end

    for one, two in combinations(plan.places, 2):
        if at_once(one, two):
            apart = one.offset + one.size <= two.offset or two.offset + two.size <= one.offset
            assert apart
    assert max(place.offset + place.size for place in plan.places) == plan.size


def test_a_thousand_replays_leave_nothing_behind() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    optimizer = optim.AdamW(model.parameters())
    x, labels = minidl.Tensor(np.ones((4, 6), np.float32)), minidl.Tensor(np.array([0, 1, 2, 0]))

    def step() -> Any:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    compiled = minidl.compile(step, strict=True)
    for _ in range(REPLAYS + 20):  # by then it has looked for chains, which may load numba
        compiled()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(1_000):
        compiled()
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000
    assert len(compiled.programs) == 1
