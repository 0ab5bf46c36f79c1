"""Table of `minidl.ops.activation`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import special
from scipy.special import expit, log_expit, softmax

from minidl.nn import functional
from optable.record import Op, bad, of
from optable.samples import Rng, Sample, call, grid, unary


def gelus(rng: Rng) -> Iterator[Sample]:
    yield from unary(special=[0.0, -30.0, 30.0, -5.0, np.nan])(rng)
    yield call(grid(rng, 3, 4), approximate="tanh")


def reference_gelu(x: Any, approximate: str = "none") -> Any:
    if approximate == "none":
        return x * special.ndtr(x)
    return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


ALPHA, LAMBDA = 1.6732632423543772848, 1.0507009873554804934
KINK = [1.0, -30.0, 30.0]
WIDE = [0.0, 50.0, -50.0]


def options(*kwargs: dict[str, Any]) -> Any:
    def samples(rng: Rng) -> Iterator[Sample]:
        for how in kwargs:
            yield call(grid(rng, 3, 4), **how)
        yield call(grid(rng), **kwargs[0])
        yield call(np.zeros((0, 2)), **kwargs[0])

    return samples


def slopes(rng: Rng) -> Iterator[Sample]:
    yield call(grid(rng, 2, 3), np.array([0.3]))
    yield call(grid(rng, 2, 3, 2), grid(rng, 3))


#: PyTorch takes 1/6 in single precision.
THEIRS = {"hardsigmoid": lambda torch, x: torch.clamp(x / 6 + 0.5, 0, 1)}

OPS = [
    Op(
        "gelu",
        gelus,
        reference_gelu,
        "nn.functional.gelu",
        (
            bad(
                of((2,)),
                approximate="exact",
                raises=ValueError,
                match="'none' or 'tanh', got 'exact'",
            ),
        ),
    ),
    *(
        Op(name, unary(low, high, special), reference, THEIRS.get(name, f"nn.functional.{name}"))
        for name, low, high, special, reference in [
            ("relu6", -2.0, 5.0, [0.0, 6.0, 7.0, -1.0], lambda x: np.clip(x, 0, 6)),
            ("selu", -2.0, 2.0, KINK, lambda x: LAMBDA * np.where(x > 0, x, ALPHA * np.expm1(x))),
            ("silu", -3.0, 3.0, WIDE, lambda x: x * expit(x)),
            ("mish", -3.0, 3.0, WIDE, lambda x: x * np.tanh(np.logaddexp(0, x))),
            ("logsigmoid", -3.0, 3.0, [0.0, -0.0, 50.0, -50.0, 1e4, -1e4], log_expit),
            ("softsign", -3.0, 3.0, [50.0, -50.0], lambda x: x / (1 + np.abs(x))),
            ("tanhshrink", -3.0, 3.0, WIDE, lambda x: x - np.tanh(x)),
            (
                "hardsigmoid",
                -2.9,
                2.9,
                [3.5, -3.5, 4.0, -4.0],
                lambda x: np.clip(x / 6 + 0.5, 0, 1),
            ),
            (
                "hardswish",
                -2.9,
                2.9,
                [3.5, -3.5, 4.0, -4.0],
                lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
            ),
        ]
    ),
    Op(
        "elu",
        options({}, {"alpha": 0.5}),
        lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(x)),
        "nn.functional.elu",
    ),
    Op(
        "celu",
        options({}, {"alpha": 0.5}),
        lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(x / alpha)),
        "nn.functional.celu",
    ),
    Op(
        "leaky_relu",
        options({}, {"negative_slope": 0.2}),
        lambda x, negative_slope=0.01: np.where(x > 0, x, negative_slope * x),
        "nn.functional.leaky_relu",
    ),
    Op(
        "hardtanh",
        options({}, {"min_val": -0.5, "max_val": 0.25}),
        lambda x, min_val=-1.0, max_val=1.0: np.clip(x, min_val, max_val),
        "nn.functional.hardtanh",
    ),
    Op(
        "threshold",
        options({"threshold": 0.1, "value": 7.0}),
        lambda x, threshold, value: np.where(x > threshold, x, value),
        "nn.functional.threshold",
    ),
    Op(
        "softplus",
        options({}, {"beta": 3.0}, {"threshold": 1.0}),
        lambda x, beta=1.0, threshold=20.0: np.where(
            beta * x > threshold, x, np.logaddexp(0, beta * x) / beta
        ),
        "nn.functional.softplus",
    ),
    Op(
        "softshrink",
        options({}, {"lambd": 0.2}),
        lambda x, lambd=0.5: np.sign(x) * np.maximum(np.abs(x) - lambd, 0),
        "nn.functional.softshrink",
        (bad(of((2,)), -1.0, raises=ValueError, match="lambd must be at least 0, got -1"),),
    ),
    Op(
        "hardshrink",
        options({}, {"lambd": 0.2}),
        lambda x, lambd=0.5: np.where(np.abs(x) > lambd, x, 0.0),
        "nn.functional.hardshrink",
    ),
    Op(
        "prelu",
        slopes,
        lambda x, w: np.where(
            x > 0, x, x * (w.reshape(-1, *(1,) * (x.ndim - 2)) if w.size > 1 else w)
        ),
        "nn.functional.prelu",
        (bad(of((2, 3)), of((2,)), raises=ValueError, match="one for each of 3 channels, got 2"),),
    ),
    Op(
        "glu",
        lambda rng: [call(grid(rng, 2, 4)), call(grid(rng, 4, 3), 0), call(grid(rng, 2))],
        lambda x, dim=-1: np.split(x, 2, dim)[0] * expit(np.split(x, 2, dim)[1]),
        "nn.functional.glu",
        (bad(of((2, 3)), raises=ValueError, match="cannot be halved"),),
    ),
    Op(
        "softmin",
        lambda rng: [call(grid(rng, 2, 3), 1), call(grid(rng, 3), dim=0)],
        lambda x, dim: softmax(-x, dim),
        "nn.functional.softmin",
    ),
    Op(
        "rrelu",
        lambda rng: [call(grid(rng, 2, 3), training=True), call(grid(rng, 4))],
        lambda x, training=False: np.where(
            x > 0,
            x,
            x
            * (
                np.random.default_rng(3).uniform(1 / 8, 1 / 3, x.shape).astype(x.dtype)
                if training
                else 11 / 48
            ),
        ),
        function=lambda x, *a, **k: functional.rrelu(x, *a, **k, rng=np.random.default_rng(3)),
        errors=(bad(of((2,)), 0.5, 0.1, raises=ValueError, match="lower 0.5 is above upper 0.1"),),
        random=True,
    ),
    Op(
        "gumbel_softmax",
        lambda rng: [call(grid(rng, 2, 3)), call(grid(rng, 2, 3), 0.5)],
        lambda x, tau=1.0: softmax((x + np.random.default_rng(3).gumbel(size=x.shape)) / tau, -1),
        function=lambda x, *a, **k: functional.gumbel_softmax(
            x, *a, **k, rng=np.random.default_rng(3)
        ),
        errors=(bad(of((2,)), 0.0, raises=ValueError, match="tau must be above 0"),),
        random=True,
        follows_dtype=True,
    ),
]
