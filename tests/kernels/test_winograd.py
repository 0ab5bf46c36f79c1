"""Convolution by Winograd's method: how right it is, and when it is taken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import minidl
from minidl.kernels import conv, selection, winograd
from minidl.kernels.selection import use_kernels
from minidl.ops.conv import conv2d

HOW: dict[str, Any] = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1)}


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of the functions of `minidl.kernels.winograd` that ran, compiled or not."""
    ran: list[str] = []

    def watched(name: str) -> Any:
        function = getattr(winograd, name)

        def call(*args: Any) -> Any:
            ran.append(name)
            return function(*args)

        return call

    for name in ("conv2d", "conv2d_input", "conv2d_weight"):
        monkeypatch.setattr(winograd, name, watched(name))
    monkeypatch.setattr(selection, "_installed", lambda: True)
    with use_kernels("auto"):
        yield ran


def arrays(shape: Any, outputs: int, padding: Any) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(5)
    n, c, h, w = shape
    x = rng.standard_normal((n, h, w, c), dtype=np.float32).transpose(0, 3, 1, 2)
    weight = rng.standard_normal((outputs, c, 3, 3), dtype=np.float32)
    size = h + 2 * padding[0] - 2, w + 2 * padding[1] - 2
    g = rng.standard_normal((n, *size, outputs), dtype=np.float32).transpose(0, 3, 1, 2)
    return x, weight, rng.standard_normal(outputs, dtype=np.float32), g


def assert_close(found: np.ndarray, wanted: np.ndarray) -> None:
    """Within what rounding of float32 makes of numbers of this size."""
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=0, atol=3e-5 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("shape", "outputs", "padding"),
    [
        ((4, 32, 14, 14), 64, (1, 1)),
        ((16, 16, 7, 8), 8, (1, 1)),
        ((9, 8, 18, 31), 11, (0, 2)),
        ((6, 64, 16, 12), 8, (2, 0)),
    ],
)
@pytest.mark.parametrize("first", [False, True], ids=["channels last", "channels first"])
def test_it_is_the_convolution(
    shape: Any, outputs: int, padding: Any, first: bool, taken: list[str]
) -> None:
    x, weight, bias, g = arrays(shape, outputs, padding)
    if first:
        x, g = np.ascontiguousarray(x), np.ascontiguousarray(g)
    how = HOW | {"padding": padding}
    wide = [a.astype(np.float64) for a in (x, weight, bias, g)]
    assert_close(conv.conv2d(x, weight, bias, **how), conv.conv2d(*wide[:3], **how))
    assert_close(conv.conv2d(x, weight, None, **how), conv.conv2d(*wide[:2], None, **how))
    size = {"size": shape[2:]} | how
    assert_close(conv.conv2d_input(g, weight, **size), conv.conv2d_input(wide[3], wide[1], **size))
    size = {"size": (3, 3)} | how
    assert_close(conv.conv2d_weight(g, x, **size), conv.conv2d_weight(wide[3], wide[0], **size))
    # conv2d_input is itself a convolution
    assert taken == ["conv2d", "conv2d", "conv2d_input", "conv2d", "conv2d_weight"]


@pytest.mark.parametrize(
    ("change", "shape", "outputs", "kernel"),
    [
        ({"stride": (2, 1)}, (8, 16, 15, 15), 16, (3, 3)),
        ({"dilation": (1, 2)}, (8, 16, 15, 15), 16, (3, 3)),
        ({"padding": (3, 1)}, (8, 16, 15, 15), 16, (3, 3)),
        ({}, (8, 16, 14, 14), 16, (3, 2)),
        ({}, (8, 7, 14, 14), 16, (3, 3)),
        ({}, (8, 16, 14, 14), 7, (3, 3)),
        ({}, (32, 16, 5, 5), 16, (3, 3)),  # two tiles along, of which a third is used
        ({}, (1, 16, 14, 14), 16, (3, 3)),  # too few tiles
        ({"dtype": np.float64}, (8, 16, 14, 14), 16, (3, 3)),
    ],
)
def test_what_it_is_not_for(
    change: dict[str, Any], shape: Any, outputs: int, kernel: Any, taken: list[str]
) -> None:
    change = dict(change)
    dtype = change.pop("dtype", np.float32)
    x = np.ones(shape, dtype)
    weight = np.ones((outputs, shape[1], *kernel), dtype)
    out = conv.conv2d(x, weight, None, **HOW | change)
    conv.conv2d_weight(out, x, size=kernel, **HOW | change)
    conv.conv2d_input(out, weight, size=shape[2:], **HOW | change)
    assert not taken


def test_it_is_left_to_compiled_kernels(taken: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, bias, _ = arrays((4, 8, 16, 16), 8, (1, 1))
    with use_kernels("numpy"):
        conv.conv2d(x, weight, bias, **HOW)
    monkeypatch.setattr(selection, "_installed", lambda: False)
    with use_kernels("auto"):
        conv.conv2d(x, weight, bias, **HOW)
    assert not taken


def test_before_numba_is_loaded_the_bits_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba", reason="with and without compiled kernels: numba is not installed")
    x, weight, bias, g = arrays((4, 8, 16, 16), 9, (1, 1))

    def both() -> list[np.ndarray]:
        return [
            conv.conv2d(x, weight, bias, **HOW),
            conv.conv2d_weight(g, x, size=(3, 3), **HOW),
            conv.conv2d_input(g, weight, size=(16, 16), **HOW),
        ]

    found = []
    for done in (0, selection.ENOUGH):
        monkeypatch.setattr(selection.Work, "elements", done)
        with use_kernels("auto"):
            found.append(both())
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_derivatives_are_pytorchs(taken: list[str]) -> None:
    torch = pytest.importorskip("torch", reason="gradients beside PyTorch's: it is not installed")
    x, weight, bias, g = arrays((4, 9, 14, 17), 8, (1, 1))
    given = [minidl.tensor(a, requires_grad=True) for a in (x, weight, bias)]
    out = conv2d(*given, padding=1)
    (out * g).sum().backward()
    theirs = [torch.tensor(np.array(a), requires_grad=True) for a in (x, weight, bias)]
    expected = torch.nn.functional.conv2d(*theirs, padding=1)
    (expected * torch.tensor(np.array(g))).sum().backward()
    assert_close(out.detach().numpy(), expected.detach().numpy())
    for mine, other in zip(given, theirs, strict=True):
        assert_close(mine.grad.detach().numpy(), other.grad.numpy())
    assert set(taken) == {"conv2d", "conv2d_input", "conv2d_weight"}


def test_a_nan_stays_in_its_image() -> None:
    x, weight, _, _ = arrays((3, 8, 16, 16), 8, (1, 1))
    x = x.copy()
    x[1, 2, 5, 5] = np.nan
    laid = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    out = winograd.conv2d(laid, weight, None, (1, 1), (16, 16))
    assert np.isnan(out[1, 4:7, 4:7]).all()
    assert np.isfinite(out[[0, 2]]).all()
