"""A sum of floats that does not depend on the order, nor on the batches, in which they come.

Adding floats rounds at each step, so that another batch size gives another last bit. Here a sum
is kept as a few floats that together are exactly equal to it, and rounded once, when it is read.
`math.fsum` does the exact work (J. Shewchuk, "Adaptive Precision Floating-Point Arithmetic",
1997).
"""

from __future__ import annotations

import math

import numpy as np

from minidl.autograd.primitive import Array


class ExactSum:
    """The exact sum of float64 values; NaN and infinities go through as they do in NumPy.

    Examples
    --------
    >>> total = ExactSum()
    >>> for part in ([1e100, 1.0], [-1e100]):
    ...     total.add(np.array(part))
    >>> total.value
    1.0
    """

    def __init__(self) -> None:
        self._parts: list[float] = []
        self._not_finite = 0.0

    def add(self, values: Array) -> None:
        """Take in values of whatever shape."""
        flat = np.asarray(values, np.float64).ravel()
        finite = np.isfinite(flat)
        if not finite.all():
            with np.errstate(invalid="ignore"):  # inf - inf
                self._not_finite += float(flat[~finite].sum())
            return
        try:
            self._parts = _exactly([*self._parts, *flat.tolist()])
        except OverflowError:  # beyond the largest float
            self._not_finite += math.inf

    def merge(self, other: ExactSum) -> None:
        """Take in what another sum has taken in."""
        self._not_finite += other._not_finite
        try:
            self._parts = _exactly([*self._parts, *other._parts])
        except OverflowError:  # beyond the largest float
            self._not_finite += math.inf

    @property
    def value(self) -> float:
        """The sum, rounded once."""
        return math.fsum(self._parts) + self._not_finite


def _exactly(values: list[float]) -> list[float]:
    """Return a few floats whose sum is exactly that of ``values``, largest first."""
    parts: list[float] = []
    while rest := math.fsum([*values, *(-part for part in parts)]):
        parts.append(rest)
    return parts
