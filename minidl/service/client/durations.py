"""Lengths of time as people write them."""

from __future__ import annotations

import math
import re

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def seconds_of(text: str) -> float:
    """Return the seconds that a text names.

    >>> [seconds_of(text) for text in ("90", "15m", "1.5h", "30d")]
    [90.0, 900.0, 5400.0, 2592000.0]

    Raises
    ------
    ValueError
        It names none, or none that is more than nothing.
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-z]*)\s*", text)
    value = float(match[1]) * _SECONDS[match[2]] if match and match[2] in _SECONDS else math.nan
    if not (0 < value < 1e10):
        raise ValueError(f"{text!r} is no length of time; write 90s, 15m, 2h or 30d")
    return value
