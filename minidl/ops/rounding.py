"""Rounding, remainders and limits: functions whose slope is 0 or 1 almost everywhere."""

from __future__ import annotations

__all__: list[str] = []
