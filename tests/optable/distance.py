"""Table of `minidl.ops.distance`."""

from __future__ import annotations

from optable.record import Op

OPS: list[Op] = []
