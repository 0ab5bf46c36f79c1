"""Dropout in its forms; each draws from a generator of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.arguments import Fraction, checked
from minidl.nn import functional
from minidl.nn.function_module import FunctionModule


class _Dropout(FunctionModule):
    @checked
    def __init__(self, p: Fraction = 0.5, *, rng: np.random.Generator | None = None) -> None:
        self.p = p
        self.rng = np.random.default_rng() if rng is None else rng

    def forward(self, x: Any) -> Any:
        """Drop elements in training; return ``x`` otherwise."""
        return type(self).function(x, self.p, self.training, rng=self.rng)

    def extra_repr(self) -> str:
        """Return the probability."""
        return f"p={self.p}"


class Dropout(_Dropout):
    """Zeros with probability ``p`` in training, the rest scaled; see `functional.dropout`."""

    function = staticmethod(functional.dropout)


class Dropout1d(_Dropout):
    """Zeros for whole channels of ``(N, C, L)``, with probability ``p``."""

    function = staticmethod(functional.dropout1d)


class Dropout2d(_Dropout):
    """Zeros for whole channels of ``(N, C, H, W)``, with probability ``p``."""

    function = staticmethod(functional.dropout2d)


class Dropout3d(_Dropout):
    """Zeros for whole channels of ``(N, C, D, H, W)``, with probability ``p``."""

    function = staticmethod(functional.dropout3d)


class AlphaDropout(_Dropout):
    """Dropout that keeps mean and variance behind SELU; see `functional.alpha_dropout`."""

    function = staticmethod(functional.alpha_dropout)


class FeatureAlphaDropout(_Dropout):
    """Alpha dropout of whole channels."""

    function = staticmethod(functional.feature_alpha_dropout)
