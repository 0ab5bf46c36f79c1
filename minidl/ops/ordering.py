"""Sorting, selecting by rank, and counting what is there."""

from __future__ import annotations

__all__: list[str] = []
