"""Table of `minidl.ops.rearrange`."""

from __future__ import annotations

from optable.record import Op

OPS: list[Op] = []
