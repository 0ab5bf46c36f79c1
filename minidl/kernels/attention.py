"""Self-attention of one joint projection: queries, keys and values read and written where they lie.

``joint (N, T, 3 E)`` holds the queries of all heads, then the keys, then the values. BLAS takes
heads as they lie there, and writes to where they belong, so nothing is turned or joined. Scores
are made, and turned into probabilities, for a few sequences at a time: they stay in cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from minidl.autograd.primitive import Array
from minidl.kernels import memory, parallel, rows

#: Bytes of scores at a time.
BLOCK_BYTES = 1 << 18


def _heads(x: Array, heads: int) -> Array:
    """View ``(N, T, E)`` as ``(N, heads, T, E / heads)``."""
    count, length, width = x.shape
    return x.reshape(count, length, heads, width // heads).transpose(0, 2, 1, 3)


def _parts(joint: Array, heads: int) -> tuple[Array, Array, Array]:
    """View queries, keys and values as ``(N, heads, T, E / heads)`` each."""
    width = joint.shape[2] // 3
    query, key, value = (joint[:, :, i * width : (i + 1) * width] for i in range(3))
    return _heads(query, heads), _heads(key, heads), _heads(value, heads)


def _by_blocks(
    weights: Array, passes: int, scratches: int, work: Callable[[slice, list[Array]], None]
) -> None:
    """Call ``work`` for some sequences at a time, with scratch arrays for their scores.

    ``weights (N, heads, T, T)`` say how large scores are, and ``passes`` how much there is to do.
    """
    how = parallel.split(len(weights), passes * weights.size)
    step = BLOCK_BYTES // max(1, weights[:1].nbytes)
    step = max(1, min(step, -(-len(weights) // len(how.groups))))
    shape = (how.seats, scratches, step, *weights.shape[1:])
    scratch = memory.empty(shape, weights.dtype)

    def group(number: int, seat: int) -> None:
        whole = how.groups[number]
        for start in range(whole.start, whole.stop, step):
            block = slice(start, min(start + step, whole.stop))
            work(block, [one[: block.stop - start] for one in scratch[seat]])

    parallel.each(group, how)


def _lines(scores: Array) -> Array:
    return scores.reshape(math.prod(scores.shape[:-1]), scores.shape[-1])


def probabilities(joint: Array, *, heads: int, scale: float) -> Array:
    """Return ``softmax(query keyᵀ · scale)``, ``(N, heads, T, T)``."""
    query, key, _ = _parts(joint, heads)
    count, _, length, _ = query.shape
    out = memory.empty((count, heads, length, length), joint.dtype)

    def work(block: slice, scratch: list[Array]) -> None:
        (scores,) = scratch
        np.matmul(query[block], key[block].swapaxes(2, 3), out=scores)
        rows.write_softmax(_lines(scores), _lines(out[block]), scale)

    _by_blocks(out, 8, 1, work)
    return out


def attend(joint: Array, weights: Array, *, heads: int, scale: float) -> Array:
    """Return ``weights · value``, heads side by side: ``(N, T, E)``."""
    value = _parts(joint, heads)[2]
    count, length, width = joint.shape
    out = memory.empty((count, length, width // 3), joint.dtype)
    into = _heads(out, heads)

    def work(part: slice) -> None:
        np.matmul(weights[part], value[part], out=into[part])

    parallel.over(count, 4 * weights.size, work)
    return out


def by_joint(grad: Array, joint: Array, weights: Array, *, heads: int, scale: float) -> Array:
    """Return the cotangent of ``joint``, on which the weights depend."""
    query, key, value = _parts(joint, heads)
    out = memory.empty(joint.shape, joint.dtype)
    by_query, by_key, by_value = _parts(out, heads)
    g = _heads(np.ascontiguousarray(grad), heads)

    def work(block: slice, scratch: list[Array]) -> None:
        p, (by_weights, by_scores) = weights[block], scratch
        np.matmul(p.swapaxes(2, 3), g[block], out=by_value[block])
        np.matmul(g[block], value[block].swapaxes(2, 3), out=by_weights)
        rows.write_softmax_gradient(_lines(by_weights), _lines(p), _lines(by_scores), scale)
        np.matmul(by_scores, key[block], out=by_query[block])
        np.matmul(by_scores.swapaxes(2, 3), query[block], out=by_key[block])

    _by_blocks(weights, 8, 2, work)
    return out
