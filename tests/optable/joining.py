"""Table of `minidl.ops.joining`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, grid, shaped


def joins(rng: Rng) -> Iterator[Sample]:
    yield call([grid(rng, 2, 3), grid(rng, 1, 3)])
    yield call([grid(rng, 2, 3), grid(rng, 2, 1), grid(rng, 2, 2)], 1)
    yield call([grid(rng, 2, 3)], dim=-1)
    yield call([grid(rng, 0, 3), grid(rng, 2, 3)])
    x = grid(rng, 2)
    yield call((x, x))


JOIN_ERRORS = (
    bad([], raises=ValueError, match="at least one tensor"),
    bad(
        [of((2, 3)), of((2, 2))], raises=ValueError, match=r"cat\(float64\[2, 3\], float64\[2, 2\]"
    ),
    bad([of((2, 3))], 2, raises=IndexError, match="cat: dim 2 is out of range for 2"),
    bad([of(()), of(())], raises=IndexError, match="cat: dim 0 is out of range for 0"),
)


def stacks(*shapes: tuple[int, ...]) -> Any:
    return lambda rng: [call([grid(rng, *shape), grid(rng, *shape)]) for shape in shapes]


def pieces(x: Any, sizes: Any, dim: int = 0) -> Any:
    length = x.shape[dim]
    cuts = range(sizes, length, sizes) if isinstance(sizes, int) else np.cumsum(sizes)[:-1]
    return tuple(np.split(x, list(cuts), dim))


OPS = [
    Op("cat", joins, lambda xs, dim=0: np.concatenate(xs, dim), "cat", JOIN_ERRORS, protocol=True),
    Op(
        "concatenate",
        joins,
        lambda xs, dim=0: np.concatenate(xs, dim),
        "concatenate",
        JOIN_ERRORS,
        protocol=True,
    ),
    Op(
        "stack",
        lambda rng: (
            [call([grid(rng, 2, 3), grid(rng, 2, 3)], d) for d in (0, 1, -1)]
            + [call((grid(rng), grid(rng), grid(rng)))]
        ),
        lambda xs, dim=0: np.stack(xs, dim),
        "stack",
        protocol=True,
        errors=(
            bad([of((2,)), of((3,))], raises=ValueError, match=r"one shape.*\(2,\), \(3,\)"),
            bad([of((2,))], 2, raises=IndexError, match="dim 2 is out of range"),
            bad([], raises=ValueError, match="at least one tensor"),
        ),
    ),
    Op("hstack", stacks((2, 3), (3,), ()), np.hstack, "hstack"),
    Op("vstack", stacks((2, 3), (3,), ()), np.vstack, "vstack"),
    Op("dstack", stacks((2, 3, 2), (2, 3), (3,), ()), np.dstack, "dstack"),
    Op("column_stack", stacks((2, 3), (3,), ()), np.column_stack, "column_stack"),
    Op(
        "split",
        shaped(((5, 2), 2), ((2, 5), [2, 3], 1), ((4,), 4), ((0, 2), 3)),
        pieces,
        "split",
        (
            bad(of((3,)), 0, raises=ValueError, match="at least 1, got 0"),
            bad(of((3,)), [1, 1], raises=ValueError, match=r"\[1, 1\] do not add up to 3"),
        ),
    ),
    Op("split_with_sizes", shaped(((2, 5), [2, 3], 1)), pieces, "split_with_sizes"),
    Op(
        "chunk",
        shaped(((5, 2), 2), ((2, 5), 3, 1), ((2,), 5)),
        lambda x, n, dim=0: pieces(x, -(-x.shape[dim] // n), dim),
        "chunk",
        (bad(of((3,)), 0, raises=ValueError, match="at least 1, got 0"),),
    ),
    Op(
        "tensor_split",
        shaped(((5, 2), 3), ((2, 5), (1, 4), -1), ((3,), (2, 1))),
        lambda x, where, dim=0: tuple(np.array_split(x, where, dim)),
        "tensor_split",
        (bad(of((3,)), 0, raises=ValueError, match="at least one part"),),
    ),
    Op(
        "hsplit",
        shaped(((2, 4), 2), ((4,), 2), ((2, 5), (1, 3))),
        lambda x, where: tuple(np.hsplit(x, where)),
        "hsplit",
        (bad(of((2, 3)), 2, raises=ValueError, match="3 cannot be split in 2 equal"),),
    ),
    Op("vsplit", shaped(((4, 2), 2)), lambda x, where: tuple(np.vsplit(x, where)), "vsplit"),
    Op(
        "dsplit",
        shaped(((1, 2, 4), 2)),
        lambda x, where: tuple(np.dsplit(x, where)),
        "dsplit",
        (bad(of((2, 3)), 1, raises=ValueError, match="at least 3 dimensions"),),
    ),
    Op(
        "unbind",
        shaped(((3, 2),), ((2, 3), 1), ((2,), -1)),
        lambda x, dim=0: tuple(np.moveaxis(x, dim, 0)),
        "unbind",
        (bad(of((2,)), 1, raises=IndexError, match="unbind: dim 1"),),
    ),
]
