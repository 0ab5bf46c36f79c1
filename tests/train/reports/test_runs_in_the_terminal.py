"""What `minidl runs` prints: on a terminal, and in a pipe."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from made_runs import MakeRun
from rich.console import Console

from minidl.train.reports.records import read_run, read_runs
from minidl.train.reports.sparkline import resample, sparkline
from minidl.train.reports.terminal import Page, print_comparison, print_list, print_run

pytest_plugins = ["made_runs"]


class Latin(io.StringIO):
    """A stream whose encoding lacks block characters."""

    encoding = "iso-8859-1"  # type: ignore[assignment]


def _page(stream: io.StringIO | None = None, width: int | None = None) -> tuple[Page, io.StringIO]:
    stream = io.StringIO() if stream is None else stream
    terminal = width is not None
    console = Console(
        file=stream,
        width=width,
        force_terminal=terminal,
        color_system=None,
        legacy_windows=False,
        _environ={},
    )
    return Page(console), stream


def test_a_list_in_a_pipe_is_plain_columns(make_run: MakeRun) -> None:
    make_run("a-run-with-a-name-that-is-rather-long" * 3)
    root = make_run("b", status="FAILED").parent
    (root / "c").mkdir()
    page, said = _page()
    print_list(read_runs(root), page=page)
    heading, first, second, third, empty, problem = said.getvalue().splitlines()
    assert heading.split() == [
        *("run", "state", "epochs", "steps", "best", "val/accuracy"),
        *("test/accuracy", "test/loss", "time", "began"),
    ]
    assert first.index("finished") == heading.index("state") == second.index("failed")
    assert "87.50 %" in first
    assert third.split() == ["c", "empty"]
    assert (empty, problem) == ("", "c: there is nothing of a run in it")


def test_a_list_on_a_narrow_terminal_keeps_within_it(make_run: MakeRun) -> None:
    root = make_run("a-run-with-a-name-that-is-rather-long").parent
    page, said = _page(width=70)
    print_list(read_runs(root), page=page)
    assert max(map(len, said.getvalue().splitlines())) <= 70


@pytest.mark.parametrize("width", [None, 60, 120])
def test_a_run(make_run: MakeRun, width: int | None) -> None:
    page, said = _page(width=width)
    print_run(read_run(make_run("tiny", "optimizer.weight_decay=0.5")), page)
    text = said.getvalue()
    for part in (
        "finished",
        "val/accuracy 75.00 % in epoch 2, step 4",
        "AdamW(lr=0.01, weight_decay=0.5)",
        "Flatten → Linear(out_features=16) → ReLU",
        "█▄▂▂▁▁",  # the loss falls
        "▁▁██▅▅",  # an accuracy of an epoch stands for its two steps
        "model/config.yaml",
        "test/accuracy",
    ):
        assert part in text, text
    assert ("least" in text) == (width != 60)


def test_a_run_with_nothing_in_it_but_a_config(make_run: MakeRun) -> None:
    directory = make_run("bare", status=None)
    (directory / "metrics.jsonl").unlink()
    page, said = _page()
    print_run(read_run(directory), page)
    assert "unfinished" in said.getvalue()
    assert "metrics.jsonl: there is none" in said.getvalue()
    assert "curves" not in said.getvalue()


def test_an_encoding_without_blocks(make_run: MakeRun) -> None:
    page, said = _page(Latin())
    print_run(read_run(make_run("tiny")), page)
    assert "▁" not in said.getvalue()
    assert "#:..__" in said.getvalue()


def test_a_comparison(make_run: MakeRun) -> None:
    directories = [
        make_run("one", "trainer.epochs=4"),
        make_run("two", "optimizer={type: SGD, lr: 0.1}", accuracy=0.5),
        make_run("bare", status=None),
    ]
    (directories[2] / "metrics.jsonl").unlink()
    page, said = _page()
    print_comparison([read_run(path) for path in directories], page)
    lines = [line.split() for line in said.getvalue().splitlines()]
    assert ["config", "one", "two", "bare"] in lines
    assert ["optimizer.type", "AdamW", "SGD", "AdamW"] in lines
    assert ["optimizer.weight_decay", "0.01", "0.0", "0.01"] in lines
    assert ["optimizer.momentum", "–", "0.0", "–"] in lines
    assert ["trainer.epochs", "4", "3", "3"] in lines
    assert not any("trainer.name" in line for line in lines)
    assert ["test/accuracy", "87.50", "%", "50.00", "%", "–"] in lines
    assert ["train/loss", "0.3333", "…", "2.0000,", "to", "step", "6"] in lines
    assert ["one", "█▄▂▂▁▁", "0.3333"] in lines
    assert ["bare", "–"] in lines
    assert "bare: metrics.jsonl: there is none" in said.getvalue()


def test_the_same_config_twice(make_run: MakeRun) -> None:
    page, said = _page()
    runs = [read_run(make_run(name)) for name in ("one", "two")]
    print_comparison(runs, page)
    assert "the configs are the same" in said.getvalue()


def test_two_runs_of_one_name_are_told_apart_by_their_paths(make_run: MakeRun) -> None:
    first = make_run("tiny")
    other = first.parents[1] / "others"
    other.mkdir()
    moved = first.rename(other / "tiny")
    page, said = _page()
    print_comparison([read_run(moved), read_run(make_run("tiny"))], page)
    assert str(moved) in said.getvalue()


def test_sparklines_on_one_scale() -> None:
    assert sparkline([0.0, 1.0], low=0.0, high=7.0) == "▁▂"
    assert sparkline([-5.0, 50.0], low=0.0, high=7.0) == "▁█"  # held within the scale
    assert sparkline([]) == ""
    assert sparkline([1e-2, 1e-2 * (1 + 1e-12)]) == "▄▄"
    assert resample([], [], end=3, width=10)[0] != resample([], [], end=3, width=10)[0]  # NaN
    assert resample([1, 2, 3, 4], [1.0, 3.0, float("inf"), 4.0], end=4, width=2) == [2.0, 4.0]


def test_long_curves_are_gathered() -> None:
    steps = list(range(1, 10_001))
    found = resample(steps, [float(step) for step in steps], end=10_000, width=4)
    assert found == [1250.5, 3750.5, 6250.5, 8750.5]


def test_all_is_read_from_the_directory_alone(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(make_run("tiny"))
    page, said = _page()
    print_run(read_run(Path()), page)
    assert read_run(Path()).name == "tiny"
    assert "config.source.yaml" in said.getvalue()
