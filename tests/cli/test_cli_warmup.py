"""`minidl warmup`: every kernel is compiled ahead, and where there is no numba it says so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cli_process import Minidl

pytest_plugins = ["cli_process"]


def test_warmup(minidl: Minidl) -> None:
    pytest.importorskip("numba", reason="compiling kernels: numba is not installed")
    done = minidl("warmup")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert re.fullmatch(r"\d\d kernels in \d+\.\d s, kept in .+", line)


def test_nothing_is_left_to_compile() -> None:
    pytest.importorskip("numba", reason="compiling kernels: numba is not installed")
    code = """
from minidl.kernels.warmup import warm
done = warm()
from minidl.kernels import compiled
print(done.kernels == len(compiled._made), compiled.never_called())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True []\n"


def test_warmup_without_numba(tmp_path: Path) -> None:
    (tmp_path / "numba.py").write_text("raise ImportError('not today')")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-m", "minidl", "warmup"],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "pip install 'minidl[fast]'" in done.stderr
    assert "Traceback" not in done.stderr
