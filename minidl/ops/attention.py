"""Scaled dot-product attention."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.autograd.fused import fused
from minidl.autograd.primitive import Examples, Primitive, primitive
from minidl.kernels import attention as kernel
from minidl.kernels import rows
from minidl.ops.arithmetic import where
from minidl.ops.batching import all_with_examples, folded
from minidl.ops.products import matmul
from minidl.ops.random import dropout
from minidl.ops.rearrange import repeat_interleave
from minidl.ops.reduce import sum
from minidl.ops.shape import broadcast_shapes, broadcast_to, reshape, shape_of, transpose

__all__ = [
    "scaled_dot_product_attention",
]


def _mt(x: Any) -> Any:
    return transpose(x, -1, -2)


def _rule(g: Any, out: Any, _x: Any) -> Any:
    return _weigh(g, out)


#: ``(g, p)``: p (g - Σ g p), the derivative of softmax in both modes.
_weigh: Primitive = fused(
    "scaled_dot_product_attention_gradient",
    rows.softmax_gradient,
    lambda g, p: p * (g - sum(g * p, -1, keepdim=True)),
    (
        lambda t, g, p: rows.softmax_gradient(t, p),  # symmetric in g
        lambda t, g, p: (
            t * (g - np.sum(g * p, -1, keepdims=True)) - g * np.sum(t * p, -1, keepdims=True)
        ),
    ),
    batch=all_with_examples,
)


def _softmax(scores: Any) -> Any:
    """Return what `rows.softmax` does, by NumPy's functions alone."""
    if not scores.size:
        return scores
    top = scores.max(axis=-1, keepdims=True)
    out = np.exp(scores - np.where(np.isfinite(top), top, 0.0).astype(scores.dtype))
    total = out.sum(axis=-1, keepdims=True)
    return out / np.where(total == 0, 1.0, total).astype(scores.dtype)


def _batched(operation: Primitive, examples: Examples) -> Any:
    return operation(examples.values[0])


_attend: Primitive = primitive(
    "scaled_dot_product_attention",
    rows.softmax,
    vjp=(_rule,),
    jvp=(_rule,),
    batch=_batched,
)
_attend.elsewhere = _softmax


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
    rng: np.random.Generator | None = None,
) -> Any:
    """Return ``softmax(query keyᵀ · scale + mask) value``.

    Shapes: ``query (*, L, E)``, ``key (*, S, E)``, ``value (*, S, V)`` -> ``(*, L, V)``.

    Parameters
    ----------
    attn_mask
        Broadcasts to ``(*, L, S)``: booleans say who may be attended to, floats are added. A row
        that may attend to no one gives zeros.
    dropout_p
        Probability of dropping an attention weight; ``rng`` draws them.
    is_causal
        Position i may attend to positions up to i.
    scale
        1 / √E by default.
    enable_gqa
        Repeat the heads (axis -3) of key and value to as many as the query has.

    Raises
    ------
    ValueError
        The shapes do not fit, or a mask is given together with ``is_causal``.

    References
    ----------
    A. Vaswani et al., "Attention Is All You Need", arXiv:1706.03762.
    """
    shapes = [shape_of(x) for x in (query, key, value)]
    if (
        min(len(s) for s in shapes) < 2
        or shapes[0][-1] != shapes[1][-1]
        or shapes[1][-2] != shapes[2][-2]
    ):
        raise ValueError(
            f"scaled_dot_product_attention: query {shapes[0]}, key {shapes[1]} and value "
            f"{shapes[2]} do not fit: (*, L, E), (*, S, E) and (*, S, V) are wanted"
        )
    if is_causal and attn_mask is not None:
        raise ValueError("scaled_dot_product_attention: is_causal=True takes no attn_mask")
    if enable_gqa:
        heads = shapes[0][-3]
        key = repeat_interleave(key, heads // shapes[1][-3], -3)
        value = repeat_interleave(value, heads // shapes[2][-3], -3)
    factor = 1.0 / math.sqrt(shapes[0][-1]) if scale is None else scale
    scores = matmul(query * factor, _mt(key))
    if is_causal:
        attn_mask = np.tri(shapes[0][-2], shapes[1][-2], dtype=bool)
    if attn_mask is not None:
        shape = broadcast_shapes(shape_of(scores), shape_of(attn_mask))
        scores = broadcast_to(scores, shape)
        if attn_mask.dtype == np.bool_:
            scores = where(attn_mask, scores, -np.inf)
        else:
            scores = scores + attn_mask
    weights = _attend(scores)
    if dropout_p:
        weights = dropout(weights, dropout_p, rng=rng)
    return matmul(weights, value)


def _parts(joint: Any, heads: int) -> tuple[Any, Any, Any]:
    """Return queries, keys and values, ``(N, heads, T, E / heads)`` each."""
    count, length, width = shape_of(joint)
    e = width // 3
    query, key, value = (
        transpose(
            reshape(joint[..., i * e : (i + 1) * e], (count, length, heads, e // heads)), 1, 2
        )
        for i in range(3)
    )
    return query, key, value


def _probabilities_composed(joint: Any, *, heads: int, scale: float) -> Any:
    query, key, _ = _parts(joint, heads)
    return _attend(matmul(query * scale, _mt(key)))


def _joint_composed(joint: Any, _weights: Any, *, heads: int, scale: float) -> Any:
    """Attend by other operations; derivatives must see that the weights follow from ``joint``."""
    value = _parts(joint, heads)[2]
    found = matmul(_probabilities_composed(joint, heads=heads, scale=scale), value)
    count, length, width = shape_of(joint)
    return reshape(transpose(found, 1, 2), (count, length, width // 3))


#: The weights, as constants: `_joint_attention` differentiates through them.
_probabilities: Primitive = primitive("joint_attention_weights", kernel.probabilities, batch=folded)
_probabilities.composed = _probabilities.elsewhere = _probabilities_composed

_joint_attention: Primitive = fused(
    "joint_attention", kernel.attend, _joint_composed, (kernel.by_joint, None), batch=folded
)


def joint_attention(joint: Any, heads: int) -> Any:
    """Return the self-attention of one projection, without mask: ``(N, T, 3 E) -> (N, T, E)``.

    ``joint`` holds the queries of all heads, then the keys, then the values; ``heads`` divide E.
    """
    scale = 1.0 / math.sqrt(shape_of(joint)[-1] // (3 * heads))
    weights = _probabilities(joint, heads=heads, scale=scale)
    return _joint_attention(joint, weights, heads=heads, scale=scale)
