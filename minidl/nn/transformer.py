"""The transformer: encoder and decoder layers around attention, and stacks of them.

References
----------
A. Vaswani et al., "Attention Is All You Need", NIPS 2017. Parameters lie and are named as in
PyTorch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import DTypeLike

from minidl.arguments import Fraction, Positive, Size, checked
from minidl.nn import functional, init
from minidl.nn.attention import MultiheadAttention, causal_mask
from minidl.nn.containers import ModuleList
from minidl.nn.dropout import Dropout
from minidl.nn.linear import Linear
from minidl.nn.module import Module
from minidl.nn.normalization import LayerNorm
from minidl.ops.shape import shape_of

Activation = Literal["relu", "gelu"]


class _TransformerLayer(Module):
    """What encoder and decoder layers share: the feed-forward part, and where norms stand."""

    def _feed_forward(self, width: int, inner: int, how: Any, bias: bool) -> None:
        self.linear1 = Linear(width, inner, bias, **how)
        self.dropout = Dropout(self.rate, rng=how["rng"])
        self.linear2 = Linear(inner, width, bias, **how)

    def _act(self, x: Any) -> Any:
        if callable(self.activation):
            return self.activation(x)
        return functional.gelu(x) if self.activation == "gelu" else functional.relu(x)

    def _forward_part(self, x: Any) -> Any:
        return self.linear2(self.dropout(self._act(self.linear1(x))))

    def _set(self, activation: Any, rate: float, norm_first: bool) -> None:
        if not callable(activation) and activation not in ("relu", "gelu"):
            raise ValueError(
                f"{type(self).__name__}: activation must be 'relu', 'gelu' or a function, "
                f"got {activation!r}"
            )
        self.activation, self.rate, self.norm_first = activation, rate, norm_first

    def extra_repr(self) -> str:
        """Return what differs from the default."""
        return "norm_first=True" if self.norm_first else ""


class TransformerEncoderLayer(_TransformerLayer):
    """Self-attention and a feed-forward part, each with a skip connection and a norm."""

    infer: ClassVar = {"d_model": -1}
    infer_from_state: ClassVar = {"d_model": ("linear1.weight", 1)}

    @checked
    def __init__(
        self,
        d_model: Size,
        nhead: Size,
        dim_feedforward: Size = 2048,
        dropout: Fraction = 0.1,
        activation: Activation | Callable[[Any], Any] = "relu",
        layer_norm_eps: Positive = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        dtype: DTypeLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        how: dict[str, Any] = {"dtype": dtype, "rng": rng}
        self._set(activation, dropout, norm_first)
        self.self_attn = MultiheadAttention(
            d_model, nhead, dropout, bias, batch_first=batch_first, **how
        )
        self._feed_forward(d_model, dim_feedforward, how, bias)
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.dropout1 = Dropout(dropout, rng=rng)
        self.dropout2 = Dropout(dropout, rng=rng)

    def forward(
        self,
        src: Any,
        src_mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool = False,
    ) -> Any:
        """Return a sequence of the same shape; masks as in `MultiheadAttention`."""

        def attend(x: Any) -> Any:
            found, _ = self.self_attn(
                x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal
            )
            return self.dropout1(found)

        def forward_part(x: Any) -> Any:
            return self.dropout2(self._forward_part(x))

        if self.norm_first:
            src = src + attend(self.norm1(src))
            return src + forward_part(self.norm2(src))
        src = self.norm1(src + attend(src))
        return self.norm2(src + forward_part(src))


class TransformerDecoderLayer(_TransformerLayer):
    """Self-attention, attention to an encoder's output, and a feed-forward part."""

    infer: ClassVar = {"d_model": -1}
    infer_from_state: ClassVar = {"d_model": ("linear1.weight", 1)}

    @checked
    def __init__(
        self,
        d_model: Size,
        nhead: Size,
        dim_feedforward: Size = 2048,
        dropout: Fraction = 0.1,
        activation: Activation | Callable[[Any], Any] = "relu",
        layer_norm_eps: Positive = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        dtype: DTypeLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        how: dict[str, Any] = {"dtype": dtype, "rng": rng}
        self._set(activation, dropout, norm_first)
        how_attn: dict[str, Any] = {"batch_first": batch_first, **how}
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, **how_attn)
        self.multihead_attn = MultiheadAttention(d_model, nhead, dropout, bias, **how_attn)
        self._feed_forward(d_model, dim_feedforward, how, bias)
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.norm3 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.dropout1 = Dropout(dropout, rng=rng)
        self.dropout2 = Dropout(dropout, rng=rng)
        self.dropout3 = Dropout(dropout, rng=rng)

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Any:
        """Return a sequence of the shape of ``tgt``; masks as in `MultiheadAttention`."""

        def own(x: Any) -> Any:
            found, _ = self.self_attn(
                x, x, x, tgt_key_padding_mask, False, tgt_mask, is_causal=tgt_is_causal
            )
            return self.dropout1(found)

        def other(x: Any) -> Any:
            found, _ = self.multihead_attn(
                x, memory, memory, memory_key_padding_mask, False, memory_mask,
                is_causal=memory_is_causal,
            )  # fmt: skip
            return self.dropout2(found)

        def forward_part(x: Any) -> Any:
            return self.dropout3(self._forward_part(x))

        parts = ((own, self.norm1), (other, self.norm2), (forward_part, self.norm3))
        for part, norm in parts:
            tgt = tgt + part(norm(tgt)) if self.norm_first else norm(tgt + part(tgt))
        return tgt


