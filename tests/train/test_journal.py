"""The journal: what is written is read, bit for bit, and a killed writer costs one line at most."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.train.journal import Entry, Journal, read_journal


def test_entries_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "run" / "metrics.jsonl"
    with Journal(path) as journal:
        first = journal.write(1, 0, {"train/loss": 2.302585092994046, "lr": 1e-3}, time=12.5)
        second = journal.write(2, 1, {"val/accuracy": np.float32(0.1)})
    assert first == Entry(12.5, 0, 1, {"train/loss": 2.302585092994046, "lr": 1e-3})
    assert abs(second.time - time.time()) < 60
    assert second.metrics["val/accuracy"] == float(np.float32(0.1))
    assert read_journal(path) == [first, second]


def test_a_line_is_the_documented_object(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with Journal(path) as journal:
        journal.write(7, 3, {"val/loss": 0.5}, time=1.0)
    assert json.loads(path.read_text()) == {
        "time": 1.0,
        "epoch": 3,
        "step": 7,
        "metrics": {"val/loss": 0.5},
    }


@given(
    st.dictionaries(st.text(), st.floats()),
    st.integers(0, 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_any_name_and_any_float_survive(tmp_path_factory, metrics, step, moment):
    path = tmp_path_factory.mktemp("journal") / "metrics.jsonl"
    with Journal(path) as journal:
        journal.write(step, 0, metrics, time=moment)
    (entry,) = read_journal(path)
    assert (entry.step, entry.time) == (step, moment)
    assert entry.metrics.keys() == metrics.keys()
    for name, value in metrics.items():
        assert repr(entry.metrics[name]) == repr(value)


def test_non_finite_values_are_strict_json(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with Journal(path) as journal:
        journal.write(1, 0, {"a": math.nan, "b": math.inf, "c": -math.inf}, time=0)

    def refuse(name):
        raise AssertionError(f"{name} is not strict JSON")

    record = json.loads(path.read_text(), parse_constant=refuse)
    assert record["metrics"] == {"a": "NaN", "b": "Infinity", "c": "-Infinity"}
    (entry,) = read_journal(path)
    assert math.isnan(entry.metrics["a"])
    assert (entry.metrics["b"], entry.metrics["c"]) == (math.inf, -math.inf)


def test_each_entry_is_on_file_before_write_returns(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with Journal(path) as journal:
        for step in range(3):
            journal.write(step, 0, {"a": 1.0})
            assert len(read_journal(path)) == step + 1


@pytest.fixture
def two_entries(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with Journal(path) as journal:
        journal.write(1, 0, {"a": 1.0}, time=1)
        journal.write(2, 0, {"a": 2.0}, time=2)
    return path


def test_cut_anywhere_the_journal_reads_and_continues(two_entries):
    whole = two_entries.read_bytes()
    first_line = whole.index(b"\n") + 1
    for length in range(len(whole) + 1):
        two_entries.write_bytes(whole[:length])
        complete = (length >= first_line - 1) + (length >= len(whole) - 1)
        assert [entry.step for entry in read_journal(two_entries)] == [1, 2][:complete]
        with Journal(two_entries) as journal:
            journal.write(9, 0, {}, time=9)
        assert [entry.step for entry in read_journal(two_entries)] == [*[1, 2][:complete], 9]


def test_a_last_line_of_zero_bytes_is_forgiven(two_entries):
    # What some file systems leave behind after a loss of power.
    two_entries.write_bytes(two_entries.read_bytes() + b"\0" * 64)
    assert [entry.step for entry in read_journal(two_entries)] == [1, 2]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (b'{"time": 1, "epoch": 0, "st', "not a journal entry"),
        (b"\xff\xfe", "not a journal entry"),
        (b"[1, 2]", "expected an object"),
        (b'{"time": 1, "epoch": 0, "step": 1}', "'metrics' must be an object, got None"),
        (b'{"time": 1, "epoch": 0, "step": 1.5, "metrics": {}}', "'step' must be a whole number"),
        (b'{"time": "1", "epoch": 0, "step": 1, "metrics": {}}', "'time' must be a number"),
        (b'{"time": 1, "epoch": 0, "step": 1, "metrics": {"a": "x"}}', "'a' must be a number"),
        (b'{"time": 1, "epoch": 0, "step": 1, "metrics": {"a": NaN}}', "NaN is not JSON"),
    ],
)
def test_damage_elsewhere_names_the_place(two_entries, damage, message):
    two_entries.write_bytes(damage + b"\n" + two_entries.read_bytes())
    with pytest.raises(ValueError, match=message) as error:
        read_journal(two_entries)
    assert str(error.value).startswith(f"{two_entries}:1: ")
    with pytest.raises(ValueError, match=r"metrics\.jsonl:1: "):
        Journal(two_entries)


def test_close_twice_and_write_after_close(tmp_path):
    journal = Journal(tmp_path / "metrics.jsonl")
    journal.close()
    journal.close()
    with pytest.raises(ValueError, match="closed"):
        journal.write(1, 0, {})


def test_a_missing_journal_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_journal(tmp_path / "metrics.jsonl")


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_a_killed_writer_loses_no_entry_it_was_told_of(tmp_path):
    path = tmp_path / "metrics.jsonl"
    program = (
        "import sys; from minidl.train.journal import Journal\n"
        "journal = Journal(sys.argv[1])\n"
        "for step in range(10**9):\n"
        "    journal.write(step, 0, {'train/loss': 1 / 3})\n"
        "    print(step, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        for _ in range(500):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        told = [line for line in writer.stdout.read().split("\n") if line]
    last_told = int(told[-1]) if told else 499
    assert [entry.step for entry in read_journal(path)][: last_told + 1] == list(
        range(last_told + 1)
    )
