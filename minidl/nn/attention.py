"""Attention between sequences, and the transformer that is made of it.

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
from minidl.nn import expect, functional, init
from minidl.nn.containers import ModuleList
from minidl.nn.dropout import Dropout
from minidl.nn.linear import Linear
from minidl.nn.module import Module, Parameter
from minidl.nn.normalization import LayerNorm
from minidl.ops.arithmetic import where
from minidl.ops.products import linear, matmul
from minidl.ops.reduce import mean
from minidl.ops.shape import reshape, shape_of, transpose
from minidl.ops.softmax import softmax


class MultiheadAttention(Module):
    """Several attentions side by side, each on its share of the features.

    Parameters
    ----------
    embed_dim
        Features of queries, and of keys and values unless ``kdim``, ``vdim`` say otherwise.
    num_heads
        Must divide ``embed_dim``.
    batch_first
        ``(N, T, E)`` in place of ``(T, N, E)``.
    """

    infer: ClassVar = {"embed_dim": -1}
    infer_from_state: ClassVar = {"embed_dim": ("out_proj.weight", 0)}

    @checked
    def __init__(
        self,
        embed_dim: Size,
        num_heads: Size,
        dropout: Fraction = 0.0,
        bias: bool = True,
        *,
        kdim: Size | None = None,
        vdim: Size | None = None,
        batch_first: bool = False,
        dtype: DTypeLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        if embed_dim % num_heads:
            raise ValueError(
                f"MultiheadAttention: num_heads must divide embed_dim, got {num_heads} and "
                f"{embed_dim}"
            )
        self.embed_dim, self.num_heads = embed_dim, num_heads
        self.dropout, self.batch_first = dropout, batch_first
        self.rng = np.random.default_rng() if rng is None else rng
        how: dict[str, Any] = {"dtype": dtype, "rng": rng}
        kdim, vdim = kdim or embed_dim, vdim or embed_dim
        if kdim == vdim == embed_dim:
            values = init.xavier_uniform((3 * embed_dim, embed_dim), **how)
            self.in_proj_weight: Parameter | None = Parameter(values)
        else:
            self.in_proj_weight = None
            for name, width in {"q": embed_dim, "k": kdim, "v": vdim}.items():
                values = init.xavier_uniform((embed_dim, width), **how)
                setattr(self, f"{name}_proj_weight", Parameter(values))
        zeros = np.zeros(3 * embed_dim, dtype or np.float32)
        self.in_proj_bias = Parameter(zeros) if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias, **how)
        if self.out_proj.bias is not None:
            self.out_proj.bias.copy_(0.0)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Any, Any]:
        """Let every query look at the keys, and take what it finds of the values.

        Parameters
        ----------
        query, key, value
            ``(T, N, E)``, ``(S, N, kdim)``, ``(S, N, vdim)``; N first with ``batch_first``; without
            N for single sequences.
        key_padding_mask
            ``(N, S)``: True (or -inf) where a key is not to be seen.
        need_weights
            Also return the weights; without, a fused operation computes faster.
        attn_mask
            ``(T, S)`` or ``(N · heads, T, S)``: True where it must not look, or numbers to add.
        average_attn_weights
            Return weights averaged over heads, ``(N, T, S)``, else ``(N, heads, T, S)``.
        is_causal
            No query sees keys behind its own place.

        Returns
        -------
        output, weights
            The output like ``query``; weights are None unless wanted.

        Raises
        ------
        ValueError
            Shapes do not fit.
        """
        single = len(shape_of(query)) == 2
        query, key, value = (self._batch_first(part, single) for part in (query, key, value))
        heads = self._heads(query, key, value)
        n, t, s = shape_of(query)[0], shape_of(query)[1], shape_of(key)[1]
        mask = self._mask(key_padding_mask, attn_mask, is_causal, (n, t, s), query.dtype)
        rate = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            q, k, v = heads
            scores = matmul(q, transpose(k, -1, -2)) * (1.0 / (shape_of(q)[-1] ** 0.5))
            weights = softmax(scores if mask is None else scores + mask, -1)
            found = matmul(functional.dropout(weights, rate, rate > 0.0, rng=self.rng), v)
            weights = mean(weights, 1) if average_attn_weights else weights
        else:
            q, k, v = heads
            found = functional.scaled_dot_product_attention(q, k, v, mask, rate, rng=self.rng)
        out = self.out_proj(reshape(transpose(found, 1, 2), (n, t, self.embed_dim)))
        if single:
            return out[0], None if weights is None else weights[0]
        return out if self.batch_first else transpose(out, 0, 1), weights

    def _batch_first(self, x: Any, single: bool) -> Any:
        shape = shape_of(x)
        axes = "(N, T, E)" if self.batch_first else "(T, N, E)"
        if len(shape) != (2 if single else 3):
            raise ValueError(f"MultiheadAttention: inputs {axes} or (T, E) are wanted, got {shape}")
        expect.same_dtype("MultiheadAttention", x, self.out_proj.weight)
        if single:
            return reshape(x, (1, *shape))
        return x if self.batch_first else transpose(x, 0, 1)

    def _heads(self, query: Any, key: Any, value: Any) -> list[Any]:
        """Project, and cut the features into heads: ``(N, heads, T, E / heads)``."""
        e = self.embed_dim
        packed = self.in_proj_weight is not None
        for name, x in {"query": query, "key": key, "value": value}.items():
            wanted = e if packed or name == "query" else getattr(self, f"{name[0]}_proj_weight")
            wanted = wanted if isinstance(wanted, int) else wanted.shape[1]
            if shape_of(x)[-1] != wanted or shape_of(x)[0] != shape_of(query)[0]:
                raise ValueError(
                    f"MultiheadAttention: {name} {shape_of(x)} (batch first) must have the "
                    f"batch of the query, {shape_of(query)[0]}, and {wanted} features"
                )
        if packed and query is key is value:
            joint = linear(query, self.in_proj_weight, self.in_proj_bias)
            parts = [joint[..., i * e : (i + 1) * e] for i in range(3)]
        else:
            parts = []
            for i, (name, x) in enumerate(zip("qkv", (query, key, value), strict=True)):
                rows = slice(i * e, (i + 1) * e)
                weight = (
                    self.in_proj_weight[rows]
                    if self.in_proj_weight is not None
                    else getattr(self, f"{name}_proj_weight")
                )
                bias = None if self.in_proj_bias is None else self.in_proj_bias[rows]
                parts.append(linear(x, weight, bias))
        return [
            transpose(reshape(x, (*shape_of(x)[:2], self.num_heads, e // self.num_heads)), 1, 2)
            for x in parts
        ]

    def _mask(self, padding: Any, mask: Any, causal: bool, sizes: Any, dtype: Any) -> Any:
        """Join the masks into one that is added to the scores, ``(N | 1, heads | 1, T | 1, S)``."""
        n, t, s = sizes
        parts = []
        if mask is not None:
            if shape_of(mask) not in ((t, s), (n * self.num_heads, t, s)):
                raise ValueError(
                    f"MultiheadAttention: attn_mask {shape_of(mask)} must be {(t, s)} or "
                    f"{(n * self.num_heads, t, s)}"
                )
            shape = (n, self.num_heads, t, s) if len(shape_of(mask)) == 3 else (1, 1, t, s)
            parts.append(reshape(additive(mask, dtype), shape))
        if causal and mask is None:
            parts.append(reshape(causal_mask(t, s, dtype), (1, 1, t, s)))
        if padding is not None:
            padding = reshape(padding, (1, s)) if len(shape_of(padding)) == 1 else padding
            if shape_of(padding) != (n, s):
                raise ValueError(
                    f"MultiheadAttention: key_padding_mask {shape_of(padding)} must be {(n, s)}"
                )
            parts.append(reshape(additive(padding, dtype), (n, 1, 1, s)))
        total = parts[0] if parts else None
        for part in parts[1:]:
            total = total + part
        return total

    def extra_repr(self) -> str:
        """Return the sizes."""
        last = f", dropout={self.dropout}" if self.dropout else ""
        return f"{self.embed_dim}, {self.num_heads}{last}"


def additive(mask: Any, dtype: Any) -> Any:
    """Make of a mask (True: must not look) numbers to add to the scores."""
    if mask.dtype != np.bool_:
        return mask
    low, zero = np.asarray(-np.inf, dtype), np.zeros((), dtype)
    return where(mask, low, zero)


def causal_mask(length: int, keys: int | None = None, dtype: Any = np.float32) -> Any:
    """Return ``(length, keys)``: 0 where a place may look, -inf behind it."""
    places = np.ones((length, length if keys is None else keys), np.bool_)
    mask: Any = np.where(np.triu(places, 1), -np.inf, 0.0).astype(dtype)
    return mask


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
