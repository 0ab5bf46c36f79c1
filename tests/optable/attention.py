"""Table of `minidl.ops.attention`."""

from __future__ import annotations

from optable.record import Op

OPS: list[Op] = []
