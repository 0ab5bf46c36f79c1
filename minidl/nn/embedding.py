"""Tables of learned vectors, looked up by whole numbers."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from minidl.arguments import Size, checked
from minidl.nn import functional, init
from minidl.nn.module import Module, Parameter


def _table(
    name: str, count: int, dim: int, padding_idx: int | None, dtype: Any, rng: Any
) -> tuple[Parameter, int | None]:
    if padding_idx is not None:
        if not -count <= padding_idx < count:
            raise ValueError(f"{name}: padding_idx {padding_idx} is no row of {count}")
        padding_idx %= count
    values = init.normal((count, dim), dtype=dtype, rng=rng)
    if padding_idx is not None:
        values[padding_idx] = 0.0
    return Parameter(values), padding_idx


class Embedding(Module):
    """One learned vector a number: ``(*) -> (*, embedding_dim)``.

    Parameters
    ----------
    padding_idx
        A row that is zero at first and gets no gradient.
    """

    @checked
    def __init__(
        self,
        num_embeddings: Size,
        embedding_dim: Size,
        padding_idx: int | None = None,
        *,
        scale_grad_by_freq: bool = False,
        dtype: DTypeLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.weight, self.padding_idx = _table(
            "Embedding", num_embeddings, embedding_dim, padding_idx, dtype, rng
        )
        self.scale_grad_by_freq = scale_grad_by_freq

    def forward(self, input: Any) -> Any:
        """Return the rows that ``input`` names."""
        return functional.embedding(
            input, self.weight, self.padding_idx, scale_grad_by_freq=self.scale_grad_by_freq
        )

    def extra_repr(self) -> str:
        """Return the sizes."""
        count, dim = self.weight.shape
        last = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{count}, {dim}{last}"


class EmbeddingBag(Module):
    """Mean, sum or largest of the vectors of several numbers: ``(B, N) -> (B, embedding_dim)``.

    A one-dimensional ``input`` holds the bags one after the other, ``offsets`` their beginnings.
    """

    @checked
    def __init__(
        self,
        num_embeddings: Size,
        embedding_dim: Size,
        *,
        mode: Literal["mean", "sum", "max"] = "mean",
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        dtype: DTypeLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        if mode not in ("mean", "sum", "max"):
            raise ValueError(f"EmbeddingBag: mode must be 'mean', 'sum' or 'max', got {mode!r}")
        self.weight, self.padding_idx = _table(
            "EmbeddingBag", num_embeddings, embedding_dim, padding_idx, dtype, rng
        )
        self.mode = mode
        self.include_last_offset = include_last_offset

    def forward(self, input: Any, offsets: Any = None, per_sample_weights: Any = None) -> Any:
        """Return one vector a bag."""
        return functional.embedding_bag(
            input,
            self.weight,
            offsets,
            mode=self.mode,
            per_sample_weights=per_sample_weights,
            include_last_offset=self.include_last_offset,
            padding_idx=self.padding_idx,
        )

    def extra_repr(self) -> str:
        """Return sizes and mode."""
        count, dim = self.weight.shape
        return f"{count}, {dim}, mode={self.mode!r}"
