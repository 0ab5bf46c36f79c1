"""docs/compile.md: its example runs, and the program that it shows is the one there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

GUIDE = Path(__file__).parents[2] / "docs" / "compile.md"


def test_the_example_and_its_program(capsys: Any) -> None:
    text = GUIDE.read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (shown,) = re.findall(r"```\n(def make.*?)```", text, re.DOTALL)
    exec(code, {"__name__": "guide"})
    printed = [_bare(line) for line in capsys.readouterr().out.splitlines()]
    lines = [_bare(line) for line in shown.splitlines() if line.strip() != "..."]
    assert [line for line in lines if line not in printed] == []
    places = [printed.index(line) for line in lines if line]
    assert places == sorted(places)


def _bare(line: str) -> str:
    """A line with the distance to its comment made the same."""
    return re.sub(r" +# ", " # ", line.rstrip())
