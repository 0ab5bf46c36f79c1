"""N ranks with a share of the batch each train as one process with all of it."""

from __future__ import annotations

import re
from typing import Any

import gradient_checks
import numpy as np
import pytest
import training_checks
from mpi_process import Ranks

from minidl import nn, optim
from minidl.distributed import GradientSum, World

pytest_plugins = ["mpi_process"]

#: By a letter each; those with the same first letter must give the same bits.
CASES: dict[str, dict[str, Any]] = {
    "a": {"model": "mlp"},
    "a, no overlap": {"model": "mlp", "overlap": False},
    "a, replayed": {"model": "mlp", "compiled": True},
    "a, replayed, no overlap": {"model": "mlp", "compiled": True, "overlap": False},
    "b": {"model": "cnn"},
    "b, replayed": {"model": "cnn", "compiled": True},
    # The last parameter is used by nobody, so that recorded steps do not notice that it is frozen.
    "c": {"model": "lstm", "optimizer": "LAMB", "compiled": True, "freeze": -1},
    "d": {"model": "lstm", "accumulate": 2, "clip": 0.5},
    "d, replayed": {"model": "lstm", "accumulate": 2, "clip": 0.5, "compiled": True},
    # Batches of three, so that one of four ranks has no sample.
    "e": {"model": "mlp", "sizes": [12, 3, 7], "optimizer": "groups", "clip": 0.3},
    "f": {"model": "cnn", "sizes": [12, 3], "optimizer": "SGD", "compiled": True},
    # The first parameter is frozen for some steps; it is in the only bucket.
    "g": {"model": "mlp", "freeze": 0, "compiled": True, "bucket_bytes": 1 << 20},
}

_expected: dict[str, dict[str, Any]] = {}


def expected(name: str) -> dict[str, Any]:
    """What one process makes of the same batches, eagerly, without any rank."""
    if name[0] not in _expected:
        case = CASES[name]
        kept = {key: value for key, value in case.items() if key != "compiled"}
        _expected[name[0]] = training_checks.train(None, **kept)
    return _expected[name[0]]


def largest_difference(one: dict[str, Any], two: dict[str, Any]) -> float:
    assert one.keys() == two.keys()
    differences = [np.subtract(one[name], two[name]) for name in one]
    return max(float(np.abs(d).max(initial=0.0)) for d in differences)


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_ranks_train_as_one_process_does(ranks: Ranks, count: int) -> None:
    answers = ranks(count, "training_checks:several", list(CASES.values()))
    by_letter: dict[str, Any] = {}
    for number, (name, case) in enumerate(CASES.items()):
        mine = [answer[number] for answer in answers]
        for other in mine:
            assert other["state"] == mine[0]["state"], f"{name}: ranks differ"
        wanted = expected(name)
        assert largest_difference(wanted["state"], mine[0]["state"]) < 1e-12, name
        assert np.allclose(wanted["losses"], mine[0]["losses"], rtol=1e-12, atol=1e-12), name
        assert mine[0]["steps"] == wanted["steps"], name
        assert by_letter.setdefault(name[0], mine[0]["state"]) == mine[0]["state"], name
        assert bool(mine[0]["programs"]) == case.get("compiled", False), name
        check_traffic(mine[0], name)


def check_traffic(answer: dict[str, Any], name: str) -> None:
    steps, messages, size = answer["traffic"]
    assert steps == training_checks.STEPS
    if "freeze" not in CASES[name]:  # where the buckets change on the way
        each = answer["buckets"] + 1  # a message for each, and one that says which there are
        assert answer["buckets"] > 2
        assert messages == steps * each == steps * len(answer["last"])
        assert size == steps * sum(bytes_ for bytes_, _ in answer["last"])
    assert all(seconds >= 0.0 for _, seconds in answer["last"])
    assert answer["waited"] > 0.0


@pytest.mark.parametrize("name", ["a", "d, replayed", "g"])
def test_a_world_of_one_changes_nothing(name: str) -> None:
    found = training_checks.train(World(), **CASES[name])
    wanted = expected(name)
    assert {key: found[key] for key in ("state", "losses", "steps")} == {
        key: wanted[key] for key in ("state", "losses", "steps")
    }
    assert found["traffic"] == [0, 0, 0]


def test_sums_of_one_rank_are_its_values() -> None:
    model = nn.Linear(2, 1)
    sums = GradientSum(World(), optim.SGD(model.parameters(), lr=0.1))
    sums.begin()
    assert sums.finish() is None
    assert sums.finish([1.0, 2.0]).tolist() == [1.0, 2.0]


def test_buckets_cut_an_optimizers_arrays_from_the_end(ranks: Ranks) -> None:
    for answer in ranks(2, "gradient_checks:everything"):
        assert answer["cut"] == [[4, 5], [3, 3], [0, 1]]  # 2 is frozen
        assert answer["in order"]
        assert answer["messages"] == 4
        assert "a second backward pass reached a parameter" in answer["second"]
        assert "left the step before in the middle" in answer["middle"]
        assert "float32 or float64 parameters are wanted, got float16" in answer["half"]
        assert "bucket_bytes must be at least 1, got 0" in answer["none"]
        assert answer["values"] == [3.0, 30.0]
        # A gradient that one rank alone has, and one that nobody has.
        assert answer["there"] == [True, False]
        assert answer["gradient"] == [[3.0, 3.0]]
        assert answer["hooked"] == 1
        lines = answer["program"]
        starts = [n for n, line in enumerate(lines) if re.match(r" +start(_\d+)?\(", line)]
        assert len(starts) == 3
        # Between the first and the last sum's start backward goes on.
        assert sum("matmul" in line for line in lines[starts[0] : starts[-1]]) >= 3
        values, (reason,) = answer["branch"]
        assert values == [18.0] * 4
        assert "another process has part in" in reason
        assert answer["lbfgs"] == pytest.approx(gradient_checks.lbfgs(World()), abs=1e-12)
        assert answer["lbfgs"] == pytest.approx([2.0, -0.5], abs=1e-4)
