"""The verbs that try a config and make no run: lr-find and profile."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cli_process import Minidl

pytest_plugins = ["cli_process"]


def test_lr_find(minidl: Minidl, folder: Path) -> None:
    done = minidl("lr-find", "tiny.yaml", "--min", "1e-5", "--steps", "40", "--output", "lr.png")
    assert (done.returncode, done.stderr) == (0, "")
    head, steepest, tenth = done.stdout.splitlines()
    assert re.fullmatch(r"lr\.png: \d+ of 40 steps, (did not diverge|diverged at \S+)", head)
    for line, words in ((steepest, "steepest fall"), (tenth, "a tenth of lowest")):
        (rate,) = re.fullmatch(rf"  {words} +optimizer\.lr=(\S+)", line).groups()  # type: ignore[union-attr]
        assert 1e-5 < float(rate) < 10
    assert (folder / "lr.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in folder.iterdir()) == ["lr.png", "tiny.yaml"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--min", "1", "--max", "0.1"), 2, "below the highest, got 1.0 and 0.1"),
        (("--steps", "20", "--output", "none/lr.png"), 1, "none/lr.png cannot be written"),
    ],
)
def test_lr_find_of_what_cannot_be(
    minidl: Minidl, folder: Path, arguments: tuple[str, ...], status: int, words: str
) -> None:
    done = minidl("lr-find", "tiny.yaml", *arguments)
    assert done.returncode == status
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in folder.iterdir()] == ["tiny.yaml"]


def test_profile(minidl: Minidl, folder: Path) -> None:
    done = minidl("profile", "tiny.yaml", "--steps", "3", "--warm-up", "1", "--output", "found")
    assert (done.returncode, done.stderr) == (0, "")
    text = done.stdout
    assert text.startswith("3 steps of 50 samples: ")
    for words in ("1 Linear", "cross_entropy", "optimizer", "[other]", "an epoch of 6 steps"):
        assert words in text
    assert text.startswith((folder / "found/tables.txt").read_text())
    assert "traceEvents" in json.loads((folder / "found/trace.json").read_text())
    assert sorted(path.name for path in folder.iterdir()) == ["found", "tiny.yaml"]


def test_train_with_profile(minidl: Minidl, folder: Path) -> None:
    done = minidl("train", "tiny.yaml", "--profile")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("20 steps of 50 samples: ")
    assert sorted(path.name for path in folder.iterdir()) == ["profile", "tiny.yaml"]
    done = minidl("train", "tiny.yaml", "--profile", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "--profile prints tables: leave --json and --quiet out\n"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("model.layers.1.out_features=0",), 2, "out_features"),
        (("--steps", "1", "--output", "tiny.yaml"), 1, "tiny.yaml cannot be written"),
    ],
)
def test_profile_of_what_cannot_be(
    minidl: Minidl, arguments: tuple[str, ...], status: int, words: str
) -> None:
    done = minidl("profile", "tiny.yaml", *arguments)
    assert done.returncode == status
    assert words in done.stderr
    assert "Traceback" not in done.stderr
