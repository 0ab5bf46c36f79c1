"""Tables of learned vectors, looked up by whole numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from minidl.arguments import Positive, Size, checked
from minidl.autograd import recording
from minidl.autograd.primitive import constant, plain
from minidl.nn import functional, init
from minidl.nn.module import Module, Parameter
from minidl.ops.shape import shape_of
from minidl.tensor import Tensor

T = TypeVar("T", bound=Module)


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


def _shorten(weight: Any, input: Any, max_norm: float | None, norm_type: float) -> None:
    """Scale the rows that are looked up, in place, so that their norm is at most ``max_norm``."""
    if max_norm is None:
        return
    if recording.open_recordings:
        recording.run(_shorten_rows, weight, constant(input), max_norm, norm_type)
    else:
        _shorten_rows(weight, plain(input, "an embedding with max_norm"), max_norm, norm_type)


def _shorten_rows(weight: Any, input: Any, max_norm: float, norm_type: float) -> None:
    named, table = np.unique(input), weight.detach().value
    named = named[(named >= 0) & (named < len(table))]  # others are told by what comes next
    norms = np.linalg.norm(table[named], norm_type, axis=1, keepdims=True)
    scale = np.where(norms > max_norm, max_norm / (norms + 1e-7), 1.0)
    table[named] *= scale.astype(table.dtype)


class Embedding(Module):
    """One learned vector a number: ``(*) -> (*, embedding_dim)``.

    Parameters
    ----------
    padding_idx
        A row that is zero at first and gets no gradient.
    max_norm, norm_type
        Rows longer than this, in this norm, are shortened in place when they are looked up.
    scale_grad_by_freq
        Divide each row's gradient by how often the batch has it.
    """

    @checked
    def __init__(
        self,
        num_embeddings: Size,
        embedding_dim: Size,
        padding_idx: int | None = None,
        max_norm: Positive | None = None,
        norm_type: Positive = 2.0,
        *,
        scale_grad_by_freq: bool = False,
        dtype: DTypeLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self.weight, self.padding_idx = _table(
            "Embedding", num_embeddings, embedding_dim, padding_idx, dtype, rng
        )
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq = scale_grad_by_freq

    @classmethod
    def from_pretrained(cls, embeddings: Any, freeze: bool = True, **settings: Any) -> Self:
        """Return a layer with this table ``(num_embeddings, embedding_dim)``, by default frozen.

        Parameters
        ----------
        settings
            All other arguments of the constructor.

        Raises
        ------
        ValueError
            The table has not two axes.
        """
        return _of_table(cls, embeddings, freeze, settings)

    def forward(self, input: Any) -> Any:
        """Return the rows that ``input`` names."""
        _shorten(self.weight, input, self.max_norm, self.norm_type)
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
    Other settings as in `Embedding`.
    """

    @checked
    def __init__(
        self,
        num_embeddings: Size,
        embedding_dim: Size,
        max_norm: Positive | None = None,
        norm_type: Positive = 2.0,
        scale_grad_by_freq: bool = False,
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
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.mode = mode
        self.include_last_offset = include_last_offset

    @classmethod
    def from_pretrained(cls, embeddings: Any, freeze: bool = True, **settings: Any) -> Self:
        """Return a layer with this table ``(num_embeddings, embedding_dim)``, by default frozen.

        Parameters
        ----------
        settings
            All other arguments of the constructor.

        Raises
        ------
        ValueError
            The table has not two axes.
        """
        return _of_table(cls, embeddings, freeze, settings)

    def forward(self, input: Any, offsets: Any = None, per_sample_weights: Any = None) -> Any:
        """Return one vector a bag."""
        _shorten(self.weight, input, self.max_norm, self.norm_type)
        return functional.embedding_bag(
            input,
            self.weight,
            offsets,
            mode=self.mode,
            scale_grad_by_freq=self.scale_grad_by_freq,
            per_sample_weights=per_sample_weights,
            include_last_offset=self.include_last_offset,
            padding_idx=self.padding_idx,
        )

    def extra_repr(self) -> str:
        """Return sizes and mode."""
        count, dim = self.weight.shape
        return f"{count}, {dim}, mode={self.mode!r}"


def _of_table(cls: type[T], embeddings: Any, freeze: bool, settings: dict[str, Any]) -> T:
    shape = shape_of(embeddings)
    if len(shape) != 2:
        raise ValueError(
            f"{cls.__name__}.from_pretrained: a table (num_embeddings, embedding_dim) is wanted, "
            f"got {shape}"
        )
    table = np.array(embeddings.detach() if isinstance(embeddings, Tensor) else embeddings)
    make: Callable[..., T] = cls
    layer = make(*shape, **settings)
    layer.register_parameter("weight", Parameter(table, requires_grad=not freeze))
    return layer
