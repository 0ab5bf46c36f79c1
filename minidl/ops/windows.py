"""Sliding windows: unfold and its adjoint, fold."""

from __future__ import annotations

__all__: list[str] = []
