"""The wheel is built, and used in an environment that has nothing else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from minidl import __version__

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_wheel_works_by_itself(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", str(ROOT / "scripts/wheel.sh"), "wheels"],
        cwd=tmp_path,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        timeout=1200,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout
    name = f"minidl-{__version__}-py3-none-any.whl"
    assert f"files of minidl {__version__}" in done.stdout
    assert "tried: 1,000 test samples" in done.stdout
    assert [path.name for path in (tmp_path / "wheels").iterdir()] == [name]
    # What it was tried in is gone.
    assert [path.name for path in tmp_path.iterdir()] == ["wheels"]
