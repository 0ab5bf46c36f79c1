"""Who decides which kernels run, when numba is imported, and what is said about it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import minidl
from minidl.kernels import masking, selection
from minidl.kernels.selection import use_kernels

LARGE = np.ones(selection.WORTHWHILE, np.float32)
SMALL = np.ones(10, np.float32)

WORK = """
import sys
import numpy as np
from minidl.kernels import masking
x = np.ones({size}, np.float32)
assert masking.masked(x, x > 2).sum() == 0
print("numba" in sys.modules)
"""


@pytest.fixture
def no_numba(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As where numba is not installed."""
    monkeypatch.setitem(sys.modules, "numba", None)
    selection._load.cache_clear()
    selection._installed.cache_clear()
    yield
    selection._load.cache_clear()
    selection._installed.cache_clear()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Changes of MINIDL_KERNELS are seen."""
    selection._from_environment.cache_clear()
    yield monkeypatch
    selection._from_environment.cache_clear()


def process(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k != selection.VARIABLE}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=kept | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_small_arrays_never_bring_numba() -> None:
    done = process(WORK.format(size=selection.WORTHWHILE - 1))
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["False"], "")


def test_many_small_arrays_bring_it_at_last() -> None:
    pytest.importorskip("numba", reason="many arrays bring numba: it is not installed")
    work = """
import sys
import numpy as np
from minidl.kernels import masking, selection
selection.ENOUGH = 20 * selection.CALLED
x, tiny = np.ones(selection.CALLED, np.float32), np.ones(selection.CALLED - 1, np.float32)
for _ in range(100):
    masking.masked(tiny, tiny > 2)
for _ in range(19):
    masking.masked(x, x > 2)
print("numba" in sys.modules)
masking.masked(x, x > 2)
print("numba" in sys.modules)
"""
    assert process(work).stdout.split() == ["False", "True"]


def test_compiling_is_said_once_and_kept(tmp_path: Path) -> None:
    pytest.importorskip("numba", reason="what is said of compiling: numba is not installed")
    work = WORK.format(size=selection.WORTHWHILE)
    # A copy of the code, since what lies compiled beside the code is taken as it is.
    code = tmp_path / "code"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(minidl.__path__[0]), code / "minidl", ignore=ignored)
    how = {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(code), "PYTHONSAFEPATH": "1"}
    first, second = (process(work, **how) for _ in range(2))
    assert first.stdout.split() == second.stdout.split() == ["True"]
    assert first.stderr.startswith("minidl: compiling kernels, once on this machine")
    assert str(tmp_path) in first.stderr
    assert first.stderr.count("\n") == 1
    assert second.stderr == ""


def test_without_a_place_to_keep_them_kernels_compile_in_each_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    numba = pytest.importorskip("numba", reason="compiled kernels: numba is not installed")
    from minidl.kernels import compiled

    njit = numba.njit

    def nowhere(*args: object, cache: bool = False, **how: object) -> object:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(*args, **how)

    def double(x: np.ndarray) -> None:
        for i in range(x.size):
            x[i] = x[i] + x[i]

    monkeypatch.setattr(numba, "njit", nowhere)
    monkeypatch.setattr(compiled.announcer, "said", False)
    x = np.ones(3)
    compiled.kernel(double)(x)
    assert x.tolist() == [2, 2, 2]
    said = capsys.readouterr().err
    assert "in each process" in said
    assert "NUMBA_CACHE_DIR" in said


@pytest.mark.usefixtures("no_numba")
def test_without_numba_auto_is_numpy() -> None:
    with use_kernels("auto"):
        assert selection.compiled(LARGE) is None
        np.testing.assert_array_equal(masking.masked(LARGE, LARGE > 0), LARGE)


@pytest.mark.usefixtures("no_numba")
def test_without_numba_compiled_says_what_to_install(environment: pytest.MonkeyPatch) -> None:
    wanted = r"pip install 'minidl\[fast\]'"
    with pytest.raises(ModuleNotFoundError, match=wanted), use_kernels("compiled"):
        pass
    environment.setenv(selection.VARIABLE, "compiled")
    with pytest.raises(ModuleNotFoundError, match=r"MINIDL_KERNELS=compiled.*minidl\[fast\]"):
        masking.masked(SMALL, SMALL > 0)


def test_a_numba_that_does_not_import_is_said_and_done_without(tmp_path: Path) -> None:
    (tmp_path / "numba.py").write_text("raise ImportError('Numba needs NumPy 2.0 or less')")
    work = WORK.format(size=selection.WORTHWHILE) + "masking.masked(x, x > 2)"
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = process(work, PYTHONPATH=path)
    assert done.stdout.split() == ["False"]
    assert done.stderr.count("NumPy's kernels run: Numba needs NumPy 2.0 or less") == 1
    assert "minidl[fast]" in process(work, PYTHONPATH=path, MINIDL_KERNELS="compiled").stderr


def test_the_environment_decides_and_a_block_overrides_it(environment: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba", reason="compiled kernels: numba is not installed")
    environment.setenv(selection.VARIABLE, "numpy")
    assert selection.compiled(LARGE) is None
    with use_kernels("compiled"):
        assert selection.compiled(SMALL) is not None
        with use_kernels("auto"):
            assert selection.compiled(SMALL) is None
            assert selection.compiled(LARGE) is not None
            assert selection.compiled(SMALL) is None
        with pytest.raises(KeyError), use_kernels("numpy"):
            raise KeyError
        assert selection.compiled(SMALL) is not None
        others = []
        thread = threading.Thread(target=lambda: others.append(selection.compiled(SMALL)))
        thread.start()
        thread.join()
        assert others == [None], "a block is this thread's affair"
    assert selection.compiled(LARGE) is None


def test_no_such_mode(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="auto, numpy, compiled; got 'fast'"), use_kernels("fast"):
        pass
    environment.setenv(selection.VARIABLE, "Numba")
    with pytest.raises(ValueError, match=r"MINIDL_KERNELS: kernels are one of .* got 'Numba'"):
        masking.masked(SMALL, SMALL > 0)
