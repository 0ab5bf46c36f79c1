"""Table of `minidl.ops.elementwise`."""

from __future__ import annotations

import numpy as np
from scipy import special

from optable.record import Op
from optable.samples import (
    NO_NAN,
    unary,
)

OPS = [
    Op("exp", unary(), np.exp, "exp", protocol=True),
    Op("log", unary(0.3, 3.0), np.log, "log", protocol=True),
    Op("sqrt", unary(0.3, 3.0), np.sqrt, "sqrt", protocol=True),
    Op("square", unary(), np.square, "square", protocol=True),
    Op("tanh", unary(), np.tanh, "tanh", protocol=True),
    Op(
        "sigmoid",
        unary(special=[0.0, 1e4, -1e4, np.inf, -np.inf, np.nan]),
        special.expit,
        "sigmoid",
    ),
    Op("relu", unary(special=NO_NAN), lambda x: np.maximum(x, 0), "relu"),
    Op("sign", unary(special=NO_NAN), np.sign, "sign", protocol=True),
    Op("abs", unary(special=NO_NAN), np.abs, "abs", protocol=True),
    Op("stop_gradient", unary(), lambda x: x, differentiable=False),
]
