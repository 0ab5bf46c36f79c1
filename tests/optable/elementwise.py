"""Table of `minidl.ops.elementwise`."""

from __future__ import annotations

import numpy as np
from scipy import special

from optable.record import Op
from optable.samples import (
    NO_NAN,
    unary,
)

ANGLES = [0.0, -0.0, 1e-30, 100.0, -1e5, np.inf, np.nan]
POSITIVE = [0.0, 1.0, 1e-30, 1e30, np.inf, np.nan, -1.0]
UNIT = [0.0, -0.0, 1.0, -1.0, 1e-30, 2.0, np.nan]

OPS = [
    Op("exp2", unary(), np.exp2, "exp2"),
    Op("expm1", unary(), np.expm1, "expm1"),
    Op("log2", unary(0.3, 3.0, POSITIVE), np.log2, "log2"),
    Op("log10", unary(0.3, 3.0, POSITIVE), np.log10, "log10"),
    Op("log1p", unary(-0.7, 3.0), np.log1p, "log1p"),
    Op("rsqrt", unary(0.3, 3.0, POSITIVE), lambda x: 1 / np.sqrt(x), "rsqrt"),
    Op("reciprocal", unary(0.3, 3.0, POSITIVE), lambda x: 1 / x, "reciprocal"),
    Op("sin", unary(-4.0, 4.0, ANGLES), np.sin, "sin"),
    Op("cos", unary(-4.0, 4.0, ANGLES), np.cos, "cos"),
    Op("tan", unary(-1.4, 1.4, ANGLES), np.tan, "tan", float32_rtol=1e-4),
    Op("asin", unary(-0.9, 0.9, UNIT), np.arcsin, "asin"),
    Op("acos", unary(-0.9, 0.9, UNIT), np.arccos, "acos"),
    Op("atan", unary(), np.arctan, "atan"),
    Op("sinh", unary(), np.sinh, "sinh"),
    Op("cosh", unary(), np.cosh, "cosh"),
    Op("asinh", unary(-4.0, 4.0), np.arcsinh, "asinh"),
    Op("acosh", unary(1.3, 4.0, [1.0, 2.0, 0.5, np.inf, np.nan]), np.arccosh, "acosh"),
    Op("atanh", unary(-0.9, 0.9, UNIT), np.arctanh, "atanh"),
    Op("sgn", unary(special=NO_NAN), np.sign),
    Op("positive", unary(), lambda x: x, "positive"),
    Op("deg2rad", unary(), np.deg2rad, "deg2rad"),
    Op("rad2deg", unary(), np.rad2deg, "rad2deg"),
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
