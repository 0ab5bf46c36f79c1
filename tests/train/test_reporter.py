"""What a training says: on a terminal, elsewhere, to machines, and when asked to be quiet."""

from __future__ import annotations

import io
import json
import math
import threading
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from minidl.train.progress_bar import BarReporter
from minidl.train.reporter import (
    Closing,
    JsonReporter,
    LineReporter,
    QuietReporter,
    Reporter,
    figure,
    line_of,
)

CLOSING = Closing(
    "FINISHED",
    "runs/tiny",
    {"test/loss": 0.5, "test/accuracy": 0.75},
    monitor="val/accuracy",
    best_epoch=2,
    epochs=3,
    steps=30,
    seconds=1.25,
    samples_per_s=1234.5,
    mlflow_run_id="abc",
    mlflow_command="mlflow ui",
)


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _plain(width: int = 40, clock: Callable[[], float] = lambda: 0.0) -> tuple[Any, io.StringIO]:
    said = io.StringIO()
    return LineReporter(Console(file=said, width=width), clock=clock), said


def _terminal(width: int = 100, clock: Clock | None = None) -> tuple[BarReporter, io.StringIO]:
    said = io.StringIO()
    console = Console(
        file=said,
        width=width,
        force_terminal=True,
        legacy_windows=False,
        get_time=clock,
        _environ={},
    )
    return BarReporter(console), said


def _machine() -> tuple[JsonReporter, Callable[[], list[dict[str, Any]]]]:
    said = io.StringIO()

    def events() -> list[dict[str, Any]]:
        def refuse(word: str) -> None:
            raise AssertionError(f"{word} is not JSON")

        return [json.loads(line, parse_constant=refuse) for line in said.getvalue().splitlines()]

    return JsonReporter(said, clock=lambda: 12.3456), events


def train(reporter: Reporter) -> None:
    """Two epochs of three steps, with a validation in the middle of the second."""
    with reporter:
        reporter.run_begins(total_steps=6, epochs=2, monitor="val/loss", directory="runs/tiny")
        for epoch in (1, 2):
            reporter.epoch_begins(epoch, 2, 3)
            reporter.step()
            reporter.step({"train/loss": 0.5})
            if epoch == 2:
                reporter.validated({"val/loss": 0.75})
            reporter.step()
            reporter.validated({"val/loss": 0.25})
            reporter.epoch_ends(epoch, 2, {"val/loss": 0.25})
    reporter.run_ends(CLOSING)


def test_figures() -> None:
    assert figure("val/accuracy", 0.98765) == "98.77 %"
    assert figure("lr", 1e-3) == "1.00e-03"
    assert figure("throughput/samples_per_s", 12345.6) == "12,346"
    assert figure("train/loss", 0.123456) == "0.1235"
    assert line_of({"train/loss": 1.0, "throughput/samples_per_s": 10}) == (
        "train/loss 1.0000  samples/s 10"
    )


# ---- plain lines --------------------------------------------------------------------------------


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


def test_a_validation_within_an_epoch_has_a_line_and_one_at_its_end_has_not() -> None:
    reporter, said = _plain()
    train(reporter)
    assert said.getvalue().splitlines()[:3] == [
        "epoch 1/2  val/loss 0.2500",
        "epoch 2/2  step 5/6  val/loss 0.7500",
        "epoch 2/2  val/loss 0.2500",
    ]


def test_a_training_without_epochs() -> None:
    reporter, said = _plain()
    reporter.run_begins(total_steps=2000, first_step=1000)
    reporter.step()
    reporter.validated({"val/loss": 0.5})
    assert said.getvalue() == "step 1,001/2,000  val/loss 0.5000\n"


def test_a_sign_of_life_after_a_minute_of_silence() -> None:
    clock = Clock()
    reporter, said = _plain(clock=clock)
    reporter.epoch_begins(1, None, None)
    for second in (30, 61, 62, 130):
        clock.now = second
        reporter.step({"train/loss": second})
    assert said.getvalue().splitlines() == [
        "epoch 1  step 2  train/loss 61.0000",
        "epoch 1  step 4  train/loss 130.0000",
    ]


def test_the_closing_table_without_a_terminal_keeps_paths_whole() -> None:
    reporter, said = _plain()
    path = "/a/very/long/path/" + "x" * 100
    reporter.run_ends(Closing("KILLED", path, {"test/accuracy": 0.5}, seconds=2.0))
    assert said.getvalue().splitlines() == [
        "run KILLED",
        "  test/accuracy  50.00 %",
        "  time           2.0 s",
        f"  run directory  {path}",
    ]


def test_all_rows_of_the_closing_table() -> None:
    assert CLOSING.rows() == {
        "test/loss": "0.5000",
        "test/accuracy": "75.00 %",
        "best epoch": "2 (by val/accuracy)",
        "time": "1.2 s",
        "samples/s": "1,234 in training",
        "run directory": "runs/tiny",
        "MLflow run": "abc",
        "open MLflow": "mlflow ui",
    }


def test_lines_of_several_threads_stay_whole() -> None:
    reporter, said = _plain()
    line = "word " * 30
    _say_in_threads(reporter, line)
    assert said.getvalue().splitlines() == [line] * 200


