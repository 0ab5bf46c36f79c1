"""Scans: every element of the result depends on those before it."""

from __future__ import annotations

__all__: list[str] = []
