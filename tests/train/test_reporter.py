"""What a training says, on a terminal and elsewhere."""

from __future__ import annotations

import io
import threading

import pytest
from rich.console import Console

from minidl.train.reporter import Reporter, figure, line_of


def _plain(width: int = 40) -> tuple[Reporter, io.StringIO]:
    said = io.StringIO()
    return Reporter(Console(file=said, width=width)), said


def _terminal(width: int = 100) -> tuple[Reporter, io.StringIO]:
    said = io.StringIO()
    console = Console(
        file=said, width=width, force_terminal=True, legacy_windows=False, _environ={}
    )
    return Reporter(console), said


def test_figures() -> None:
    assert figure("val/accuracy", 0.98765) == "98.77 %"
    assert figure("lr", 1e-3) == "1.00e-03"
    assert figure("throughput/samples_per_s", 12345.6) == "12,346"
    assert figure("train/loss", 0.123456) == "0.1235"
    assert line_of({"train/loss": 1.0, "throughput/samples_per_s": 10}) == (
        "train/loss 1.0000  samples/s 10"
    )


def test_plain_lines_without_a_terminal() -> None:
    reporter, said = _plain()
    with reporter:
        reporter.say("a line that is longer than the forty columns of this console [bold]x[/bold]")
        reporter.epoch_begins(1, 10, 2)
        reporter.step()
        reporter.step({"train/loss": 0.5})
        reporter.epoch_ends(1, 10, {"val/loss": 0.25, "val/accuracy": 0.5})
    assert said.getvalue() == (
        "a line that is longer than the forty columns of this console [bold]x[/bold]\n"
        "epoch  1/10  val/loss 0.2500  val/accuracy 50.00 %\n"
    )


def test_a_table_without_a_terminal_keeps_paths_whole() -> None:
    reporter, said = _plain()
    path = "/a/very/long/path/" + "x" * 100
    reporter.table("run [FINISHED]", {"test/loss": "0.5", "run directory": path})
    assert said.getvalue().splitlines() == [
        "run [FINISHED]",
        "  test/loss      0.5",
        f"  run directory  {path}",
    ]


def test_a_bar_on_a_terminal() -> None:
    reporter, said = _terminal()
    with reporter:
        for epoch in (1, 2):
            reporter.epoch_begins(epoch, 2, 3)
            reporter.step({"train/loss": 0.5})
            reporter.step()
            reporter.epoch_ends(epoch, 2, {"val/loss": 0.25})
    text = said.getvalue()
    assert "epoch 1/2" in text
    assert "2/3" in text
    assert "━" in text
    assert "train/loss 0.5000" in text
    assert "epoch 2/2  val/loss 0.2500" in text
    assert "\x1b[?25h" in text  # the cursor is back


def test_the_bar_goes_when_an_error_comes() -> None:
    reporter, said = _terminal()
    reporter.epoch_begins(1, 1, 1)
    with pytest.raises(ZeroDivisionError), reporter:
        _ = 1 / 0
    assert "\x1b[?25h" in said.getvalue()


def test_a_table_on_a_terminal_shows_brackets_as_they_are() -> None:
    reporter, said = _terminal()
    reporter.table("runs/[red]: [1] samples", {"run directory": "runs/[bold]x"})
    assert "runs/[red]: [1] samples" in said.getvalue()
    assert "runs/[bold]x" in said.getvalue()


def test_lines_of_several_threads_stay_whole() -> None:
    reporter, said = _plain()
    line = "word " * 30

    def talk() -> None:
        for _ in range(50):
            reporter.say(line)

    threads = [threading.Thread(target=talk) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said.getvalue().splitlines() == [line] * 200
