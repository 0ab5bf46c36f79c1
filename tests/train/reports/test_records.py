"""Run directories, whole and damaged, are read for what they are."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from made_runs import BEGAN, MakeRun

from minidl.train.reports.records import RunNotFoundError, RunRecord, read_run, read_runs

pytest_plugins = ["made_runs"]


def test_a_finished_run(make_run: MakeRun) -> None:
    run = read_run(make_run("whole"))
    assert (run.name, run.state, run.problems) == ("whole", "finished", ())
    assert (run.epochs, run.steps, run.seconds, run.began) == (3, 6, 75.25, BEGAN)
    assert run.metrics["test/accuracy"] == 0.875
    assert run.metrics["train/loss"] == pytest.approx(2 / 6)
    assert run.samples_per_s == 100.0
    assert run.flat["optimizer.lr"] == "0.01"
    assert run.environment["minidl.version"]
    best = run.best
    assert best is not None
    assert (best.metric, best.value, best.epoch, best.step) == ("val/accuracy", 0.75, 2, 4)
    assert run.series("val/accuracy") == ([2, 4, 6], [0.5, 0.75, 0.625])


def test_the_best_by_a_loss_is_the_lowest(make_run: MakeRun) -> None:
    best = read_run(make_run("by_loss", "trainer.monitor=train/loss")).best
    assert best is not None
    assert (best.metric, best.step) == ("train/loss", 6)


def test_a_run_of_before_its_beginning_was_noted(make_run: MakeRun) -> None:
    directory = make_run("old")
    (directory / "run.json").unlink()
    run = read_run(directory)
    assert (run.began, run.environment, run.problems) == (BEGAN + 10, {}, ())


@pytest.mark.parametrize(
    ("status", "state"),
    [("FINISHED", "finished"), ("FAILED", "failed"), ("KILLED", "killed"), (None, "unfinished")],
)
def test_states(make_run: MakeRun, status: str | None, state: str) -> None:
    run = read_run(make_run("run", status=status))
    assert run.state == state
    assert (run.epochs, run.steps) == (3, 6)
    assert run.seconds == (75.25 if status else 50.0)  # without an end: to the last sign of it


def test_a_run_is_running_while_its_lock_is_held(make_run: MakeRun) -> None:
    directory = make_run("locked", status=None)
    (directory / ".lock").touch()
    assert read_run(directory).state == "unfinished"
    descriptor = os.open(directory / ".lock", os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert read_run(directory).state == "running"
        assert read_run(directory).state == "running"  # looking took nothing away
    finally:
        os.close(descriptor)
    assert read_run(directory).state == "unfinished"


def _cut(name: str, count: int) -> Callable[[Path], None]:
    return lambda run: (run / name).write_bytes((run / name).read_bytes()[:count])


def _cut_before(name: str, mark: str) -> Callable[[Path], None]:
    def cut(run: Path) -> None:
        kept, found, _ = (run / name).read_text().partition(mark)
        assert found
        (run / name).write_text(kept)

    return cut


def _write(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda run: (run / name).write_bytes(content) and None


def _remove(name: str) -> Callable[[Path], None]:
    return lambda run: (run / name).unlink()


def _tear(run: Path) -> None:
    journal = run / "metrics.jsonl"
    journal.write_bytes(journal.read_bytes()[:-9])


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a torn journal": (_tear, "metrics.jsonl: its last line is torn, and left out"),
    "a damaged journal": (_write("metrics.jsonl", b"{}\n{}\n{}\n"), "metrics.jsonl: 1: not a"),
    "no journal": (_remove("metrics.jsonl"), "metrics.jsonl: there is none"),
    "half a summary": (_cut("summary.json", 40), "summary.json: "),
    "a list for a summary": (_write("summary.json", b"[1]"), "summary.json: no JSON object"),
    "a status of its own": (
        _write("summary.json", b'{"status": "DONE"}'),
        "summary.json: the status is 'DONE'",
    ),
    "half a config": (
        _cut_before("config.yaml", "\nmodel:"),
        "config.yaml: it ends early: there is no ",
    ),
    "a config of bytes": (_write("config.yaml", b"\xff\xfe\x00"), "config.yaml: "),
    "a config of a list": (_write("config.yaml", b"[1, 2]"), "config.yaml: no mapping"),
    "no config": (_remove("config.yaml"), "config.yaml: "),
    "a description of nothing": (_write("description.json", b""), "description.json: "),
}


@pytest.mark.parametrize(("damage", "told"), DAMAGES.values(), ids=DAMAGES)
def test_what_is_damaged_is_told_and_the_rest_is_there(
    make_run: MakeRun, damage: Callable[[Path], None], told: str
) -> None:
    directory = make_run("damaged")
    damage(directory)
    run = read_run(directory)
    assert any(problem.startswith(told) for problem in run.problems), run.problems
    assert len(run.problems) == 1
    assert run.state in ("finished", "unfinished")
    facts = (run.best, run.flat, run.metrics, run.seconds, run.began, run.steps, run.samples_per_s)
    assert facts  # none of them raises
    if "journal" not in told and "metrics" not in told:
        assert run.steps == 6


def test_a_file_that_may_not_be_read(make_run: MakeRun) -> None:
    directory = make_run("unreadable")
    (directory / "summary.json").unlink()
    (directory / "summary.json").mkdir()  # what even root cannot read as a file
    run = read_run(directory)
    assert run.problems
    assert run.problems[0].startswith("summary.json: ")


# ---- directories of runs ------------------------------------------------------------------------


def _names(runs: list[RunRecord]) -> list[str]:
    return [run.name for run in runs]


def test_all_runs_of_a_directory(make_run: MakeRun) -> None:
    root = make_run("b").parent
    make_run("a")
    (root / "empty").mkdir()
    (root / "notes.txt").write_text("no run")
    (root / "sweep").mkdir()
    make_run("c").rename(root / "sweep" / "0")
    runs = read_runs(root)
    assert _names(runs) == ["a", "b", "empty", "sweep/0"]
    empty = runs[2]
    assert (empty.state, empty.problems) == ("empty", ("there is nothing of a run in it",))
    assert _names(read_runs(root / "sweep")) == ["0"]


def test_paths_that_hold_no_runs(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("tiny")
    with pytest.raises(RunNotFoundError, match="there is no such directory; runs lie in"):
        read_runs(tmp_path / "nothing")
    with pytest.raises(RunNotFoundError, match="this is one run; `minidl runs show"):
        read_runs(run)
    with pytest.raises(RunNotFoundError, match="is no directory"):
        read_runs(tmp_path / "made.yaml")
    with pytest.raises(RunNotFoundError, match=r"not a run directory \(no config.yaml\); `minidl"):
        read_run(run.parent)
    with pytest.raises(RunNotFoundError, match="is no directory"):
        read_run(tmp_path / "made.yaml")


def test_a_name_without_its_directory(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_run("tiny").parents[1])
    with pytest.raises(RunNotFoundError, match=r"^tiny: .*did you mean runs/tiny\?$"):
        read_run(Path("tiny"))
    with pytest.raises(RunNotFoundError, match=r"^other: there is no such directory$"):
        read_run(Path("other"))
