"""Elementwise instructions of a program as one compiled loop: the same bits, and when."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import nn, optim
from minidl.compiling import program
from minidl.kernels import selection
from minidl.kernels.selection import use_kernels

numba = pytest.importorskip("numba")

Function = Callable[..., Any]

_ENDS = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-42, 3.0, -2.5, 1e-300, 1e300, 1.0, -1.0]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Chains from the second replay on, kept in a directory of the test's own."""
    from minidl.kernels import generated

    monkeypatch.setattr(program, "REPLAYS", 2)
    monkeypatch.setattr(generated, "place", lambda: tmp_path / "kept")
    monkeypatch.setattr(generated, "_known", {})
    with use_kernels("compiled"):
        yield tmp_path / "kept"


def _rosenbrock(x: Any) -> Any:
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def _several(x: Any) -> Any:
    one = x * 2.0 - 1.0
    two = one * one + x
    return one, np.exp(two), -two / 3.0, two.sum()


def _rows(x: Any) -> Any:
    row = x[0] * 3.0 + 1.0
    return row, (x - row) * row / (row * row) + abs(x)


def _alternating(x: Any) -> Any:
    """Two chains: what the second reads comes of the first by way of an exponential."""
    return np.exp(x * x - x * 2.0 + 1.0 - x) * x * 0.1 + x / 7.0 - 2.0


#: Functions of one array, and the number of loops in their programs.
CHAINS: dict[str, tuple[Function, int]] = {
    "arithmetic": (lambda x: (x + 1.5) * x / 3 - x, 1),
    "signs": (lambda x: abs(-x * 2.0) - x - 1, 1),
    "roots": (lambda x: np.sqrt(np.square(x) + 1e-3) * x - 0.1, 1),
    "several": (_several, 1),
    "rows": (_rows, 1),
    "alternating": (_alternating, 2),
    "grad": (minidl.grad(lambda x: (x * x * x * 2.0 + x / 3.0).sum()), 1),
    "short": (lambda x: x * 2.0 + 1.0, 0),
    "vectors": (lambda x: np.tanh(np.exp(np.sin(x * 2.0) + 1.0)), 0),
}


def _bits(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_bits(part) for part in value]
    array = np.array(value.detach().numpy() if isinstance(value, minidl.Tensor) else value)
    array[np.isnan(array)] = np.nan  # which one is free
    return array.dtype, array.shape, array.tobytes()


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CHAINS)
def test_a_loop_gives_the_bits_of_its_instructions(name: str, dtype: Any) -> None:
    function, loops = CHAINS[name]
    compiled = minidl.compile(function, strict=True)
    rng = np.random.default_rng(0)
    given = [rng.standard_normal((3, 12)).astype(dtype) for _ in range(6)]
    given += [np.array([_ENDS, _ENDS[::-1], [2.0] * 12]).astype(dtype)]
    held = []
    for x in given:
        kept = x.copy()
        wanted, found = function(x), compiled(x)
        held.append((_bits(wanted), found))
        assert x.tobytes() == kept.tobytes()
    assert all(_bits(found) == wanted for wanted, found in held)  # none was overwritten since
    assert compiled.explain().count("# one loop: ") == loops, compiled.explain()


@pytest.mark.parametrize(
    "transform", [minidl.grad, minidl.hessian, minidl.value_and_grad], ids=lambda t: t.__name__
)
def test_derivatives_of_rosenbrock(transform: Function) -> None:
    function = transform(_rosenbrock)
    compiled = minidl.compile(function, strict=True)
    rng = np.random.default_rng(0)
    for _ in range(6):
        x = rng.standard_normal(20).astype(np.float32)
        assert _bits(compiled(x)) == _bits(function(x))
    assert compiled.explain().count("# one loop: ") == 1
    assert compiled.explain().count("index_add(") == 2


def test_a_gradient_is_written_where_the_optimizer_wants_it() -> None:
    def made() -> tuple[Function, Any]:
        weight = nn.Parameter(np.linspace(-1.0, 1.0, 2000).reshape(2, 1000))
        optimizer = optim.SGD([weight], lr=0.01, momentum=0.9)

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            loss = ((weight * x - 1.0) * (weight * 2.0 + x) / 3.0).sum()
            loss.backward()
            optimizer.step()
            return loss

        return step, weight

    (eager, one), (second, two) = made(), made()
    compiled = minidl.compile(second, strict=True)
    rng = np.random.default_rng(0)
    for _ in range(8):
        x = minidl.Tensor(rng.standard_normal((2, 1000)))
        assert _bits(eager(x)) == _bits(compiled(x))
        assert _bits(one) == _bits(two)
        assert _bits(one.grad) == _bits(two.grad)
    assert "# one loop: " in compiled.explain()


def _run(function: Function, times: int = 6) -> str:
    compiled = minidl.compile(function, strict=True)
    for n in range(times):
        x = np.arange(8.0) + n
        np.testing.assert_array_equal(compiled(x), function(x))
    return compiled.explain()


def test_kept_on_disk_once(soon: Path) -> None:
    from minidl.kernels import generated

    for _ in range(2):
        assert "# one loop" in _run(CHAINS["arithmetic"][0])
        generated._known.clear()
    assert len(list(soon.glob("loop_*.py"))) == 1
    assert not list(soon.glob("*.tmp"))


_SCRIPT = """
import numpy as np, minidl
from minidl.compiling import program
program.REPLAYS = 2
compiled = minidl.compile(lambda x: (x + 1.5) * x / 3 - x, strict=True)
for _ in range(5):
    compiled(np.arange(8.0))
assert "# one loop: " in compiled.explain()
"""


def test_what_one_process_has_compiled_another_loads(tmp_path: Path) -> None:
    around = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "MINIDL_KERNELS": "compiled"}
    said = [
        subprocess.run(
            [sys.executable, "-c", _SCRIPT], env=around, capture_output=True, text=True, check=True
        ).stderr
        for _ in range(2)
    ]
    assert "compiling kernels" in said[0]
    assert said[1] == ""


@pytest.mark.parametrize("how", ["a file in the way", "another text"])
def test_without_a_place_to_keep_it(soon: Path, how: str) -> None:
    if how == "a file in the way":
        soon.write_text("no directory")
    else:
        _run(CHAINS["arithmetic"][0])
        (kept,) = soon.glob("loop_*.py")
        kept.write_text("def chain(*_): raise AssertionError")
        from minidl.kernels import generated

        generated._known.clear()
    assert "# one loop" in _run(CHAINS["arithmetic"][0])


def test_none_in_numpys_mode_nor_before_there_was_enough_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with use_kernels("numpy"):
        assert "# one loop" not in _run(CHAINS["arithmetic"][0])
    with use_kernels("auto"):
        monkeypatch.setattr(selection.Work, "elements", 0)
        assert "# one loop" not in _run(CHAINS["arithmetic"][0])
        monkeypatch.setattr(selection.Work, "elements", selection.ENOUGH)
        assert "# one loop" in _run(CHAINS["arithmetic"][0])


def test_threads_replay_while_loops_are_made() -> None:
    function = CHAINS["arithmetic"][0]
    compiled = minidl.compile(function, strict=True)
    x = np.arange(8.0)
    for _ in range(2):
        compiled(x)
    wrong: list[Any] = []

    def often(y: Any) -> None:
        for _ in range(50):
            if _bits(compiled(y)) != _bits(function(y)):
                wrong.append(y)

    # The mode of kernels is a thread's own.
    def run(y: Any) -> None:
        with use_kernels("compiled"):
            often(y)

    threads = [threading.Thread(target=run, args=(x + n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
