"""Convolution of one channel without patches: how right it is, and when it is taken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import minidl
from minidl.kernels import conv, direct, selection
from minidl.kernels.selection import use_kernels
from minidl.ops.conv import conv2d

HOW: dict[str, Any] = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1)}


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of the functions of `minidl.kernels.direct` that ran, compiled or not."""
    ran: list[str] = []

    def watched(name: str) -> Any:
        function = getattr(direct, name)

        def call(*args: Any) -> Any:
            ran.append(name)
            return function(*args)

        return call

    for name in ("conv2d", "conv2d_weight"):
        monkeypatch.setattr(direct, name, watched(name))
    monkeypatch.setattr(selection, "_installed", lambda: True)
    with use_kernels("auto"):
        yield ran


def arrays(shape: Any, outputs: int, padding: Any, dtype: Any = np.float32) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    size = shape[1] + 2 * padding[0] - 2, shape[2] + 2 * padding[1] - 2
    x = rng.standard_normal((shape[0], 1, *shape[1:]))
    weight = rng.standard_normal((outputs, 1, 3, 3))
    g = rng.standard_normal((shape[0], *size, outputs)).transpose(0, 3, 1, 2)
    return [a.astype(dtype, order="K") for a in (x, weight, rng.standard_normal(outputs), g)]


def both(x: Any, weight: Any, bias: Any, g: Any, how: dict[str, Any]) -> list[np.ndarray]:
    return [
        conv.conv2d(x, weight, bias, **how),
        conv.conv2d(x, weight, None, **how, rectify=True),
        conv.conv2d_weight(g, x, size=(3, 3), **how),
    ]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("shape", "outputs", "padding"),
    [
        ((4, 28, 28), 32, (1, 1)),
        ((1, 9, 6), 16, (0, 2)),
        ((6, 3, 5), 48, (0, 0)),
        ((2, 1, 2), 16, (4, 3)),
    ],
)
def test_it_is_the_convolution(
    shape: Any, outputs: int, padding: Any, dtype: Any, taken: list[str]
) -> None:
    given, how = arrays(shape, outputs, padding, dtype), HOW | {"padding": padding}
    found = both(*given, how)
    assert taken == ["conv2d", "conv2d", "conv2d_weight"]
    with use_kernels("numpy"):
        wanted = both(*(a.astype(np.float64) for a in given), how)
    rounding = 1e-6 if dtype is np.float32 else 1e-14
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == dtype
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0, atol=rounding * np.abs(other).max())


@pytest.mark.parametrize(
    ("change", "channels", "outputs", "kernel"),
    [
        ({"stride": (2, 1)}, 1, 32, (3, 3)),
        ({"dilation": (1, 2)}, 1, 32, (3, 3)),
        ({}, 1, 32, (3, 2)),
        ({}, 2, 32, (3, 3)),
        ({}, 1, 24, (3, 3)),
        ({"dtype": np.float16}, 1, 32, (3, 3)),
    ],
)
def test_what_it_is_not_for(
    change: dict[str, Any], channels: int, outputs: int, kernel: Any, taken: list[str]
) -> None:
    change = dict(change)
    dtype = change.pop("dtype", np.float32)
    x = np.ones((3, channels, 8, 9), dtype)
    weight = np.ones((outputs, channels, *kernel), dtype)
    out = conv.conv2d(x, weight, None, **HOW | change)
    conv.conv2d_weight(out, x, size=kernel, **HOW | change)
    assert not taken


def test_it_is_left_to_compiled_kernels(taken: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    given = arrays((4, 9, 9), 16, (1, 1))
    with use_kernels("numpy"):
        both(*given, HOW)
    monkeypatch.setattr(selection, "_installed", lambda: False)
    with use_kernels("auto"):
        both(*given, HOW)
    assert not taken


@pytest.mark.parametrize("number", [np.nan, np.inf, -0.0])
def test_before_numba_is_loaded_the_bits_are_the_same(
    number: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba", reason="with and without compiled kernels: numba is not installed")
    given = arrays((7, 16, 16), 16, (1, 1))
    given[0][2, 0, 3, 4], given[2][5], given[3][1, 7, 3, 3] = number, -0.0, number
    given[0][3], given[3][4, 3] = 0, -0.0
    found = []
    for done in (0, selection.ENOUGH):
        monkeypatch.setattr(selection.Work, "elements", done)
        with use_kernels("auto"), np.errstate(invalid="ignore"):
            found.append(both(*given, HOW))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(np.signbit(one), np.signbit(other))


def test_derivatives_are_pytorchs(taken: list[str]) -> None:
    torch = pytest.importorskip("torch", reason="gradients beside PyTorch's: it is not installed")
    *arguments, g = arrays((5, 14, 17), 16, (1, 1), np.float64)
    given = [minidl.tensor(a, requires_grad=True) for a in arguments]
    (conv2d(*given, padding=1) * g).sum().backward()
    theirs = [torch.tensor(np.array(a), requires_grad=True) for a in arguments]
    (torch.nn.functional.conv2d(*theirs, padding=1) * torch.tensor(np.array(g))).sum().backward()
    for mine, other in zip(given, theirs, strict=True):
        np.testing.assert_allclose(mine.grad.detach().numpy(), other.grad.numpy(), atol=1e-11)
    assert set(taken) == {"conv2d", "conv2d_weight"}
