"""docs/profiling.md: its code runs, and its options exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from minidl.cli import app

PAGE = (Path(__file__).parents[2] / "docs/profiling.md").read_text(encoding="utf-8")


def test_the_code_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
    exec(compile(code, "docs/profiling.md", "exec"), {})
    said = capsys.readouterr().out
    assert "0 Linear" in said
    assert "[optimizer]" in said
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]


def test_the_options_exist() -> None:
    commands: Any = typer.main.get_command(app)
    verbs = [commands.commands[name] for name in ("profile", "lr-find", "train")]
    options = {option for verb in verbs for parameter in verb.params for option in parameter.opts}
    assert set(re.findall(r"`(--[a-z-]+)`", PAGE)) <= options
