"""Where in a sequence something stands, told to layers that could not know."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from minidl.arguments import Positive, Size, checked
from minidl.nn import expect, init
from minidl.nn.module import Module, Parameter, TransientBuffer
from minidl.ops.joining import cat
from minidl.ops.shape import broadcast_to, shape_of


def _room(name: str, x: Any, length: int, width: int) -> None:
    shape = shape_of(x)
    if len(shape) < 2 or shape[-1] != width or shape[-2] > length:
        raise ValueError(
            f"{name}: an input (*, T, {width}) with T at most {length} is wanted, got {shape}"
        )


class SinusoidalPositions(Module):
    """Add sines and cosines of the place: ``(*, T, d_model)`` kept.

    References
    ----------
    A. Vaswani et al., "Attention Is All You Need", NIPS 2017, section 3.5.
    """

    infer: ClassVar = {"d_model": -1}

    @checked
    def __init__(
        self, d_model: Size, max_len: Size = 5000, *, dtype: DTypeLike | None = None
    ) -> None:
        if d_model % 2:
            raise ValueError(f"SinusoidalPositions: d_model must be even, got {d_model}")
        places = np.arange(max_len)[:, None] * np.exp(
            np.arange(0, d_model, 2) * (-np.log(10000.0) / d_model)
        )
        table = np.stack([np.sin(places), np.cos(places)], -1).reshape(max_len, d_model)
        self.table = TransientBuffer(table.astype(dtype or np.float32))

    def forward(self, x: Any) -> Any:
        """Return ``x`` with its places added."""
        _room("SinusoidalPositions", x, *self.table.shape)
        expect.same_dtype("SinusoidalPositions", x, self.table)
        return x + self.table[: shape_of(x)[-2]]

    def extra_repr(self) -> str:
        """Return the sizes."""
        length, width = self.table.shape
        return f"{width}, max_len={length}"


class LearnedPositions(Module):
    """Add a learned vector a place: ``(*, T, d_model)`` kept; ``weight (max_len, d_model)``."""

    infer: ClassVar = {"d_model": -1, "max_len": -2}
    infer_from_state: ClassVar = {"d_model": ("weight", 1), "max_len": ("weight", 0)}

    @checked
    def __init__(
        self,
        max_len: Size,
        d_model: Size,
        *,
        dtype: DTypeLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        values = init.trunc_normal((max_len, d_model), std=0.02, dtype=dtype, rng=rng)
        self.weight = Parameter(values)

    def forward(self, x: Any) -> Any:
        """Return ``x`` with its places added."""
        _room("LearnedPositions", x, *self.weight.shape)
        expect.same_dtype("LearnedPositions", x, self.weight)
        return x + self.weight[: shape_of(x)[-2]]

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}"


class RotaryPositions(Module):
    """Turn pairs of features by an angle that grows with the place: ``(*, T, dim)`` kept.

    For queries and keys, head by head; their products then depend on distances only. Feature i is
    paired with feature i + dim / 2.

    References
    ----------
    J. Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021.
    """

    @checked
    def __init__(
        self,
        dim: Size,
        max_len: Size = 2048,
        base: Positive = 10000.0,
        *,
        dtype: DTypeLike | None = None,
    ) -> None:
        if dim % 2:
            raise ValueError(f"RotaryPositions: dim must be even, got {dim}")
        self.base = base
        angles = np.outer(np.arange(max_len), base ** (-np.arange(0, dim, 2) / dim))
        twice = np.concatenate([angles, angles], -1)
        self.cos = TransientBuffer(np.cos(twice).astype(dtype or np.float32))
        self.sin = TransientBuffer(np.sin(twice).astype(dtype or np.float32))

    def forward(self, x: Any) -> Any:
        """Return ``x``, turned."""
        _room("RotaryPositions", x, *self.cos.shape)
        expect.same_dtype("RotaryPositions", x, self.cos)
        length, half = shape_of(x)[-2], shape_of(x)[-1] // 2
        turned = cat([-x[..., half:], x[..., :half]], -1)
        return x * self.cos[:length] + turned * self.sin[:length]

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.cos.shape[1]}, max_len={self.cos.shape[0]}, base={self.base}"


class ClassToken(Module):
    """Put one learned vector in front of every sequence: ``(N, T, d) -> (N, T + 1, d)``.

    References
    ----------
    J. Devlin et al., "BERT", NAACL 2019; A. Dosovitskiy et al., "An Image is Worth 16x16 Words",
    ICLR 2021.
    """

    infer: ClassVar = {"d_model": -1}
    infer_from_state: ClassVar = {"d_model": ("weight", 2)}

    @checked
    def __init__(
        self,
        d_model: Size,
        *,
        dtype: DTypeLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        values = init.trunc_normal((1, 1, d_model), std=0.02, dtype=dtype, rng=rng)
        self.weight = Parameter(values)

    def forward(self, x: Any) -> Any:
        """Return the sequences with the token in front.

        Raises
        ------
        ValueError
            The input is not ``(N, T, d_model)``.
        """
        width = self.weight.shape[2]
        if len(shape_of(x)) != 3 or shape_of(x)[2] != width:
            raise ValueError(f"ClassToken: an input (N, T, {width}) is wanted, got {shape_of(x)}")
        expect.same_dtype("ClassToken", x, self.weight)
        return cat([broadcast_to(self.weight, (shape_of(x)[0], 1, width)), x], 1)

    def extra_repr(self) -> str:
        """Return the width."""
        return f"{self.weight.shape[2]}"
