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
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl.train.journal import Entry, Journal, clock_path, read_journal


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
    assert json.loads(path.read_text()) == {"epoch": 3, "step": 7, "metrics": {"val/loss": 0.5}}
    assert json.loads(clock_path(path).read_text()) == {"time": 1.0, "metrics": {}}


def test_what_tells_of_the_machine_is_kept_apart(tmp_path):
    contents = []
    for speed, moment in ((100.0, 1.0), (250.0, 2.0)):
        path = tmp_path / str(moment) / "metrics.jsonl"
        with Journal(path) as journal:
            entry = journal.write(
                3, 1, {"train/loss": 0.5, "throughput/samples_per_s": speed}, time=moment
            )
        assert read_journal(path) == [entry]
        assert entry.metrics["throughput/samples_per_s"] == speed
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


@settings(deadline=None)
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
    clock = clock_path(two_entries).read_bytes()
    for length in range(len(whole) + 1):
        two_entries.write_bytes(whole[:length])
        clock_path(two_entries).write_bytes(clock)
        complete = (length >= first_line - 1) + (length >= len(whole) - 1)
        assert [entry.step for entry in read_journal(two_entries)] == [1, 2][:complete]
        with Journal(two_entries) as journal:
            journal.write(9, 0, {}, time=9)
        found = read_journal(two_entries)
        assert [(entry.step, entry.time) for entry in found] == [
            *[(1, 1.0), (2, 2.0)][:complete],
            (9, 9.0),
        ]


def test_a_clock_cut_anywhere_costs_times_only(two_entries):
    clock = clock_path(two_entries)
    whole = clock.read_bytes()
    first_line = whole.index(b"\n") + 1
    for length in range(len(whole) + 1):
        clock.write_bytes(whole[:length])
        times = [1.0 if length >= first_line - 1 else 0.0, 2.0]
        times[1] = 2.0 if length >= len(whole) - 1 else times[0]
        assert [(e.step, e.time) for e in read_journal(two_entries)] == [
            *zip([1, 2], times, strict=True)
        ]
        before = two_entries.read_bytes()
        with Journal(two_entries) as journal:
            journal.write(9, 0, {}, time=9)
        found = read_journal(two_entries)
        assert [(e.step, e.time) for e in found] == [*zip([1, 2], times, strict=True), (9, 9.0)]
        two_entries.write_bytes(before)
    clock.unlink()
    assert [entry.step for entry in read_journal(two_entries)] == [1, 2]
    clock.write_bytes(b"garbage\n" + whole.splitlines()[1] + b"\n")
    assert [entry.time for entry in read_journal(two_entries)] == [0.0, 2.0]


# ---- taken up -----------------------------------------------------------------------------------


@pytest.fixture
def three_entries(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with Journal(path) as journal:
        for step in (1, 2, 3):
            speed = {"throughput/samples_per_s": 100.0 * step}
            journal.write(step, 0, {"a": float(step)} | speed, time=step)
    return path


def test_what_is_measured_again_stays_as_it_was(three_entries):
    before = three_entries.read_bytes(), clock_path(three_entries).read_bytes()
    known = read_journal(three_entries)
    told = []
    with Journal(three_entries, position=1, on_difference=told.append) as journal:
        for step in (2, 3):
            again = {"a": float(step), "throughput/samples_per_s": 7.0}
            assert journal.write(step, 0, again, time=50) == known[step - 1]
        assert journal.count == 3
        journal.write(4, 0, {"a": 4.0}, time=60)
    assert told == []
    assert three_entries.read_bytes().startswith(before[0])
    assert clock_path(three_entries).read_bytes().startswith(before[1])
    assert [e.step for e in read_journal(three_entries)] == [1, 2, 3, 4]


@pytest.mark.parametrize("other", [{"a": 2.5}, {"b": 2.0}, {}])
def test_what_is_measured_differently_takes_the_place_of_the_old(three_entries, other):
    told = []
    with Journal(three_entries, position=1, on_difference=told.append) as journal:
        new = journal.write(2, 0, other, time=50)
        journal.write(3, 0, {"a": 3.0}, time=51)
    assert told == [new]
    found = read_journal(three_entries)
    assert [(e.step, e.time) for e in found] == [(1, 1.0), (2, 50.0), (3, 51.0)]
    assert found[1].metrics == other


def test_the_old_entries_may_be_given_up(three_entries):
    with Journal(three_entries, position=2) as journal:
        journal.forget_expected()
        assert [e.step for e in read_journal(three_entries)] == [1, 2]
        journal.write(3, 0, {"a": 3.0}, time=70)
    assert read_journal(three_entries)[-1].time == 70.0


def test_a_position_beyond_the_end_is_refused(three_entries):
    with pytest.raises(ValueError, match="4 entries are wanted, there are 3"):
        Journal(three_entries, position=4)


# ---- a disk that is full ------------------------------------------------------------------------


def test_what_could_not_be_written_is_written_later(tmp_path):
    """A limit on the size of files stands for the disk: the kernel cuts a line in its middle."""
    path = tmp_path / "metrics.jsonl"
    program = (
        "import resource, signal, sys; from minidl.train.journal import Journal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "told = []\n"
        "journal = Journal(sys.argv[1], on_trouble=told.append)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (150, resource.RLIM_INFINITY))\n"
        "for step in range(9):\n"
        "    journal.write(step, 0, {'train/loss': 1 / 3}, time=step)\n"
        "print(len(told), open(sys.argv[1]).read().count(chr(10)), flush=True)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, resource.RLIM_INFINITY))\n"
        "journal.write(9, 0, {'train/loss': 1 / 3}, time=9)\n"
        "journal.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    told, whole = map(int, done.stdout.split())
    assert 1 <= told <= 2  # once by each of the two files
    assert 0 < whole < 9
    assert [(e.step, e.time) for e in read_journal(path)] == [(i, float(i)) for i in range(10)]


def test_a_last_line_of_zero_bytes_is_forgiven(two_entries):
    # What some file systems leave behind after a loss of power.
    two_entries.write_bytes(two_entries.read_bytes() + b"\0" * 64)
    assert [entry.step for entry in read_journal(two_entries)] == [1, 2]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (b'{"epoch": 0, "st', "not a journal entry"),
        (b"\xff\xfe", "not a journal entry"),
        (b"[1, 2]", "expected an object"),
        (b'{"time": 1, "epoch": 0, "step": 1}', "'metrics' must be an object, got None"),
        (b'{"time": 1, "epoch": 0, "step": 1.5, "metrics": {}}', "'step' must be a whole number"),
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
