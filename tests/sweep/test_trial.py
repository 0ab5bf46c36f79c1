"""How a worker reads what a trial measures, and why it failed."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from minidl.sweep.child import REASON, reason_in
from minidl.sweep.trial import Validations
from minidl.train.journal import Journal


def test_validations_are_read_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    found = Validations(path, "val/loss")
    assert found.read() == []  # there is no journal yet
    with Journal(path) as journal:
        journal.write(3, 1, {"train/loss": 9.0})
        journal.write(6, 1, {"val/loss": 2.0, "val/accuracy": 0.5})
        assert found.read() == [2.0]
        journal.write(12, 2, {"val/loss": math.nan})
        whole = path.read_bytes()
        path.write_bytes(whole[:-5])  # the writer is in the middle of the line
        assert found.read() == [2.0]
        path.write_bytes(whole)
        assert found.read()[0] == 2.0
        assert math.isnan(found.read()[1])


def test_of_the_trainings_own_metrics_the_last_of_each_epoch_counts(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    found = Validations(path, "train/loss")
    with Journal(path) as journal:
        for step, epoch, value in [(2, 1, 5.0), (4, 1, 4.0), (6, 2, 3.0), (8, 2, 2.0)]:
            journal.write(step, epoch, {"train/loss": value})
    assert found.read() == [4.0]
    assert found.read(ended=True) == [4.0, 2.0]


def test_a_journal_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    found = Validations(path, "val/loss")
    with Journal(path) as journal:
        for step in (1, 2, 3):
            journal.write(step, step, {"val/loss": float(step)})
    assert found.read() == [1.0, 2.0, 3.0]
    path.unlink()
    with Journal(path) as journal:
        journal.write(1, 1, {"val/loss": 7.0})
    assert found.read() == [7.0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"epoch 1/2\n{REASON}the loss became nan\nMLflow is slow\n", "the loss became nan"),
        ("epoch 1/2\nTraceback …\nMemoryError\n\n", "MemoryError"),
        ("", "it said nothing"),
        (None, "there is no log"),
    ],
)
def test_the_reason_is_taken_from_the_log(tmp_path: Path, text: str | None, reason: str) -> None:
    log = tmp_path / "trial.log"
    if text is not None:
        log.write_text(text)
    assert reason_in(log) == reason


def test_a_trial_without_a_worker_ends_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "minidl.sweep.child"],
        input="",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "a trial is begun by its worker; use `minidl train`\n"
