"""Table of `minidl.ops.special`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import special

from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, grid, unary

ENDS = [0.0, -0.0, 1e-30, 20.0, -5.0, np.inf, -np.inf, np.nan]
UNIT = [0.0, 0.25, 0.5, 1e-300, 1 - 1e-16, 1.0, 2.0, np.nan]
POLES = [0.5, 1.0, 2.0, 1e-30, 1e30, np.inf, np.nan]


def orders(rng: Rng) -> Iterator[Sample]:
    for n in (0, 1, 2, 4):
        yield call(n, grid(rng, 3, low=0.3, high=4.0))
    yield call(1, grid(rng, low=0.5))
    yield call(2, np.zeros((0, 2)))
    yield call(1, np.array([0.1, 20.0, 1e5]))


def gammas(rng: Rng) -> Iterator[Sample]:
    yield from unary(0.2, 4.0, POLES)(rng)
    yield call(np.array([-0.3, -1.6, -7.2, 15.0, 171.0]))


OPS = [
    Op("erf", unary(-4.5, 4.5), special.erf, "erf"),
    Op("erfc", unary(-4.5, 4.5, ENDS), special.erfc, "erfc"),
    Op("erfinv", unary(-0.9, 0.9, [-1.0, *UNIT]), special.erfinv, "erfinv"),
    Op("special.erfcx", unary(-3.0, 6.0, ENDS), special.erfcx, "special.erfcx"),
    Op("special.ndtr", unary(-4.0, 4.0, ENDS), special.ndtr, "special.ndtr"),
    Op("special.ndtri", unary(0.05, 0.95, UNIT), special.ndtri, "special.ndtri", float32_rtol=1e-4),
    Op(
        "special.log_ndtr",
        unary(-6.0, 3.0, [0.0, 20.0, -30.0, np.inf]),
        special.log_ndtr,
        "special.log_ndtr",
    ),
    Op(
        "special.entr",
        unary(0.1, 3.0, [0.0, 1.0, -1.0, np.inf, np.nan]),
        special.entr,
        "special.entr",
    ),
    Op("lgamma", gammas, special.gammaln, "lgamma", rtol=1e-11),
    Op("digamma", gammas, special.digamma, "digamma", rtol=1e-11, float32_rtol=1e-4),
    Op(
        "polygamma",
        orders,
        special.polygamma,
        "polygamma",
        (bad(-1, of((2,)), raises=ValueError, match="n must be at least 0, got -1"),),
        rtol=1e-11,
        float32_rtol=1e-4,
    ),
    Op(
        "mvlgamma",
        lambda rng: [call(grid(rng, 3, low=2.0, high=5.0), p) for p in (1, 2, 4)],
        lambda x, p: np.array([special.multigammaln(v, p) for v in x]),
        "mvlgamma",
        (bad(of((2,)), 0, raises=ValueError, match="p must be at least 1, got 0"),),
        rtol=1e-11,
    ),
    Op("i0", unary(special=ENDS[:-1]), special.i0, "i0"),
    Op("special.i0e", unary(special=ENDS[:-1]), special.i0e, "special.i0e"),
    Op("special.i1", unary(special=ENDS[:-1]), special.i1, "special.i1"),
    Op("special.i1e", unary(special=ENDS[:-1]), special.i1e, "special.i1e"),
]
