"""Inverses, linear systems, determinants and powers of matrices."""

from __future__ import annotations

__all__: list[str] = []
