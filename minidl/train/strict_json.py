"""JSON that every parser reads: one line, ASCII, and no bare NaN.

JSON has no word for NaN and the infinities; Python writes them all the same, and other languages'
parsers then refuse the whole line. Here they are the strings that the journal has for them.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any


def strict_json(value: Any, *, indent: int | None = None) -> str:
    """Return plain data as strict JSON; ``"NaN"``, ``"Infinity"`` and ``"-Infinity"`` are strings.

    Raises
    ------
    TypeError
        The value holds something that JSON has no form for.

    Examples
    --------
    >>> strict_json({"train/loss": float("nan"), "step": 3})
    '{"train/loss": "NaN", "step": 3}'
    """
    return json.dumps(_sayable(value), allow_nan=False, indent=indent)


def _sayable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(key): _sayable(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_sayable(child) for child in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value
