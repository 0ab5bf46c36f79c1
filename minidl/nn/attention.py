"""Attention between sequences, in several heads; masks.

References
----------
A. Vaswani et al., "Attention Is All You Need", NIPS 2017. Parameters lie and are named as in
PyTorch.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from minidl.arguments import Fraction, Size, checked
from minidl.nn import expect, functional, init
from minidl.nn.linear import Linear
from minidl.nn.module import Module, Parameter
from minidl.ops.arithmetic import where
from minidl.ops.attention import joint_attention
from minidl.ops.joining import cat
from minidl.ops.padding import pad
from minidl.ops.products import linear, matmul
from minidl.ops.reduce import mean
from minidl.ops.shape import broadcast_to, reshape, shape_of, transpose
from minidl.ops.softmax import softmax


class MultiheadAttention(Module):
    """Several attentions side by side, each on its share of the features.

    Parameters
    ----------
    embed_dim
        Features of queries, and of keys and values unless ``kdim``, ``vdim`` say otherwise.
    num_heads
        Must divide ``embed_dim``.
    add_bias_kv
        Append a learned key and value to every sequence of them.
    add_zero_attn
        Append a key and a value of zeros, so that a query may look at nothing.
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
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
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
        shape = (1, 1, embed_dim)
        self.bias_k = Parameter(init.xavier_normal(shape, **how)) if add_bias_kv else None
        self.bias_v = Parameter(init.xavier_normal(shape, **how)) if add_bias_kv else None
        self.add_zero_attn = add_zero_attn
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
            Return weights averaged over heads, ``(N, T, S)``, else ``(N, heads, T, S)``; S counts
            the appended keys too.
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
        if query is key is value:
            query = key = value = self._batch_first(query, single)
        else:
            query, key, value = (self._batch_first(part, single) for part in (query, key, value))
        rate = self.dropout if self.training else 0.0
        plain = key_padding_mask is attn_mask is None and not (need_weights or is_causal or rate)
        if plain and query is key is value and self._joint():
            self._check(query, key, value)
            joint = linear(query, self.in_proj_weight, self.in_proj_bias)
            return self._returned(self.out_proj(joint_attention(joint, self.num_heads)), single)
        q, k, v = self._heads(query, key, value)
        n, t, s = shape_of(query)[0], shape_of(query)[1], shape_of(key)[1]
        mask = self._mask(key_padding_mask, attn_mask, is_causal, (n, t, s), query.dtype)
        k, v = self._appended(k, self.bias_k), self._appended(v, self.bias_v)
        if mask is not None and shape_of(k)[2] > s:  # what is appended may always be seen
            mask = pad(mask, (0, shape_of(k)[2] - s))
        weights = None
        if need_weights:
            scores = matmul(q, transpose(k, -1, -2)) * (1.0 / (shape_of(q)[-1] ** 0.5))
            weights = softmax(scores if mask is None else scores + mask, -1)
            found = matmul(functional.dropout(weights, rate, rate > 0.0, rng=self.rng), v)
            weights = mean(weights, 1) if average_attn_weights else weights
        else:
            found = functional.scaled_dot_product_attention(q, k, v, mask, rate, rng=self.rng)
        out = self.out_proj(reshape(transpose(found, 1, 2), (n, t, self.embed_dim)))
        return self._returned(out, single, weights)

    def _joint(self) -> bool:
        """Whether queries, keys and values are one projection, with nothing appended."""
        appended = self.bias_k is not None or self.bias_v is not None or self.add_zero_attn
        return self.in_proj_weight is not None and not appended

    def _returned(self, out: Any, single: bool, weights: Any = None) -> tuple[Any, Any]:
        """Return output and weights with axes as the inputs had them."""
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

    def _check(self, query: Any, key: Any, value: Any) -> None:
        e, packed = self.embed_dim, self.in_proj_weight is not None
        for name, x in {"query": query, "key": key, "value": value}.items():
            wanted = e if packed or name == "query" else getattr(self, f"{name[0]}_proj_weight")
            wanted = wanted if isinstance(wanted, int) else wanted.shape[1]
            if shape_of(x)[-1] != wanted or shape_of(x)[0] != shape_of(query)[0]:
                raise ValueError(
                    f"MultiheadAttention: {name} {shape_of(x)} (batch first) must have the "
                    f"batch of the query, {shape_of(query)[0]}, and {wanted} features"
                )

    def _heads(self, query: Any, key: Any, value: Any) -> list[Any]:
        """Project, and cut the features into heads: ``(N, heads, T, E / heads)``."""
        self._check(query, key, value)
        e = self.embed_dim
        packed = self.in_proj_weight is not None
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

    def _appended(self, x: Any, bias: Any) -> Any:
        """Append what the settings say to keys or values ``(N, heads, S, E / heads)``."""
        n, heads, _, width = shape_of(x)
        if bias is not None:
            learned = broadcast_to(reshape(bias, (1, heads, 1, width)), (n, heads, 1, width))
            x = cat([x, learned], 2)
        if self.add_zero_attn:
            x = cat([x, np.zeros((n, heads, 1, width), x.dtype)], 2)
        return x

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
