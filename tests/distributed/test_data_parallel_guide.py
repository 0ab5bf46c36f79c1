"""docs/data-parallel.md: its program runs, and gives the same in any number of ranks."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from mpi_process import run_ranks

GUIDE = Path(__file__).parents[2] / "docs" / "data-parallel.md"


def test_the_program_trains_in_one_process_and_in_two(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    program = tmp_path / "training.py"
    program.write_text(code)
    said = []
    for count in (1, 2):
        done = run_ranks(count, sys.executable, str(program))
        assert done.returncode == 0, done.stderr
        said.append(re.fullmatch(rf"{count} rank\(s\): loss (\d\.\d+)\n", done.stdout))
    first, second = (float(found[1]) for found in said if found)
    assert abs(first - second) < 1e-3
    assert first < 0.6  # of three classes: chance is 1.1
