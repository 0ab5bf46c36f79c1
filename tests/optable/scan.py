"""Table of `minidl.ops.scan`."""

from __future__ import annotations

from optable.record import Op

OPS: list[Op] = []