def _copies(layer: Module, count: int) -> ModuleList:
    """Return copies of a layer: with the same weights, as in PyTorch, but one generator."""
    memo = {id(module.rng): module.rng for module in layer.modules() if hasattr(module, "rng")}
    return ModuleList([copy.deepcopy(layer, dict(memo)) for _ in range(count)])


class TransformerEncoder(Module):
    """A stack of copies of an encoder layer, and a norm behind it if given."""

    @checked
    def __init__(self, encoder_layer: Module, num_layers: Size, norm: Module | None = None) -> None:
        self.layers = _copies(encoder_layer, num_layers)
        self.norm = norm

    def forward(
        self,
        src: Any,
        mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool = False,
    ) -> Any:
        """Return a sequence of the same shape."""
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, is_causal)
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """A stack of copies of a decoder layer, and a norm behind it if given."""

    @checked
    def __init__(self, decoder_layer: Module, num_layers: Size, norm: Module | None = None) -> None:
        self.layers = _copies(decoder_layer, num_layers)
        self.norm = norm

    def forward(self, tgt: Any, memory: Any, *masks: Any, **more: Any) -> Any:
        """Return a sequence of the shape of ``tgt``; masks as `TransformerDecoderLayer` takes."""
        for layer in self.layers:
            tgt = layer(tgt, memory, *masks, **more)
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(Module):
    """An encoder of one sequence and a decoder of another that looks at it."""

    @checked
    def __init__(
        self,
        d_model: Size = 512,
        nhead: Size = 8,
        num_encoder_layers: Size = 6,
        num_decoder_layers: Size = 6,
        dim_feedforward: Size = 2048,
        dropout: Fraction = 0.1,
        activation: Activation | Callable[[Any], Any] = "relu",
        layer_norm_eps: Positive = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        dtype: DTypeLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        settings: Any = (
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first,
            norm_first, bias,
        )  # fmt: skip
        how: dict[str, Any] = {"dtype": dtype, "rng": rng}
        norms = [LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype) for _ in range(2)]
        encoder = TransformerEncoderLayer(*settings, **how)
        decoder = TransformerDecoderLayer(*settings, **how)
        self.encoder = TransformerEncoder(encoder, num_encoder_layers, norms[0])
        self.decoder = TransformerDecoder(decoder, num_decoder_layers, norms[1])
        self.batch_first = batch_first
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter, generator=rng)

    def forward(
        self, src: Any, tgt: Any, src_mask: Any = None, tgt_mask: Any = None,
        memory_mask: Any = None, src_key_padding_mask: Any = None,
        tgt_key_padding_mask: Any = None, memory_key_padding_mask: Any = None,
    ) -> Any:  # fmt: skip
        """Return a sequence of the shape of ``tgt``; masks as in `MultiheadAttention`.

        Raises
        ------
        ValueError
            The sequences' batches or features do not fit.
        """
        if shape_of(src)[-1] != shape_of(tgt)[-1]:
            raise ValueError(
                f"Transformer: src {shape_of(src)} and tgt {shape_of(tgt)} must have the same "
                "features"
            )
        memory = self.encoder(src, src_mask, src_key_padding_mask)
        return self.decoder(
            tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask
        )

    @staticmethod
    def generate_square_subsequent_mask(size: int) -> Any:
        """Return the mask that keeps places from seeing those behind them, ``(size, size)``."""
        return causal_mask(size)
