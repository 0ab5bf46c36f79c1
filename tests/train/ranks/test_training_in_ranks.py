"""N ranks train as one process does, go on from each other's checkpoints, and stop together."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpi_process import Ranks
from ranked_trainings import TRAININGS, read, resumed, train, trainings

from minidl.distributed import World
from minidl.train.checkpoint import read_arrays

pytest_plugins = ["mpi_process"]

FUNCTIONS = "ranked_trainings"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process trains, all of `TRAININGS`."""
    folder = tmp_path_factory.mktemp("alone")
    assert trainings(World(), str(folder)) == ["FINISHED"] * len(TRAININGS)
    return folder


def arrays_of(run: Path) -> dict[str, Any]:
    """The best model, and all that the last checkpoint holds."""
    manifest = json.loads((run / "checkpoints" / "last.json").read_text())
    state, _ = read_arrays(run / "checkpoints" / manifest["file"])
    model, _ = read_arrays(run / "model" / "model.safetensors")
    return state | {f"best.{name}": array for name, array in model.items()}


def assert_same_training(found: Path, wanted: Path, *, within: float = 1e-12) -> None:
    """Hold weights, optimizer, average and every figure of the journal together."""
    ours, theirs = arrays_of(found), arrays_of(wanted)
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        assert array.dtype in (np.float64, np.int64), name
        np.testing.assert_allclose(ours[name], array, rtol=within, atol=within, err_msg=name)
    for line, other in zip(read(found), read(wanted), strict=True):
        assert (line["epoch"], line["step"]) == (other["epoch"], other["step"])
        assert line["metrics"].keys() == other["metrics"].keys()
        for name, value in other["metrics"].items():
            assert math.isclose(line["metrics"][name], value, rel_tol=within, abs_tol=within), (
                f"step {line['step']}: {name} is {line['metrics'][name]}, wanted {value}"
            )


@pytest.mark.parametrize("count", [2, 4])
def test_ranks_train_as_one_process_does(
    count: int, ranks: Ranks, alone: Path, tmp_path: Path
) -> None:
    statuses = ranks(count, f"{FUNCTIONS}:trainings", str(tmp_path))
    assert statuses == [["FINISHED"] * len(TRAININGS)] * count
    for name in TRAININGS:
        assert_same_training(tmp_path / name, alone / name)
        confusion = [folder / name / "confusion.json" for folder in (tmp_path, alone)]
        assert confusion[0].exists() == confusion[1].exists()
        if confusion[1].exists():
            assert confusion[0].read_bytes() == confusion[1].read_bytes()
    facts = json.loads((tmp_path / "convolution" / "run.json").read_text())
    assert facts["ranks"] == count


def test_a_run_goes_on_with_another_number_of_ranks(ranks: Ranks, tmp_path: Path) -> None:
    longer = ("~schedule", "~trainer.early_stop")  # neither depends on where the training ends
    train(World(), tmp_path / "whole", "weighted", *longer, "trainer.epochs=3")
    train(World(), tmp_path / "parts", "weighted", *longer, "trainer.epochs=1")
    whole, run = tmp_path / "whole" / "weighted", tmp_path / "parts" / "weighted"
    assert ranks(2, f"{FUNCTIONS}:resumed", str(run), "trainer.epochs=2") == ["FINISHED"] * 2
    assert resumed(World(), str(run), "trainer.epochs=3") == "FINISHED"

    found, wanted = arrays_of(run), arrays_of(whole)
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-12, atol=1e-12, err_msg=name)
    ours, theirs = (
        [line for line in read(folder) if "test/loss" not in line["metrics"]]
        for folder in (run, whole)
    )
    assert [line["step"] for line in ours] == [line["step"] for line in theirs]
    assert ours[-1]["metrics"] == pytest.approx(theirs[-1]["metrics"], rel=1e-12)


def test_what_happens_to_one_rank_happens_to_all(ranks: Ranks, tmp_path: Path) -> None:
    found, troubled = zip(*ranks(2, f"{FUNCTIONS}:stopped_in_ways", str(tmp_path)), strict=True)
    assert [answer["exit_status"] for answer in found] == [75, 75]
    assert found[0]["step"] == found[1]["step"] == 9
    # Each rank draws dropout masks of its own.
    assert found[0]["generator"] != found[1]["generator"]

    whole, again = tmp_path / "whole" / "stateful", tmp_path / "again" / "stateful"
    assert (whole / "metrics.jsonl").read_bytes() == (again / "metrics.jsonl").read_bytes()
    ours, theirs = arrays_of(again), arrays_of(whole)
    assert {name: array.tobytes() for name, array in ours.items()} == {
        name: array.tobytes() for name, array in theirs.items()
    }
    manifests = [
        json.loads((run / "checkpoints" / "last.json").read_text()) for run in (again, whole)
    ]
    for name in ("rng", "sha256"):
        assert manifests[0][name] == manifests[1][name]
    assert len(manifests[0]["progress"]["generators"]) == 1
    assert manifests[0]["progress"]["generators"] == manifests[1]["progress"]["generators"]

    # A loss that is no number on the second rank alone.
    assert [answer["rolled back"] for answer in troubled] == [["FINISHED", 2]] * 2
    first, second = (answer["stopped"] for answer in troubled)
    assert first.startswith("TrainingError: the loss of another rank became no finite number")
    assert second == "FailedElsewhere: rank 0 tells why all ranks end with status 1"
    # An error of one rank: that one tells, and the other ends with the same status.
    assert [answer["a"] for answer in troubled] == ["a", 2]
    assert [answer["b"] for answer in troubled] == [1, "b"]
