"""Resampling images: interpolation, grids, shuffled pixels."""

from __future__ import annotations

__all__: list[str] = []
