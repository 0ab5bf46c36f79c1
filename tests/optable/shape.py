"""Table of `minidl.ops.shape`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from optable.record import Op, bad, of
from optable.samples import (
    call,
    grid,
    shaped,
    unary,
)


def reference_flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    if not x.ndim:
        return x.reshape(1)
    start, end = start_dim % x.ndim, end_dim % x.ndim
    return x.reshape(*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :])


def reference_expand(x: Any, *sizes: Any) -> Any:
    sizes = sizes[0] if isinstance(sizes[0], tuple) else sizes
    own = (1,) * (len(sizes) - x.ndim) + x.shape
    return np.broadcast_to(x, [o if s == -1 else s for o, s in zip(own, sizes, strict=True)])


OPS = [
    Op(
        "reshape",
        shaped(((2, 6), (3, 4)), ((2, 6), -1), ((2, 3), 3, -1), ((), (1, 1)), ((0, 3), (3, 0))),
        lambda x, *s: np.reshape(x, s[0] if isinstance(s[0], tuple) else s),
        lambda torch, x, *s: x.reshape(*s),
        protocol=True,
        errors=(
            bad(of((2, 3)), (4, 2), raises=ValueError, match=r"reshape\(float64\[2, 3\]\).*4"),
        ),
    ),
    Op(
        "flatten",
        shaped(((2, 3),), ((2, 3, 2), 1), ((2, 3, 2), 0, -2), ((),), ((0, 3),)),
        reference_flatten,
        "flatten",
        errors=(
            bad(of((2, 3)), 1, 0, raises=ValueError, match="start_dim 1 comes after end_dim 0"),
            bad(of((2, 3)), 2, raises=IndexError, match="flatten: dim 2 is out of range"),
        ),
    ),
    Op(
        "squeeze",
        shaped(((1, 3, 1),), ((1, 3, 1), 0), ((1, 3, 1), -1), ((),)),
        lambda x, dim=None: np.squeeze(x, dim),
        "squeeze",
        protocol=True,
        errors=(bad(of((1, 3)), 2, raises=IndexError, match="squeeze: dim 2 is out of range"),),
    ),
    Op(
        "unsqueeze",
        shaped(((2, 3), 0), ((2, 3), -1), ((2, 3), 1), ((), 0)),
        lambda x, dim: np.expand_dims(x, dim),
        "unsqueeze",
        protocol=True,
        errors=(bad(of((2, 3)), 3, raises=IndexError, match="unsqueeze: dim 3 is out of range"),),
    ),
    Op(
        "transpose",
        shaped(((2, 3), 0, 1), ((2, 3, 2), -1, 0), ((0, 3), 0, 1), ((2, 3), 1, 1)),
        lambda x, a, b: np.swapaxes(x, a, b),
        "transpose",
        protocol=True,
        errors=(bad(of((2, 3)), 0, 2, raises=IndexError, match="transpose: dim 2"),),
    ),
    Op(
        "permute",
        shaped(((2, 3, 2), (2, 0, 1)), ((2, 3), (-1, 0)), ((), ()), ((0, 2), (1, 0))),
        lambda x, dims: np.transpose(x, dims),
        "permute",
        protocol=True,
        errors=(bad(of((2, 3)), (0, 0), raises=ValueError, match="each of the 2 axes once"),),
    ),
    Op(
        "broadcast_to",
        shaped(((3,), (2, 3)), ((2, 1), (2, 3)), ((), (2,)), ((2,), (2,)), ((1,), (0,))),
        lambda x, shape: np.broadcast_to(x, shape),
        "broadcast_to",
        protocol=True,
        errors=(bad(of((2,)), (3,), raises=ValueError, match=r"broadcast_to\(float64\[2\]\)"),),
    ),
    Op(
        "expand",
        shaped(((3,), 2, 3), ((2, 1), (-1, 3)), ((), (2,)), ((2, 1), 3, 2, -1)),
        reference_expand,
        lambda torch, x, *s: x.expand(*s),
        errors=(bad(of((2, 3)), (3,), raises=ValueError, match=r"expand: .*\(2, 3\).*\(3,\)"),),
    ),
    Op(
        "cast",
        shaped(((2, 3), np.float32), ((2,), np.float64), ((), "float32")),
        lambda x, dtype: x.astype(dtype),
        lambda torch, x, dtype: x.to(getattr(torch, np.dtype(dtype).name)),
        follows_dtype=False,
    ),
    Op("clone", unary(), np.copy, "clone", protocol=True),
    Op(
        "ravel",
        shaped(((2, 3),), ((),), ((0, 3),)),
        np.ravel,
        "ravel",
    ),
    Op(
        "unflatten",
        shaped(((2, 6), 1, (2, 3)), ((6, 2), 0, (-1, 2)), ((0, 4), -1, (2, 2))),
        lambda x, dim, sizes: x.reshape(
            *x.shape[: dim % x.ndim], *sizes, *x.shape[dim % x.ndim + 1 :]
        ),
        "unflatten",
        (bad(of((2, 6)), 1, (4, 2), raises=ValueError, match=r"\(4, 2\) do not multiply to 6"),),
    ),
    Op(
        "movedim",
        shaped(((2, 3, 4), 0, -1), ((2, 3, 4), (0, 1), (2, 0)), ((2, 3), 1, 1)),
        lambda x, a, b: np.moveaxis(x, a, b),
        "movedim",
        (
            bad(of((2, 3)), (0, 0), (0, 1), raises=ValueError, match="each axis once"),
            bad(of((2, 3)), 2, 0, raises=IndexError, match="movedim: dim 2"),
        ),
    ),
    Op(
        "t",
        shaped(((2, 3),), ((3,),), ((),)),
        np.transpose,
        "t",
        (bad(of((2, 2, 2)), raises=ValueError, match="at most two dimensions"),),
    ),
    Op(
        "expand_as",
        lambda rng: [call(grid(rng, 3), np.zeros((2, 3), int)), call(grid(rng), np.zeros(2, int))],
        lambda x, y: np.broadcast_to(x, y.shape),
        lambda torch, x, y: x.expand_as(y),
    ),
    Op(
        "broadcast_tensors",
        lambda rng: [call(grid(rng, 3, 1), grid(rng, 2)), call(grid(rng), grid(rng, 2))],
        lambda *xs: tuple(np.broadcast_arrays(*xs)),
        "broadcast_tensors",
    ),
    *(
        Op(
            f"atleast_{n}d",
            shaped(((),), ((3,),), ((2, 3),), ((2, 1, 2),), ((0,),)),
            getattr(np, f"atleast_{n}d"),
            f"atleast_{n}d",
        )
        for n in (1, 2, 3)
    ),
]
