"""Discrete Fourier transforms.

Three primitives transform one axis each: `_fft` of complex arrays, `_rfft` of real ones, `_irfft`
back to real ones. The rest is composed. The matrix of the transform is symmetric, so a cotangent
(in the convention of `minidl.autograd.backward`) goes through the same transform.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from minidl.autograd.primitive import Array, Primitive, beside, linear, primitive
from minidl.ops.batching import along
from minidl.ops.complexes import conj, real
from minidl.ops.padding import pad_constant
from minidl.ops.rearrange import roll
from minidl.ops.shape import axis_of, cast, shape_of

__all__: list[str] = []

Norm = Literal["backward", "ortho", "forward"] | None
Dims = Sequence[int] | int | None


def _transform(x: Array, *, dim: int, inverse: bool) -> Array:
    # Unscaled both ways: the factor is the public function's.
    return np.fft.ifft(x, axis=dim, norm="forward") if inverse else np.fft.fft(x, axis=dim)


_fft: Primitive = primitive(
    "fft",
    _transform,
    vjp=(lambda g, _out, _x, *, dim, inverse: _fft(g, dim=dim, inverse=inverse),),
    jvp=(linear,),
    batch=along("dim"),
)


def _resized(x: Any, dim: int, length: int) -> Any:
    """Cut off the end of an axis, or put zeros there."""
    widths = [(0, 0)] * len(shape_of(x))
    widths[dim] = (0, length - shape_of(x)[dim])
    return pad_constant(x, widths)


_rfft: Primitive = primitive(
    "rfft",
    lambda x, *, dim: np.fft.rfft(x, axis=dim),
    vjp=(
        lambda g, _out, x, *, dim: real(
            _fft(_resized(g, dim, x.shape[dim]), dim=dim, inverse=False)
        ),
    ),
    jvp=(linear,),
    batch=along("dim"),
)


def _weights(length: int, dim: int, ndim: int, dtype: Any) -> Array:
    """How often a frequency of half a spectrum stands in the whole one: once or twice."""
    half = length // 2 + 1
    count = np.full(half, 2.0, dtype)
    count[0] = 1.0
    if length % 2 == 0:
        count[-1] = 1.0
    return count.reshape([-1 if i == dim else 1 for i in range(ndim)])


def _irfft_pull(g: Any, _out: Any, x: Any, *, dim: int, length: int) -> Any:
    return conj(_rfft(g, dim=dim)) * beside(_weights(length, dim, len(x.shape), g.dtype), g)


_irfft: Primitive = primitive(
    "irfft",
    lambda x, *, dim, length: np.fft.irfft(x, length, axis=dim, norm="forward"),
    vjp=(_irfft_pull,),
    jvp=(linear,),
    batch=along("dim"),
)


def _scale(norm: Norm, size: int, inverse: bool, name: str) -> float:
    if norm not in (None, "backward", "ortho", "forward"):
        raise ValueError(f"{name}: norm must be 'backward', 'ortho' or 'forward', got {norm!r}")
    if norm == "ortho":
        return 1.0 / math.sqrt(size)
    return 1.0 / size if (norm == "forward") != inverse else 1.0


def _scaled(x: Any, factor: float) -> Any:
    return x if factor == 1.0 else x * factor


def _length(name: str, n: int | None, given: int) -> int:
    length = given if n is None else n
    if length < 1:
        raise ValueError(f"{name}: at least one point is wanted, got {length}")
    return length


def _complex(x: Any) -> Any:
    if x.dtype.kind == "c":
        return x
    return cast(x, np.complex64 if x.dtype == np.float32 else np.complex128)


def _one(name: str, x: Any, n: int | None, dim: int, norm: Norm, inverse: bool) -> Any:
    axis = axis_of(dim, len(shape_of(x)), name)
    length = _length(name, n, shape_of(x)[axis])
    out = _fft(_complex(_resized(x, axis, length)), dim=axis, inverse=inverse)
    return _scaled(out, _scale(norm, length, inverse, name))


def fft(x: Any, n: int | None = None, dim: int = -1, norm: Norm = None) -> Any:
    """Return the discrete Fourier transform along ``dim``.

    Parameters
    ----------
    n
        Points to transform: the axis is cut off or filled with zeros.
    norm
        ``"backward"`` (no factor; the default), ``"ortho"`` (1/√n) or ``"forward"`` (1/n).

    Raises
    ------
    ValueError
        There is no point, or ``norm`` is unknown.
    IndexError
        ``dim`` is out of range.
    """
    return _one("fft", x, n, dim, norm, inverse=False)


def ifft(x: Any, n: int | None = None, dim: int = -1, norm: Norm = None) -> Any:
    """Return the inverse of `fft`."""
    return _one("ifft", x, n, dim, norm, inverse=True)


def rfft(x: Any, n: int | None = None, dim: int = -1, norm: Norm = None) -> Any:
    """Return the frequencies of a real array that are not negative: n // 2 + 1 of them.

    Raises
    ------
    TypeError
        ``x`` is complex.
    """
    axis = axis_of(dim, len(shape_of(x)), "rfft")
    if x.dtype.kind == "c":
        raise TypeError("rfft: a real array is wanted, got a complex one; use fft")
    length = _length("rfft", n, shape_of(x)[axis])
    out = _rfft(_resized(x, axis, length), dim=axis)
    return _scaled(out, _scale(norm, length, False, "rfft"))


def irfft(x: Any, n: int | None = None, dim: int = -1, norm: Norm = None) -> Any:
    """Return the real array of ``n`` points (by default an even number) that `rfft` came from."""
    axis = axis_of(dim, len(shape_of(x)), "irfft")
    length = _length("irfft", n, 2 * (shape_of(x)[axis] - 1))
    half = _resized(_complex(x), axis, length // 2 + 1)
    out = _irfft(half, dim=axis, length=length)
    return _scaled(out, _scale(norm, length, True, "irfft"))


def hfft(x: Any, n: int | None = None, dim: int = -1, norm: Norm = None) -> Any:
    """Return the real transform of half of a Hermitian array."""
    other: Norm = {None: "forward", "backward": "forward", "forward": "backward"}.get(norm, norm)  # type: ignore[assignment]
    return irfft(conj(_complex(x)), n, dim, other)


def ihfft(x: Any, n: int | None = None, dim: int = -1, norm: Norm = None) -> Any:
    """Return the inverse of `hfft`."""
    other: Norm = {None: "forward", "backward": "forward", "forward": "backward"}.get(norm, norm)  # type: ignore[assignment]
    return conj(rfft(x, n, dim, other))


def _axes(name: str, x: Any, s: Any, dim: Dims) -> list[tuple[int, int | None]]:
    """Which axes, and how many points of each."""
    ndim = len(shape_of(x))
    if dim is None:
        over = list(range(ndim)) if s is None else list(range(ndim - len(s), ndim))
    else:
        over = [axis_of(d, ndim, name) for d in ([dim] if isinstance(dim, int) else dim)]
    points = [None] * len(over) if s is None else [None if p == -1 else p for p in s]
    if len(points) != len(over) or len(set(over)) != len(over):
        raise ValueError(f"{name}: {len(points)} sizes for axes {over}")
    return list(zip(over, points, strict=True))


def fftn(x: Any, s: Any = None, dim: Dims = None, norm: Norm = None) -> Any:
    """Return the transform along several axes (all by default); ``s`` has their points.

    Raises
    ------
    ValueError
        Sizes and axes differ in number.
    """
    for axis, points in _axes("fftn", x, s, dim):
        x = fft(x, points, axis, norm)
    return x


def ifftn(x: Any, s: Any = None, dim: Dims = None, norm: Norm = None) -> Any:
    """Return the inverse of `fftn`."""
    for axis, points in _axes("ifftn", x, s, dim):
        x = ifft(x, points, axis, norm)
    return x


def rfftn(x: Any, s: Any = None, dim: Dims = None, norm: Norm = None) -> Any:
    """Return `rfft` along the last of several axes, and `fft` along the others."""
    *rest, (last, points) = _axes("rfftn", x, s, dim)
    x = rfft(x, points, last, norm)
    for axis, count in rest:
        x = fft(x, count, axis, norm)
    return x


def irfftn(x: Any, s: Any = None, dim: Dims = None, norm: Norm = None) -> Any:
    """Return the inverse of `rfftn`."""
    *rest, (last, points) = _axes("irfftn", x, s, dim)
    for axis, count in rest:
        x = ifft(x, count, axis, norm)
    return irfft(x, points, last, norm)


def fft2(x: Any, s: Any = None, dim: Sequence[int] = (-2, -1), norm: Norm = None) -> Any:
    """Return `fftn` of the last two axes."""
    return fftn(x, s, dim, norm)


def ifft2(x: Any, s: Any = None, dim: Sequence[int] = (-2, -1), norm: Norm = None) -> Any:
    """Return `ifftn` of the last two axes."""
    return ifftn(x, s, dim, norm)


def rfft2(x: Any, s: Any = None, dim: Sequence[int] = (-2, -1), norm: Norm = None) -> Any:
    """Return `rfftn` of the last two axes."""
    return rfftn(x, s, dim, norm)


def irfft2(x: Any, s: Any = None, dim: Sequence[int] = (-2, -1), norm: Norm = None) -> Any:
    """Return `irfftn` of the last two axes."""
    return irfftn(x, s, dim, norm)


def fftshift(x: Any, dim: Dims = None) -> Any:
    """Move the frequency 0 to the middle of ``dim`` (all axes by default)."""
    over = [axis for axis, _ in _axes("fftshift", x, None, dim)]
    return roll(x, [shape_of(x)[axis] // 2 for axis in over], over)


def ifftshift(x: Any, dim: Dims = None) -> Any:
    """Undo `fftshift`."""
    over = [axis for axis, _ in _axes("ifftshift", x, None, dim)]
    return roll(x, [-(shape_of(x)[axis] // 2) for axis in over], over)
