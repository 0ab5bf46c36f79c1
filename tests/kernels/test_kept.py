"""Kernels compiled ahead beside the code are found where nothing can be kept beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import minidl

PROGRAM = """
import numpy as np
from minidl.kernels import compiled
grad, out = np.ones(8, np.float32), np.empty(8, np.float32)
compiled.masked(grad, grad > 0, out)
print(out.sum(), *compiled.compiled_so_far())
"""


def run(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": "", **variables},
        capture_output=True,
        text=True,
        check=True,
    )


def test_kernels_beside_the_code_are_found_and_others_are_kept_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("numba", reason="numba is not installed (extra fast)")
    code, elsewhere = tmp_path / "code", tmp_path / "elsewhere"
    ignored = shutil.ignore_patterns("__pycache__", "sample")
    shutil.copytree(Path(minidl.__path__[0]), code / "minidl", ignore=ignored)
    beside = code / "minidl/kernels/__pycache__"
    first = run(code)
    assert "compiling kernels, once on this machine" in first.stderr
    assert first.stdout.split() == ["8.0", "1", str(beside)]
    kept = {path: path.stat().st_mtime_ns for path in beside.glob("compiled.masked*.nb?")}
    assert len(kept) == 2

    again = run(code, NUMBA_CACHE_DIR=str(elsewhere))
    assert again.stderr == ""
    assert again.stdout == first.stdout
    assert not list(elsewhere.rglob("*.nb?"))

    another = run(code, NUMBA_CACHE_DIR=str(elsewhere), NUMBA_CPU_NAME="generic")
    assert "kept in" in another.stderr
    assert str(elsewhere) in another.stderr
    assert len(list(elsewhere.rglob("*.nb?"))) == 2
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