def _say_in_threads(reporter: Reporter, line: str) -> None:
    def talk() -> None:
        for _ in range(50):
            reporter.say(line)

    threads = [threading.Thread(target=talk) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class FullDisk(io.StringIO):
    """A stream that cannot be written."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    "reporter",
    [LineReporter(Console(file=FullDisk())), JsonReporter(FullDisk())],
    ids=["lines", "json"],
)
def test_a_log_on_a_full_disk_does_not_end_the_training(
    reporter: Reporter, capsys: pytest.CaptureFixture[str]
) -> None:
    train(reporter)
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 1
    assert "No space left on device" in warnings[0]
    assert "goes on" in warnings[0]


# ---- a bar --------------------------------------------------------------------------------------


def test_a_bar_on_a_terminal() -> None:
    reporter, said = _terminal()
    train(reporter)
    text = said.getvalue()
    assert "epoch 1/2" in text
    assert "6/6" in text  # of the whole training
    assert "━" in text
    assert "train/loss 0.5000  val/loss 0.2500" in text
    assert "epoch 2/2  val/loss 0.2500" in text
    assert "\x1b[?25h" in text  # the cursor is back
    assert "run FINISHED" in text


def test_a_bar_of_a_training_that_did_not_say_how_long_it_is() -> None:
    reporter, said = _terminal()
    with reporter:
        reporter.epoch_begins(2, 4, 3)  # the whole is inferred
        reporter.step()
    assert "4/12" in said.getvalue().replace(" ", "")


@pytest.mark.parametrize(
    ("known", "shown"),
    [
        ({}, "00:10 passed"),
        ({"max_seconds": 100.0}, "01:30 left"),
        ({"max_seconds": 8000.0}, "2:13:10 left"),
        ({"total_steps": 40}, "00:30 left"),
        ({"total_steps": 40, "max_seconds": 25.0}, "00:15 left"),
        ({"total_steps": 11, "max_seconds": 25.0}, "00:01 left"),
    ],
    ids=str,
)
def test_time_left(known: dict[str, Any], shown: str) -> None:
    clock = Clock()
    reporter, said = _terminal(clock=clock)
    with reporter:
        reporter.run_begins(**known)
        for second in range(1, 11):
            clock.now = second
            reporter.step({"train/loss": 1.0})
        reporter._bar.refresh()
    assert shown in said.getvalue()


def test_figures_stay_on_one_line_of_a_narrow_terminal() -> None:
    reporter, said = _terminal(width=40)
    with reporter:
        reporter.run_begins(total_steps=3)
        reporter.step({f"val/{name}": 0.5 for name in "abcdefgh"})
        reporter._bar.refresh()
    lines = said.getvalue().splitlines()
    assert any("val/a 0.5000" in line and "…" in line for line in lines)
    assert not any("val/h" in line for line in lines)


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


# ---- machines -----------------------------------------------------------------------------------


def test_events() -> None:
    reporter, events = _machine()
    train(reporter)
    found = events()
    assert [event["event"] for event in found] == [
        "run_begins",
        *("point", "validation", "epoch_ends"),
        *("point", "validation", "validation", "epoch_ends"),
        "run_ends",
    ]
    assert {event["time"] for event in found} == {12.346}
    assert found[0] == {
        "event": "run_begins",
        "time": 12.346,
        "total_steps": 6,
        "epochs": 2,
        "max_seconds": None,
        "first_step": 0,
        "monitor": "val/loss",
        "directory": "runs/tiny",
    }
    where = [(event["epoch"], event["step"], event["metrics"]) for event in found[1:-1]]
    assert where[4] == (2, 5, {"val/loss": 0.75})
    assert where[-1] == (2, 6, {"val/loss": 0.25})
    end = found[-1]
    assert (end["status"], end["directory"], end["exit_status"]) == ("FINISHED", "runs/tiny", 0)
    assert end["metrics"] == {"test/loss": 0.5, "test/accuracy": 0.75}
    assert (end["best_epoch"], end["monitor"], end["steps"]) == (2, "val/accuracy", 30)
    assert (end["mlflow_run_id"], end["mlflow_command"], end["error"]) == ("abc", "mlflow ui", None)


def test_messages_and_tables() -> None:
    reporter, events = _machine()
    reporter.say('two\nlines, "quoted", é')
    reporter.table("title", {"a": "b"})
    message, table = events()
    assert (message["event"], message["text"]) == ("message", 'two\nlines, "quoted", é')
    assert (table["title"], table["rows"]) == ("title", {"a": "b"})


def test_what_is_no_number() -> None:
    reporter, events = _machine()
    reporter.run_begins()
    reporter.step({"train/loss": math.nan, "a": math.inf, "b": -math.inf})
    reporter.run_ends(Closing("FAILED", "runs/x", best=math.nan, error="the loss became nan"))
    _, point, end = events()
    assert point["metrics"] == {"train/loss": "NaN", "a": "Infinity", "b": "-Infinity"}
    assert (end["best"], end["error"]) == ("NaN", "the loss became nan")


def test_events_of_several_threads_stay_whole() -> None:
    reporter, events = _machine()
    _say_in_threads(reporter, "word " * 30)
    assert [event["text"] for event in events()] == ["word " * 30] * 200


# ---- quiet --------------------------------------------------------------------------------------


def test_quiet_prints_the_run_directory_and_nothing_else() -> None:
    said = io.StringIO()
    reporter = QuietReporter(said)
    reporter.say("hello")
    reporter.table("a", {"b": "c"})
    train(reporter)
    assert said.getvalue() == "runs/tiny\n"
