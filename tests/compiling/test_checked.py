"""`compile(check=…)`: first replays are held against eager steps, and given up if they differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from twins import Twins, descend

import minidl
from minidl import nn, optim
from minidl.compiling import CompileWarning, Program, program


def network() -> nn.Module:
    rng = np.random.default_rng(2)
    return nn.Sequential(
        nn.Linear(6, 8, rng=rng), nn.BatchNorm1d(8), nn.Dropout(0.5, rng=rng), nn.Linear(8, 3)
    )


def batch(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((4, 6), np.float32)


@pytest.mark.parametrize("optimizer", [optim.SGD, optim.AdamW])
def test_a_check_leaves_what_an_eager_step_leaves(optimizer: Any) -> None:
    twins = Twins(network(), descend, lambda p: optimizer(p, lr=0.01))
    twins.compiled.check = 3
    for number in range(10):
        twins.step(batch(number))
    (made,) = twins.compiled.programs
    assert made.unchecked == 0


def several(twins: Twins) -> None:
    for seed in range(6):
        twins.step(batch(seed))


def forgetful(number: int) -> Any:
    """A program that leaves out an instruction: its ``number``-th effect."""

    class Forgetful(Program):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            lines = self.source.splitlines()
            lines = [line for line in lines if f"{EFFECTS[number]}(" not in line]
            space = dict(self._make.__globals__)
            exec("\n".join(lines), space)
            self._make = space["make"]

    return Forgetful


EFFECTS = ["step", "move", "zero_grad", "counted"]


@pytest.mark.parametrize("number", range(len(EFFECTS)), ids=EFFECTS)
def test_a_replay_that_differs_is_given_up(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minidl.compiling.compiled.Program", forgetful(number))
    twins = Twins(network(), descend, strict=False)
    twins.compiled.check = 1
    with pytest.warns(CompileWarning, match="a replay gave other bits than the eager step"):
        several(twins)
    assert not twins.compiled.programs


def test_what_nobody_can_compare_is_not_compared() -> None:
    compiled = minidl.compile(lambda x: nn.functional.dropout(x, 0.5), strict=True, check=5)
    for _ in range(4):
        compiled(minidl.ones(8))
    assert [made.unchecked for made in compiled.programs] == [0]
    assert isinstance(compiled.programs[0], program.Program)


def test_how_many_must_be_a_count() -> None:
    with pytest.raises(ValueError, match="check"):
        minidl.compile(lambda x: x, check=-1)
