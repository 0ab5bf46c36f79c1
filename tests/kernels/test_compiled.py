"""Compiled kernels give the bits of NumPy's: each alone, eight at a time, and a whole training."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from kernelcases import COMPILED, FLOAT32, LEFT, Case, images

from minidl.kernels import masking, pool
from minidl.kernels.selection import use_kernels

pytest.importorskip("numba", reason="compiled kernels: numba is not installed")

from minidl.kernels import compiled

NAMES = sorted(compiled._made)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda d: d.__name__)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of the compiled kernels that ran."""
    ran: set[str] = set()
    for name in NAMES:
        monkeypatch.setattr(compiled, name, watched(name, getattr(compiled, name), ran))
    return ran


def watched(name: str, kernel: Any, ran: set[str]) -> Any:
    def call(*args: Any) -> None:
        ran.add(name)
        kernel(*args)

    return call


def run(case: Case, dtype: Any, mode: str) -> tuple[np.ndarray, ...]:
    with use_kernels("numpy"):
        call = case(np.random.default_rng(7), dtype)
    with use_kernels(mode), np.errstate(all="ignore"):
        return call()


def assert_same_bits(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.dtype == wanted.dtype
    assert found.shape == wanted.shape
    if wanted.size:  # what comes after may depend on the order in memory
        assert found.strides == wanted.strides
    integer = f"i{wanted.itemsize}"
    left, right = (np.ascontiguousarray(array).view(integer) for array in (found, wanted))
    np.testing.assert_array_equal(left, right)


@each_dtype
@pytest.mark.parametrize("name", COMPILED)
def test_the_bits_are_numpys(name: str, dtype: Any, calls: set[str]) -> None:
    kernel, case = COMPILED[name]
    wanted = run(case, dtype, "numpy")
    assert not calls
    found = run(case, dtype, "compiled")
    assert kernel in calls, f"{name}: the NumPy version ran"
    for one, other in zip(found, wanted, strict=True):
        assert_same_bits(one, other)


@pytest.mark.parametrize("name", FLOAT32)
def test_the_bits_of_float32_are_numpys(name: str, calls: set[str]) -> None:
    kernel, case = FLOAT32[name]
    wanted, found = run(case, np.float32, "numpy"), run(case, np.float32, "compiled")
    assert kernel in calls, f"{name}: the NumPy version ran"
    for one, other in zip(found, wanted, strict=True):
        assert_same_bits(one, other)


def test_every_kernel_has_a_case(calls: set[str]) -> None:
    for _, case in (COMPILED | FLOAT32).values():
        run(case, np.float32, "compiled")
    assert calls == set(NAMES)


@pytest.mark.parametrize("name", LEFT)
def test_other_layouts_are_left_to_numpy(name: str, calls: set[str]) -> None:
    kernel, case = LEFT[name]
    wanted, found = run(case, np.float32, "numpy"), run(case, np.float32, "compiled")
    assert kernel not in calls
    for one, other in zip(found, wanted, strict=True):
        assert_same_bits(one, other)


@pytest.mark.parametrize("dtype", ["float16", "longdouble", ">f4", "int32"])
def test_other_dtypes_are_left_to_numpy(dtype: str, calls: set[str]) -> None:
    x = np.arange(-4, 4).astype(dtype)
    with use_kernels("compiled"):
        np.testing.assert_array_equal(masking.masked(x, x > 0), np.maximum(x, 0))
    assert not calls


@each_dtype
@pytest.mark.parametrize("place", range(4))
def test_nan_wins_a_window_and_takes_no_gradient(place: int, dtype: Any) -> None:
    x = images(np.random.default_rng(0), (2, 3, 4, 4), dtype, "channels last")
    x[0, 1, 2 + place // 2, 0 + place % 2] = np.nan
    how: dict[str, Any] = {"size": (2, 2), "stride": (2, 2), "padding": (0, 0)}
    results = []
    for mode in ("numpy", "compiled"):
        with use_kernels(mode):
            top = pool.max_pool2d(x, **how)
            results.append((top, pool.unpool(np.ones_like(top), x, top, **how)))
    for top, gradient in results:
        assert np.argwhere(np.isnan(top)).tolist() == [[0, 1, 1, 0]]
        assert gradient[0, 1, 2:, :2].sum() == 0
    np.testing.assert_array_equal(*(top for top, _ in results))
    np.testing.assert_array_equal(*(gradient for _, gradient in results))


def test_infinities_and_both_zeros_in_a_window() -> None:
    values = (
        [[-np.inf, -np.inf], [-np.inf, -np.inf]],
        [[-0.0, 0.0], [0.0, -0.0]],
        [[np.inf, 1], [2, np.inf]],
    )
    x = np.array(values, np.float32)[:, None]
    how: dict[str, Any] = {"size": (2, 2), "stride": (2, 2), "padding": (0, 0)}
    for mode in ("numpy", "compiled"):
        with use_kernels(mode):
            top = pool.max_pool2d(x, **how)
            gradient = pool.unpool(np.ones_like(top), x, top, **how)
        assert top.ravel().tolist() == [-np.inf, 0.0, np.inf]
        # the first of equals has it all
        np.testing.assert_array_equal(gradient[:, 0], [[[1, 0], [0, 0]]] * 3)


def test_eight_threads_get_what_one_gets() -> None:
    """Kernels let go of the interpreter's lock, so the calls do overlap."""
    names = [name for name in COMPILED if "nothing" not in name and "no images" not in name]
    wanted = {name: run(COMPILED[name][1], np.float32, "compiled") for name in names}
    jobs = names * 8
    with ThreadPoolExecutor(8) as pool_of_threads:
        done = pool_of_threads.map(
            lambda name: run(COMPILED[name][1], np.float32, "compiled"), jobs
        )
        for name, found in zip(jobs, done, strict=True):
            for one, other in zip(found, wanted[name], strict=True):
                assert_same_bits(one, other)


TRAINING = """
import hashlib, sys
import numpy as np
import minidl
from minidl import nn, optim
from minidl.kernels import selection

rng = np.random.default_rng(3)
model = nn.Sequential(
    nn.Conv2d(1, 4, 3, padding=1, rng=rng), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1, rng=rng),
    nn.Conv2d(6, 6, 3, padding=1, stride=2, rng=rng), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Linear(54, 16, rng=rng), nn.ReLU(), nn.Linear(16, 3, rng=rng),
)
optimizer = optim.AdamW(model.parameters(), lr=1e-2)
x = minidl.tensor(rng.standard_normal((8, 1, 12, 12)).astype(np.float32))
labels = rng.integers(0, 3, 8)
for _ in range(5):
    optimizer.zero_grad()
    loss = nn.CrossEntropyLoss()(model(x), labels)
    loss.backward()
    optimizer.step()
digest = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters()))
print(digest.hexdigest(), "numba" in sys.modules)
"""


def test_a_network_trains_to_the_same_bits() -> None:
    printed = {}
    for mode in ("numpy", "compiled"):
        # BLAS may add in another order with another number of threads.
        environment = os.environ | {"MINIDL_KERNELS": mode, "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", TRAINING],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        printed[mode] = done.stdout.split()
    assert printed["numpy"][1] == "False"
    assert printed["compiled"][1] == "True"
    assert printed["numpy"][0] == printed["compiled"][0]
