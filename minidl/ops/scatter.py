"""Gathering along an axis, and writing to many places at once."""

from __future__ import annotations

__all__: list[str] = []
