"""Table of `minidl.ops.complexes`."""

from __future__ import annotations

import numpy as np

from optable.record import Op
from optable.samples import unary

OPS = [
    Op("real", unary(), np.real, lambda torch, x: torch.real(x), protocol=True),
    Op("imag", unary(), np.imag, protocol=True),
    Op("conj", unary(), np.conj, lambda torch, x: torch.conj(x), protocol=True),
]
