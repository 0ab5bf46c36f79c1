"""``(x - mean) · scale + shift``, each of a channel: what batch norm is outside of training.

The statistics are constants then, so that nothing but elementwise work is left, and a kernel does
it in one pass.
"""

from __future__ import annotations

import math
from typing import Any

from minidl.autograd.primitive import Examples, Primitive, primitive
from minidl.kernels import norm as kernel
from minidl.ops.reduce import sum
from minidl.ops.shape import broadcast_to, reshape, shape_of


def scale_channels(x: Any, mean: Any, scale: Any, shift: Any) -> Any:
    """Return ``(x - mean) · scale + shift`` of ``x (N, C, *)``, all others ``(C,)``.

    ``shift`` may be None.
    """
    given = [value for value in (mean, scale, shift) if value is not None]
    alike = x.dtype.kind == "f" and all(value.dtype == x.dtype for value in given)
    return (_scaled if alike and math.prod(shape_of(x)) else _composed)(x, mean, scale, shift)


def _of_channels(value: Any, ndim: int, size: int | None = None) -> Any:
    """Lay ``(C,)`` along axis 1 of ``ndim``; ``(size, C)`` of examples alike, behind theirs."""
    examples = () if size is None else (size,)
    return reshape(value, (*examples, 1, -1, *(1,) * (ndim - 2)))


def _composed(x: Any, mean: Any, scale: Any, shift: Any) -> Any:
    rank = len(shape_of(x))
    out = (x - _of_channels(mean, rank)) * _of_channels(scale, rank)
    return out if shift is None else out + _of_channels(shift, rank)


def _channel_sums(g: Any) -> Any:
    return sum(g, (0, *range(2, len(shape_of(g)))))


def _examples(_: Primitive, examples: Examples) -> Any:
    """Examples that share the statistics are more samples; others are scaled each by its own."""
    x, *own = examples.values
    size, (batched, *others) = examples.size, examples.batched
    if batched and not any(others):
        shape = shape_of(x)
        return reshape(_scaled(reshape(x, (-1, *shape[2:])), *own), shape)
    rank = len(shape_of(x)) - batched
    mean, scale, shift = (
        None if value is None else _of_channels(value, rank, size if each else None)
        for value, each in zip(own, others, strict=True)
    )
    out = (x - mean) * scale
    return out if shift is None else out + shift


_scaled: Primitive = primitive(
    "scale_channels",
    kernel.scaled,
    vjp=(
        lambda g, _out, _x, _mean, scale, _shift: g * _of_channels(scale, len(shape_of(g))),
        lambda g, _out, _x, _mean, scale, _shift: -_channel_sums(g) * scale,
        lambda g, _out, x, mean, _scale, _shift: _channel_sums(
            g * (x - _of_channels(mean, len(shape_of(x))))
        ),
        lambda g, _out, _x, _mean, _scale, _shift: _channel_sums(g),
    ),
    jvp=(
        lambda t, _out, x, _mean, scale, _shift: t * _of_channels(scale, len(shape_of(x))),
        lambda t, _out, x, _mean, scale, _shift: broadcast_to(
            _of_channels(-t * scale, len(shape_of(x))), shape_of(x)
        ),
        lambda t, _out, x, mean, _scale, _shift: (
            (x - _of_channels(mean, len(shape_of(x)))) * _of_channels(t, len(shape_of(x)))
        ),
        lambda t, _out, x, _mean, _scale, _shift: broadcast_to(
            _of_channels(t, len(shape_of(x))), shape_of(x)
        ),
    ),
    batch=_examples,
)
_scaled.composed = _scaled.elsewhere = _composed
