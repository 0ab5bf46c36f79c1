"""Gradients of functions of complex numbers, in PyTorch's convention."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl
from minidl import Tensor, fft

Z = np.array([[1.0 + 2.0j, 0.5 - 1.0j], [-0.7 + 0.3j, 1.2 + 0.4j]])
W = np.array([[0.3 - 0.6j, 1.1 + 0.2j], [0.8 + 0.9j, -0.5 + 1.5j]])

FUNCTIONS: dict[str, Any] = {
    "add": lambda lib, z, w: z + w,
    "mul": lambda lib, z, w: z * w,
    "div": lambda lib, z, w: z / w,
    "real times complex": lambda lib, z, w: lib.real(z) * w,
    "pow": lambda lib, z, w: z**3,
    "exp": lambda lib, z, w: lib.exp(z * w),
    "log": lambda lib, z, w: lib.log(z),
    "sqrt": lambda lib, z, w: lib.sqrt(z),
    "sin": lambda lib, z, w: lib.sin(z) + lib.cos(w),
    "tanh": lambda lib, z, w: lib.tanh(z),
    "abs": lambda lib, z, w: lib.abs(z) * w,
    "angle": lambda lib, z, w: lib.angle(z) * w,
    "sgn": lambda lib, z, w: lib.sgn(z) * w,
    "std": lambda lib, z, w: z * lib.std(w * z),
    "conj": lambda lib, z, w: lib.conj(z) * w,
    "matmul": lambda lib, z, w: z @ w,
    "einsum": lambda lib, z, w: lib.einsum("ij,kj->ik", z, w),
    "sum and mean": lambda lib, z, w: z.sum(0) * w.mean(),
    "reshape and index": lambda lib, z, w: z.reshape(-1)[1:] * w[0, 1],
    "fft": lambda lib, z, w: lib.fft.fft(z) * w,
    "ifft2": lambda lib, z, w: lib.fft.ifft2(z * w),
    "irfft": lambda lib, z, w: lib.fft.irfft(z, n=3),
    "stack": lambda lib, z, w: lib.stack([z, w]) * lib.stack([w, w]),
}


def loss(lib: Any, name: str, z: Any, w: Any) -> Any:
    """A real number that feels real and imaginary parts differently."""
    out = FUNCTIONS[name](lib, z, w)
    size = lib.abs(out)
    return (size * size).sum() + (3.0 * lib.real(out) + lib.imag(out * (2.0 + 1.0j))).sum()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_are_pytorch_s(torch: Any, name: str) -> None:
    found = minidl.grad(lambda z, w: loss(minidl, name, z, w), (0, 1))(Z, W)
    theirs = [torch.tensor(v, requires_grad=True) for v in (Z, W)]
    loss(torch, name, *theirs).backward()
    for one, two in zip(found, theirs, strict=True):
        wanted = np.zeros_like(one) if two.grad is None else torch.resolve_conj(two.grad).numpy()
        np.testing.assert_allclose(one, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_are_the_steepest_ascent(name: str) -> None:
    """dL = Re(conj(g) dz), by central differences along real and imaginary directions."""
    f = lambda z: loss(minidl, name, z, W)
    g = minidl.grad(f)(Z)
    for place in np.ndindex(*Z.shape):
        for unit in (1.0, 1.0j):
            step = np.zeros_like(Z)
            step[place] = 1e-6 * unit
            slope = float(f(Z + step) - f(Z - step)) / 2e-6
            assert slope == pytest.approx((np.conj(g[place]) * unit).real, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_forward_mode_agrees(name: str) -> None:
    g = minidl.grad(lambda z: loss(minidl, name, z, W))(Z)
    _, slope = minidl.jvp(lambda z: loss(minidl, name, z, W), (Z,), (W,))
    assert float(slope) == pytest.approx(float((np.conj(g) * W).real.sum()), rel=1e-9)


def test_backward_on_a_complex_leaf() -> None:
    z = Tensor(Z, requires_grad=True)
    (minidl.abs(z) ** 2).sum().backward()
    np.testing.assert_allclose(z.grad.numpy(), 2 * Z)
    assert Tensor([1j]).dtype == np.complex64


def test_infinite_parts_stay_apart() -> None:
    z = minidl.complex(np.array([1.0, np.inf]), np.array([np.inf, 2.0]))
    np.testing.assert_array_equal(z.real, [1.0, np.inf])
    np.testing.assert_array_equal(z.imag, [np.inf, 2.0])


def test_vmap_of_a_transform() -> None:
    x = np.random.default_rng(0).standard_normal((3, 4))
    np.testing.assert_allclose(minidl.vmap(fft.fft)(x), np.fft.fft(x))
    energy = lambda v: (minidl.abs(fft.rfft(v)) ** 2).sum()
    np.testing.assert_allclose(
        minidl.vmap(minidl.grad(energy))(x), np.stack([minidl.grad(energy)(row) for row in x])
    )
