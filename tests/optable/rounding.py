"""Table of `minidl.ops.rounding`."""

from __future__ import annotations

from optable.record import Op

OPS: list[Op] = []
