"""Table of `minidl.ops.special`."""

from __future__ import annotations

from scipy import special

from optable.record import Op
from optable.samples import (
    unary,
)

OPS = [
    Op("erf", unary(-4.5, 4.5), special.erf, "erf"),
]
