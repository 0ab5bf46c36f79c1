"""Flipping, rolling, repeating, triangles and diagonals."""

from __future__ import annotations

__all__: list[str] = []
