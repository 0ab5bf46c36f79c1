"""Padding: constant, reflected, replicated, circular."""

from __future__ import annotations

__all__: list[str] = []
